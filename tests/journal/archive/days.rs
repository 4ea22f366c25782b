//! A partition a day, and retention: what is kept is exactly what was said, and nobody waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rgsd::gossip::{Closing, Fact, UnixMs};
use rgsd::journal::postgres::{Archive, Retained, Shipped};
use rgsd::journal::{Draft, Entry, Seq};

use super::{DAY_MS, NOON_MS, ONE, TWO, all, assert_says, connect, founded, numbered, open, ship, updates};
use crate::postgres::{Cluster, Database};
use crate::shipping::props::Log;
use crate::unsigned::{announcement, draft, scid};

/// The partitions in the order of their numbers, `kept` first.
fn partitions(database: &Database) -> Vec<String> {
    let tables = "SELECT relname, pg_get_expr(relpartbound, oid) FROM pg_class WHERE relispartition AND relkind = 'r'
        ORDER BY relname <> 'kept', nullif(substring(relname from '[0-9]*$'), '')::bigint";
    database.rows(tables).into_iter().map(|row| format!("{} {}", row[0], row[1])).collect()
}

fn noon(day: u64) -> UnixMs {
    UnixMs(NOON_MS + day * DAY_MS)
}

/// Ten entries a day.
async fn ship_days(archive: &mut Archive, standing: &rgsd::journal::postgres::Standing, days: u64) -> Vec<Entry> {
    let mut entries = Vec::new();
    for day in 0..days {
        let batch = updates(day * 10 + 1, 10, noon(day));
        assert_eq!(ship(archive, standing, &batch).await, Shipped::Done);
        entries.extend(batch);
    }
    entries
}

#[tokio::test]
async fn has_a_partition_a_day() {
    let database = Cluster::shared().database();
    let (mut archive, standing) = founded(&database).await;
    let entries = ship_days(&mut archive, &standing, 3).await;
    let expected = [
        "kept FOR VALUES FROM (MINVALUE) TO ('1')",
        "entry_20231114_1 FOR VALUES FROM ('1') TO ('11')",
        "entry_20231115_11 FOR VALUES FROM ('11') TO ('21')",
        "entry_20231116_21 FOR VALUES FROM ('21') TO (MAXVALUE)",
    ];
    assert_eq!(partitions(&database), expected);
    // A batch goes where its first entry belongs; a clock that goes back a little changes nothing.
    let mut across = updates(31, 2, noon(2));
    across[1].seen = noon(3);
    ship(&mut archive, &standing, &across).await;
    ship(&mut archive, &standing, &updates(33, 1, noon(1))).await;
    assert_eq!(partitions(&database), expected);
    // Another connection sees the open day for itself.
    let mut again = open(&database).await;
    ship(&mut again, &standing, &updates(34, 1, noon(2))).await;
    assert_eq!(partitions(&database), expected);
    ship(&mut again, &standing, &updates(35, 1, noon(3))).await;
    assert_eq!(partitions(&database)[4], "entry_20231117_35 FOR VALUES FROM ('35') TO (MAXVALUE)");
    assert_eq!(all(&mut again).await[..30], entries);
    let options =
        database.value("SELECT array_to_string(reloptions, ' ') FROM pg_class WHERE relname = 'entry_20231117_35'");
    assert!(options.contains("autovacuum_vacuum_insert_threshold"), "{options}");
}

#[tokio::test]
async fn a_clock_that_was_far_ahead_holds_up_nothing() {
    let database = Cluster::shared().database();
    let (mut archive, standing) = founded(&database).await;
    for (n, day) in [0, 50_000, 0, 1, 2].into_iter().enumerate() {
        ship(&mut archive, &standing, &updates(n as u64 + 1, 1, noon(day))).await;
    }
    assert_eq!(partitions(&database).len(), 6);
    assert_eq!(archive.retention_bound(noon(2)).await.expect("well"), Some(Seq(5)));
    let retained = archive.retain(standing.term, ONE, Seq(5), noon(2), &[Seq(2)]).await.expect("well");
    assert_eq!(retained, Retained::Done { kept: 1 });
    assert_eq!(all(&mut archive).await.iter().map(|entry| entry.seq.0).collect::<Vec<_>>(), [2, 5]);
}

#[tokio::test]
async fn a_day_that_cannot_turn_turns_later() {
    let database = Cluster::shared().database();
    let (mut archive, standing) = founded(&database).await;
    ship_days(&mut archive, &standing, 1).await;
    let reader = connect(&database).await;
    reader.batch_execute("BEGIN; SELECT count(*) FROM rgsd.entry").await.expect("reads");
    for n in 11..15 {
        assert_eq!(ship(&mut archive, &standing, &updates(n, 1, noon(1))).await, Shipped::Done);
    }
    assert_eq!(partitions(&database).len(), 2);
    reader.batch_execute("COMMIT").await.expect("ends");
    let mut next = 15;
    while partitions(&database).len() == 2 {
        assert!(next < 100, "tried again within so many batches");
        ship(&mut archive, &standing, &updates(next, 1, noon(1))).await;
        next += 1;
    }
    assert!(partitions(&database)[2].starts_with("entry_20231115_"));
    assert_eq!(all(&mut archive).await.len() as u64, next - 1);
}

/// It is said once, and once more when it happens anew; shipping goes on meanwhile.
#[tokio::test]
async fn says_once_that_the_day_cannot_turn() {
    let (log, _captured) = Log::capture();
    let mut said = 0;
    let mut warnings = || {
        said += log.take().iter().filter(|line| line.contains("day cannot turn")).count();
        said
    };
    let database = Cluster::shared().database();
    let (mut archive, standing) = founded(&database).await;
    ship_days(&mut archive, &standing, 1).await;
    let mut next = 11;
    for day in 1..3 {
        database.sql("ALTER SCHEMA rgsd OWNER TO postgres; GRANT USAGE ON SCHEMA rgsd TO rgsd");
        for _ in 0..12 {
            assert_eq!(ship(&mut archive, &standing, &updates(next, 1, noon(day))).await, Shipped::Done);
            next += 1;
        }
        assert_eq!(warnings(), day as usize);
        database.sql("ALTER SCHEMA rgsd OWNER TO rgsd");
        while partitions(&database).len() as u64 == day + 1 {
            assert!(next < 200, "tried again within so many batches");
            ship(&mut archive, &standing, &updates(next, 1, noon(day))).await;
            next += 1;
        }
    }
    assert_eq!(warnings(), 2);
}

#[tokio::test]
async fn keeps_exactly_what_was_said() {
    let database = Cluster::shared().database();
    let (mut archive, standing) = founded(&database).await;
    let mut entries = ship_days(&mut archive, &standing, 5).await;
    assert_eq!(archive.retention_bound(noon(0)).await.expect("well"), None);
    assert_eq!(archive.retention_bound(noon(1)).await.expect("well"), Some(Seq(11)));
    assert_eq!(archive.retention_bound(noon(100)).await.expect("well"), Some(Seq(41)), "the open day stays");

    let bound = archive.retention_bound(noon(2)).await.expect("well").expect("two old days");
    assert_eq!(bound, Seq(21));
    // What the journal holds beyond the bound is not touched, whether it is named or not; nor is what is not there.
    let kept = [1, 3, 12, 20, 25, 1_000].map(Seq);
    assert_eq!(archive.retain(standing.term, TWO, bound, noon(2), &kept).await.expect("well"), Retained::Overtaken);
    assert_eq!(all(&mut archive).await, entries);
    let retained = archive.retain(standing.term, ONE, bound, noon(2), &kept).await.expect("well");
    assert_eq!(retained, Retained::Done { kept: 4 });
    entries.retain(|entry| entry.seq > Seq(20) || kept.contains(&entry.seq));
    assert_eq!(all(&mut archive).await, entries);
    assert_eq!(
        partitions(&database)[..2],
        ["kept FOR VALUES FROM (MINVALUE) TO ('21')", "entry_20231116_21 FOR VALUES FROM ('21') TO ('31')"]
    );

    // And once more, over what was kept.
    let bound = archive.retention_bound(noon(4)).await.expect("well").expect("two old days");
    let kept = [3, 20, 40].map(Seq);
    let retained = archive.retain(standing.term, ONE, bound, noon(4), &kept).await.expect("well");
    assert_eq!(retained, Retained::Done { kept: 3 });
    entries.retain(|entry| entry.seq > Seq(40) || kept.contains(&entry.seq));
    assert_eq!(all(&mut archive).await, entries);
    assert_eq!(ship(&mut archive, &standing, &updates(51, 1, noon(5))).await, Shipped::Done);
    let indexes = "SELECT count(*) FROM pg_index WHERE indrelid = 'rgsd.kept'::regclass AND indisvalid";
    let expected = database.value("SELECT count(*) FROM pg_index WHERE indrelid = 'rgsd.entry'::regclass");
    assert_eq!(database.value(indexes), expected);
    assert_eq!(database.value("SELECT count(*) FROM rgsd.day"), "2");
}

#[tokio::test]
async fn retention_ends_only_at_a_day() {
    let database = Cluster::shared().database();
    let (mut archive, standing) = founded(&database).await;
    let entries = ship_days(&mut archive, &standing, 3).await;
    for bound in [0, 5, 12, 30, 31, u64::MAX / 2] {
        let mut archive = open(&database).await;
        let error =
            archive.retain(standing.term, ONE, Seq(bound), noon(1), &[]).await.expect_err("no day begins there");
        assert_says(&error, &["no partition", &bound.to_string()]);
    }
    assert_eq!(all(&mut archive).await, entries);
}

#[tokio::test]
async fn retention_gives_way_to_a_reader() {
    let database = Cluster::shared().database();
    let (mut archive, standing) = founded(&database).await;
    let entries = ship_days(&mut archive, &standing, 3).await;
    let reader = connect(&database).await;
    reader.batch_execute("BEGIN; SELECT count(*) FROM rgsd.entry").await.expect("reads");
    assert_eq!(archive.retain(standing.term, ONE, Seq(11), noon(1), &[]).await.expect("well"), Retained::Busy);
    assert_eq!(all(&mut archive).await, entries);
    reader.batch_execute("COMMIT").await.expect("ends");
    let retained = archive.retain(standing.term, ONE, Seq(11), noon(1), &[]).await.expect("well");
    assert_eq!(retained, Retained::Done { kept: 0 });
    assert_eq!(all(&mut archive).await, entries[10..]);
}

/// Somebody reads page by page, and has the announcement of a channel whose days go before the next page: the closing
/// is still there, although the journal has forgotten both. It goes by itself, eight days later.
#[tokio::test]
async fn a_closing_outlives_what_it_closed() {
    let database = Cluster::shared().database();
    let (mut archive, standing) = founded(&database).await;
    let opened = Fact::Channel { announcement: announcement(scid(9), [1, 2], &[]), capacity_sat: Some(7) };
    let closed = |n| Fact::Closed { scid: scid(n), reason: Closing::Unfunded };
    let facts = [opened, closed(8), closed(9)];
    let drafts = facts.into_iter().map(|fact| Draft { seen: noon(0), ..draft(0, fact) }).collect();
    let mut entries = numbered(1, drafts);
    entries[1].seen = noon(1);
    ship(&mut archive, &standing, &entries).await;
    for day in 1..13 {
        ship(&mut archive, &standing, &updates(day + 3, 1, noon(day))).await;
    }
    let mut reader = open(&database).await;
    let mut read = reader.page(Seq(0), 1).await.expect("readable");

    // Whether the journal still names it or not: it is there once.
    for (kept, left) in [(&[Seq(3)][..], 2), (&[], 2)] {
        let retained = archive.retain(standing.term, ONE, Seq(4), noon(1), kept).await;
        assert_eq!(retained.expect("well"), Retained::Done { kept: left });
    }
    read.extend(reader.page(Seq(1), 2).await.expect("readable"));
    assert_eq!(read, entries);
    let mut left = Vec::new();
    for (day, bound) in [(8, 11), (9, 12), (10, 13)] {
        assert_eq!(archive.retention_bound(noon(day)).await.expect("well"), Some(Seq(bound)));
        archive.retain(standing.term, ONE, Seq(bound), noon(day), &[]).await.expect("well");
        left.push(
            all(&mut archive).await.iter().map(|entry| entry.seq.0).filter(|seq| *seq <= 3).collect::<Vec<_>>(),
        );
    }
    assert_eq!(left, [vec![2, 3], vec![2], vec![]]);
}

/// While days go, one ships and one reads: neither misses anything, and what is current is always there.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_notices_retention() {
    let database = Cluster::shared().database();
    let (mut archive, standing) = founded(&database).await;
    for day in 0..6 {
        ship(&mut archive, &standing, &updates(day * 2_000 + 1, 2_000, noon(day))).await;
    }
    let done = Arc::new(AtomicBool::new(false));
    let (reading, shipping) = (database.clone(), database.clone());
    let read_until = done.clone();
    let reader = tokio::spawn(async move {
        let mut archive = open(&reading).await;
        let mut passes = 0;
        while !read_until.load(Ordering::SeqCst) || passes == 0 {
            let entries = all(&mut archive).await;
            assert!(entries.is_sorted_by(|a, b| a.seq < b.seq));
            let current = entries.iter().filter(|entry| entry.seq > Seq(10_000));
            let expected = (10_001..).map(Seq);
            assert!(
                current.map(|entry| entry.seq).eq(expected.take_while(|seq| *seq <= entries[entries.len() - 1].seq))
            );
            let kept = entries.iter().filter(|entry| entry.seq <= Seq(10_000) && entry.seq.0 % 10 == 0);
            assert_eq!(kept.count(), 1_000);
            passes += 1;
        }
        passes
    });
    let ship_until = done.clone();
    let term = standing.clone();
    let shipper = tokio::spawn(async move {
        let mut archive = open(&shipping).await;
        let mut next = 12_001;
        while !ship_until.load(Ordering::SeqCst) {
            assert_eq!(ship(&mut archive, &term, &updates(next, 50, noon(5))).await, Shipped::Done);
            next += 50;
        }
        next
    });
    for day in 1..6 {
        let bound = archive.retention_bound(noon(day)).await.expect("well").expect("an old day");
        let kept: Vec<Seq> = (1..bound.0).filter(|seq| seq % 10 == 0).map(Seq).collect();
        let expected = Retained::Done { kept: kept.len() as u64 };
        let mut tries = 0;
        while archive.retain(standing.term, ONE, bound, noon(day), &kept).await.expect("well") != expected {
            tries += 1;
            assert!(tries < 20, "found no moment in between");
        }
    }
    done.store(true, Ordering::SeqCst);
    let next = shipper.await.expect("ships all along");
    assert!(reader.await.expect("reads all along") > 0);
    let entries = all(&mut archive).await;
    assert_eq!(entries.len() as u64, 1_000 + next - 1 - 10_000);
}
