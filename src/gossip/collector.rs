//! The collector: one thread that takes what arrives through the checking stage, and the tasks that feed it.
//!
//! Owns the peers' connections, the prover and the thread; all of them end at `stop`. Facts leave in order through
//! the sink that the caller passes in. The sink may wait (a journal on a slow disk): then the intake fills, LDK
//! reads less, and beyond the intake's bound messages are dropped, counted and asked for again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use tokio::sync::{Notify, mpsc};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::check::{Checker, Heard, Outcome, Rules, Tally};
use super::funding::{self, Prover, ProverStatus, Settled};
use super::intake::{Arrival, Intake};
use super::peers::{self, Board, PeerAddress, PeerState};
use super::sync::{Ask, Standing, Step, Syncs};
use super::wire::{self, Peers, Secrets, Wire};
use super::{Clock, Fact, NodeId, ShortChannelId, UnixMs};
use crate::tasks::Tasks;

/// The most messages that pass the checking stage at once.
const BATCH: usize = 8_192;
/// How often time is looked at when nothing arrives.
const TICK: Duration = Duration::from_millis(200);
/// How often LDK wants to be told that time passes.
const LDK_TICK: Duration = Duration::from_secs(10);
/// How many badly signed messages a peer may send on a connection or two.
const FORGERIES_AT_MOST: u32 = 1_000;
/// How long a loss may wait for room, before a full sync is asked for all the same.
const LOSS_WAITS: Duration = Duration::from_secs(600);
/// How often channels are looked through for silent ones.
const SILENCE_CHECK: Duration = Duration::from_secs(3600);

/// What the collector is set up with.
pub struct Setup {
    pub rules: Rules,
    pub peers: Vec<PeerAddress>,
    pub secrets: Secrets,
    /// bitcoind's REST interface; with none, channels go through unproven.
    pub bitcoind: Option<funding::Settings>,
    /// Set while the journal has no room: messages are dropped then, and asked for again afterwards.
    pub storage_full: Arc<AtomicBool>,
    pub clock: Arc<dyn Clock>,
}

/// Where facts go.
pub type Sink = Box<dyn FnMut(UnixMs, Vec<Fact>) -> Result<(), SinkClosed> + Send>;

/// Nobody takes facts any more: the service is stopping.
#[derive(Clone, Copy, Debug)]
pub struct SinkClosed;

/// How the collector fares.
#[derive(Clone, Debug, Default)]
pub struct Status {
    pub tally: Tally,
    /// Messages dropped because a bounded queue, or the disk, was full.
    pub dropped: u64,
    /// Channels that wait for a funding proof, and all messages that wait with them.
    pub waiting_channels: usize,
    pub waiting_messages: usize,
    pub channels: usize,
    pub connected_peers: usize,
    /// When the journal last became fresher, by a message or by a full sync that found nothing missing.
    pub last_heard: Option<UnixMs>,
    /// Whether a full sync backs what the journal has: snapshots may be cut.
    pub trusted: bool,
}

/// A running collector.
pub struct Collector {
    status: Arc<Mutex<Status>>,
    board: Arc<Board>,
    prover: Option<Prover>,
}

impl Collector {
    /// Starts everything; `checker` and `syncs` know already what the journal knows. Tasks belong to `tasks`
    /// and end at its stop.
    pub fn start(
        setup: Setup,
        mut checker: Checker,
        syncs: Syncs,
        sink: Sink,
        tasks: &Tasks,
    ) -> anyhow::Result<Self> {
        let intake = Arc::new(Intake::default());
        let board = Arc::new(Board::new(&setup.peers));
        let wire = Arc::new(Wire::new(setup.rules.chain, Arc::clone(&intake)));
        let manager = Arc::new(wire::peer_manager(Arc::clone(&wire), &setup.secrets, setup.clock.now()));
        let prover = setup.bitcoind.map(|settings| start_prover(settings, &intake, tasks)).transpose()?;
        if let Some(prover) = &prover {
            checker.claim_unproven().into_iter().for_each(|claim| prover.prove(claim));
        }
        let status = Arc::new(Mutex::new(Status {
            trusted: syncs.trusted(),
            last_heard: syncs.last_heard(),
            ..Status::default()
        }));
        let nudge = Arc::clone(&intake.drained);
        tasks.spawn("the driver of LDK", drive_ldk(Arc::clone(&manager), Arc::clone(&nudge), tasks.stop().clone()));
        for address in setup.peers {
            let (manager, intake, board) = (Arc::clone(&manager), Arc::clone(&intake), Arc::clone(&board));
            tasks.spawn("a peer's keeper", peers::keep(address, manager, intake, board, tasks.stop().clone()));
        }
        let worker = Worker {
            intake: Arc::clone(&intake),
            wire,
            manager,
            nudge,
            checker,
            syncs,
            prover: prover.clone(),
            sink,
            clock: setup.clock,
            storage_full: setup.storage_full,
            status: Arc::clone(&status),
            board: Arc::clone(&board),
            lost: false,
            last_loss_told: UnixMs::default(),
            dropped_while_paused: 0,
            forgeries: BTreeMap::new(),
            last_silence_check: UnixMs::default(),
        };
        tasks.spawn_blocking("the collector", move || {
            worker.run();
            Ok(())
        });
        let stop = tasks.stop().clone();
        tasks.spawn("the intake", async move {
            stop.cancelled().await;
            intake.close();
            Ok(())
        });
        Ok(Self { status, board, prover })
    }

    /// How it fares now.
    pub fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The configured peers and their states.
    pub fn peers(&self) -> Vec<(PeerAddress, PeerState)> {
        self.board.rows()
    }

    /// How the prover fares, where there is one.
    pub fn prover(&self) -> Option<ProverStatus> {
        self.prover.as_ref().map(|prover| prover.status().borrow().clone())
    }
}

fn start_prover(settings: funding::Settings, intake: &Arc<Intake>, tasks: &Tasks) -> anyhow::Result<Prover> {
    let (send, mut answers) = mpsc::unbounded_channel::<Settled>();
    let (prover, task) = Prover::start(settings, send, tasks.stop().clone())?;
    tasks.spawn("the prover", async move { Ok(task.await?) });
    let intake = Arc::clone(intake);
    tasks.spawn("the prover's answers", async move {
        while let Some(settled) = answers.recv().await {
            intake.event(Arrival::Settled(settled));
        }
        Ok(())
    });
    Ok(prover)
}

/// Tells LDK that time passes, and to look again when the intake has drained or something is to be sent.
async fn drive_ldk(manager: Arc<Peers>, nudge: Arc<Notify>, stop: CancellationToken) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(LDK_TICK);
    // Ticks in a row would look to LDK as if no peer had answered its pings.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = ticks.tick() => manager.timer_tick_occurred(),
            () = nudge.notified() => {}
        }
        manager.process_events();
    }
    manager.disconnect_all_peers();
    Ok(())
}

struct Worker {
    intake: Arc<Intake>,
    wire: Arc<Wire>,
    manager: Arc<Peers>,
    nudge: Arc<Notify>,
    checker: Checker,
    syncs: Syncs,
    prover: Option<Prover>,
    sink: Sink,
    clock: Arc<dyn Clock>,
    storage_full: Arc<AtomicBool>,
    status: Arc<Mutex<Status>>,
    board: Arc<Board>,
    /// Messages were lost to a full waiting room or disk: a full sync is due when there is room again.
    lost: bool,
    last_loss_told: UnixMs,
    dropped_while_paused: u64,
    /// Badly signed messages, by peer, since it was last hung up on.
    forgeries: BTreeMap<NodeId, u32>,
    last_silence_check: UnixMs,
}

impl Worker {
    fn run(mut self) {
        let mut last_tick = UnixMs::default();
        self.last_silence_check = self.clock.now();
        while let Some(arrivals) = self.intake.take(BATCH, TICK) {
            let now = self.clock.now();
            if self.turn(now, arrivals, &mut last_tick).is_err() {
                return;
            }
        }
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

    /// Takes arrivals in their order. Proofs go first: they speak of announcements from before.
    fn process(&mut self, now: UnixMs, arrivals: Vec<Arrival>) -> Result<(), SinkClosed> {
        let mut settled = Vec::new();
        let mut others = Vec::with_capacity(arrivals.len());
        for arrival in arrivals {
            match arrival {
                Arrival::Settled(answer) => settled.push(answer),
                other => others.push(other),
            }
        }
        let outcome = self.checker.settle(now, settled);
        self.deliver(now, outcome)?;
        let mut messages = Vec::with_capacity(others.len());
        for arrival in others {
            match arrival {
                Arrival::Message(heard) => messages.push(heard),
                event => {
                    self.check(now, std::mem::take(&mut messages))?;
                    self.event(now, event);
                }
            }
        }
        self.check(now, messages)
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
        if outcome.facts.is_empty() {
            return Ok(());
        }
        (self.sink)(now, outcome.facts)
    }

    fn event(&mut self, now: UnixMs, arrival: Arrival) {
        match arrival {
            Arrival::Connected { peer, queries } => {
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
            Arrival::Disconnected(peer) | Arrival::Unreachable(peer) => self.syncs.disconnect(&peer),
            Arrival::Inventory { peer, reply } => {
                let (first, number) = (reply.first_blocknum, reply.number_of_blocks);
                self.syncs.inventory(&peer, first, number, &reply.short_channel_ids, now);
            }
            Arrival::Message(_) | Arrival::Settled(_) => {} // taken by `process`
        }
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
                    (self.sink)(now, vec![Fact::SyncCompleted { peer }])?;
                }
                Step::Reconnect { peer, why } => self.reconnect(&peer, why),
            }
        }
        self.close_silent(now)?;
        self.publish();
        Ok(())
    }

    /// Closes silent channels, unless it was us who did not listen.
    fn close_silent(&mut self, now: UnixMs) -> Result<(), SinkClosed> {
        self.last_silence_check = self.last_silence_check.min(now);
        if !self.syncs.trusted() || now.since(self.last_silence_check) < SILENCE_CHECK {
            return Ok(());
        }
        self.last_silence_check = now;
        let silent = self.checker.close_silent(now).facts;
        if silent.is_empty() {
            return Ok(());
        }
        tracing::info!(channels = silent.len(), "closed channels that were silent for too long");
        (self.sink)(now, silent)
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
        status.waiting_channels = self.checker.waiting_channels();
        status.waiting_messages = self.checker.waiting_messages();
        status.channels = self.checker.channel_count();
        status.connected_peers = connected;
        status.last_heard = self.syncs.last_heard();
        status.trusted = self.syncs.trusted();
    }
}
