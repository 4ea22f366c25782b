//! What the stories share: a journal that ships as in the service, a steady stream of drafts, the log, and the
//! comparison with the archive.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use bitcoin::Network;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use rgsd::gossip::{Clock, Closing, Direction, Fact, UnixMs};
use rgsd::journal::link::{Connector, Health, Link, Role};
use rgsd::journal::postgres::{Archive, Settings, Wire};
use rgsd::journal::settle::{self, Plan, Settled};
use rgsd::journal::ship::{self, End};
use rgsd::journal::writer::Status;
use rgsd::journal::{Draft, Entry, Event, Identity, Journal, Opened, Pace, Seq, SqliteJournal, Writer};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::Dispatch;
use tracing::subscriber::NoSubscriber;

use crate::unsigned::{announcement, draft, epoch, ipv4, node, node_announcement, policy, scid, update};

/// When the stories play: long before retention has anything to do.
pub const BEGINNING_S: u64 = 1_700_000_000;
/// How long superseded entries stay.
pub const RETENTION: Duration = Duration::from_secs(8 * 86_400);
/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Whether the stories run at full length.
pub fn soak() -> bool {
    std::env::var_os("SOAK").is_some_and(|value| !value.is_empty() && value != "0")
}

/// The lease and the time-out of the stories of one collector.
pub fn times() -> (Duration, Duration) {
    if soak() {
        (Duration::from_secs(15), Duration::from_secs(10))
    } else {
        (Duration::from_secs(3), Duration::from_secs(2))
    }
}

/// The draft that becomes entry `n`, in every run: a mix of kinds, and an epoch now and then. A day has some thousands
/// of them, so that days turn under way.
pub fn nth(n: u64) -> Draft {
    let seen_s = BEGINNING_S + n * 20;
    let (stamp, small) = (seen_s as u32, n as u32);
    let fact = match n % 20 {
        _ if n % 400 == 399 => return epoch(stamp),
        1 => Fact::Channel { announcement: announcement(scid(n), [small, small + 1], &[]), capacity_sat: None },
        3 => Fact::Channel { announcement: announcement(scid(n), [small, small + 1], &[1]), capacity_sat: Some(n) },
        4 | 8 | 12 => Fact::Node(node_announcement(small, stamp, &[2], &ipv4(n as u8))),
        5 => Fact::Proof { scid: scid(n), capacity_sat: n * 1_000 },
        6 => Fact::Closed { scid: scid(n), reason: if n % 40 == 6 { Closing::Silent } else { Closing::Unfunded } },
        7 if n % 100 == 7 => Fact::SyncCompleted { peer: node(small) },
        _ => Fact::Update(update(scid(n), Direction::OneToTwo, stamp, &policy(small))),
    };
    draft(seen_s, fact)
}

/// The entries `from..=to` that these drafts become.
pub fn story(from: u64, to: u64) -> Vec<Entry> {
    (from..=to).map(|n| nth(n).numbered(Seq(n))).collect()
}

struct StandingClock;

impl Clock for StandingClock {
    fn now(&self) -> UnixMs {
        UnixMs(BEGINNING_S * 1_000)
    }
}

/// A clock by which nothing is old.
pub fn clock() -> Arc<dyn Clock> {
    Arc::new(StandingClock)
}

pub fn connector(url: &str, timeout: Duration) -> Connector {
    let settings = Settings { url: url.parse().expect("a database's URL"), password_file: None };
    Connector { settings, timeout }
}

/// Settles a data directory with the archive, as the service does at start.
pub async fn settle(data_dir: &Path, link: &mut Link, replica: bool) -> anyhow::Result<Settled> {
    settle_on(data_dir, link, replica, Network::Regtest, &mut || {}).await
}

pub async fn settle_on(
    data_dir: &Path,
    link: &mut Link,
    replica: bool,
    network: Network,
    waits: &mut (dyn FnMut() + Send),
) -> anyhow::Result<Settled> {
    settle_as(data_dir, link, replica, network, None, waits).await
}

/// The same after another collector has taken over.
pub async fn settle_after(data_dir: &Path, link: &mut Link, overtaken_after: Option<Seq>) -> anyhow::Result<Settled> {
    settle_as(data_dir, link, false, Network::Regtest, overtaken_after, &mut || {}).await
}

async fn settle_as(
    data_dir: &Path,
    link: &mut Link,
    replica: bool,
    network: Network,
    overtaken_after: Option<Seq>,
    waits: &mut (dyn FnMut() + Send),
) -> anyhow::Result<Settled> {
    let mut rng: ChaCha20Rng = rand::make_rng();
    let plan = Plan {
        data_dir: data_dir.to_owned(),
        network,
        replica,
        overtaken_after,
        now: clock().now(),
        rng: &mut rng,
        waits,
        progress: &mut |_, _| {},
    };
    settle::settle(link, plan).await
}

/// A collector's journal and its shipper.
pub struct Shipping {
    writer: Writer,
    /// As it was at start.
    pub identity: Identity,
    pub drafts: mpsc::Sender<Draft>,
    pub status: watch::Receiver<Status>,
    pub health: watch::Receiver<Health>,
    shipper: JoinHandle<End>,
}

impl Shipping {
    /// Starts as the writer, which it must be.
    pub async fn start(data_dir: &Path, url: &str, times: (Duration, Duration)) -> Self {
        Self::start_at(data_dir, url, times, clock()).await
    }

    /// The same by a clock that goes on.
    pub async fn start_at(
        data_dir: &Path,
        url: &str,
        (lease, timeout): (Duration, Duration),
        clock: Arc<dyn Clock>,
    ) -> Self {
        let mut link = Link::new(connector(url, timeout), lease, Role::Writer);
        let settled = settle(data_dir, &mut link, false).await.unwrap_or_else(|why| panic!("refused: {why:#}"));
        assert_eq!(settled.role, Role::Writer);
        let (identity, journal) = (settled.journal.identity(), settled.journal);
        let readers = [journal.reader().expect("a reader"), journal.reader().expect("a reader")];
        let (writer, drafts, _) = Writer::spawn(Box::new(journal), Pace::default()).expect("a thread");
        let (health, (offers, _)) = (link.health(), mpsc::channel(1));
        let setup = ship::Setup {
            link,
            network: Network::Regtest,
            identity,
            lease,
            retention: RETENTION,
            clock,
            readers,
            journal: writer.status(),
            notes: writer.notes(),
            offers,
        };
        let (status, shipper) = (writer.status(), tokio::spawn(ship::ship(setup)));
        Self { writer, identity, drafts, status, health, shipper }
    }

    /// Has the journal forget what is old, as the service does every hour.
    pub fn forget(&self, now: UnixMs) {
        self.writer.retainer().retain(now, RETENTION);
    }

    /// Waits until all that the journal has at this moment is in the archive, and nothing is amiss.
    pub async fn caught_up(&self) {
        let last = self.status.borrow().last_seq;
        eventually("the archive has it all", || {
            assert!(!self.shipper.is_finished(), "shipping ended");
            let health = self.health.borrow();
            health.connected && health.trouble.is_none() && health.last_seq >= Some(last)
        })
        .await;
    }

    /// Ends as the service does.
    pub async fn stop(self) {
        drop(self.drafts);
        self.writer.stop().await.expect("an orderly end");
        assert_eq!(self.shipper.await.expect("no panic"), End::Stopped);
    }
}

/// A stream of the story's drafts at 1,000 a second, whatever happens, and how long the slowest took to be durable.
pub struct Steady {
    stop: Arc<AtomicBool>,
    slowest_ms: Arc<AtomicU64>,
    task: JoinHandle<u64>,
}

impl Steady {
    /// Goes on after entry `last`.
    pub fn start(shipping: &Shipping, last: u64) -> Self {
        let (stop, slowest_ms) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (drafts, status) = (shipping.drafts.clone(), shipping.status.clone());
        let task = tokio::spawn(pour(drafts, status, last, Arc::clone(&stop), Arc::clone(&slowest_ms)));
        Self { stop, slowest_ms, task }
    }

    /// Ends, and returns the last entry's number and the slowest draft's time.
    pub async fn end(self) -> (u64, Duration) {
        self.stop.store(true, Ordering::SeqCst);
        let last = self.task.await.expect("no panic");
        (last, Duration::from_millis(self.slowest_ms.load(Ordering::SeqCst)))
    }
}

async fn pour(
    drafts: mpsc::Sender<Draft>,
    status: watch::Receiver<Status>,
    mut last: u64,
    stop: Arc<AtomicBool>,
    slowest_ms: Arc<AtomicU64>,
) -> u64 {
    let mut ticks = interval(Duration::from_millis(10));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut waiting: VecDeque<(u64, Instant)> = VecDeque::new();
    while !stop.load(Ordering::SeqCst) || !waiting.is_empty() {
        ticks.tick().await;
        if !stop.load(Ordering::SeqCst) {
            for n in last + 1..=last + 10 {
                drafts.send(nth(n)).await.expect("the journal takes it");
            }
            last += 10;
            waiting.push_back((last, Instant::now()));
        }
        let durable = status.borrow().last_seq.0;
        while let Some((_, sent)) = waiting.pop_front_if(|(n, _)| *n <= durable) {
            slowest_ms.fetch_max(sent.elapsed().as_millis() as u64, Ordering::SeqCst);
        }
    }
    last
}

/// Waits for a condition, however busy the machine is.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    eventually_told(what, async || holds()).await;
}

pub async fn eventually_told(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Something that blocks.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("no panic")
}

/// What this thread's log says, from `INFO` up.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Captures it for as long as the guard is kept.
    pub fn capture() -> (Self, tracing::subscriber::DefaultGuard) {
        // While there is only one subscriber, `tracing` asks the thread that first comes to a line whether anybody wants
        // it, and remembers a no for all threads. With a second one it asks them all.
        static SECOND: OnceLock<Dispatch> = OnceLock::new();
        SECOND.get_or_init(|| Dispatch::new(NoSubscriber::default()));
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::INFO)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// The lines since the last call.
    pub fn take(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock().expect("no panic while locked"));
        String::from_utf8(bytes).expect("UTF-8").lines().map(str::to_owned).collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic while locked").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection of the test's own.
pub async fn archive(url: &str) -> (Archive, Wire) {
    connector(url, Duration::from_secs(60)).connect().await.expect("connects")
}

/// All that the archive holds, in order.
pub async fn archived(url: &str) -> Vec<Entry> {
    let (mut archive, _wire) = archive(url).await;
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let page = archive.page(entries.last().map_or(Seq(0), |entry| entry.seq), 10_000).await.expect("readable");
        if page.is_empty() {
            return entries;
        }
        entries.extend(page);
    }
}

/// All that the journal in a directory holds; its collector has ended.
pub fn journaled(data_dir: &Path) -> Vec<Entry> {
    crate::entries(&open(data_dir), 0)
}

pub fn open(data_dir: &Path) -> SqliteJournal {
    match SqliteJournal::look(data_dir, Network::Regtest).expect("opens") {
        Opened::Journal(journal) => *journal,
        Opened::Vacant(_) => panic!("no journal in {}", data_dir.display()),
    }
}

/// Asserts that they are equal, row by row, without printing them all.
pub fn assert_same(what: &str, found: &[Entry], expected: &[Entry]) {
    let differs = found.iter().zip(expected).find(|(found, expected)| found != expected);
    assert_eq!(differs, None, "{what}");
    assert_eq!(found.len(), expected.len(), "{what}: how many there are");
}

/// The stamps of the epochs among the entries, with their numbers.
pub fn stamps(entries: &[Entry]) -> Vec<(Seq, u32)> {
    let stamp = |entry: &Entry| match entry.event {
        Event::Epoch { timestamp, .. } => Some((entry.seq, timestamp)),
        Event::Fact(_) => None,
    };
    entries.iter().filter_map(stamp).collect()
}

/// A random generator that is the same in every run.
pub fn seeded(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}
