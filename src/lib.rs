//! `rgsd` keeps Lightning wallets' fees fresh.

pub mod cli;
pub mod config;
pub mod demo;
pub mod gossip;
pub mod history;
pub mod http;
pub mod journal;
pub mod serve;
pub mod snapshot;
pub mod synth;
pub mod tasks;
