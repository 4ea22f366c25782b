//! The journal and the history at mainnet's size: 51,000 channels, then six days of 250,000 updates (half of them
//! keep-alives) and 125,000 node announcements a day, with an epoch an hour.
//!
//! Prints what one run shows (how long an initial sync takes to write, how long a start takes to read, how much
//! memory and disk it takes), then times the views.

#[path = "../tests/support/unsigned.rs"]
mod unsigned;

use std::hint::black_box;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use bitcoin::Network;
use criterion::{Criterion, criterion_group, criterion_main};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rgsd::gossip::{Direction, Fact, Policy, UnixMs};
use rgsd::history::History;
use rgsd::journal::{Draft, Journal, Pace, Reader, Seq, SqliteJournal, Writer, read_ahead, retention};
use tempfile::TempDir;

use unsigned::{announcement, draft, epoch, ipv4, node_announcement, scid, update};

const CHANNELS: u64 = 51_000;
const NODES: u32 = 17_000;
const DAYS: u32 = 6;
const UPDATES_A_DAY: u32 = 250_000;
const NODE_ANNOUNCEMENTS_A_DAY: u32 = 125_000;
/// One node announcement in so many brings other details.
const NEWS: u32 = 10;
const START: u32 = 1_770_000_000;
const RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);

/// A network that talks.
struct Gossip {
    rng: ChaCha8Rng,
    policies: Vec<[Policy; 2]>,
    addresses: Vec<u8>,
}

impl Gossip {
    fn new() -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let policies = (0..CHANNELS).map(|_| [policy(&mut rng), policy(&mut rng)]).collect();
        Self { rng, policies, addresses: vec![0; NODES as usize] }
    }

    /// What an initial sync brings.
    fn initial_sync(&mut self) -> Vec<Draft> {
        let mut drafts = Vec::new();
        for n in 0..CHANNELS {
            let one = self.rng.random_range(0..NODES - 1);
            let nodes = [one, self.rng.random_range(one + 1..NODES)];
            let announcement = announcement(scid(n << 40), nodes, &[]);
            drafts.push(draft(START.into(), Fact::Channel { announcement, capacity_sat: Some(10_000_000) }));
            drafts.extend(Direction::BOTH.map(|direction| self.update(n, direction, START - 1)));
        }
        drafts.extend((0..NODES).map(|n| self.node(n, START - 1)));
        drafts
    }

    /// What comes within one hour, and the epoch at its end.
    fn hour(&mut self, hour: u32) -> Vec<Draft> {
        let mut drafts = Vec::new();
        for n in 0..(UPDATES_A_DAY + NODE_ANNOUNCEMENTS_A_DAY) / 24 {
            let now = START + hour * 3600 + n / 5;
            drafts.push(if n % 3 == 2 {
                let n = self.rng.random_range(0..NODES);
                if self.rng.random_range(0..NEWS) == 0 {
                    self.addresses[n as usize] += 1;
                }
                self.node(n, now)
            } else {
                let (n, second) = (self.rng.random_range(0..CHANNELS), self.rng.random_range(0..2usize));
                if self.rng.random_bool(0.5) {
                    self.policies[n as usize][second] = policy(&mut self.rng);
                }
                self.update(n, Direction::BOTH[second], now)
            });
        }
        drafts.push(epoch(START + (hour + 1) * 3600 + 17));
        drafts
    }

    fn update(&self, n: u64, direction: Direction, timestamp: u32) -> Draft {
        let policy = &self.policies[n as usize][direction as usize];
        draft(timestamp.into(), Fact::Update(update(scid(n << 40), direction, timestamp, policy)))
    }

    fn node(&self, n: u32, timestamp: u32) -> Draft {
        let onion = [&[4], &[self.addresses[n as usize]; 37][..]].concat();
        let addresses = [&ipv4(self.addresses[n as usize])[..], &onion].concat();
        draft(
            timestamp.into(),
            Fact::Node(node_announcement(n, timestamp, &[0x80, 0, 0, 0, 0x0a, 0x69, 0xa2], &addresses)),
        )
    }
}

fn policy(rng: &mut ChaCha8Rng) -> Policy {
    Policy {
        htlc_minimum_msat: 1_000,
        htlc_maximum_msat: rng.random_range(1_000..9_900_000_000),
        fee_base_msat: rng.random_range(0..3) * 500,
        fee_proportional_millionths: rng.random_range(0..2_000),
        cltv_expiry_delta: 80,
        enabled: rng.random_bool(0.9),
    }
}

/// From `/proc/self`: resident memory in MB, and the processor's time of this process.
fn resident_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks: u64 = stat.split_whitespace().skip(13).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

fn fill(journal: &mut SqliteJournal) {
    let mut network = Gossip::new();
    let sync = network.initial_sync();
    let (start, processor) = (Instant::now(), processor_time());
    for group in sync.chunks(1_000) {
        journal.append(group).expect("room");
    }
    println!(
        "write an initial sync of {} entries: {:.2?}, {:.2?} of a processor",
        sync.len(),
        start.elapsed(),
        processor_time() - processor
    );
    for hour in 0..DAYS * 24 {
        for group in network.hour(hour).chunks(10_000) {
            journal.append(group).expect("room");
        }
    }
}

fn load(journal: &mut SqliteJournal) -> History {
    let mut history = History::new();
    read_ahead(journal, Seq(0), |entry| history.apply(entry)).expect("readable");
    history.compact();
    history
}

fn benches(c: &mut Criterion) {
    let dir = TempDir::new().expect("a temporary directory");
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let mut open = || SqliteJournal::open(dir.path(), Network::Bitcoin, UnixMs(0), &mut rng).expect("opens");
    let mut journal = open();
    fill(&mut journal);
    let bytes = std::fs::metadata(journal.file()).map_or(0, |file| file.len());
    drop(journal);

    let before = resident_mb();
    let start = Instant::now();
    let mut journal = open();
    let history = load(&mut journal);
    let took = start.elapsed();
    println!("read {} entries ({} MB): {took:.2?}", journal.last_seq().0, bytes >> 20);
    println!("resident: {before} MB before, {} MB after; {:?}", resident_mb(), history.size());

    let start = Instant::now();
    let plan = retention::plan(&journal, later(), RETENTION, || true).expect("readable");
    println!("plan to forget {} of them: {:.2?}", plan.len(), start.elapsed());

    let start = Instant::now();
    journal.read(Seq(0), &mut |_| ControlFlow::Continue(())).expect("readable");
    println!("read alone: {:.2?}", start.elapsed());

    let mut entries = Vec::new();
    read_ahead(&mut journal, Seq(0), |entry| entries.push(entry.clone())).expect("readable");
    let start = Instant::now();
    let mut again = History::new();
    entries.iter().for_each(|entry| again.apply(entry));
    let took = start.elapsed();
    println!("apply alone: {took:.2?}, {:.0} entries a second", entries.len() as f64 / took.as_secs_f64());
    drop((entries, again));

    write(journal);

    let [oldest, newest] = [history.epochs().next(), history.last_epoch()].map(|epoch| *epoch.expect("many"));
    println!("{} channels in the newest view", history.view(&newest).map_or(0, |view| view.channels.len()));
    c.bench_function("view of the newest epoch", |b| b.iter(|| black_box(history.view(&newest))));
    c.bench_function("view of the oldest epoch", |b| b.iter(|| black_box(history.view(&oldest))));
}

/// Through the writer's thread: how fast an initial sync goes in, and how long a draft waits while much is forgotten.
fn write(journal: SqliteJournal) {
    let (writer, drafts, mut commits) = Writer::spawn(Box::new(journal), Pace::default()).expect("started");
    let sync = Gossip::new().initial_sync();
    let (start, processor, count) = (Instant::now(), processor_time(), sync.len());
    let sending = drafts.clone();
    let sender = std::thread::spawn(move || sync.into_iter().try_for_each(|draft| sending.blocking_send(draft)));
    let mut left = count;
    while left > 0 {
        left -= commits.blocking_recv().expect("the writer goes on").len();
    }
    sender.join().expect("no panic").expect("all taken");
    let used = processor_time() - processor;
    println!("{count} drafts through the writer: {:.2?}, {used:.2?} of both processors", start.elapsed());

    let (start, status, mut longest) = (Instant::now(), writer.status(), Duration::ZERO);
    writer.retainer().retain(later(), RETENTION);
    while start.elapsed() < Duration::from_secs(5) {
        let sent = Instant::now();
        drafts.blocking_send(epoch(START * 2 + start.elapsed().as_millis() as u32)).expect("taken");
        commits.blocking_recv().expect("the writer goes on");
        longest = longest.max(sent.elapsed());
    }
    let forgotten = status.borrow().forgotten;
    println!("forget {forgotten} entries: {:.2?}; a draft waited at most {longest:.2?}", start.elapsed());
}

/// When the six days are past their retention.
fn later() -> UnixMs {
    UnixMs((u64::from(START) + 40 * 24 * 3600) * 1_000)
}

criterion_group!(history, benches);
criterion_main!(history);
