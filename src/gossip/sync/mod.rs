//! When to ask a peer for everything it knows, when it has told us, and whether that makes the journal fresh.
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
//! A sync that snapshots wait for also needs an inventory of at least half of the channels that are proven already,
//! half of which at least we have let through or let wait.
//! It waits for the other peers that are telling: two minutes for their inventories, half an hour for those that turn
//! out larger by more than a tenth, and for the others as long as the first one took and ten seconds. A peer has
//! stalled when no further channel came for a minute (or, once all have come, nothing at all): another one is asked.
//!
//! The journal is fresh while a message was accepted, or a full sync completed, within the last hour. What is not
//! fresh needs a full sync before it is trusted.

#[cfg(test)]
mod tests;

mod run;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use self::run::{Run, STALLED_AFTER};
use super::check::Heard;
use super::{Fact, NodeId, UnixMs};

/// Share of the inventory, in per cent, that may wait for an unreachable bitcoind.
const UNSETTLED_PER_CENT: usize = 1;
/// How long a first sync waits for other peers, beyond the time that it took; and for peers that are still connecting,
/// from the start.
const GRACE: Duration = Duration::from_secs(10);
/// How long it waits for their inventories …
const GRACE_FOR_INVENTORIES: Duration = Duration::from_secs(120);
/// … and for peers that know much more.
const GRACE_FOR_LARGER: Duration = Duration::from_secs(1800);
/// A journal that heard nothing for longer may have missed something: everything is asked for.
const STALE_AFTER: Duration = Duration::from_secs(3600);
/// How often everything is asked for anyway, which heals whatever was missed.
const HEAL_EVERY: Duration = Duration::from_secs(24 * 3600);
/// How many peers are asked for everything at the same time.
const RUNS_AT_MOST: usize = 3;

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

/// How an inventory stands with us.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Standing {
    /// Channels that wait for a bitcoind that cannot answer.
    pub unsettled: usize,
    /// Channels that are neither known nor waiting: made up, or refused.
    pub strange: usize,
}

/// The state of all full syncs. Pure: the time is passed in.
pub struct Syncs {
    /// When the last full sync was completed.
    completed: Option<UnixMs>,
    /// When a message was last accepted.
    last_message: Option<UnixMs>,
    /// Snapshots are not to be trusted before a full sync is complete.
    needed: bool,
    /// When messages were last lost: a full sync that began later makes up for them.
    lost: Option<UnixMs>,
    started: UnixMs,
    /// Configured peers whose first connection has neither worked nor failed.
    awaited: BTreeSet<NodeId>,
    /// The connected peers, and whether each answers queries.
    connected: BTreeMap<NodeId, bool>,
    /// To be asked for everything when they connect next.
    owed: BTreeSet<NodeId>,
    runs: BTreeMap<NodeId, Run>,
    /// The last peer whose turn it was …
    last_turn: Option<NodeId>,
    /// … and when a peer was last asked for everything.
    last_asked: UnixMs,
    last_look: UnixMs,
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
            last_message,
            needed: completed.is_none(),
            lost: None,
            started: now,
            awaited: peers.into_iter().collect(),
            connected: BTreeMap::new(),
            owed: BTreeSet::new(),
            runs: BTreeMap::new(),
            last_turn: None,
            last_asked: now,
            last_look: now,
        };
        syncs.look_at_the_clock(now);
        syncs
    }

    /// Whether what has been told so far is enough to cut a snapshot from, as of the last [`tick`](Self::tick).
    pub fn trusted(&self) -> bool {
        !self.needed
    }

    /// When the journal last became fresher: by a message, or by a full sync that found nothing missing.
    pub fn last_heard(&self) -> Option<UnixMs> {
        self.last_message.max(self.completed)
    }

    /// How many peers are connected.
    pub fn connected_count(&self) -> usize {
        self.connected.len()
    }

    /// Time has passed, perhaps much of it: to be said before anything that happens at `now`.
    pub fn look_at_the_clock(&mut self, now: UnixMs) {
        // A clock that was ahead must not hold anything up.
        for moment in [&mut self.completed, &mut self.last_message, &mut self.lost] {
            *moment = moment.map(|moment| moment.min(now));
        }
        self.last_asked = self.last_asked.min(now);
        self.runs.values_mut().for_each(|run| run.not_after(now));
        let stale = self.last_heard().is_none_or(|last| now.since(last) > STALE_AFTER);
        if (stale && !self.needed) || now.since(self.last_look) > STALE_AFTER {
            self.runs.clear(); // what was told before the silence does not end it
        }
        self.needed |= stale;
        self.last_look = now;
    }

    /// A peer has connected, one that answers queries or does not: what to ask of it.
    pub fn connect(&mut self, peer: NodeId, queries: bool, now: UnixMs) -> Ask {
        self.look_at_the_clock(now);
        self.awaited.remove(&peer);
        self.connected.insert(peer, queries);
        let done = self.runs.contains_key(&peer); // it has told everything, and is waited for no longer
        let wanted = self.needed && self.runs.len() < RUNS_AT_MOST && !done;
        if !self.owed.remove(&peer) && !wanted {
            return Ask::Recent;
        }
        if queries {
            self.runs.insert(peer, Run::new(now));
            self.last_asked = now;
        }
        Ask::Full
    }

    /// A connection was lost, or a try to make one failed. Whoever had not told everything will be asked again.
    pub fn disconnect(&mut self, peer: &NodeId) {
        self.awaited.remove(peer);
        self.connected.remove(peer);
        if self.runs.get(peer).is_some_and(|run| run.done.is_none()) {
            self.runs.remove(peer);
            self.owed.insert(*peer);
        }
    }

    /// Messages of this peer were lost: it owes us everything when it connects next.
    pub fn owe(&mut self, peer: NodeId) {
        self.owed.insert(peer);
    }

    /// Messages were lost, no matter whose.
    pub fn lose(&mut self, now: UnixMs) {
        self.lost = Some(now);
    }

    /// A gossip message was accepted.
    pub fn accepted(&mut self, now: UnixMs) {
        self.last_message = Some(now);
    }

    /// The journal of which ours is a copy got a fact, at `seen`: what makes it fresh makes ours. A full sync counts as
    /// one of ours while it is fresh itself.
    pub fn told(&mut self, seen: UnixMs, fact: &Fact, now: UnixMs) {
        let seen = seen.min(now);
        match fact {
            Fact::SyncCompleted { .. } => {
                self.completed = self.completed.max(Some(seen));
                self.needed &= now.since(seen) > STALE_AFTER;
            }
            fact if fact.is_message() => self.last_message = self.last_message.max(Some(seen)),
            _ => {}
        }
    }

    /// A part of a peer's inventory: the channels it knows from block `first` on, for `number` blocks.
    pub fn inventory(&mut self, peer: &NodeId, first: u32, number: u32, scids: &[u64], now: UnixMs) {
        if let Some(run) = self.runs.get_mut(peer) {
            run.inventory(first, number, scids, now);
        }
    }

    /// A message was heard, whatever became of it.
    pub fn heard(&mut self, heard: &Heard, now: UnixMs) {
        if let Some(run) = self.runs.get_mut(&heard.peer) {
            run.heard(&heard.message, now);
        }
    }

    /// What follows at `now`, with so many channels `proven`; `standing` tells how an inventory stands.
    pub fn tick(&mut self, now: UnixMs, proven: usize, standing: impl Fn(&HashSet<u64>) -> Standing) -> Vec<Step> {
        self.look_at_the_clock(now);
        let mut steps: Vec<_> = self.finish(now, proven, &standing).into_iter().collect();
        let told_too_little = |run: &Run| self.needed && run.done.is_some() && !speaks(run, proven, &standing);
        let useless = self.runs.iter().filter(|(_, run)| run.is_stalled(now) || told_too_little(run));
        let stalled: Vec<_> = useless.map(|(peer, _)| *peer).collect();
        if let Some(last) = stalled.last() {
            self.last_turn = Some(*last); // it is somebody else's turn
            self.runs.retain(|peer, _| !stalled.contains(peer));
            steps.extend(self.ask_next(now, "a full sync made no progress, or told too little"));
        }
        if self.runs.is_empty() && now.since(self.last_asked) >= STALLED_AFTER {
            steps.extend(self.why_ask(now).and_then(|why| self.ask_next(now, why)));
        }
        steps
    }

    fn why_ask(&self, now: UnixMs) -> Option<&'static str> {
        if self.needed {
            Some("no peer is telling everything")
        } else if self.lost.is_some() {
            Some("messages were lost while there was no room for them")
        } else {
            let due = self.completed.is_none_or(|last| now.since(last) >= HEAL_EVERY);
            due.then_some("the daily full sync is due")
        }
    }

    fn ask_next(&mut self, now: UnixMs, why: &'static str) -> Option<Step> {
        let peer = self.next_in_turn()?;
        self.owed.insert(peer);
        self.last_asked = now;
        Some(Step::Reconnect { peer, why })
    }

    fn finish(&mut self, now: UnixMs, proven: usize, standing: &impl Fn(&HashSet<u64>) -> Standing) -> Option<Step> {
        for run in self.runs.values_mut() {
            if run.done.is_none() && run.is_complete(now) {
                run.done = Some(now);
            }
        }
        let done = self.runs.iter().filter(|(_, run)| run.done.is_some());
        let (peer, best) = done.max_by_key(|(peer, run)| (run.inventory.len(), std::cmp::Reverse(**peer)))?;
        let (peer, channels, began) = (*peer, best.inventory.len(), best.started);
        if self.needed && (!speaks(best, proven, standing) || self.others_matter(best, now)) {
            return None;
        }
        if standing(&best.inventory).unsettled * 100 > channels * UNSETTLED_PER_CENT {
            return None;
        }
        self.runs.clear(); // what others are still telling is taken in all the same
        self.needed = false;
        self.completed = Some(now);
        self.lost = self.lost.filter(|lost| *lost >= began);
        Some(Step::Completed { peer, channels })
    }

    /// Whether a sync that snapshots wait for should wait for what other peers are still telling.
    fn others_matter(&self, best: &Run, now: UnixMs) -> bool {
        if !self.awaited.is_empty() && now.since(self.started) < GRACE {
            return true;
        }
        let waited = best.done.map_or(Duration::ZERO, |done| now.since(done));
        let took = best.last_progress.since(best.started);
        self.runs.values().filter(|run| run.done.is_none()).any(|run| {
            let larger = run.inventory.len() * 10 > best.inventory.len() * 11;
            let patience = match (run.inventory_complete, larger) {
                (_, true) => GRACE_FOR_LARGER,
                (false, false) => GRACE_FOR_INVENTORIES,
                (true, false) if run.is_quiet(now) => Duration::ZERO,
                (true, false) => took + GRACE,
            };
            waited < patience
        })
    }

    /// The connected peer after the last one asked that answers queries and is not being asked already.
    fn next_in_turn(&mut self) -> Option<NodeId> {
        let answering = self.connected.iter().filter(|(_, queries)| **queries).map(|(peer, _)| *peer);
        let free: Vec<_> = answering.filter(|peer| !self.runs.contains_key(peer)).collect();
        let after = free.iter().find(|peer| self.last_turn.is_none_or(|last| **peer > last));
        let next = after.or(free.first()).copied();
        self.last_turn = next.or(self.last_turn);
        next
    }
}

/// Whether what a peer has told can stand for the network: at least half of what is proven already, and at least half
/// of it not strange to us.
fn speaks(run: &Run, proven: usize, standing: &impl Fn(&HashSet<u64>) -> Standing) -> bool {
    run.inventory.len() * 2 >= proven && standing(&run.inventory).strange * 2 <= run.inventory.len()
}
