//! The archive in a real PostgreSQL: what it gives back, who may write it, how its tables come about and are kept small.

mod bouncer;
mod days;
mod failures;
mod lease;
mod queries;
mod reading;
mod schema;

use std::time::Duration;

use bitcoin::Network;
use rgsd::gossip::{Direction, Fact, UnixMs};
use rgsd::journal::postgres::{self as store, Archive, Founding, Settings, Shipped, Standing, Wire};
use rgsd::journal::{CollectorId, Draft, Entry, JournalId, Seq, Term};
use tokio_postgres::{Client, Config, NoTls};

use crate::postgres::{Cluster, Database, PASSWORD, ROLE};
use crate::unsigned::{draft, policy, scid, update};

/// Two collectors.
const ONE: CollectorId = CollectorId([1; 16]);
const TWO: CollectorId = CollectorId([2; 16]);

/// Far more than anything here takes.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Noon of a day in 2023.
const NOON_MS: u64 = 1_699_963_200_000;
const DAY_MS: u64 = 86_400_000;

/// A connection as the role that owns the database, by the Unix socket of the shared cluster.
async fn connect(database: &Database) -> Client {
    connect_as(ROLE, database).await
}

/// The same as another role.
async fn connect_as(role: &str, database: &Database) -> Client {
    let cluster = Cluster::shared();
    let mut config = Config::new();
    config.host_path(cluster.socket()).port(cluster.port()).dbname(&database.name).user(role);
    connect_by(&config).await
}

async fn connect_by(config: &Config) -> Client {
    let (client, connection) = config.connect(NoTls).await.expect("connected");
    tokio::spawn(connection);
    client
}

async fn open(database: &Database) -> Archive {
    Archive::open(connect(database).await, TIMEOUT).await.expect("opens")
}

/// The same as a service would, by the database's own URL: over TLS, verified.
async fn open_by_tls(database: &Database) -> (Archive, Wire) {
    let settings = Settings { url: database.url.parse().expect("a URL"), password_file: None };
    let (client, wire) = store::connect(&settings, TIMEOUT).await.expect("connected");
    (Archive::open(client, TIMEOUT).await.expect("opens"), wire)
}

fn founding(holder: CollectorId) -> Founding {
    Founding { journal: JournalId([7; 16]), network: Network::Regtest, holder, term: Term(1), epoch_offset_s: 17 }
}

/// A new archive with its first writer, the collector [`ONE`].
async fn founded(database: &Database) -> (Archive, Standing) {
    let mut archive = open(database).await;
    let standing = archive.found(&founding(ONE)).await.expect("founded");
    (archive, standing)
}

/// The drafts as entries, from number `first` on.
fn numbered(first: u64, drafts: Vec<Draft>) -> Vec<Entry> {
    (first..).map(Seq).zip(drafts).map(|(seq, draft)| draft.numbered(seq)).collect()
}

/// So many updates from number `first` on, all seen at the same time.
fn updates(first: u64, count: u64, seen: UnixMs) -> Vec<Entry> {
    let one = |n: u64| {
        let update = update(scid(n), Direction::from_flags(n as u8), n as u32, &policy(n as u32));
        Draft { seen, ..draft(0, Fact::Update(update)) }
    };
    numbered(first, (first..first + count).map(one).collect())
}

/// Ships `entries` in the term of `standing`, after what was shipped before.
async fn ship(archive: &mut Archive, standing: &Standing, entries: &[Entry]) -> Shipped {
    let after = entries.first().map_or(Seq(0), |entry| Seq(entry.seq.0 - 1));
    archive.ship(standing.term, standing.holder, after, entries).await.expect("the database is well")
}

/// Everything there is, by pages.
async fn all(archive: &mut Archive) -> Vec<Entry> {
    let (mut entries, mut after) = (Vec::new(), Seq(0));
    loop {
        let page = archive.page(after, 1_000).await.expect("readable");
        let Some(last) = page.last() else { return entries };
        after = last.seq;
        entries.extend(page);
    }
}

/// Waits for a condition in the database, for a minute at most.
async fn wait_for(database: &Database, what: &str, condition: &str) {
    for _ in 0..3_000 {
        if database.value(condition) == "t" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("after a minute still not: {what}");
}

#[track_caller]
fn assert_says(error: &anyhow::Error, parts: &[&str]) {
    let sentence = format!("{error:#}");
    for part in parts {
        assert!(sentence.contains(part), "{part:?} is not in {sentence:?}");
    }
    assert!(!sentence.contains(PASSWORD), "{sentence}");
}
