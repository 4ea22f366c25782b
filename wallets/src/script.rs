//! What happens: a network's and its server's life over simulated time, as a list of steps.
//!
//! A script has no times but pauses, so that it stays a script when parts of it are left out: failures can be shrunk.

use rgsd::gossip::{Direction, Policy, ShortChannelId};
use rgsd::journal::Graph;

/// A network's life, and its server's.
#[derive(Clone, Debug)]
pub struct Script {
    /// Those that there may ever be; steps name them by their place, modulo their number.
    pub channels: Vec<Channel>,
    /// How the server begins.
    pub setup: Setup,
    pub steps: Vec<Step>,
}

/// What of a channel never changes.
#[derive(Clone, Debug)]
pub struct Channel {
    pub scid: ShortChannelId,
    /// Numbers of nodes; the lesser one first.
    pub nodes: [u32; 2],
    /// The least byte of its features; 0 for none.
    pub feature: u8,
    pub capacity_sat: u64,
}

/// What a server can be restarted with.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// A multiple of ten that divides a day.
    pub interval_s: u32,
    pub graph: Graph,
}

/// What happens next, and how long after the step before.
#[derive(Clone, Debug)]
pub struct Step {
    pub after_s: u32,
    pub what: What,
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub enum What {
    /// A channel is announced: with its capacity looked up, or not yet.
    Announce { channel: usize, proven: bool },
    /// The capacity of a channel that was announced without is looked up.
    Prove { channel: usize },
    /// A direction says what it charges, with a timestamp that is so many seconds old (or ahead).
    Update { channel: usize, direction: Direction, policy: Policy, age_s: i32 },
    /// A direction is not heard for a while.
    Silence { channel: usize, direction: Direction, for_s: u32 },
    /// A channel is closed.
    Close { channel: usize },
    /// The closing is undone by a reorganisation.
    Reopen { channel: usize },
    /// A node tells of itself: a byte of features, the last byte of its address.
    Node { node: u32, feature: u8, address: u8 },
    /// The server starts anew, with other settings.
    Restart(Setup),
    /// Another collector writes from now on, and stamps its epochs with another offset.
    Takeover { offset_s: u32 },
    /// The server cuts no epoch for so long.
    Stall { for_s: u32 },
}
