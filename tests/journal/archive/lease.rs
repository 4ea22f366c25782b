//! One writer: founding, renewing, shipping, taking over, and what the overtaken one learns.

use std::time::Duration;

use rgsd::gossip::UnixMs;
use rgsd::journal::Term;
use rgsd::journal::postgres::{Archive, Shipped, Standing};
use rgsd::journal::{CollectorId, JournalId, Seq};
use tokio_postgres::CopyInSink;

use super::{NOON_MS, ONE, TWO, all, assert_says, connect, founded, founding, open, ship, updates, wait_for};
use crate::postgres::Cluster;

const LEASE: Duration = Duration::from_secs(15);

async fn look(archive: &mut Archive) -> Standing {
    archive.look().await.expect("readable").expect("founded")
}

#[tokio::test]
async fn is_founded_once_whoever_comes_first() {
    let database = Cluster::shared().database();
    let mut archive = open(&database).await;
    assert_eq!(archive.look().await.expect("readable"), None);
    let racers: Vec<_> = (1..=8)
        .map(|n| {
            let database = database.clone();
            tokio::spawn(async move {
                let founding = super::Founding { journal: JournalId([n; 16]), ..founding(CollectorId([n; 16])) };
                open(&database).await.found(&founding).await.expect("founded by one of us")
            })
        })
        .collect();
    let mut found = Vec::new();
    for racer in racers {
        found.push(racer.await.expect("no panic"));
    }
    let first = look(&mut archive).await;
    assert_eq!(first.journal.0, first.holder.0);
    assert_eq!(
        (&first.network[..], first.last_seq, first.term, first.epoch_offset_s),
        ("regtest", Seq(0), Term(1), 17)
    );
    assert_eq!(first.last_epoch, None);
    for standing in found {
        assert!(standing.now <= first.now);
        assert_eq!(Standing { now: first.now, ..standing }, first);
    }
    assert_eq!(database.value("SELECT count(*) FROM rgsd.term"), "1");
}

/// A journal whose archive was dropped founds it again in its own term: nobody who wrote before has that term.
#[tokio::test]
async fn is_founded_in_the_term_of_its_founder() {
    let database = Cluster::shared().database();
    let mut archive = open(&database).await;
    let founded = archive.found(&super::Founding { term: Term(5), ..founding(ONE) }).await.expect("founded");
    assert_eq!((founded.term, founded.last_seq), (Term(5), Seq(0)));
    assert_eq!(archive.ship(Term(1), ONE, Seq(0), &[]).await.expect("well"), Shipped::Overtaken);
    assert_eq!(ship(&mut archive, &founded, &updates(1, 10, UnixMs(NOON_MS))).await, Shipped::Done);
    let watched = look(&mut archive).await;
    let next = archive.take_over(&watched, TWO, 23, LEASE).await.expect("well").expect("unrenewed since");
    assert_eq!((next.term, next.last_seq), (Term(6), Seq(10)));
    assert_eq!(archive.end_of_term(Term(5)).await.expect("well"), Some(Seq(10)));
    assert_eq!(database.rows("SELECT term, after_seq FROM rgsd.term ORDER BY term"), [["5", "0"], ["6", "10"]]);
}

#[tokio::test]
async fn an_overtaken_writer_can_do_nothing() {
    let database = Cluster::shared().database();
    let (mut one, first) = founded(&database).await;
    ship(&mut one, &first, &updates(1, 10, UnixMs(NOON_MS))).await;
    let renewed = one.renew(first.term, ONE).await.expect("well").expect("ours");
    assert_eq!((renewed.last_seq, renewed.renewals), (Seq(10), first.renewals + 2));

    let mut two = open(&database).await;
    let second = two.take_over(&renewed, TWO, 23, LEASE).await.expect("well").expect("unrenewed since");
    assert_eq!((second.term, second.holder, second.epoch_offset_s), (Term(2), TWO, 23));
    assert_eq!(second.last_seq, Seq(10));
    assert_eq!(two.end_of_term(Term(2)).await.expect("well"), None);

    assert_eq!(one.renew(first.term, ONE).await.expect("well"), None);
    assert_eq!(ship(&mut one, &first, &updates(11, 5, UnixMs(NOON_MS))).await, Shipped::Overtaken);
    // Nor in the other's name, nor in the other's term, nor with the archive's end elsewhere.
    let batch = updates(11, 5, UnixMs(NOON_MS + 2 * super::DAY_MS));
    for (term, holder, after) in [(Term(1), TWO, 10), (Term(2), ONE, 10), (Term(2), TWO, 9), (Term(3), TWO, 10)] {
        let shipped = one.ship(term, holder, Seq(after), &batch).await.expect("well");
        assert_eq!(shipped, Shipped::Overtaken, "{term:?} {holder} {after}");
    }
    assert_eq!(ship(&mut two, &second, &updates(11, 3, UnixMs(NOON_MS))).await, Shipped::Done);
    assert_eq!(one.end_of_term(Term(1)).await.expect("well"), Some(Seq(10)));
    assert_eq!(all(&mut one).await.len(), 13);
}

#[tokio::test]
async fn nobody_takes_over_from_a_writer_that_lives() {
    let database = Cluster::shared().database();
    let (mut one, first) = founded(&database).await;
    let mut two = open(&database).await;
    one.renew(first.term, ONE).await.expect("well").expect("ours");
    assert_eq!(two.take_over(&first, TWO, 23, LEASE).await.expect("well"), None);
    let watched = look(&mut two).await;
    ship(&mut one, &first, &updates(1, 1, UnixMs(NOON_MS))).await;
    assert_eq!(two.take_over(&watched, TWO, 23, LEASE).await.expect("well"), None);
    assert_eq!(look(&mut two).await.term, Term(1));
    // Of several that saw the same, one succeeds.
    let watched = look(&mut two).await;
    let mut three = open(&database).await;
    let (a, b) = tokio::join!(
        two.take_over(&watched, TWO, 23, LEASE),
        three.take_over(&watched, CollectorId([3; 16]), 23, LEASE)
    );
    let (a, b) = (a.expect("well"), b.expect("well"));
    assert!(a.is_some() != b.is_some(), "{a:?} {b:?}");
}

/// The former writer's process stands still in the middle of a batch: its transaction stays open, with the
/// archive's row locked, and entries that nobody else could write.
#[tokio::test]
async fn a_writer_that_stands_still_is_ended() {
    let database = Cluster::shared().database();
    let (mut one, first) = founded(&database).await;
    ship(&mut one, &first, &updates(1, 10, UnixMs(NOON_MS))).await;
    let stuck = connect(&database).await;
    let begun = "BEGIN; UPDATE rgsd.archive SET last_seq = 12;
        INSERT INTO rgsd.entry (seq, seen, kind, body) VALUES (11, now(), 7, '\\x00')";
    stuck.batch_execute(begun).await.expect("begun");
    let copying: CopyInSink<bytes::Bytes> =
        stuck.copy_in("COPY rgsd.entry (seq, seen, kind, body) FROM STDIN").await.expect("copying");

    // Somebody who reads for as long, and another role, have nothing to do with it.
    let reader = connect(&database).await;
    reader.batch_execute("BEGIN; SELECT count(*) FROM rgsd.entry").await.expect("reads");

    let watched = look(&mut one).await;
    let two = Archive::open(connect(&database).await, Duration::from_secs(8)).await;
    let mut two = two.expect("opens");
    // It has not stood still for long enough.
    let early = two.take_over(&watched, TWO, 23, Duration::from_secs(3_600)).await.expect_err("locked");
    assert_says(&early, &["locked", "pg_locks"]);

    let mut two = Archive::open(connect(&database).await, Duration::from_secs(8)).await.expect("opens");
    let second = two.take_over(&watched, TWO, 23, Duration::from_millis(100)).await.expect("the stuck one is ended");
    let second = second.expect("unrenewed");
    assert_eq!((second.term, second.last_seq), (Term(2), Seq(10)));
    assert_eq!(ship(&mut two, &second, &updates(11, 5, UnixMs(NOON_MS))).await, Shipped::Done);
    assert_eq!(all(&mut two).await, updates(1, 15, UnixMs(NOON_MS)));
    reader.batch_execute("COMMIT").await.expect("still there");
    drop(copying);
    stuck.batch_execute("SELECT 1").await.expect_err("ended");
}

/// A process that is killed leaves its last batch undecided only until the server has noticed.
#[tokio::test]
async fn a_batch_is_there_as_a_whole_or_not_at_all() {
    let database = Cluster::shared().database();
    let (mut one, first) = founded(&database).await;
    for round in 0..10_u64 {
        let standing = look(&mut one).await;
        let batch = updates(standing.last_seq.0 + 1, 3_000, UnixMs(NOON_MS));
        let mut dying = open(&database).await;
        let (term, holder) = (first.term, first.holder);
        let batch_of_dying = batch.clone();
        let shipping =
            tokio::spawn(async move { dying.ship(term, holder, standing.last_seq, &batch_of_dying).await });
        tokio::time::sleep(Duration::from_millis(3 * round)).await;
        shipping.abort();
        let _ = shipping.await;
        let idle = "SELECT count(*) = 0 FROM pg_stat_activity
            WHERE datname = current_database() AND usename = 'rgsd' AND xact_start IS NOT NULL";
        wait_for(&database, "the aborted transaction has ended", idle).await;
        let after = look(&mut one).await.last_seq;
        assert!(after == standing.last_seq || after.0 == standing.last_seq.0 + 3_000, "{after:?}");
        assert_eq!(all(&mut one).await, updates(1, after.0, UnixMs(NOON_MS)));
        if after == standing.last_seq {
            assert_eq!(ship(&mut one, &first, &batch).await, Shipped::Done);
        }
    }
}
