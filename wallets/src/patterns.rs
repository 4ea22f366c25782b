//! When a wallet syncs, and what goes wrong meanwhile.

use rgsd::snapshot::Version;

use crate::wallet::LastSync;
use crate::world::Host;
use crate::{DAY, HOUR};

/// A wallet's life, from its first act on.
#[derive(Clone, Debug)]
pub struct Habits {
    pub last_sync: LastSync,
    pub pruning: Pruning,
    pub acts: Vec<Act>,
}

/// When a wallet prunes its graph, beside after each sync.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pruning {
    /// Every full hour: it runs all the time.
    Hourly,
    /// Never: it runs only to sync.
    AfterSyncs,
}

/// What a wallet does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// Nothing, for so long.
    Wait { for_s: u32 },
    /// Syncs.
    Sync(Request),
    /// Syncs again and again: so many times, each so long after the last.
    Syncs { every_s: u32, times: u32, request: Request },
    /// Syncs, but the body ends after so many thousandths.
    CutShort { request: Request, per_mille: u16 },
    /// Syncs with another server, which knows the same network, and stamps its snapshots with full hours.
    Elsewhere { version: Version },
    /// A payment fails at a channel, by its place in the script; the wallet deletes it.
    Lose { channel: usize },
    /// Crashes; what it starts with is as old as before so many syncs (0 for the last one).
    Crash { ago: usize, forgets: Forgets },
}

/// What a crash takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Forgets {
    /// The graph and the time of the last sync alike.
    Everything,
    /// Only the time: the graph was written in time.
    Time,
    /// Only the graph: the time was written in time. The wallet believes to have what it lost.
    Graph,
}

/// Whom it asks, and for what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    pub version: Version,
    pub host: Host,
}

/// Version 2, from the writer.
pub const USUAL: Request = Request { version: Version::V2, host: Host::Writer };

impl Habits {
    /// Of a wallet that runs all the time.
    pub fn new(acts: Vec<Act>) -> Self {
        Self { last_sync: LastSync::InGraph, pruning: Pruning::Hourly, acts }
    }

    /// Syncs with the writer, as often as it takes for so long a time.
    pub fn every(every_s: u32, for_s: u32) -> Self {
        Self::new(vec![Act::Syncs { every_s, times: for_s / every_s, request: USUAL }])
    }

    /// Syncs every day at noon.
    pub fn at_noon(days: u32) -> Self {
        let first = [Act::Wait { for_s: 12 * HOUR }, Act::Sync(USUAL)];
        let rest = Act::Syncs { every_s: DAY, times: days - 1, request: USUAL };
        Self::new(first.into_iter().chain([rest]).collect())
    }
}
