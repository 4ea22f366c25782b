//! The desk at which wallets are answered: the snapshots of the served epoch, and deltas to it, made on demand.
//!
//! A delta is computed once, however many ask for it at the same time, and kept while its epoch is served, as long as
//! there is room. So many are computed at a time as there are cores; whoever would have to wait for too long gets the
//! whole snapshot, which is always right. Reads the history between its entries, and never holds it up for longer than a
//! delta takes.

use std::num::NonZero;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use arc_swap::{ArcSwapOption, Guard};
use bitcoin::Network;
use bitcoin::constants::ChainHash;
use bytes::Bytes;
use moka::future::Cache;
use serde::Serialize;
use tokio::sync::Semaphore;

use super::choose::{Choice, Grid, Mode, choose};
use super::contents::{Breakdown, Contents};
use super::delta::delta;
use super::encode::encode;
use super::{Interval, Snapshot, Version};
use crate::history::History;

/// A delta that is not ready by then is answered as if its timestamp were unknown.
const WITHIN: Duration = Duration::from_secs(1);
/// How many bytes of deltas are kept.
const KEPT_BYTES: u64 = 48 << 20;
/// How many bytes of deltas there may be, those included that are no longer kept but still being sent: beyond that, no
/// more are made until some clients have taken theirs.
const ALIVE_BYTES: usize = 128 << 20;
/// What an entry takes beside its bytes.
const ENTRY_BYTES: u32 = 128;

/// Where wallets are answered.
pub struct Desk {
    chain: ChainHash,
    mode: Mode,
    interval: Interval,
    /// When epochs are cut; nothing before that is known.
    grid: ArcSwapOption<Grid>,
    latest: ArcSwapOption<Served>,
    workshop: Arc<Workshop>,
}

/// The epoch that is served: its snapshots, and the deltas to it.
pub struct Served {
    pub snapshot: Snapshot,
    /// The times of the epochs with which a delta can begin, in ascending order.
    since: Vec<u32>,
    /// Gone when another run of the service has begun.
    history: Weak<RwLock<History>>,
    /// Nothing stands for a delta that cannot be had, or is no shorter than the whole snapshot.
    deltas: Cache<(u32, Version), Option<Bytes>>,
}

/// Where deltas are made, and how many were.
struct Workshop {
    /// One for each core.
    permits: Semaphore,
    /// Bytes of deltas that somebody holds.
    alive: Arc<AtomicUsize>,
    computed: AtomicU64,
    late: AtomicU64,
    last: Mutex<Option<Made>>,
}

/// A delta's bytes, which are counted for as long as somebody holds them.
struct Alive {
    bytes: Vec<u8>,
    alive: Arc<AtomicUsize>,
}

impl Alive {
    fn new(bytes: Vec<u8>, alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(bytes.capacity(), Ordering::Relaxed);
        Self { bytes, alive: Arc::clone(alive) }
    }
}

impl AsRef<[u8]> for Alive {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.alive.fetch_sub(self.bytes.capacity(), Ordering::Relaxed);
    }
}

/// A delta that was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Made {
    /// From this epoch to that, in unix seconds.
    pub since: u32,
    pub until: u32,
    /// Of RGS.
    pub version: u8,
    pub bytes: usize,
    pub contents: Breakdown,
}

/// How the desk fares.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct DeskStatus {
    /// What wallets get that name a known epoch.
    pub snapshots: Mode,
    /// How many epochs a delta can begin with …
    pub known_epochs: usize,
    /// … and the oldest of them, in unix seconds.
    pub oldest_epoch: Option<u32>,
    /// Deltas to the served epoch that are kept, and their bytes.
    pub cached: u64,
    pub cached_bytes: u64,
    /// Deltas that were computed since the start.
    pub computed: u64,
    /// Answers since the start that were whole snapshots because a delta would have taken too long, or too much memory.
    pub late: u64,
    /// Bytes of deltas that are kept, or being sent.
    pub held_bytes: usize,
    /// The delta that was computed last.
    pub last: Option<Made>,
}

impl Served {
    /// `since` are the times of the epochs with which a delta can begin, in ascending order; without a history there
    /// are none.
    pub fn new(snapshot: Snapshot, since: Vec<u32>, history: Weak<RwLock<History>>) -> Self {
        let weight = |_: &_, delta: &Option<Bytes>| {
            let bytes = delta.as_ref().map_or(0, Bytes::len);
            u32::try_from(bytes).unwrap_or(u32::MAX).saturating_add(ENTRY_BYTES)
        };
        Self { snapshot, since, history, deltas: Cache::builder().max_capacity(KEPT_BYTES).weigher(weight).build() }
    }

    /// The bytes of a delta, and what is in it; nothing where there is none, or none that is worth it.
    fn compute(&self, chain: ChainHash, since: u32, version: Version) -> Option<(Vec<u8>, Made)> {
        let contents = self.contents(since)?;
        let mut bytes = encode(&contents, chain, version).ok()?;
        bytes.shrink_to_fit();
        let (until, breakdown) = (contents.timestamp, contents.breakdown());
        let made = Made { since, until, version: version as u8, bytes: bytes.len(), contents: breakdown };
        (bytes.len() < self.snapshot.returning.of(version).len()).then_some((bytes, made))
    }

    fn contents(&self, since: u32) -> Option<Contents> {
        let history = self.history.upgrade()?;
        let history = history.read().unwrap_or_else(PoisonError::into_inner);
        let since = history.epoch_at(since)?;
        Some(delta(&history.span(&since, &self.snapshot.epoch)?, &self.snapshot.left_out))
    }
}

impl Desk {
    /// An empty desk.
    pub fn new(network: Network, mode: Mode, interval: Interval) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self {
            chain: ChainHash::using_genesis_block_const(network),
            mode,
            interval,
            grid: ArcSwapOption::empty(),
            latest: ArcSwapOption::empty(),
            workshop: Arc::new(Workshop {
                permits: Semaphore::new(cores),
                alive: Arc::default(),
                computed: AtomicU64::new(0),
                late: AtomicU64::new(0),
                last: Mutex::default(),
            }),
        }
    }

    /// From now on this epoch is served. Whoever is being answered keeps what it got.
    pub fn serve(&self, served: Served) {
        self.latest.store(Some(Arc::new(served)));
    }

    /// The history is there, and knows the served epoch: deltas to it can be made, beginning at the times `since`.
    pub fn resume(&self, since: Vec<u32>, history: Weak<RwLock<History>>) {
        if let Some(served) = self.latest.load_full() {
            self.serve(Served::new(served.snapshot.clone(), since, history));
        }
    }

    /// Epochs are cut so many seconds past the interval's multiples.
    pub fn cut_at(&self, offset_s: u32) {
        self.grid.store(Some(Arc::new(Grid { interval: self.interval, offset_s })));
    }

    /// What is served; nothing before the first snapshot.
    pub fn latest(&self) -> Guard<Option<Arc<Served>>> {
        self.latest.load()
    }

    /// When the served epoch is followed by the next one: the first cut after it, in unix seconds; nothing where that
    /// is not known, or overdue at `now_s`.
    pub fn next_cut(&self, now_s: u32) -> Option<u32> {
        let grid = self.grid.load().as_deref().copied()?;
        let next = grid.after(self.latest.load().as_ref()?.snapshot.epoch.timestamp);
        next.filter(|next| *next > now_s)
    }

    /// Whether there is a snapshot.
    pub fn is_ready(&self) -> bool {
        self.latest.load().is_some()
    }

    /// The bytes for a wallet whose last sync was `last_sync` (0 for never), at `now_s`; both in unix seconds. `None`
    /// before the first snapshot.
    pub async fn answer(&self, last_sync: u64, version: Version, now_s: u32) -> Option<Bytes> {
        let served = self.latest.load_full()?;
        let snapshot = &served.snapshot;
        let grid = self.grid.load().as_deref().copied();
        Some(match choose(last_sync, snapshot.epoch.timestamp, &served.since, grid, now_s, self.mode) {
            Choice::Full => snapshot.full.of(version),
            Choice::Returning => snapshot.returning.of(version),
            Choice::Nothing { timestamp } => self.nothing(timestamp, version),
            Choice::Delta { since } => match self.delta(&served, since, version).await {
                Some(bytes) => bytes,
                None => snapshot.returning.of(version),
            },
        })
    }

    fn nothing(&self, timestamp: u32, version: Version) -> Bytes {
        encode(&Contents::nothing(timestamp), self.chain, version).map(Bytes::from).unwrap_or_default() // never too large
    }

    async fn delta(&self, served: &Arc<Served>, since: u32, version: Version) -> Option<Bytes> {
        if let Some(delta) = served.deltas.get(&(since, version)).await {
            return delta;
        }
        // In a task of its own: whoever stops waiting leaves it to those who come later.
        let made = tokio::spawn(make(Arc::clone(served), self.chain, since, version, Arc::clone(&self.workshop)));
        let made = tokio::time::timeout(WITHIN, made).await;
        match made.map(Result::ok) {
            Ok(Some(Ok(delta))) => delta,
            _ => {
                self.workshop.late.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    /// How it fares.
    pub fn status(&self) -> DeskStatus {
        let latest = self.latest.load();
        let served = latest.as_deref();
        DeskStatus {
            snapshots: self.mode,
            known_epochs: served.map_or(0, |served| served.since.len()),
            oldest_epoch: served.and_then(|served| served.since.first().copied()),
            cached: served.map_or(0, |served| served.deltas.entry_count()),
            cached_bytes: served.map_or(0, |served| served.deltas.weighted_size()),
            computed: self.workshop.computed.load(Ordering::Relaxed),
            late: self.workshop.late.load(Ordering::Relaxed),
            held_bytes: self.workshop.alive.load(Ordering::Relaxed),
            last: *self.workshop.last.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

/// No core was free in time, or too much is being sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Late;

/// Waits for a core, and makes a delta, unless somebody is about it already: then it is theirs.
async fn make(
    served: Arc<Served>,
    chain: ChainHash,
    since: u32,
    version: Version,
    workshop: Arc<Workshop>,
) -> Result<Option<Bytes>, Arc<Late>> {
    let computing = Arc::clone(&served);
    let make = async move {
        let permit = tokio::time::timeout(WITHIN, workshop.permits.acquire()).await;
        let Ok(Ok(_permit)) = permit else { return Err(Late) }; // never closed
        if workshop.alive.load(Ordering::Relaxed) > ALIVE_BYTES {
            return Err(Late);
        }
        let computed = tokio::task::spawn_blocking(move || computing.compute(chain, since, version)).await;
        Ok(computed.ok().flatten().map(|(bytes, made)| {
            workshop.computed.fetch_add(1, Ordering::Relaxed);
            *workshop.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(made);
            Bytes::from_owner(Alive::new(bytes, &workshop.alive))
        }))
    };
    let made = served.deltas.try_get_with((since, version), make).await;
    served.deltas.run_pending_tasks().await; // what is kept is counted, and bounded, from now on
    made
}
