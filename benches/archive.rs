//! The archive at mainnet's size, in a local PostgreSQL over TLS: how fast an initial sync is shipped, beside inserting
//! its rows one by one; how large a week is; and how long it takes to restore six days into an empty directory.

#[path = "../tests/support/postgres.rs"]
mod cluster;
mod support;

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use bitcoin::Network;
use cluster::{Cluster, Database, Options};
use criterion::{Criterion, criterion_group, criterion_main};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rgsd::gossip::{Clock, SystemClock, UnixMs};
use rgsd::journal::link::{Connector, Link, Role};
use rgsd::journal::postgres::{self, Archive, Founding, Settings, Shipped, Standing};
use rgsd::journal::settle::{Plan, settle};
use rgsd::journal::{Entry, Journal, Reader, Seq, SqliteJournal, Term, codec};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_postgres::types::Type;

use support::budgets;
use support::talking::{DAYS, Gossip};
use support::turns::{middle, slow_group, times};

/// As the service ships.
const BATCH: usize = 5_000;
/// Row by row: enough to tell how slow that is.
const ROWS: usize = 3_000;
const WEEK: usize = 1_200_000;
const TIMEOUT: Duration = Duration::from_secs(30);

fn bench(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    // As PostgreSQL is set up by default, but for room to work in.
    let conf = ["fsync = on", "synchronous_commit = on", "max_wal_size = 4GB", "shared_buffers = 512MB"];
    let options = Options { conf: conf.map(str::to_owned).to_vec(), ..Options::default() };
    let cluster = Cluster::start(options);

    let folder = TempDir::new().expect("a directory");
    let (journal, initial) = fill(&folder);
    println!("a journal of {} entries, {initial} of them an initial sync", journal.last_seq().0);
    let rows = runtime.block_on(insert_row_by_row(&cluster.database(), &entries(&journal, Seq(0), ROWS)));
    println!("row by row: {rows:.0} entries a second");

    let mut group = slow_group(criterion, "archive");
    let sync = entries(&journal, Seq(0), initial);
    let shipped = times(&mut group, "ship an initial sync", || {
        runtime.block_on(ship_initial_sync(&cluster.database(), &journal, &sync))
    });
    if let Some(took) = middle(&shipped) {
        let rate = initial as f64 / took.as_secs_f64();
        let told = format!("{rate:.0} entries a second, {:.0} times as fast as row by row", rate / rows);
        budgets::SHIP.came_to(rate, &told);
    }

    let database = cluster.database();
    let week_mb = runtime.block_on(fill_archive(&database, &journal));
    budgets::WEEK.takes_mb(week_mb, "");
    let restored = times(&mut group, "restore six days", || runtime.block_on(restore(&database, journal.last_seq())));
    middle(&restored).into_iter().for_each(|took| budgets::RESTORE.took(took));
    group.finish();
}

/// Six days of talk that end now, and how many of its entries are the initial sync.
fn fill(folder: &TempDir) -> (SqliteJournal, usize) {
    let start = SystemClock.now().secs() - DAYS * 24 * 3600 - 120;
    let began = UnixMs(u64::from(start) * 1000);
    let mut journal = SqliteJournal::open(folder.path(), Network::Bitcoin, began, &mut rand::rng()).expect("opens");
    let mut network = Gossip::new(start);
    let sync = network.initial_sync();
    for group in sync.chunks(10_000) {
        journal.append(group).expect("room");
    }
    network.fill(&mut journal);
    (journal, sync.len())
}

fn entries(journal: &SqliteJournal, after: Seq, count: usize) -> Vec<Entry> {
    let mut entries = Vec::with_capacity(count);
    let read = journal.read(after, &mut |entry| {
        entries.push(entry);
        if entries.len() < count { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    read.expect("readable");
    entries
}

fn connector(database: &Database) -> Connector {
    let settings = Settings { url: database.url.parse().expect("a URL"), password_file: None };
    Connector { settings, timeout: TIMEOUT }
}

/// One statement and one commit an entry, into a table with the same columns. Returns entries a second.
async fn insert_row_by_row(database: &Database, entries: &[Entry]) -> f64 {
    let Connector { settings, timeout } = connector(database);
    let (client, _wire) = postgres::connect(&settings, timeout).await.expect("connects");
    let table = "CREATE TABLE row_by_row (seq bigint PRIMARY KEY, seen bigint, kind smallint, body bytea)";
    client.batch_execute(table).await.expect("created");
    let started = Instant::now();
    for entry in entries {
        let (kind, body) = codec::encode(&entry.event);
        let row: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 4] = [
            (&(entry.seq.0 as i64), Type::INT8),
            (&(entry.seen.0 as i64), Type::INT8),
            (&i16::from(kind), Type::INT2),
            (&&*body, Type::BYTEA),
        ];
        client.query_typed("INSERT INTO row_by_row VALUES ($1, $2, $3, $4)", &row).await.expect("inserted");
    }
    entries.len() as f64 / started.elapsed().as_secs_f64()
}

/// How long it takes to ship an initial sync to a database that has nothing.
async fn ship_initial_sync(database: &Database, journal: &SqliteJournal, sync: &[Entry]) -> Duration {
    let (mut archive, _wire) = connector(database).connect().await.expect("connects");
    let row = found(&mut archive, journal).await;
    let started = Instant::now();
    ship(&mut archive, &row, Seq(0), sync).await;
    started.elapsed()
}

/// Ships everything. Returns how many MB a week is.
async fn fill_archive(database: &Database, journal: &SqliteJournal) -> f64 {
    let (mut archive, _wire) = connector(database).connect().await.expect("connects");
    let row = found(&mut archive, journal).await;
    let mut last = ship(&mut archive, &row, Seq(0), &entries(journal, Seq(0), WEEK)).await;
    let size = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relnamespace = 'rgsd'::regnamespace \
        AND relkind IN ('r', 'p')";
    let bytes: f64 = database.value(size).parse().expect("a number");
    loop {
        let some = entries(journal, last, 20 * BATCH);
        if some.is_empty() {
            return bytes / 1e6;
        }
        last = ship(&mut archive, &row, last, &some).await;
    }
}

async fn found(archive: &mut Archive, journal: &SqliteJournal) -> Standing {
    let identity = journal.identity();
    let founding = Founding {
        journal: identity.journal,
        network: Network::Bitcoin,
        holder: identity.collector,
        term: Term(1),
        epoch_offset_s: identity.epoch_offset_s,
    };
    archive.found(&founding).await.expect("founded")
}

async fn ship(archive: &mut Archive, row: &Standing, mut after: Seq, entries: &[Entry]) -> Seq {
    for batch in entries.chunks(BATCH) {
        let shipped = archive.ship(row.term, row.holder, after, batch).await.expect("shipped");
        assert_eq!(shipped, Shipped::Done);
        after = batch[batch.len() - 1].seq;
    }
    after
}

/// Restores the archive's journal into an empty directory.
async fn restore(database: &Database, last_seq: Seq) -> Duration {
    let folder = TempDir::new().expect("a directory");
    let mut link = Link::new(connector(database), TIMEOUT, Role::Replica);
    let plan = Plan {
        data_dir: folder.path().to_owned(),
        network: Network::Bitcoin,
        replica: true,
        overtaken_after: None,
        now: SystemClock.now(),
        rng: &mut StdRng::seed_from_u64(1),
        waits: &mut || panic!("the archive is there"),
        progress: &mut |_, _| {},
    };
    let started = Instant::now();
    let settled = settle(&mut link, plan).await.expect("restored");
    let took = started.elapsed();
    assert_eq!(settled.journal.last_seq(), last_seq);
    took
}

criterion_group!(benches, bench);
criterion_main!(benches);
