//! Room 2: the journal. An ordered, append-only, durable list of entries, numbered by [`Seq`].

use crate::gossip::{Fact, UnixMs};

/// An entry's number: 1 for the first, without gaps as they are assigned. 0 means "before the first".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, serde::Serialize)]
pub struct Seq(pub u64);

/// A cut of the journal: the state of the network after all entries up to and including `seq`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Epoch {
    /// Unix seconds; strictly increasing, never reused. Wallets name an epoch by it.
    pub timestamp: u32,
    /// The epoch's own entry.
    pub seq: Seq,
    /// Under which rules wallets were told.
    pub rules: Rules,
}

/// The version of the rules by which a snapshot is made, and the `graph` setting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    pub version: u16,
    pub graph: Graph,
}

/// Which channels a snapshot holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Graph {
    /// Those with at least one enabled direction.
    Routable,
    /// Those that are disabled in both directions, too.
    Complete,
}

/// What an entry says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Something that the gossip room found out.
    Fact(Fact),
    /// The journal was cut here.
    Epoch { timestamp: u32, rules: Rules },
}

/// One line of the journal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub seq: Seq,
    /// When this collector accepted it.
    pub seen: UnixMs,
    pub event: Event,
}
