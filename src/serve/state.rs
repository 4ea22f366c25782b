//! What the running parts know of one another, and what an operator is told of them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bitcoin::Network;
use tokio::sync::watch;

use super::pulse::Pulse;
use crate::config::Config;
use crate::gossip::collector::{self, Collector};
use crate::gossip::{Clock, PeerAddress, PeerState, UnixMs};
use crate::history::{FeeChanges, History, Size};
use crate::http::{
    ArchiveStatus, EpochStatus, FeeStatus, JournalStatus, MessageCounts, Metered, Metrics, PeerStatus, ProofStatus,
    RecentSnapshot, SnapshotSizes, StaleFeeStatus, Status, StatusSource, UploadStatus,
};
use crate::journal::link::{Health, Role};
use crate::journal::{Epoch, Seq, writer};
use crate::snapshot::{Blocked, Circumstances, Decision, Desk, Folder, Interval, Snapshot};
use crate::staleness::live::Live;
use crate::uploads::{Newest, Parcel, Upload};

mod problem;

/// So many of the last snapshots are remembered: two days of hourly ones.
const RECENT: usize = 48;

/// See the module's words.
pub(super) struct State {
    network: Network,
    interval: Interval,
    proofs: bool,
    /// How long the archive's writer may be silent.
    lease: Duration,
    clock: Arc<dyn Clock>,
    desk: Arc<Desk>,
    collector: ArcSwapOption<Collector>,
    journal: ArcSwapOption<watch::Receiver<writer::Status>>,
    archive: ArcSwapOption<watch::Receiver<Health>>,
    /// The newest epoch's timestamp; 0 before the first.
    last_epoch: AtomicU32,
    storage_full: Arc<AtomicBool>,
    /// What the journal held when it was read, and its last entry then.
    journal_read: Mutex<(u64, Seq)>,
    metrics: Arc<Metrics>,
    pulse: Pulse,
    left_out: AtomicU64,
    /// What there is to upload, where anything is uploaded.
    newest: watch::Sender<Option<Arc<Parcel>>>,
    uploads: OnceLock<Vec<Upload>>,
    told: Mutex<Told>,
}

/// What the parts last said of themselves.
#[derive(Default)]
struct Told {
    blocked: Option<Blocked>,
    publication: Option<String>,
    /// The newest epoch was cut by rules that this version does not know.
    strange_rules: bool,
    /// What the history holds, and counts; it is told, because looking into it might mean to wait.
    history: Size,
    fee_changes: FeeChanges,
    /// How many of them it counted when the journal was read.
    fee_changes_read: u64,
    stale_fees: Live,
    /// The last snapshots, oldest first.
    recent: VecDeque<RecentSnapshot>,
}

impl Told {
    fn takes(&mut self, history: &History) {
        self.history = history.size();
        self.fee_changes.clone_from(history.fee_changes());
    }
}

impl State {
    pub fn new(config: &Config, desk: Arc<Desk>, clock: Arc<dyn Clock>) -> Self {
        let recent = desk.latest().iter().map(|served| RecentSnapshot::of(&served.snapshot)).collect();
        Self {
            network: config.network,
            interval: config.interval,
            proofs: config.bitcoind.rest_url.is_some(),
            lease: config.database.as_ref().map(|database| database.lease).unwrap_or_default(),
            clock,
            desk,
            collector: ArcSwapOption::empty(),
            journal: ArcSwapOption::empty(),
            archive: ArcSwapOption::empty(),
            last_epoch: AtomicU32::new(0),
            storage_full: Arc::default(),
            journal_read: Mutex::default(),
            metrics: Arc::default(),
            pulse: Pulse::default(),
            left_out: AtomicU64::new(0),
            newest: watch::Sender::new(None),
            uploads: OnceLock::new(),
            told: Mutex::new(Told { recent, ..Told::default() }),
        }
    }

    pub fn network(&self) -> Network {
        self.network
    }

    pub fn desk(&self) -> Arc<Desk> {
        Arc::clone(&self.desk)
    }

    /// The epoch whose snapshot is served.
    pub fn served(&self) -> Option<Epoch> {
        self.desk.latest().as_ref().map(|served| served.snapshot.epoch)
    }

    /// Its time; 0 before the first.
    pub fn published(&self) -> u32 {
        self.served().map_or(0, |epoch| epoch.timestamp)
    }

    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Whether what everything depends on gets on.
    pub fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// Set while the journal has no room.
    pub fn storage_full(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.storage_full)
    }

    /// At the start of a run. The journal was read up to its last entry, and holds so many.
    pub fn journal_is(&self, status: watch::Receiver<writer::Status>, entries: u64, last_seq: Seq) {
        *self.journal_read.lock().unwrap_or_else(PoisonError::into_inner) = (entries, last_seq);
        self.journal.store(Some(Arc::new(status)));
    }

    /// At the start of a run; a replica has none.
    pub fn collector_is(&self, collector: Option<Arc<Collector>>) {
        self.collector.store(collector);
    }

    /// At the start of a run.
    pub fn archive_is(&self, health: Option<watch::Receiver<Health>>) {
        self.archive.store(health.map(Arc::new));
    }

    /// Whether this version knows the rules of the newest epoch.
    pub fn rules_are_known(&self, known: bool) {
        self.told().strange_rules = !known;
    }

    /// An epoch was cut.
    pub fn epoch_was(&self, timestamp: u32) {
        self.last_epoch.fetch_max(timestamp, Ordering::SeqCst);
    }

    /// Whether the journal has no room; tells the collector, too.
    pub fn has_no_room(&self) -> bool {
        let journal = self.journal.load();
        let full = journal.as_ref().is_some_and(|status| status.borrow().storage_full.is_some());
        self.storage_full.store(full, Ordering::Relaxed);
        full
    }

    pub fn circumstances(&self) -> Circumstances {
        let collector = self.collector_status();
        let last_epoch = Some(self.last_epoch.load(Ordering::SeqCst)).filter(|epoch| *epoch != 0);
        Circumstances { last_epoch, synced: collector.trusted, last_heard: collector.last_heard.map(UnixMs::secs) }
    }

    pub fn schedule_says(&self, decision: Decision) {
        self.told().blocked = match decision {
            Decision::Blocked(blocked) => Some(blocked),
            Decision::Cut(_) | Decision::WaitUntil(_) => None,
        };
    }

    /// Epochs are where the archive's writer cuts them, which may be another one by now.
    pub fn follow_the_writer(&self) {
        if let Some(offset_s) = self.health().and_then(|health| health.epoch_offset_s) {
            self.desk.cut_at(offset_s);
        }
    }

    /// What there is to upload, as it changes.
    pub fn newest(&self) -> Newest {
        self.newest.subscribe()
    }

    /// At the start.
    pub fn uploads_are(&self, uploads: Vec<Upload>) {
        let _ = self.uploads.set(uploads); // there is one start
    }

    /// A snapshot is served, and goes wherever snapshots are uploaded to.
    pub fn hand_out(&self, folder: &Folder, snapshot: &Snapshot) {
        if self.newest.receiver_count() == 0 {
            return;
        }
        match Parcel::new(folder, snapshot.clone()) {
            Ok(parcel) => drop(self.newest.send_replace(Some(Arc::new(parcel)))),
            Err(error) => tracing::error!("epoch {} is not uploaded: {error:#}", snapshot.epoch.timestamp),
        }
    }

    /// How the last publication ended: the error, or none.
    pub fn publication_was(&self, error: Option<String>) {
        self.told().publication = error;
    }

    /// The journal was read.
    pub fn history_begins(&self, history: &History) {
        let mut told = self.told();
        told.takes(history);
        // At once: between the two, whoever looks would see everything that was ever journaled as heard just now.
        told.fee_changes_read = history.fee_changes().total();
    }

    /// The history has got on.
    pub fn history_is(&self, history: &History) {
        self.told().takes(history);
    }

    /// Figures how stale fees are now; that takes tens of milliseconds.
    pub fn figures_stale_fees(&self, history: &History) {
        let now_s = self.clock.now().secs();
        let live = Live::of(history, self.served(), now_s, self.interval.secs());
        self.told().stale_fees = live;
    }

    /// A snapshot is served from now on.
    pub fn serves(&self, snapshot: &Snapshot) {
        let recent = &mut self.told().recent;
        recent.push_back(RecentSnapshot::of(snapshot));
        if recent.len() > RECENT {
            recent.pop_front();
        }
    }

    /// How many channels and nodes the last snapshot lacks.
    pub fn left_out(&self, count: usize) {
        self.left_out.store(count as u64, Ordering::Relaxed);
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn collector_status(&self) -> collector::Status {
        self.collector.load().as_ref().map(|collector| collector.status()).unwrap_or_default()
    }

    fn health(&self) -> Option<Health> {
        self.archive.load().as_ref().map(|health| health.borrow().clone())
    }

    fn journal_status(&self) -> writer::Status {
        self.journal.load().as_ref().map(|status| *status.borrow()).unwrap_or_default()
    }

    pub(super) fn peer_rows(&self) -> Vec<(PeerAddress, PeerState)> {
        self.collector.load().as_ref().map(|collector| collector.peers()).unwrap_or_default()
    }

    fn uploads(&self, now: UnixMs) -> Vec<UploadStatus> {
        let served = self.published();
        let row = |upload: &Upload| {
            let (to, progress) = (upload.to.clone(), upload.progress());
            let lags = served != 0 && progress.epoch != Some(served);
            let lag_seconds = if lags { u64::from(now.secs().saturating_sub(served)) } else { 0 };
            UploadStatus { to, epoch: progress.epoch, lag_seconds, trouble: progress.trouble }
        };
        self.uploads.get().into_iter().flatten().map(row).collect()
    }

    fn peers(&self) -> Vec<PeerStatus> {
        let rows = self.peer_rows();
        let row = |(address, state): (PeerAddress, PeerState)| PeerStatus {
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

impl State {
    fn metered(&self, told: &Told, collector: &collector::Status, journal: &writer::Status) -> Metered {
        let (read, up_to) = *self.journal_read.lock().unwrap_or_else(PoisonError::into_inner);
        let written = journal.last_seq.0.saturating_sub(up_to.0);
        Metered {
            interval_s: self.interval.as_duration().as_secs(),
            journal_entries: (read + written).saturating_sub(journal.forgotten),
            storage_full: journal.storage_full.is_some(),
            fee_changes: told.fee_changes.total().saturating_sub(told.fee_changes_read),
            by_kind: collector.tally.by_kind,
            dropped_by_kind: collector.dropped_by_kind,
        }
    }
}

impl StatusSource for State {
    fn status(&self) -> Status {
        let now = self.clock.now();
        let collector = self.collector_status();
        let prover = self.collector.load().as_ref().and_then(|collector| collector.prover());
        let latest = self.desk.latest();
        let served = latest.as_deref();
        let (health, journal) = (self.health(), self.journal_status());
        let problem = self.problem(&collector, prover.as_ref(), health.as_ref(), now);
        let told = self.told();
        let fee_changes = FeeStatus { total: told.fee_changes.total(), hours: told.fee_changes.last_day(now) };
        let stale_fees = StaleFeeStatus::of(&told.stale_fees);
        let (history, recent) = (told.history, told.recent.iter().copied().collect());
        let metered = self.metered(&told, &collector, &journal);
        drop(told);
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            network: self.network.to_string(),
            ready: served.is_some(),
            problem,
            epoch: served.map(|served| EpochStatus::of(&served.snapshot, now)),
            interval_seconds: self.interval.secs(),
            next_cut: self.desk.next_cut(),
            snapshots: served.map(SnapshotSizes::of),
            recent,
            left_out: self.left_out.load(Ordering::Relaxed),
            deltas: self.desk.status(),
            archive: health.map(|health| archive_status(&health, journal.last_seq, now)),
            journal: JournalStatus { last_seq: journal.last_seq },
            history,
            fee_changes,
            stale_fees,
            peers: self.peers(),
            proofs: ProofStatus {
                required: self.proofs,
                pending: collector.waiting_channels as u64,
                chain_height: collector.chain_height,
                closing: collector.possible_splices as u64,
            },
            messages: MessageCounts {
                received: collector.tally.received,
                accepted: collector.tally.accepted,
                refused: refused(&collector),
                dropped: collector.dropped,
                waiting: collector.waiting_messages as u64,
            },
            metered,
            uploads: self.uploads(now),
        }
    }
}

fn archive_status(health: &Health, journal: Seq, now: UnixMs) -> ArchiveStatus {
    let Health { role, term, connected, last_seq, .. } = *health;
    let lag = last_seq.map(|last_seq| match role {
        Role::Writer => {
            let waiting = health.waiting_since.map_or(0, |since| now.since(since).as_secs());
            (journal.0.saturating_sub(last_seq.0), waiting)
        }
        Role::StandBy | Role::Replica => {
            let since = health.up_to_date.map_or(0, |at| at.elapsed().as_secs());
            let lag_entries = last_seq.0.saturating_sub(journal.0);
            // One that is cut off cannot know how much there is: the time tells.
            (lag_entries, if connected && lag_entries == 0 { 0 } else { since })
        }
    });
    let (lag_entries, lag_seconds) = lag.unzip();
    ArchiveStatus { role, term, connected, last_seq, lag_entries, lag_seconds }
}

fn refused(collector: &collector::Status) -> BTreeMap<String, u64> {
    collector.tally.refused.iter().map(|(reason, count)| (reason.name().to_owned(), *count)).collect()
}
