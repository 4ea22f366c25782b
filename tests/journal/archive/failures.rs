//! What the database refuses, delays or breaks off is an error with a remedy; nothing is half done, and the next
//! connection goes on.

use std::time::{Duration, Instant};

use rgsd::gossip::UnixMs;
use rgsd::journal::Seq;
use rgsd::journal::postgres::{Archive, Settings, Shipped, connect as connect_to};

use super::{
    NOON_MS, ONE, TIMEOUT, all, assert_says, connect, connect_as, founded, founding, open, open_by_tls, ship,
    updates, wait_for,
};
use crate::postgres::{Cluster, Database, Options};

/// Long enough for all that is to happen within it.
const SHORT: Duration = Duration::from_secs(2);

async fn open_impatient(database: &Database) -> Archive {
    Archive::open(connect(database).await, SHORT).await.expect("opens")
}

#[tokio::test]
async fn goes_on_when_a_revoked_right_is_given_back() {
    let database = Cluster::shared().database();
    let (mut archive, standing) = founded(&database).await;
    ship(&mut archive, &standing, &updates(1, 10, UnixMs(NOON_MS))).await;
    let batch = updates(11, 100, UnixMs(NOON_MS));
    for table in ["entry", "archive"] {
        database.sql(&format!("REVOKE INSERT, UPDATE ON rgsd.{table} FROM rgsd"));
        let refused = archive.ship(standing.term, standing.holder, Seq(10), &batch).await;
        assert_says(&refused.expect_err("revoked"), &["role lacks a right", "permission denied", table]);
        archive = open(&database).await;
        assert_eq!(all(&mut archive).await.len(), 10);
        database.sql(&format!("GRANT INSERT, UPDATE ON rgsd.{table} TO rgsd"));
    }
    assert_eq!(ship(&mut archive, &standing, &batch).await, Shipped::Done);
    assert_eq!(all(&mut archive).await, updates(1, 110, UnixMs(NOON_MS)));
}

#[tokio::test]
async fn a_statement_timeout_is_respected_and_named() {
    let database = Cluster::shared().database();
    let (mut archive, standing) = founded(&database).await;
    ship(&mut archive, &standing, &updates(1, 1, UnixMs(NOON_MS))).await;
    let holding = connect(&database).await;
    holding.batch_execute("BEGIN; LOCK TABLE rgsd.entry IN SHARE MODE").await.expect("locked");
    let client = connect(&database).await;
    client.batch_execute("SET statement_timeout = 300").await.expect("set");
    let mut archive = Archive::open(client, TIMEOUT).await.expect("opens");
    let broken = archive.ship(standing.term, standing.holder, Seq(1), &updates(2, 10, UnixMs(NOON_MS))).await;
    assert_says(&broken.expect_err("too slow"), &["statement_timeout", "ALTER ROLE"]);
    holding.batch_execute("COMMIT").await.expect("ends");
    let mut archive = open(&database).await;
    assert_eq!(ship(&mut archive, &standing, &updates(2, 10, UnixMs(NOON_MS))).await, Shipped::Done);
}

/// Neither a lock nor a server that stands still holds an operation for longer than its time-out. Somebody else's lock
/// is theirs to end.
#[tokio::test]
async fn every_operation_ends() {
    let database = Cluster::shared().database();
    let (mut archive, standing) = founded(&database).await;
    ship(&mut archive, &standing, &updates(1, 1, UnixMs(NOON_MS))).await;
    let holding = connect_as("postgres", &database).await;
    holding.batch_execute("BEGIN; LOCK TABLE rgsd.entry, rgsd.archive").await.expect("locked");
    let began = Instant::now();
    for reads_the_row in [true, false] {
        let mut archive = open_impatient(&database).await;
        let late = match reads_the_row {
            true => archive.look().await.expect_err("locked"),
            false => archive.page(Seq(0), 10).await.expect_err("locked"),
        };
        assert_says(&late, &["did not answer within 2s"]);
    }
    let mut archive = open_impatient(&database).await;
    let locked = archive.renew(standing.term, standing.holder).await.expect_err("locked");
    assert_says(&locked, &["another session", "locked", "pg_locks"]);
    let mut archive = open_impatient(&database).await;
    let batch = updates(2, 1, UnixMs(NOON_MS));
    let locked = archive.ship(standing.term, standing.holder, Seq(1), &batch).await.expect_err("locked");
    assert_says(&locked, &["another session", "locked", "pg_locks"]);
    assert!(began.elapsed() < TIMEOUT);
    holding.batch_execute("COMMIT").await.expect("still there");
    assert_eq!(all(&mut open(&database).await).await.len(), 1);
}

/// A session of ours that has held the archive for longer than any operation takes is ended, and the next call works.
#[tokio::test]
async fn a_stuck_session_of_our_own_is_ended() {
    let database = Cluster::shared().database();
    let (mut archive, standing) = founded(&database).await;
    ship(&mut archive, &standing, &updates(1, 1, UnixMs(NOON_MS))).await;
    let batch = updates(2, 10, UnixMs(NOON_MS));
    for ships in [false, true] {
        let stuck = connect(&database).await;
        stuck.batch_execute("BEGIN; LOCK TABLE rgsd.entry, rgsd.archive").await.expect("locked");
        let old = "SELECT bool_or(xact_start < clock_timestamp() - interval '2 s') FROM pg_stat_activity
            WHERE datname = current_database() AND state = 'idle in transaction'";
        wait_for(&database, "it is older than an operation may take", old).await;
        let mut archive = open_impatient(&database).await;
        let ended = match ships {
            true => archive.ship(standing.term, standing.holder, Seq(1), &batch).await.map(drop),
            false => archive.renew(standing.term, standing.holder).await.map(drop),
        };
        assert_says(&ended.expect_err("was locked"), &["another session holds a lock"]);
        stuck.batch_execute("COMMIT").await.expect_err("ended");
        let mut archive = open_impatient(&database).await;
        archive.renew(standing.term, standing.holder).await.expect("free").expect("ours");
    }
    assert_eq!(ship(&mut archive, &standing, &batch).await, Shipped::Done);
    assert_eq!(all(&mut archive).await, updates(1, 11, UnixMs(NOON_MS)));
}

/// A copy of the database that PostgreSQL keeps up to date can be followed, though it does not tell of what is new.
#[tokio::test]
async fn a_hot_standby_is_read_and_not_written() {
    let cluster = Cluster::start(Options { conf: vec!["wal_level = replica".to_owned()], ..Options::default() });
    let database = cluster.database();
    let (mut archive, wire) = open_by_tls(&database).await;
    let standing = archive.found(&founding(ONE)).await.expect("founded");
    let entries = updates(1, 10, UnixMs(NOON_MS));
    assert_eq!(ship(&mut archive, &standing, &entries).await, Shipped::Done);
    let empty = cluster.database();
    drop((archive, wire));
    cluster.become_standby();

    let (mut archive, _wire) = open_by_tls(&database).await;
    archive.listen().await.expect("it is looked at instead");
    let row = archive.look().await.expect("readable").expect("founded");
    assert_eq!((row.term, row.last_seq), (standing.term, Seq(10)));
    assert_eq!(all(&mut archive).await, entries);
    let refused = archive.renew(standing.term, ONE).await.expect_err("a copy");
    assert_says(&refused, &["can only be read", "primary"]);
    let settings = Settings { url: empty.url.parse().expect("a URL"), password_file: None };
    let (client, _wire) = connect_to(&settings, TIMEOUT).await.expect("connected");
    let refused = Archive::open(client, TIMEOUT).await.map(drop).expect_err("no tables, and none can be made");
    assert_says(&refused, &["can only be read", "start the collector that writes the archive first"]);
}

#[tokio::test]
async fn a_broken_connection_is_no_refusal_to_tell() {
    let database = Cluster::shared().database();
    let (mut archive, _) = founded(&database).await;
    archive.listen().await.expect("heard");
    let sessions = "FROM pg_stat_activity WHERE datname = current_database() AND usename = 'rgsd'";
    database.sql(&format!("SELECT pg_terminate_backend(pid) {sessions}"));
    wait_for(&database, "the session has ended", &format!("SELECT count(*) = 0 {sessions}")).await;
    archive.listen().await.expect_err("broken");
}

#[tokio::test]
async fn a_default_of_reading_only_is_no_obstacle() {
    let database = Cluster::shared().database();
    let (mut archive, standing) = founded(&database).await;
    database.sql(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", database.name));
    // Not where it is only the default: the archive's own transactions say that they write.
    let mut usual = open(&database).await;
    assert_eq!(ship(&mut usual, &standing, &updates(1, 1, UnixMs(NOON_MS))).await, Shipped::Done);
    assert!(archive.look().await.expect("readable").is_some());
}
