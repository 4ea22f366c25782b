//! The history: stories of single channels, and properties over random ones, of retention as well; and what is told of
//! it to wallets that come back; and how stale wallets are, held against what can be worked out by hand.

mod deltas;
mod desk;
mod model;
mod now;
mod properties;
mod retention;
mod spans;
mod staleness;
mod stories;
#[path = "../support/unsigned.rs"]
mod unsigned;
