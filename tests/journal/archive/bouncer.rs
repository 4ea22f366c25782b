//! Behind pgbouncer in transaction mode: every operation, and nothing left behind in the server's sessions.

use std::time::Duration;

use rgsd::gossip::UnixMs;
use rgsd::journal::Seq;
use rgsd::journal::Term;
use rgsd::journal::postgres::{Archive, Retained, Shipped};
use tokio_postgres::{Client, Config};

use super::{DAY_MS, NOON_MS, ONE, TIMEOUT, TWO, all, connect_by, founding, numbered, updates};
use crate::postgres::{Cluster, Database, PASSWORD, Pgbouncer, ROLE};
use crate::unsigned::one_of_each;

async fn connect(bouncer: &Pgbouncer, database: &Database) -> Client {
    let mut config = Config::new();
    connect_by(config.host("127.0.0.1").port(bouncer.port()).dbname(&database.name).user(ROLE)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn works_through_pgbouncer() {
    let cluster = Cluster::shared();
    let (database, bouncer) = (cluster.database(), Pgbouncer::start(cluster, false));
    // More clients than pgbouncer has connections: each transaction may run in another session.
    let mut writers = Vec::new();
    for _ in 0..5 {
        writers.push(Archive::open(connect(&bouncer, &database).await, TIMEOUT).await.expect("opens"));
    }
    let mut expected = numbered(1, one_of_each());
    let mut standing = writers[0].found(&founding(ONE)).await.expect("founded");
    writers[0].ship(Term(1), ONE, Seq(0), &expected).await.expect("well");
    writers[0].listen().await.expect("harmless");

    let reading: Vec<_> = writers
        .drain(2..)
        .map(|mut archive| {
            tokio::spawn(async move {
                for _ in 0..20 {
                    assert!(all(&mut archive).await.len() >= 11);
                    archive.look().await.expect("readable").expect("founded");
                }
            })
        })
        .collect();
    for day in 1..20_u64 {
        let writer = &mut writers[day as usize % 2];
        let (after, holder) = (standing.last_seq.max(expected[expected.len() - 1].seq), standing.holder);
        let batch = updates(after.0 + 1, 20, UnixMs(NOON_MS + day * DAY_MS));
        assert_eq!(writer.ship(standing.term, holder, after, &batch).await.expect("well"), Shipped::Done);
        expected.extend(batch);
        assert_eq!(writer.ship(Term(99), holder, after, &expected[..1]).await.expect("well"), Shipped::Overtaken);
        standing = writer.renew(standing.term, holder).await.expect("well").expect("ours");
        let next = if holder == ONE { TWO } else { ONE };
        standing = writer.take_over(&standing, next, 23, Duration::from_secs(15)).await.expect("well").expect("free");
    }
    for reader in reading {
        reader.await.expect("reads all along");
    }
    let writer = &mut writers[0];
    assert_eq!(all(writer).await, expected);
    assert_eq!(writer.end_of_term(Term(1)).await.expect("well"), Some(Seq(one_of_each().len() as u64 + 20)));
    assert_eq!(writer.entry_at_or_before(Seq(7)).await.expect("well").as_ref(), Some(&expected[6]));
    let bound = writer.retention_bound(UnixMs(NOON_MS + 3 * DAY_MS)).await.expect("well").expect("old days");
    let before = UnixMs(NOON_MS + 3 * DAY_MS);
    let retained = writer.retain(standing.term, standing.holder, bound, before, &[Seq(3)]).await.expect("well");
    assert_eq!(retained, Retained::Done { kept: 5 }, "with three closings and a reopening");
    writer.offer(&[b"a message"]).await.expect("offered");
    let offered = writer.offered(5).await.expect("readable");
    writer.taken(&[offered[0].0]).await.expect("taken");
    nothing_is_left(&bouncer, &database).await;
}

/// The server finds out by itself that a writer is gone, in the midst of a transaction and only there.
#[tokio::test]
async fn a_transaction_has_keepalives() {
    let cluster = Cluster::shared();
    let (database, bouncer) = (cluster.database(), Pgbouncer::start(cluster, false));
    let mut archive = Archive::open(connect(&bouncer, &database).await, TIMEOUT).await.expect("opens");
    let standing = archive.found(&founding(ONE)).await.expect("founded");
    database.sql(&format!(
        "SET ROLE rgsd; CREATE TABLE rgsd.noted (setting text);
         CREATE FUNCTION rgsd.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO rgsd.noted SELECT {KEEPALIVES}; RETURN NULL; END $$;
         CREATE TRIGGER note AFTER UPDATE ON rgsd.archive EXECUTE FUNCTION rgsd.note()"
    ));
    archive.renew(standing.term, ONE).await.expect("well").expect("ours");
    assert_eq!(database.value("SELECT setting FROM rgsd.noted"), "5 2 3 30000");
    nothing_is_left(&bouncer, &database).await;
}

/// How the session sees to it that its client lives.
const KEEPALIVES: &str = "concat_ws(' ', current_setting('tcp_keepalives_idle'),
    current_setting('tcp_keepalives_interval'), current_setting('tcp_keepalives_count'),
    current_setting('tcp_user_timeout'))";

/// Looks into each of the server's sessions, by holding them all at once.
async fn nothing_is_left(bouncer: &Pgbouncer, database: &Database) {
    let mut sessions = Vec::new();
    let mut pids = Vec::new();
    let mut config = Config::new();
    config.host("127.0.0.1").port(Cluster::shared().port()).dbname(&database.name).user(ROLE).password(PASSWORD);
    let new = connect_by(&config).await;
    let usual: String = new.query_typed_one(&format!("SELECT {KEEPALIVES}"), &[]).await.expect("a row").get(0);
    assert_ne!(usual, "0 0 0 0", "by TCP");
    for _ in 0..3 {
        let client = connect(bouncer, database).await;
        client.batch_execute("BEGIN").await.expect("begun");
        let state = format!(
            "SELECT pg_backend_pid(), (SELECT count(*) FROM pg_prepared_statements),
             current_setting('lock_timeout'), current_setting('idle_in_transaction_session_timeout'),
             (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'), {KEEPALIVES}"
        );
        let row = client.query_typed_one(&state, &[]).await.expect("a row");
        pids.push(row.get::<_, i32>(0));
        assert_eq!((row.get::<_, i64>(1), row.get::<_, &str>(2), row.get::<_, &str>(3)), (0, "0", "0"));
        assert_eq!((row.get::<_, i64>(4), row.get::<_, &str>(5)), (0, &usual[..]));
        sessions.push(client);
    }
    pids.dedup();
    assert_eq!(pids.len(), 3, "three sessions");
}
