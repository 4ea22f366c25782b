//! The collector: one thread that takes what arrives through the checking stage, and the tasks that feed it.
//!
//! Owns the peers' connections, the prover and the thread; all of them end at `stop`. Facts leave in order through
//! the sink that the caller passes in. The sink may wait (a journal on a slow disk): then the intake fills, LDK
//! reads less, and beyond the intake's bound messages are dropped, counted and asked for again.
//!
//! A collector may stand by while another one leads: it is told what the leader journals, and keeps what the leader's
//! journal lacks. When it is to lead, this goes through the sink first.

mod outlet;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use self::outlet::Outlet;
pub use self::outlet::{Mode, Sink, SinkClosed};
use self::worker::Worker;
use super::check::{Checker, Kind, Rules, Tally};
use super::funding::{self, Finding, Prover, ProverStatus, Watched};
use super::intake::{Arrival, Intake};
use super::peers::{self, Board, PeerAddress, PeerState};
use super::sync::Syncs;
use super::wire::{self, Peers, Secrets, Wire};
use super::{Clock, Fact, UnixMs};
use crate::tasks::Tasks;

/// How often LDK wants to be told that time passes.
const LDK_TICK: Duration = Duration::from_secs(10);
/// How many batches of what the leader journaled may be queued.
const TOLD_AT_MOST: usize = 2;

/// What the collector is set up with.
pub struct Setup {
    pub rules: Rules,
    pub peers: Vec<PeerAddress>,
    pub secrets: Secrets,
    /// bitcoind's REST interface; with none, channels go through unproven.
    pub bitcoind: Option<funding::Settings>,
    /// Set while the journal has no room: messages are dropped then, and asked for again afterwards.
    pub storage_full: Arc<AtomicBool>,
    /// Whether it begins by leading or by standing by.
    pub mode: Mode,
    pub clock: Arc<dyn Clock>,
}

/// The collector has stopped, and takes nothing any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the collector has stopped")]
pub struct Stopped;

/// How the collector fares.
#[derive(Clone, Debug, Default)]
pub struct Status {
    pub tally: Tally,
    /// Messages dropped because a bounded queue, or the disk, was full.
    pub dropped: u64,
    /// The messages among them, by [`Kind`].
    pub dropped_by_kind: [u64; Kind::ALL.len()],
    /// Channels that wait for a funding proof, and all messages that wait with them.
    pub waiting_channels: usize,
    pub waiting_messages: usize,
    pub channels: usize,
    /// Up to where the chain was looked through for spends.
    pub chain_height: Option<u32>,
    /// Channels that stay for now, though their funding output was spent, perhaps by a splice.
    pub possible_splices: usize,
    pub connected_peers: usize,
    /// When the journal last became fresher, by a message or by a full sync that found nothing missing.
    pub last_heard: Option<UnixMs>,
    /// Whether a full sync backs what the journal has: snapshots may be cut.
    pub trusted: bool,
    /// While standing by: accepted facts that the leader's journal lacks.
    pub pending: usize,
}

/// A running collector.
pub struct Collector {
    status: Arc<Mutex<Status>>,
    board: Arc<Board>,
    prover: Option<Prover>,
    intake: Arc<Intake>,
    /// The right to queue a batch of what the leader journaled.
    may_tell: Arc<Semaphore>,
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
        let (manager, own_id) = wire::peer_manager(Arc::clone(&wire), &setup.secrets, setup.clock.now())?;
        let manager = Arc::new(manager);
        let watched = match setup.mode {
            Mode::Leading => Watched::here(checker.trail()),
            Mode::StandingBy => Watched::Elsewhere,
        };
        let prover = setup.bitcoind.map(|settings| start_prover(settings, watched, &intake, tasks)).transpose()?;
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
            outlet: Outlet::new(setup.mode, sink),
            own_id,
            clock: setup.clock,
            storage_full: setup.storage_full,
            status: Arc::clone(&status),
            board: Arc::clone(&board),
            lost: false,
            last_loss_told: UnixMs::default(),
            dropped_while_paused: 0,
            forgeries: BTreeMap::new(),
            last_silence_check: UnixMs::default(),
            watcher: None,
        };
        tasks.spawn_blocking("the collector", move || {
            worker.run();
            Ok(())
        });
        tasks.spawn("the intake", close_at(tasks.stop().clone(), Arc::clone(&intake)));
        let may_tell = Arc::new(Semaphore::new(TOLD_AT_MOST));
        Ok(Self { status, board, prover, intake, may_tell })
    }

    /// Tells a collector that stands by what the leader journaled: each entry once, in the journal's order, with the
    /// time at which the leader accepted it. Returns when the batch is queued, which it may have to wait for.
    pub async fn told(&self, entries: Vec<(UnixMs, Fact)>) -> Result<(), Stopped> {
        let permit = Arc::clone(&self.may_tell).acquire_owned().await.map_err(|_| Stopped)?;
        if !self.intake.event(Arrival::Told { entries, permit }) {
            return Err(Stopped);
        }
        Ok(())
    }

    /// Leads from now on. Returns when everything that the journal lacks, of what was accepted so far, has gone through
    /// the sink: in the order and with the times of its acceptance, after all that was [`told`](Self::told) before.
    pub async fn lead(&self) -> Result<(), Stopped> {
        let (done, is_done) = oneshot::channel();
        self.intake.event(Arrival::Lead { done });
        is_done.await.map_err(|_| Stopped)
    }

    /// Takes messages, whole and with their types, that another collector accepted and could not journal. They are
    /// checked as if we had sent them; returns when they have been.
    pub async fn offer(&self, messages: Vec<Vec<u8>>) -> Result<(), Stopped> {
        let (done, is_done) = oneshot::channel();
        self.intake.event(Arrival::Offered { messages, done });
        is_done.await.map_err(|_| Stopped)
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

fn start_prover(
    settings: funding::Settings,
    watched: Watched,
    intake: &Arc<Intake>,
    tasks: &Tasks,
) -> anyhow::Result<Prover> {
    let (send, mut findings) = mpsc::unbounded_channel::<Finding>();
    let (prover, task) = Prover::start(settings, watched, send, tasks.stop().clone())?;
    tasks.spawn("the prover", async move { Ok(task.await?) });
    let intake = Arc::clone(intake);
    tasks.spawn("the prover's findings", async move {
        while let Some(finding) = findings.recv().await {
            intake.event(Arrival::Found(finding));
        }
        Ok(())
    });
    Ok(prover)
}

async fn close_at(stop: CancellationToken, intake: Arc<Intake>) -> anyhow::Result<()> {
    stop.cancelled().await;
    intake.close();
    Ok(())
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
