//! When to ask a peer for everything it knows, and when it has told us.
//!
//! A full sync is a `gossip_timestamp_filter` with `first_timestamp` 0, which makes a peer send its whole store; the
//! protocol has no word for "that was all". So each full sync also asks for the peer's inventory
//! (`query_channel_range` over all blocks), and counts as complete when
//!
//! 1. the inventory arrived in full and is not empty,
//! 2. of its channels, 95 % were announced and 90 % had an update, by this peer on this connection (whether or not
//!    they were new to us: after a restart, nothing is),
//! 3. nothing of the inventory, and no node, was heard for the *first* time for a tenth of the time that it took so
//!    far (2 s at least, 30 s at most): live updates repeat directions that the store named before, so a stream of
//!    them that never pauses hides nothing, and
//! 4. at most 1 % of it waits for a bitcoind that cannot be reached or is still catching up.
//!
//! A sync that snapshots wait for also needs an inventory of at least half of the channels that are known already,
//! and waits for the other peers that are still telling: for up to half an hour if their inventory is larger by more
//! than a tenth, else for twice the time that the first one took and ten seconds. A peer that makes no progress for a
//! minute has stalled: another one is asked.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use super::check::{Gossip, Heard};
use super::{NodeId, UnixMs};

/// Shares of the inventory, in per cent, that must have been heard.
const ANNOUNCED_PER_CENT: usize = 95;
const UPDATED_PER_CENT: usize = 90;
/// Share of the inventory, in per cent, that may wait for an unreachable bitcoind.
const UNSETTLED_PER_CENT: usize = 1;
const QUIET_AT_LEAST: Duration = Duration::from_secs(2);
const QUIET_AT_MOST: Duration = Duration::from_secs(30);
const STALLED_AFTER: Duration = Duration::from_secs(60);
/// How long the first sync waits for slower peers, beyond twice the first one's time; and for peers that are still
/// connecting, from the start.
const GRACE: Duration = Duration::from_secs(10);
/// How long it waits for peers that know much more.
const GRACE_FOR_LARGER: Duration = Duration::from_secs(1800);
/// Gossip older than this may have been missed: ask for everything.
const STALE_AFTER: Duration = Duration::from_secs(3600);
/// How often everything is asked for anyway, which heals whatever was missed.
const HEAL_EVERY: Duration = Duration::from_secs(24 * 3600);
/// How many peers are asked for everything at the same time.
const RUNS_AT_MOST: usize = 3;
/// No short channel id lies at this height or above: 24 bits (BOLT 7).
const HEIGHT_END: u64 = 1 << 24;
/// An inventory beyond this is nonsense.
const INVENTORY_AT_MOST: usize = 600_000;

/// What to ask of a peer that has connected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ask {
    /// Everything, and the inventory to check it by.
    Full,
    /// What is new.
    Recent,
}

/// What follows from the time that passed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// The peer has told everything.
    Completed { peer: NodeId, channels: usize },
    /// Reconnect this peer, which will then be asked for everything.
    Reconnect { peer: NodeId, why: &'static str },
}

/// The state of all full syncs. Pure: the time is passed in.
pub struct Syncs {
    /// When the last full sync was completed.
    completed: Option<UnixMs>,
    /// Snapshots are not to be trusted before a full sync is complete.
    needed: bool,
    /// When a message was last accepted.
    last_message: Option<UnixMs>,
    started: UnixMs,
    /// Configured peers whose first connection has neither worked nor failed.
    awaited: BTreeSet<NodeId>,
    connected: BTreeSet<NodeId>,
    /// To be asked for everything when they connect next.
    owed: BTreeSet<NodeId>,
    runs: BTreeMap<NodeId, Run>,
    /// The last peer whose turn it was …
    last_turn: Option<NodeId>,
    /// … and when a peer was last asked for everything.
    last_asked: UnixMs,
}

struct Run {
    started: UnixMs,
    last_progress: UnixMs,
    done: Option<UnixMs>,
    inventory: HashSet<u64>,
    inventory_complete: bool,
    announced: HashSet<u64>,
    updated: HashSet<(u64, u8)>,
    nodes: HashSet<NodeId>,
}

impl Syncs {
    /// `completed` and `last_message` as the journal has them; `peers` are those that will be connected to.
    pub fn new(
        completed: Option<UnixMs>,
        last_message: Option<UnixMs>,
        peers: impl IntoIterator<Item = NodeId>,
        now: UnixMs,
    ) -> Self {
        let mut syncs = Self {
            completed,
            needed: completed.is_none(),
            last_message,
            started: now,
            awaited: peers.into_iter().collect(),
            connected: BTreeSet::new(),
            owed: BTreeSet::new(),
            runs: BTreeMap::new(),
            last_turn: None,
            last_asked: now,
        };
        syncs.needed |= syncs.is_stale(now);
        syncs
    }

    /// Whether what has been told so far is enough to cut a snapshot from.
    pub fn trusted(&self) -> bool {
        !self.needed
    }

    /// How many peers are connected.
    pub fn connected_count(&self) -> usize {
        self.connected.len()
    }

    /// Whether this peer is telling everything at the moment.
    pub fn is_syncing(&self, peer: &NodeId) -> bool {
        self.runs.contains_key(peer)
    }

    fn is_stale(&self, now: UnixMs) -> bool {
        self.last_message.is_none_or(|last| now.since(last) > STALE_AFTER)
    }

    /// A peer has connected: what to ask of it.
    pub fn connect(&mut self, peer: NodeId, now: UnixMs) -> Ask {
        self.awaited.remove(&peer);
        self.connected.insert(peer);
        let wanted = (self.needed || self.is_stale(now)) && self.runs.len() < RUNS_AT_MOST;
        if self.owed.remove(&peer) || wanted {
            self.runs.insert(peer, Run::new(now));
            self.last_asked = now;
            Ask::Full
        } else {
            Ask::Recent
        }
    }

    /// A connection was lost, or a try to make one failed.
    pub fn disconnect(&mut self, peer: &NodeId) {
        self.awaited.remove(peer);
        self.connected.remove(peer);
        self.runs.remove(peer);
    }

    /// Messages of this peer were lost: it owes us everything when it connects next.
    pub fn owe(&mut self, peer: NodeId) {
        self.owed.insert(peer);
    }

    /// Messages were lost, no matter whose: some connected peer is to be asked again.
    pub fn owe_any(&mut self) -> Option<NodeId> {
        let peer = self.next_in_turn()?;
        self.owed.insert(peer);
        Some(peer)
    }

    /// Messages were dropped until `now`. If that went on for long, only a full sync makes snapshots trustworthy.
    pub fn resume(&mut self, now: UnixMs) {
        self.needed |= self.is_stale(now);
    }

    /// A message was accepted.
    pub fn accepted(&mut self, now: UnixMs) {
        self.last_message = Some(now);
    }

    /// A part of a peer's inventory: the channels it knows from block `first` on, for `number` blocks.
    pub fn inventory(&mut self, peer: &NodeId, first: u32, number: u32, scids: &[u64], now: UnixMs) {
        let Some(run) = self.runs.get_mut(peer) else { return };
        if run.inventory.len() + scids.len() > INVENTORY_AT_MOST {
            return;
        }
        run.inventory.extend(scids);
        run.inventory_complete |= u64::from(first) + u64::from(number) >= HEIGHT_END;
        run.last_progress = now;
    }

    /// A message was heard, whatever became of it.
    pub fn heard(&mut self, heard: &Heard, now: UnixMs) {
        if let Some(run) = self.runs.get_mut(&heard.peer) {
            run.heard(&heard.message, now);
        }
    }

    /// What follows at `now`, with so many channels known, and `unsettled` ones waiting for a bitcoind that cannot
    /// answer.
    pub fn tick(&mut self, now: UnixMs, known: usize, unsettled: u64) -> Vec<Step> {
        let mut steps: Vec<_> = self.finish(now, known, unsettled).into_iter().collect();
        let stalled: Vec<_> =
            self.runs.iter().filter(|(_, run)| run.is_stalled(now)).map(|(peer, _)| *peer).collect();
        for peer in stalled {
            self.runs.remove(&peer);
            steps.extend(self.ask_next(now, "a full sync made no progress for a minute"));
        }
        if self.runs.is_empty() && now.since(self.last_asked) >= STALLED_AFTER {
            if self.needed {
                steps.extend(self.ask_next(now, "no peer is telling everything"));
            } else if self.completed.is_some_and(|last| now.since(last) >= HEAL_EVERY) {
                steps.extend(self.ask_next(now, "the daily full sync is due"));
            }
        }
        steps
    }

    fn ask_next(&mut self, now: UnixMs, why: &'static str) -> Option<Step> {
        let peer = self.owe_any()?;
        self.last_asked = now;
        Some(Step::Reconnect { peer, why })
    }

    fn finish(&mut self, now: UnixMs, known: usize, unsettled: u64) -> Option<Step> {
        for run in self.runs.values_mut() {
            if run.done.is_none() && run.is_complete(now) {
                run.done = Some(now);
            }
        }
        let done = self.runs.iter().filter(|(_, run)| run.done.is_some());
        let (peer, best) = done.max_by_key(|(peer, run)| (run.inventory.len(), std::cmp::Reverse(**peer)))?;
        let (peer, channels) = (*peer, best.inventory.len());
        let bearable = (channels * UNSETTLED_PER_CENT / 100) as u64;
        if unsettled > bearable || (self.needed && (channels * 2 < known || self.others_matter(best, now))) {
            return None;
        }
        self.runs.clear(); // what others are still telling is taken in all the same
        self.needed = false;
        self.completed = Some(now);
        Some(Step::Completed { peer, channels })
    }

    /// Whether a sync that snapshots wait for should wait for what other peers are still telling.
    fn others_matter(&self, best: &Run, now: UnixMs) -> bool {
        if !self.awaited.is_empty() && now.since(self.started) < GRACE {
            return true;
        }
        let took = best.last_progress.since(best.started);
        self.runs.values().filter(|run| run.done.is_none()).any(|run| {
            let larger = run.inventory.len() * 10 > best.inventory.len() * 11;
            let patience = if larger { GRACE_FOR_LARGER } else { took * 2 + GRACE };
            (larger || !run.is_quiet(now)) && now.since(run.started) < patience
        })
    }

    /// The connected peer after the last one asked that is not being asked already.
    fn next_in_turn(&mut self) -> Option<NodeId> {
        let free = || self.connected.iter().filter(|peer| !self.runs.contains_key(*peer));
        let after = free().find(|peer| self.last_turn.is_none_or(|last| **peer > last));
        let next = after.or_else(|| free().next()).copied();
        self.last_turn = next.or(self.last_turn);
        next
    }
}

impl Run {
    fn new(now: UnixMs) -> Self {
        let (inventory, announced, updated, nodes) = Default::default();
        let (started, last_progress) = (now, now);
        Self { started, last_progress, done: None, inventory, inventory_complete: false, announced, updated, nodes }
    }

    fn heard(&mut self, message: &Gossip, now: UnixMs) {
        let counts = |scid: &u64| !self.inventory_complete || self.inventory.contains(scid);
        let full = self.announced.len() + self.nodes.len() > INVENTORY_AT_MOST;
        let first = !full
            && match message {
                Gossip::Channel(m) => {
                    counts(&m.contents.short_channel_id) && self.announced.insert(m.contents.short_channel_id)
                }
                Gossip::Update(m) => {
                    let scid = m.contents.short_channel_id;
                    counts(&scid) && self.updated.insert((scid, m.contents.channel_flags & 1))
                }
                Gossip::Node(m) => self.nodes.insert(m.contents.node_id),
            };
        if first {
            self.last_progress = now;
        }
    }

    fn is_quiet(&self, now: UnixMs) -> bool {
        let took = self.last_progress.since(self.started);
        now.since(self.last_progress) >= (took / 10).clamp(QUIET_AT_LEAST, QUIET_AT_MOST)
    }

    fn is_complete(&self, now: UnixMs) -> bool {
        if !self.inventory_complete || self.inventory.is_empty() || !self.is_quiet(now) {
            return false;
        }
        let announced = self.inventory.iter().filter(|scid| self.announced.contains(scid)).count();
        let updated = |scid: &&u64| self.updated.contains(&(**scid, 0)) || self.updated.contains(&(**scid, 1));
        let updated = self.inventory.iter().filter(updated).count();
        let all = self.inventory.len();
        announced * 100 >= all * ANNOUNCED_PER_CENT && updated * 100 >= all * UPDATED_PER_CENT
    }

    fn is_stalled(&self, now: UnixMs) -> bool {
        self.done.is_none() && now.since(self.last_progress) >= STALLED_AFTER
    }
}
