//! The epoch that is served: its snapshots, and the deltas to it, in every coding that is ready.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use bitcoin::constants::ChainHash;
use bytes::Bytes;
use moka::future::Cache;

use super::body::{Body, Coding};
use super::contents::{Breakdown, Contents};
use super::delta::delta;
use super::encode::encode;
use super::packing::{self, Effort};
use super::{Bodies, Snapshot, Version};
use crate::history::History;

/// How many bytes of deltas are kept …
const KEPT_BYTES: u64 = 32 << 20;
/// … and of what they were compressed to.
const PACKED_BYTES: usize = 16 << 20;
/// What an entry takes beside its bytes.
const ENTRY_BYTES: u32 = 512;

/// See the module's words.
pub struct Served {
    pub snapshot: Snapshot,
    full: Pair,
    returning: Pair,
    /// The times of the epochs with which a delta can begin, in ascending order.
    pub(super) since: Vec<u32>,
    /// Gone when another run of the service has begun.
    history: Weak<RwLock<History>>,
    /// Nothing stands for a delta that cannot be had, or is no shorter than the whole snapshot.
    pub(super) deltas: Cache<(u32, Version), Option<Arc<Body>>>,
    packed: Mutex<PackedDeltas>,
    /// Bytes of its snapshots that somebody holds.
    pub(super) held: Arc<AtomicUsize>,
}

/// The same in both versions of the format.
#[derive(Clone)]
struct Pair {
    v1: Arc<Body>,
    v2: Arc<Body>,
}

impl Pair {
    fn new(epoch: u32, what: &str, bodies: &Bodies, held: &Arc<AtomicUsize>) -> Self {
        let body = |version: Version| {
            let name = format!("{epoch}-v{}-{what}", version as u8);
            Arc::new(Body::new(name, alive(bodies.of(version), held)))
        };
        Self { v1: body(Version::V1), v2: body(Version::V2) }
    }

    fn of(&self, version: Version) -> Arc<Body> {
        match version {
            Version::V1 => Arc::clone(&self.v1),
            Version::V2 => Arc::clone(&self.v2),
        }
    }
}

/// What compressing deltas has taken.
#[derive(Default)]
struct PackedDeltas {
    time: Duration,
    bytes: usize,
}

/// Bytes that are counted for as long as somebody holds them.
struct Alive {
    bytes: Bytes,
    alive: Arc<AtomicUsize>,
}

/// The same bytes, counted.
pub(super) fn alive(bytes: impl Into<Bytes>, alive: &Arc<AtomicUsize>) -> Bytes {
    let bytes = bytes.into();
    alive.fetch_add(bytes.len(), Ordering::Relaxed);
    Bytes::from_owner(Alive { bytes, alive: Arc::clone(alive) })
}

impl AsRef<[u8]> for Alive {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.alive.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

/// A delta that was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Made {
    /// From this epoch to that, in unix seconds.
    pub since: u32,
    pub until: u32,
    /// Of RGS.
    pub version: u8,
    pub bytes: usize,
    pub contents: Breakdown,
}

impl Served {
    /// `since` are the times of the epochs with which a delta can begin, in ascending order; without a history there
    /// are none.
    pub fn new(snapshot: Snapshot, since: Vec<u32>, history: Weak<RwLock<History>>) -> Self {
        let (epoch, held) = (snapshot.epoch.timestamp, Arc::default());
        let full = Pair::new(epoch, "full", &snapshot.full, &held);
        // Where nothing has departed they are the same, and compressed once.
        let returning = match snapshot.returning == snapshot.full {
            true => full.clone(),
            false => Pair::new(epoch, "returning", &snapshot.returning, &held),
        };
        Self::of(snapshot, [full, returning], held, since, history)
    }

    /// The same snapshots, with deltas.
    pub(super) fn resumed(&self, since: Vec<u32>, history: Weak<RwLock<History>>) -> Self {
        let pairs = [self.full.clone(), self.returning.clone()];
        Self::of(self.snapshot.clone(), pairs, Arc::clone(&self.held), since, history)
    }

    fn of(
        snapshot: Snapshot,
        [full, returning]: [Pair; 2],
        held: Arc<AtomicUsize>,
        since: Vec<u32>,
        history: Weak<RwLock<History>>,
    ) -> Self {
        let weight = |_: &_, delta: &Option<Arc<Body>>| {
            let bytes = delta.as_ref().map_or(0, |body| body.identity().bytes.len());
            u32::try_from(bytes).unwrap_or(u32::MAX).saturating_add(ENTRY_BYTES)
        };
        let deltas = Cache::builder().max_capacity(KEPT_BYTES).weigher(weight).build();
        Self { snapshot, full, returning, since, history, deltas, packed: Mutex::default(), held }
    }

    /// For a wallet that has nothing.
    pub fn full(&self, version: Version) -> Arc<Body> {
        self.full.of(version)
    }

    /// For a wallet that may have anything.
    pub fn returning(&self, version: Version) -> Arc<Body> {
        self.returning.of(version)
    }

    /// All of them, each once, those first for which wallets ask most.
    pub(super) fn whole(&self) -> Vec<Arc<Body>> {
        let mut bodies = vec![self.full(Version::V2), self.full(Version::V1)];
        let others = [self.returning(Version::V2), self.returning(Version::V1)];
        bodies.extend(others.into_iter().zip(bodies.clone()).filter(|(a, b)| !Arc::ptr_eq(a, b)).map(|(a, _)| a));
        bodies
    }

    /// Whether deltas to it can be made, as far as is known.
    pub(super) fn has_history(&self) -> bool {
        self.history.strong_count() > 0
    }

    /// The bytes of a delta, and what is in it; nothing where there is none, or none that is worth it.
    pub(super) fn compute(&self, chain: ChainHash, since: u32, version: Version) -> Option<(Vec<u8>, Made)> {
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

    /// Compresses a delta to it, unless all deltas together have taken this much time already, or much room.
    pub(super) fn pack(
        &self,
        body: &Body,
        coding: Coding,
        effort: Effort,
        within: Duration,
        alive: &Arc<AtomicUsize>,
    ) {
        let spent = |packed: &PackedDeltas| packed.time >= within || packed.bytes >= PACKED_BYTES;
        if spent(&self.packed.lock().unwrap_or_else(PoisonError::into_inner)) {
            body.give_up(coding);
            return;
        }
        let started = Instant::now();
        packing::pack(body, coding, effort, |bytes| self::alive(bytes, alive));
        let mut packed = self.packed.lock().unwrap_or_else(PoisonError::into_inner);
        packed.time += started.elapsed();
        packed.bytes += body.coded(coding).map_or(0, |coded| coded.bytes.len());
    }
}
