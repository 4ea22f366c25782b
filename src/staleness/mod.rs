//! Staleness: how far wallets' fees are from the network's, how many payments that fails, and what being fresh costs.
//!
//! Owns the figures by which operators choose their interval: [`share`] says what a stale fee is, and how much of the
//! network has one. Promises that the same entries and seed give the same figures. Pure: reads no clock; what looks into
//! journals and recordings is the command's part.

pub mod live;
pub mod share;
