//! What the running parts know of one another, and what an operator is told of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bitcoin::Network;
use tokio::sync::watch;

use crate::config::Config;
use crate::gossip::collector::{self, Collector};
use crate::gossip::funding::ProverStatus;
use crate::gossip::{Clock, PeerState, UnixMs};
use crate::http::{EpochStatus, JournalStatus, MessageCounts, PeerStatus, ProofStatus, Status, StatusSource};
use crate::journal::writer;
use crate::snapshot::{Blocked, Circumstances, Decision, Interval, Latest};

/// A snapshot is late when the next one is overdue by this much.
const LATE_AFTER: Duration = Duration::from_secs(30);

/// See the module's words.
pub(super) struct State {
    network: Network,
    interval: Interval,
    proofs: bool,
    clock: Arc<dyn Clock>,
    latest: Latest,
    collector: OnceLock<Collector>,
    journal: OnceLock<watch::Receiver<writer::Status>>,
    /// The newest epoch's timestamp; 0 before the first.
    last_epoch: AtomicU32,
    storage_full: Arc<AtomicBool>,
    left_out: AtomicU64,
    told: Mutex<Told>,
}

/// What the parts last said of themselves.
#[derive(Default)]
struct Told {
    blocked: Option<Blocked>,
    publication: Option<String>,
}

impl State {
    pub fn new(config: &Config, latest: Latest, clock: Arc<dyn Clock>) -> Self {
        Self {
            network: config.network,
            interval: config.interval,
            proofs: config.bitcoind.rest_url.is_some(),
            clock,
            latest,
            collector: OnceLock::new(),
            journal: OnceLock::new(),
            last_epoch: AtomicU32::new(0),
            storage_full: Arc::default(),
            left_out: AtomicU64::new(0),
            told: Mutex::default(),
        }
    }

    pub fn network(&self) -> Network {
        self.network
    }

    pub fn latest(&self) -> Latest {
        Arc::clone(&self.latest)
    }

    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// Set while the journal has no room.
    pub fn storage_full(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.storage_full)
    }

    pub fn journal_is(&self, status: watch::Receiver<writer::Status>) {
        let _ = self.journal.set(status); // said once, at the start
    }

    pub fn collector_is(&self, collector: Collector) {
        let _ = self.collector.set(collector); // said once, at the start
    }

    /// An epoch was cut.
    pub fn epoch_was(&self, timestamp: u32) {
        self.last_epoch.fetch_max(timestamp, Ordering::SeqCst);
    }

    /// Whether the journal has no room; tells the collector, too.
    pub fn has_no_room(&self) -> bool {
        let full = self.journal.get().is_some_and(|status| status.borrow().storage_full.is_some());
        self.storage_full.store(full, Ordering::Relaxed);
        full
    }

    pub fn circumstances(&self) -> Circumstances {
        let collector = self.collector.get().map(Collector::status).unwrap_or_default();
        let last_epoch = Some(self.last_epoch.load(Ordering::SeqCst)).filter(|epoch| *epoch != 0);
        Circumstances { last_epoch, synced: collector.trusted, last_heard: collector.last_heard.map(UnixMs::secs) }
    }

    pub fn schedule_says(&self, decision: Decision) {
        self.told().blocked = match decision {
            Decision::Blocked(blocked) => Some(blocked),
            Decision::Cut(_) | Decision::WaitUntil(_) => None,
        };
    }

    /// How the last publication ended: the error, or none.
    pub fn publication_was(&self, error: Option<String>) {
        self.told().publication = error;
    }

    /// How many channels and nodes the last snapshot lacks.
    pub fn left_out(&self, count: usize) {
        self.left_out.store(count as u64, Ordering::Relaxed);
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What an operator should know, the most urgent first; in one sentence.
    fn problem(&self, collector: &collector::Status, prover: Option<&ProverStatus>, now: UnixMs) -> Option<String> {
        if self.has_no_room() {
            return Some("the disk is full: nothing new is accepted until there is room in data_dir".into());
        }
        let told = self.told();
        if let Some(error) = &told.publication {
            return Some(format!("the last good snapshot stays up: {error}"));
        }
        if let Some(trouble) = prover.and_then(ProverStatus::trouble) {
            return Some(trouble);
        }
        match told.blocked {
            Some(blocked @ (Blocked::Deaf | Blocked::ClockBehind { .. })) => return Some(blocked.to_string()),
            _ if collector.connected_peers == 0 => return Some(self.why_no_peer().into()),
            Some(blocked) => return Some(blocked.to_string()),
            None => {}
        }
        let overdue = self.interval.as_duration() + LATE_AFTER;
        let age = |epoch: u32| now.since(UnixMs(u64::from(epoch) * 1000));
        let late = self.latest.load().as_ref().is_some_and(|snapshot| age(snapshot.epoch.timestamp) > overdue);
        late.then(|| "the snapshot is older than the interval: the machine may be too slow for it".into())
    }

    fn why_no_peer(&self) -> &'static str {
        let rows = self.collector.get().map(Collector::peers).unwrap_or_default();
        if rows.iter().all(|(_, state)| *state == PeerState::Connecting) {
            return "connecting to the peers";
        }
        "no peer is connected: check the peers and the network"
    }

    fn peers(&self) -> Vec<PeerStatus> {
        let rows = self.collector.get().map(Collector::peers).unwrap_or_default();
        let row = |(address, state): (crate::gossip::PeerAddress, PeerState)| PeerStatus {
            node_id: address.node_id.to_string(),
            address: address.socket(),
            state: match state {
                PeerState::Connecting => "connecting".into(),
                PeerState::Connected => "connected".into(),
                PeerState::Syncing => "syncing".into(),
                PeerState::Waiting { why } => format!("waiting: {why}"),
            },
        };
        rows.into_iter().map(row).collect()
    }
}

impl StatusSource for State {
    fn status(&self) -> Status {
        let now = self.clock.now();
        let collector = self.collector.get().map(Collector::status).unwrap_or_default();
        let prover = self.collector.get().and_then(Collector::prover);
        let latest = self.latest.load_full();
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            network: self.network.to_string(),
            ready: latest.is_some(),
            problem: self.problem(&collector, prover.as_ref(), now),
            epoch: latest.map(|snapshot| EpochStatus::of(&snapshot, now)),
            left_out: self.left_out.load(Ordering::Relaxed),
            journal: JournalStatus {
                last_seq: self.journal.get().map(|status| status.borrow().last_seq).unwrap_or_default(),
            },
            archive: (),
            peers: self.peers(),
            proofs: ProofStatus { required: self.proofs, pending: collector.waiting_channels as u64 },
            messages: MessageCounts {
                received: collector.tally.received,
                accepted: collector.tally.accepted,
                refused: refused(&collector),
                dropped: collector.dropped,
                waiting: collector.waiting_messages as u64,
            },
        }
    }
}

fn refused(collector: &collector::Status) -> BTreeMap<String, u64> {
    collector.tally.refused.iter().map(|(reason, count)| (reason.name().to_owned(), *count)).collect()
}
