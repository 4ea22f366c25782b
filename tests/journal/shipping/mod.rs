//! The archive under hard conditions, at the level of journal and shipper: outages, kills, pairs of collectors,
//! restorations. Whatever happens, the archive ends as the journal, row by row, and what it has is never changed.
//!
//! `make test` runs these stories shortened, `make soak` at full length.

mod collector;
mod forgetting;
mod kills;
mod line;
mod outages;
mod pairs;
pub mod props;
mod restoring;
