//! `rgsd` keeps Lightning wallets' fees fresh: it listens to gossip, records what it could prove, and serves it as
//! Rapid Gossip Sync snapshots.
//!
//! The rooms, in the order in which the data flows:
//!
//! 1. [`gossip`]: peers, the checking stage, funding proofs. What passes is a [`gossip::Fact`].
//! 2. [`journal`]: facts and epochs become numbered, durable [`journal::Entry`]s, with a copy in a remote archive.
//! 3. [`history`]: what the network looked like at any recent epoch: a [`history::View`].
//! 4. [`snapshot`]: a view becomes bytes, is checked by the official client, and is published.
//! 5. [`http`]: what wallets and operators fetch.
//!
//! A room uses only rooms with lower numbers. [`uploads`] takes what is published elsewhere, too. [`serve`] wires them into the running service; [`demo`] runs that
//! service on a network from [`synth`]. [`recording`] reads and writes recorded gossip, which [`replay`] takes the way of
//! live gossip. [`staleness`] says how stale wallets' fees are at which interval, and [`tune`] asks it. [`inspect`] and [`diff`] look into snapshots, of any server, which [`source`] fetches. [`health`] asks a service how it
//! is. [`cli`] and
//! [`config`] say what the user wants; [`tasks`] owns what runs; [`text`] is about words.
//!
//! # Errors
//!
//! `anyhow` with context inside; a small closed enum where a caller branches ([`gossip::check::Refusal`],
//! [`journal::AppendError`], [`journal::lease::Misfit`], [`snapshot::CutError`]). What comes from outside (a peer,
//! bitcoind, the disk, the database, a request) never panics. Details go to the log once, where the error is handled; an error that a user can cause is one
//! sentence that names the culprit and the remedy.

pub mod cli;
pub mod config;
pub mod demo;
pub mod diff;
pub mod gossip;
pub mod health;
pub mod history;
pub mod http;
pub mod inspect;
pub mod journal;
pub mod record;
pub mod recording;
pub mod replay;
pub mod serve;
pub mod snapshot;
pub mod source;
pub mod staleness;
pub mod synth;
pub mod tasks;
pub mod text;
pub mod tune;
pub mod uploads;
