//! The desk at which wallets are answered: the snapshots of the served epoch, and deltas to it, made on demand.
//!
//! A delta is computed once, however many ask for it at the same time, and kept while its epoch is served, as long as
//! there is room. So many are computed at a time as there are cores; whoever would have to wait for too long gets the
//! whole snapshot, which is always right. Reads the history between its entries, and never holds it up for longer than a
//! delta takes.

use std::num::NonZero;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::Duration;

use arc_swap::{ArcSwapOption, Guard};
use bitcoin::Network;
use bitcoin::constants::ChainHash;
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::{Semaphore, watch};

use super::body::{Body, Coding};
use super::choose::{Choice, Grid, Mode, choose};
use super::contents::Contents;
use super::encode::encode;
use super::packing::{self, Packed, Packer};
use super::served::{Made, Served, alive};
use super::{Interval, Version};
use crate::history::History;

/// A delta that is not ready by then is answered as if its timestamp were unknown.
const WITHIN: Duration = Duration::from_secs(1);
/// How many bytes of deltas there may be, those included that are no longer kept but still being sent: beyond that, no
/// more are made until some clients have taken theirs.
const ALIVE_BYTES: usize = 128 << 20;
/// How many bytes of snapshots that are no longer served may still be on their way to slow clients.
const PAST_BYTES: usize = 96 << 20;

/// Where wallets are answered.
pub struct Desk {
    chain: ChainHash,
    mode: Mode,
    interval: Interval,
    /// When epochs are cut; nothing before that is known.
    grid: ArcSwapOption<Grid>,
    latest: ArcSwapOption<Served>,
    /// Bytes that somebody holds of the snapshots that were served before, of each epoch that has any.
    past: Mutex<Vec<Arc<AtomicUsize>>>,
    /// Told whenever there is another latest.
    changed: watch::Sender<()>,
    workshop: Arc<Workshop>,
}

/// What a wallet gets.
pub struct Answer {
    pub body: Arc<Body>,
    pub told: Told,
    /// The served epoch's time, in unix seconds.
    pub epoch: u32,
    /// When the next one is due, where that is known: until then the same question has the same answer. In unix seconds.
    pub next_cut: Option<u32>,
    /// The same question will soon have a shorter answer.
    pub stopgap: bool,
    /// To which the body belongs.
    served: Arc<Served>,
}

/// What kind of answer it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    Full,
    Returning,
    Delta,
    Nothing,
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
    /// For one at a time to compress a delta.
    packing: Arc<Semaphore>,
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
            past: Mutex::default(),
            changed: watch::Sender::new(()),
            workshop: Arc::new(Workshop {
                permits: Semaphore::new(cores),
                alive: Arc::default(),
                computed: AtomicU64::new(0),
                late: AtomicU64::new(0),
                last: Mutex::default(),
                packing: Arc::new(Semaphore::new(1)),
            }),
        }
    }

    /// From now on this epoch is served. Whoever is being answered keeps what it got.
    pub fn serve(&self, served: Served) {
        let held = Arc::clone(&served.held);
        if let Some(last) = self.latest.swap(Some(Arc::new(served))).filter(|last| !Arc::ptr_eq(&last.held, &held)) {
            self.past().push(Arc::clone(&last.held));
        }
        self.changed.send_replace(());
    }

    /// Whether slow clients hold so much that others should not have to bear with them.
    pub fn is_pressed(&self) -> bool {
        let mut past = self.past();
        past.retain(|held| held.load(Ordering::Relaxed) > 0);
        let past_bytes: usize = past.iter().map(|held| held.load(Ordering::Relaxed)).sum();
        past_bytes > PAST_BYTES || self.workshop.alive.load(Ordering::Relaxed) > ALIVE_BYTES / 4 * 3
    }

    fn past(&self) -> MutexGuard<'_, Vec<Arc<AtomicUsize>>> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The history is there, and knows the served epoch: deltas to it can be made, beginning at the times `since`.
    pub fn resume(&self, since: Vec<u32>, history: Weak<RwLock<History>>) {
        if let Some(served) = self.latest.load_full() {
            self.serve(served.resumed(since, history));
        }
    }

    /// Epochs are cut so many seconds past the interval's multiples.
    pub fn cut_at(&self, offset_s: u32) {
        self.grid.store(Some(Arc::new(Grid { interval: self.interval, offset_s })));
    }

    /// When the epoch after the served one is due, in unix seconds; it may be overdue. `None` before the first snapshot,
    /// and while nothing is known of when epochs are cut.
    pub fn next_cut(&self) -> Option<u32> {
        let epoch = self.latest.load().as_ref()?.snapshot.epoch.timestamp;
        self.grid.load().as_ref()?.after(epoch)
    }

    /// What is served; nothing before the first snapshot.
    pub fn latest(&self) -> Guard<Option<Arc<Served>>> {
        self.latest.load()
    }

    /// Whether there is a snapshot.
    pub fn is_ready(&self) -> bool {
        self.latest.load().is_some()
    }

    /// What a wallet gets whose last sync was `last_sync` (0 for never), at `now_s`; both in unix seconds. `None` before
    /// the first snapshot.
    pub async fn answer(&self, last_sync: u64, version: Version, now_s: u32) -> Option<Answer> {
        let served = self.latest.load_full()?;
        let epoch = served.snapshot.epoch.timestamp;
        let grid = self.grid.load().as_deref().copied();
        let next_cut = grid.and_then(|grid| grid.after(epoch));
        let (body, told, stopgap) = match choose(last_sync, epoch, &served.since, grid, now_s, self.mode) {
            Choice::Full => (served.full(version), Told::Full, false),
            // As long as the journal is being read, no epoch is known.
            Choice::Returning => (served.returning(version), Told::Returning, !served.has_history()),
            Choice::Nothing { timestamp } => (self.nothing(timestamp, version), Told::Nothing, false),
            Choice::Delta { since } => match self.delta(&served, since, version).await {
                Ok(Some(body)) => (body, Told::Delta, false),
                Ok(None) => (served.returning(version), Told::Returning, false),
                Err(Late) => (served.returning(version), Told::Returning, true),
            },
        };
        Some(Answer { body, told, epoch, next_cut, stopgap, served })
    }

    /// Somebody would rather have had the answer's body in this coding. Deltas are compressed when they are first asked
    /// for in it, one after the other, for those who come later; snapshots without being asked for, by [`Self::pack`].
    /// Whether it is still to come.
    pub fn want(&self, answer: &Answer, coding: Coding) -> bool {
        if answer.body.has_tried(coding) || !packing::is_worthwhile(&answer.body) {
            return false;
        }
        if answer.told == Told::Delta {
            self.pack_delta(Arc::clone(&answer.served), Arc::clone(&answer.body), coding);
        }
        true
    }

    fn pack_delta(&self, served: Arc<Served>, body: Arc<Body>, coding: Coding) {
        let Ok(permit) = Arc::clone(&self.workshop.packing).try_acquire_owned() else { return };
        let (interval, alive) = (self.interval, Arc::clone(&self.workshop.alive));
        tokio::task::spawn_blocking(move || {
            let (effort, within) = (packing::effort_for_deltas(interval), packing::for_deltas(interval));
            served.pack(&body, coding, effort, within, &alive);
            drop(permit);
        });
    }

    /// Hears of every change of what is served.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// One who can [`Self::pack`].
    pub fn packer(&self) -> Packer {
        Packer::new(self.interval)
    }

    /// Compresses the snapshots that are served, until others are, or it `is_stopped`; nothing if there are none. Takes
    /// seconds, and a core.
    pub fn pack(&self, packer: &mut Packer, is_stopped: impl Fn() -> bool) -> Option<Packed> {
        let served = self.latest.load_full()?;
        let epoch = served.snapshot.epoch;
        let is_another = || self.latest.load().as_ref().is_none_or(|latest| latest.snapshot.epoch != epoch);
        Some(packer.pack(&served, || is_stopped() || is_another()))
    }

    fn nothing(&self, timestamp: u32, version: Version) -> Arc<Body> {
        let bytes = encode(&Contents::nothing(timestamp), self.chain, version).map(Bytes::from).unwrap_or_default(); // never too large
        Arc::new(Body::new(format!("{timestamp}-v{}-nothing", version as u8), bytes))
    }

    async fn delta(&self, served: &Arc<Served>, since: u32, version: Version) -> Result<Option<Arc<Body>>, Late> {
        if let Some(delta) = served.deltas.get(&(since, version)).await {
            return Ok(delta);
        }
        // In a task of its own: whoever stops waiting leaves it to those who come later.
        let made = tokio::spawn(make(Arc::clone(served), self.chain, since, version, Arc::clone(&self.workshop)));
        let made = tokio::time::timeout(WITHIN, made).await;
        match made.map(Result::ok) {
            Ok(Some(Ok(delta))) => Ok(delta),
            _ => {
                self.workshop.late.fetch_add(1, Ordering::Relaxed);
                Err(Late)
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
) -> Result<Option<Arc<Body>>, Arc<Late>> {
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
            let name = format!("{}-v{}-since-{since}", made.until, made.version);
            Arc::new(Body::new(name, alive(bytes, &workshop.alive)))
        }))
    };
    let made = served.deltas.try_get_with((since, version), make).await;
    served.deltas.run_pending_tasks().await; // what is kept is counted, and bounded, from now on
    made
}
