//! Staleness: how far wallets' fees are from the network's, how many payments that fails, and what being fresh costs.
//!
//! Owns the figures by which operators choose their interval. [`share`] says what a stale fee is, and how much of the
//! network has one; [`live`] how much of it has one now; [`past`] what was in force when, and who knew it; `wallet` is a
//! wallet's graph in time, with LDK's router; `trial` holds its routes against what was in force; `simulate` does that for
//! many payments at each interval; `drift` needs no routes; `cost` says what an interval costs; [`report`] is all of it in
//! one value.
//!
//! Promises that the same entries and seed give the same figures, on any number of cores. Pure: reads no clock; what
//! looks into journals and recordings is the part of the command `tune`.

mod cost;
mod draw;
mod drift;
pub mod live;
pub mod past;
pub mod report;
pub mod share;
mod simulate;
mod trial;
mod wallet;

pub use cost::{Cost, Meter};
pub use drift::Drift;
pub use simulate::{ByAmount, Fates, Interrupted, Question, Simulated, Watcher, simulate};
pub use trial::{Cause, Grace};
