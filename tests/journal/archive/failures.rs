//! What the database refuses, delays or breaks off is an error with a remedy; nothing is half done, and the next
//! connection goes on.

use std::time::{Duration, Instant};

use rgsd::gossip::UnixMs;
use rgsd::journal::Seq;
use rgsd::journal::postgres::{Archive, Shipped};

use super::{NOON_MS, TIMEOUT, all, assert_says, connect, founded, open, ship, updates};
use crate::postgres::Cluster;

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

/// Neither a lock nor a server that stands still holds an operation for longer than its time-out.
#[tokio::test]
async fn every_operation_ends() {
    let database = Cluster::shared().database();
    let (mut archive, standing) = founded(&database).await;
    ship(&mut archive, &standing, &updates(1, 1, UnixMs(NOON_MS))).await;
    let holding = connect(&database).await;
    holding.batch_execute("BEGIN; LOCK TABLE rgsd.entry, rgsd.archive").await.expect("locked");
    let began = Instant::now();
    let short = Duration::from_secs(1);
    let mut archive = Archive::open(connect(&database).await, short).await.expect("opens");
    archive.look().await.expect_err("locked");
    let mut archive = Archive::open(connect(&database).await, short).await.expect("opens");
    archive.renew(standing.term, standing.holder).await.expect_err("locked");
    let mut archive = Archive::open(connect(&database).await, short).await.expect("opens");
    let late = archive.page(Seq(0), 10).await.expect_err("locked");
    assert_says(&late, &["did not answer within 1s"]);
    assert!(began.elapsed() < TIMEOUT);
    holding.batch_execute("COMMIT").await.expect("ends");
    assert_eq!(all(&mut open(&database).await).await.len(), 1);
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
