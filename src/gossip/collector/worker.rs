//! The collector's thread: what arrives goes through the checking stage, in its order, and what time brings is done.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use tokio::sync::{Notify, oneshot};

use super::super::check::{Checker, Heard, Outcome};
use super::super::funding::{BlockSpends, Finding, Prover, Question, Settled, Watched};
use super::super::intake::{Arrival, Intake};
use super::super::peers::{Board, PeerState};
use super::super::sync::{Ask, Standing, Step, Syncs};
use super::super::wire::{Peers, Wire};
use super::super::{Clock, Fact, NodeId, ShortChannelId, Trail, UnixMs};
use super::Status;
use super::outlet::{Outlet, SinkClosed};

/// The most messages that pass the checking stage at once.
const BATCH: usize = 8_192;
/// How often time is looked at when nothing arrives.
const TICK: Duration = Duration::from_millis(200);
/// How many badly signed messages a peer may send on a connection or two.
const FORGERIES_AT_MOST: u32 = 1_000;
/// How long a loss may wait for room, before a full sync is asked for all the same.
const LOSS_WAITS: Duration = Duration::from_secs(600);
/// How often channels are looked through for silent ones.
const SILENCE_CHECK: Duration = Duration::from_secs(3600);

/// The state of the thread. The caller fills it in and lets it run.
pub(super) struct Worker {
    pub intake: Arc<Intake>,
    pub wire: Arc<Wire>,
    pub manager: Arc<Peers>,
    pub nudge: Arc<Notify>,
    pub checker: Checker,
    pub syncs: Syncs,
    pub prover: Option<Prover>,
    pub outlet: Outlet,
    /// Our own node: who offers what another collector could not journal.
    pub own_id: NodeId,
    pub clock: Arc<dyn Clock>,
    pub storage_full: Arc<AtomicBool>,
    pub status: Arc<Mutex<Status>>,
    pub board: Arc<Board>,
    /// Messages were lost to a full waiting room or disk: a full sync is due when there is room again.
    pub lost: bool,
    pub last_loss_told: UnixMs,
    pub dropped_while_paused: u64,
    /// Badly signed messages, by peer, since it was last hung up on.
    pub forgeries: BTreeMap<NodeId, u32>,
    pub last_silence_check: UnixMs,
    /// Who waits to watch the chain until this collector leads.
    pub watcher: Option<oneshot::Sender<Trail>>,
}

impl Worker {
    /// Works until the intake is closed, or nobody takes facts any more.
    pub fn run(mut self) {
        let mut last_tick = UnixMs::default();
        self.last_silence_check = self.clock.now();
        while let Some(arrivals) = self.intake.take(BATCH, TICK) {
            let now = self.clock.now();
            if self.turn(now, arrivals, &mut last_tick).is_err() {
                break;
            }
        }
        self.intake.close(); // whoever waits for an answer learns that there will be none
    }

    fn turn(&mut self, now: UnixMs, arrivals: Vec<Arrival>, last_tick: &mut UnixMs) -> Result<(), SinkClosed> {
        self.syncs.look_at_the_clock(now); // this thread may have waited for a disk, or the machine slept
        self.process(now, arrivals)?;
        if now.since(*last_tick) >= TICK || now < *last_tick {
            *last_tick = now;
            self.tick(now)?;
        }
        Ok(())
    }

    /// Takes arrivals in their order. What the chain says goes first: it speaks of announcements from before.
    fn process(&mut self, now: UnixMs, arrivals: Vec<Arrival>) -> Result<(), SinkClosed> {
        let mut settled = Vec::new();
        let mut others = Vec::with_capacity(arrivals.len());
        for arrival in arrivals {
            match arrival {
                Arrival::Found(Finding::Settled(answer)) => settled.push(answer),
                Arrival::Found(Finding::Question(question)) => {
                    self.settle(now, std::mem::take(&mut settled))?;
                    self.answer(now, question)?;
                }
                other => others.push(other),
            }
        }
        self.settle(now, settled)?;
        let mut messages = Vec::with_capacity(others.len());
        for arrival in others {
            match arrival {
                Arrival::Message(heard) => messages.push(heard),
                event => {
                    self.check(now, std::mem::take(&mut messages))?;
                    self.event(now, event)?;
                }
            }
        }
        self.check(now, messages)
    }

    fn settle(&mut self, now: UnixMs, settled: Vec<Settled>) -> Result<(), SinkClosed> {
        let outcome = self.checker.settle(now, settled);
        self.deliver(now, outcome)
    }

    /// Answers the watcher, if it still listens.
    fn answer(&mut self, now: UnixMs, question: Question) -> Result<(), SinkClosed> {
        match question {
            Question::Trail(reply) => {
                self.watcher = Some(reply);
                self.let_watch();
            }
            Question::Matches { tags, reply } => drop(reply.send(self.checker.matches(&tags))),
            Question::Block(spends, reply) => {
                self.take_block(now, &spends)?;
                let _ = reply.send(());
            }
        }
        Ok(())
    }

    fn let_watch(&mut self) {
        if self.outlet.is_leading()
            && let Some(watcher) = self.watcher.take()
        {
            let _ = watcher.send(self.checker.trail().clone());
        }
    }

    fn take_block(&mut self, now: UnixMs, spends: &BlockSpends) -> Result<(), SinkClosed> {
        let outcome = self.checker.take_block(now, spends);
        let count = |of: fn(&Fact) -> bool| outcome.facts.iter().filter(|fact| of(fact)).count();
        let closed = count(|fact| matches!(fact, Fact::Closed { .. }));
        let reopened = count(|fact| matches!(fact, Fact::Reopened { .. }));
        let possible_splices = count(|fact| matches!(fact, Fact::PossibleSplice { .. }));
        if closed + reopened + possible_splices > 0 {
            let height = spends.block.height;
            tracing::debug!(height, closed, possible_splices, reopened, "channels were spent, or spends undone");
        }
        self.deliver(now, outcome)
    }

    fn check(&mut self, now: UnixMs, messages: Vec<Heard>) -> Result<(), SinkClosed> {
        messages.iter().for_each(|heard| self.syncs.heard(heard, now));
        let outcome = self.checker.check(now, messages);
        // What waits for its proof is news as well; late proofs and held messages are not.
        if !outcome.claims.is_empty() || outcome.facts.iter().any(Fact::is_message) {
            self.syncs.accepted(now);
        }
        self.deliver(now, outcome)
    }

    fn deliver(&mut self, now: UnixMs, outcome: Outcome) -> Result<(), SinkClosed> {
        self.lost |= outcome.lost;
        self.punish(outcome.forgeries);
        if let Some(prover) = &self.prover {
            outcome.claims.into_iter().for_each(|claim| prover.prove(claim));
            outcome.withdrawn.into_iter().for_each(|(id, scid)| prover.withdraw(id, scid));
        }
        self.outlet.take(now, outcome.facts)
    }

    fn event(&mut self, now: UnixMs, arrival: Arrival) -> Result<(), SinkClosed> {
        match arrival {
            Arrival::Connected { peer, queries } => self.connected(now, peer, queries),
            Arrival::Disconnected(peer) => {
                tracing::info!(%peer, "disconnected");
                self.syncs.disconnect(&peer);
            }
            Arrival::Unreachable(peer) => self.syncs.disconnect(&peer),
            Arrival::Inventory { peer, reply } => {
                let (first, number) = (reply.first_blocknum, reply.number_of_blocks);
                self.syncs.inventory(&peer, first, number, &reply.short_channel_ids, now);
            }
            Arrival::Told { entries, permit } => {
                self.told(now, entries)?;
                drop(permit);
            }
            Arrival::Offered { messages, done } => {
                self.offered(now, &messages)?;
                let _ = done.send(()); // whoever offered them may have gone
            }
            Arrival::Lead { done } => {
                self.lead()?;
                let _ = done.send(());
            }
            Arrival::Message(_) | Arrival::Found(_) => {} // taken by `process`
        }
        Ok(())
    }

    fn connected(&mut self, now: UnixMs, peer: NodeId, queries: bool) {
        let ask = self.syncs.connect(peer, queries, now);
        if ask == Ask::Full && !queries {
            tracing::warn!(%peer, "the peer does not answer gossip queries, so its full sync cannot be checked: \
                configure another peer as well");
        }
        let state = if ask == Ask::Full { PeerState::Syncing } else { PeerState::Connected };
        tracing::info!(%peer, full_sync = ask == Ask::Full, "connected");
        self.board.set(&peer, state);
        self.wire.ask(&peer, ask, now);
        self.nudge.notify_one();
    }

    /// Takes in what the leader journaled.
    fn told(&mut self, now: UnixMs, entries: Vec<(UnixMs, Fact)>) -> Result<(), SinkClosed> {
        entries.iter().for_each(|(seen, fact)| self.syncs.told(*seen, fact, now));
        let outcome = self.outlet.told(&mut self.checker, now, entries)?;
        self.deliver(now, outcome)
    }

    /// Checks what another collector could not journal. It is no sign of life of any peer, and whoever forged a part
    /// of it is not connected to us.
    fn offered(&mut self, now: UnixMs, messages: &[Vec<u8>]) -> Result<(), SinkClosed> {
        for batch in messages.chunks(BATCH) {
            let outcome = self.checker.check_wire(now, self.own_id, batch);
            self.deliver(now, Outcome { forgeries: BTreeMap::new(), ..outcome })?;
        }
        Ok(())
    }

    fn lead(&mut self) -> Result<(), SinkClosed> {
        if self.outlet.is_leading() {
            return Ok(());
        }
        let claims = self.outlet.claim_again(&mut self.checker);
        let facts = self.outlet.lead()?;
        tracing::info!(facts, "leading: what the journal lacked is on its way");
        if let Some(prover) = &self.prover {
            prover.watch(Watched::here(self.checker.trail())); // what was found out before says nothing
            claims.into_iter().for_each(|claim| prover.prove(claim));
        }
        self.let_watch();
        self.publish();
        Ok(())
    }

    /// Does what time brings.
    fn tick(&mut self, now: UnixMs) -> Result<(), SinkClosed> {
        let held = self.checker.release_held(now);
        self.deliver(now, held)?;
        self.repay(now);
        let (checker, prover) = (&self.checker, &self.prover);
        let steps = self.syncs.tick(now, checker.proven_count(), |inventory| {
            // Whatever else waits for bitcoind is no part of what this peer told.
            let asked = prover.as_ref().map_or(0, |prover| usize::try_from(prover.unsettled()).unwrap_or(usize::MAX));
            let scids = || inventory.iter().map(|scid| ShortChannelId(*scid));
            let waiting = scids().filter(|scid| checker.is_waiting(*scid)).count();
            let strange = scids().filter(|scid| !checker.is_known(*scid) && !checker.is_waiting(*scid)).count();
            Standing { unsettled: waiting.min(asked), strange }
        });
        for step in steps {
            match step {
                Step::Completed { peer, channels } => {
                    tracing::info!(%peer, channels, known = self.checker.channel_count(), "full sync complete");
                    self.board.end_syncing();
                    self.outlet.take(now, vec![Fact::SyncCompleted { peer }])?;
                }
                Step::Reconnect { peer, why } => self.reconnect(&peer, why),
            }
        }
        self.settle_splices(now)?;
        self.close_silent(now)?;
        self.publish();
        Ok(())
    }

    /// Closes spliced channels, unless another collector leads and does it.
    fn settle_splices(&mut self, now: UnixMs) -> Result<(), SinkClosed> {
        if !self.outlet.is_leading() {
            return Ok(());
        }
        let outcome = self.checker.settle_splices(now);
        if !outcome.facts.is_empty() {
            tracing::debug!(channels = outcome.facts.len(), "closed channels that were spliced, or not in time");
        }
        self.deliver(now, outcome)
    }

    /// Closes silent channels, unless it was us who did not listen, or another collector leads and does it.
    fn close_silent(&mut self, now: UnixMs) -> Result<(), SinkClosed> {
        self.last_silence_check = self.last_silence_check.min(now);
        if !self.outlet.is_leading() || !self.syncs.trusted() || now.since(self.last_silence_check) < SILENCE_CHECK {
            return Ok(());
        }
        self.last_silence_check = now;
        let silent = self.checker.close_silent(now).facts;
        if silent.is_empty() {
            return Ok(());
        }
        tracing::debug!(channels = silent.len(), "closed channels that were silent for too long");
        self.outlet.take(now, silent)
    }

    /// Asks again for what a full queue, waiting room or disk has lost, once there is room.
    fn repay(&mut self, now: UnixMs) {
        let full = self.storage_full.load(Ordering::Relaxed);
        self.intake.pause(full);
        for peer in self.intake.take_overflowed() {
            self.syncs.owe(peer);
            self.reconnect(&peer, "full sync: its messages overflowed the queue");
        }
        let dropped = self.intake.dropped_while_paused();
        if full || dropped > self.dropped_while_paused {
            self.dropped_while_paused = dropped;
            self.lost = true;
        }
        self.last_loss_told = self.last_loss_told.min(now);
        let patient = now.since(self.last_loss_told) < LOSS_WAITS && !self.checker.waiting_has_room();
        if self.lost && !full && !patient {
            self.lost = false;
            self.last_loss_told = now;
            self.syncs.lose(now);
        }
    }

    /// Hangs up on whoever sends forgeries: checking them costs what honest messages need.
    fn punish(&mut self, forgeries: BTreeMap<NodeId, u32>) {
        for (peer, count) in forgeries {
            let total = self.forgeries.entry(peer).or_default();
            *total += count;
            if *total > FORGERIES_AT_MOST {
                *total = 0;
                self.reconnect(&peer, "too many of its messages were badly signed");
            }
        }
    }

    fn reconnect(&self, peer: &NodeId, why: &str) {
        if let Ok(key) = PublicKey::from_slice(peer.as_slice()) {
            tracing::info!(%peer, "reconnecting: {why}");
            self.manager.disconnect_by_node_id(key);
        }
    }

    fn publish(&self) {
        let connected = self.syncs.connected_count();
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.tally.clone_from(self.checker.tally());
        status.dropped = self.intake.dropped();
        status.dropped_by_kind = self.intake.dropped_by_kind();
        status.waiting_channels = self.checker.waiting_channels();
        status.waiting_messages = self.checker.waiting_messages();
        status.channels = self.checker.channel_count();
        status.chain_height = self.checker.trail().last().map(|block| block.height);
        status.possible_splices = self.checker.possible_splices();
        status.connected_peers = connected;
        status.last_heard = self.syncs.last_heard();
        status.trusted = self.syncs.trusted();
        status.pending = self.outlet.pending();
    }
}
