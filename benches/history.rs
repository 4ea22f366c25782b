//! The journal and the history at mainnet's size: 51,000 channels, then six days of 250,000 updates (half of them
//! keep-alives) and 125,000 node announcements a day, with an epoch an hour.
//!
//! Prints what one run shows (how long an initial sync takes to write, how long a start takes to read, how much
//! memory and disk it takes), then times the views.

mod support;

use std::hint::black_box;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use bitcoin::Network;
use criterion::{Criterion, criterion_group, criterion_main};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rgsd::gossip::UnixMs;
use rgsd::history::History;
use rgsd::journal::{Journal, Pace, Reader, Seq, SqliteJournal, Writer, read_ahead, retention};
use tempfile::TempDir;

use support::process::{processor_time, resident_mb};
use support::talking::Gossip;
use support::unsigned::epoch;

const START: u32 = 1_770_000_000;
const RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);

fn fill(journal: &mut SqliteJournal) {
    let mut network = Gossip::new(START);
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
    network.fill(journal);
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
    let sync = Gossip::new(START).initial_sync();
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
