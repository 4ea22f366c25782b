//! One peer's telling of everything it knows.

use std::collections::HashSet;
use std::time::Duration;

use super::super::check::Gossip;
use super::super::{NodeId, UnixMs};

/// Shares of the inventory, in per cent, that must have been heard.
const ANNOUNCED_PER_CENT: usize = 95;
const UPDATED_PER_CENT: usize = 90;
const QUIET_AT_LEAST: Duration = Duration::from_secs(2);
const QUIET_AT_MOST: Duration = Duration::from_secs(30);
/// No progress for this long is no telling any more.
pub(super) const STALLED_AFTER: Duration = Duration::from_secs(60);
/// The slowest telling that is waited for.
const RUN_AT_MOST: Duration = Duration::from_secs(2 * 3600);
/// No short channel id lies at this height or above: 24 bits (BOLT 7).
const HEIGHT_END: u64 = 1 << 24;
/// An inventory, or a telling, with more than this is nonsense.
const INVENTORY_AT_MOST: usize = 600_000;
const TOLD_AT_MOST: usize = 4 * INVENTORY_AT_MOST;

/// What a peer has told since it was asked for everything. "First" is the first time on this connection, whether or
/// not it was news to us, and before any signature was looked at.
pub(super) struct Run {
    pub started: UnixMs,
    /// When it was found complete.
    pub done: Option<UnixMs>,
    pub inventory: HashSet<u64>,
    pub inventory_complete: bool,
    /// When something of the inventory, or a node, was last heard for the first time.
    pub last_progress: UnixMs,
    /// When the inventory grew, or a channel of it was last announced for the first time.
    last_channel: UnixMs,
    announced: HashSet<u64>,
    updated: HashSet<(u64, u8)>,
    nodes: HashSet<NodeId>,
    /// Channels of the complete inventory that were announced, and that had an update.
    announced_of_it: usize,
    updated_of_it: usize,
    nonsense: bool,
}

impl Run {
    pub fn new(now: UnixMs) -> Self {
        let (inventory, announced, updated, nodes) = Default::default();
        Self {
            started: now,
            done: None,
            inventory,
            inventory_complete: false,
            last_progress: now,
            last_channel: now,
            announced,
            updated,
            nodes,
            announced_of_it: 0,
            updated_of_it: 0,
            nonsense: false,
        }
    }

    /// A part of the inventory: the channels from block `first` on, for `number` blocks.
    pub fn inventory(&mut self, first: u32, number: u32, scids: &[u64], now: UnixMs) {
        if self.inventory_complete {
            return;
        }
        let before = self.inventory.len();
        self.nonsense |= before + scids.len() > INVENTORY_AT_MOST;
        if self.nonsense {
            return;
        }
        self.inventory.extend(scids);
        self.inventory_complete = u64::from(first) + u64::from(number) >= HEIGHT_END;
        if self.inventory.len() > before || self.inventory_complete {
            (self.last_progress, self.last_channel) = (now, now);
        }
        if self.inventory_complete {
            self.announced_of_it = self.inventory.intersection(&self.announced).count();
            self.updated_of_it = self.inventory.iter().filter(|scid| self.has_update(**scid)).count();
        }
    }

    fn has_update(&self, scid: u64) -> bool {
        self.updated.contains(&(scid, 0)) || self.updated.contains(&(scid, 1))
    }

    /// A message was heard.
    pub fn heard(&mut self, message: &Gossip, now: UnixMs) {
        self.nonsense |= self.announced.len() + self.updated.len() + self.nodes.len() > TOLD_AT_MOST;
        let counts = |scid: &u64| !self.inventory_complete || self.inventory.contains(scid);
        let first = !self.nonsense
            && match message {
                Gossip::Channel(m) => {
                    counts(&m.contents.short_channel_id) && self.announce(m.contents.short_channel_id, now)
                }
                Gossip::Update(m) => {
                    let (scid, direction) = (m.contents.short_channel_id, m.contents.channel_flags & 1);
                    counts(&scid) && self.update(scid, direction)
                }
                Gossip::Node(m) => self.nodes.insert(m.contents.node_id),
            };
        if first {
            self.last_progress = now;
        }
    }

    fn announce(&mut self, scid: u64, now: UnixMs) -> bool {
        let first = self.announced.insert(scid);
        if first && self.inventory_complete {
            self.announced_of_it += 1;
            self.last_channel = now;
        }
        first
    }

    fn update(&mut self, scid: u64, direction: u8) -> bool {
        if self.inventory_complete && !self.has_update(scid) {
            self.updated_of_it += 1;
        }
        self.updated.insert((scid, direction))
    }

    pub fn is_quiet(&self, now: UnixMs) -> bool {
        let took = self.last_progress.since(self.started);
        now.since(self.last_progress) >= (took / 10).clamp(QUIET_AT_LEAST, QUIET_AT_MOST)
    }

    fn has_channels(&self) -> bool {
        self.announced_of_it * 100 >= self.inventory.len() * ANNOUNCED_PER_CENT
    }

    pub fn is_complete(&self, now: UnixMs) -> bool {
        self.inventory_complete
            && !self.inventory.is_empty()
            && self.has_channels()
            && self.updated_of_it * 100 >= self.inventory.len() * UPDATED_PER_CENT
            && self.is_quiet(now)
    }

    /// Whether it is no use to wait for more. Until the channels are there, only channels are progress: live updates
    /// come from peers that tell nothing else, too.
    pub fn is_stalled(&self, now: UnixMs) -> bool {
        let channels_are_here = self.inventory_complete && self.has_channels();
        let last = if channels_are_here { self.last_progress } else { self.last_channel };
        let over = now.since(last) >= STALLED_AFTER || now.since(self.started) >= RUN_AT_MOST;
        self.done.is_none() && (self.nonsense || over)
    }

    /// A clock that was ahead must not hold anything up.
    pub fn not_after(&mut self, now: UnixMs) {
        for moment in [&mut self.started, &mut self.last_progress, &mut self.last_channel] {
            *moment = (*moment).min(now);
        }
        self.done = self.done.map(|done| done.min(now));
    }
}
