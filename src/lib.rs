//! `rgsd` keeps Lightning wallets' fees fresh.

pub mod gossip;
pub mod history;
pub mod journal;
pub mod snapshot;
pub mod synth;
pub mod tasks;
