//! What the archive takes it gives back, in order.

use proptest::prelude::*;
use rgsd::gossip::{Direction, Fact, Policy, UnixMs};
use rgsd::journal::postgres::Shipped;
use rgsd::journal::{Draft, Entry, Seq};

use super::{NOON_MS, all, assert_says, founded, numbered, open, open_by_tls, ship, updates};
use crate::postgres::Cluster;
use crate::unsigned::{announcement, draft, epoch, node, node_announcement, one_of_each, policy, scid, update};

#[tokio::test]
async fn gives_back_what_it_took() {
    let database = Cluster::shared().database();
    let (mut archive, standing) = founded(&database).await;
    let entries = numbered(1, one_of_each());
    assert_eq!(ship(&mut archive, &standing, &entries).await, Shipped::Done);
    assert_eq!(all(&mut archive).await, entries);
    assert_eq!(all(&mut open(&database).await).await, entries);
    let (mut encrypted, _wire) = open_by_tls(&database).await;
    assert_eq!(all(&mut encrypted).await, entries);
    let more = updates(entries.len() as u64 + 1, 10_000, UnixMs(NOON_MS));
    assert_eq!(ship(&mut encrypted, &standing, &more).await, Shipped::Done);
    assert_eq!(all(&mut encrypted).await, [entries.clone(), more].concat());
    let look = archive.look().await.expect("readable").expect("founded");
    assert_eq!((look.last_seq, look.last_epoch), (Seq(entries.len() as u64 + 10_000), Some(1_700_003_617)));
    assert!(look.renewals > standing.renewals);
}

#[tokio::test]
async fn keeps_the_largest_numbers() {
    let most = Policy {
        htlc_minimum_msat: u64::MAX,
        htlc_maximum_msat: u64::MAX,
        fee_base_msat: u32::MAX,
        fee_proportional_millionths: u32::MAX,
        cltv_expiry_delta: u16::MAX,
        enabled: false,
    };
    let facts = vec![
        Fact::Update(update(scid(u64::MAX), Direction::TwoToOne, u32::MAX, &most)),
        Fact::Channel { announcement: announcement(scid(1 << 63), [1, 2], &[0; 300]), capacity_sat: Some(u64::MAX) },
        Fact::Node(node_announcement(u32::MAX, u32::MAX, &[0; 400], &[0; 50_000])),
        Fact::Proof { scid: scid(u64::MAX), capacity_sat: u64::MAX },
    ];
    let mut drafts: Vec<Draft> = facts.into_iter().map(|fact| draft(0, fact)).collect();
    drafts.push(epoch(u32::MAX));
    for (seen_ms, draft) in [0, 1, 999, NOON_MS + 123, 9_224_318_015_999_999].into_iter().zip(&mut drafts) {
        draft.seen = UnixMs(seen_ms);
    }
    let database = Cluster::shared().database();
    let (mut archive, standing) = founded(&database).await;
    let entries = numbered(1, drafts);
    ship(&mut archive, &standing, &entries).await;
    assert_eq!(all(&mut archive).await, entries);

    let row = "SELECT rgsd.scid_text(scid), htlc_maximum_msat, fee_base_msat, cltv_expiry_delta, direction, disabled,
        extract(epoch FROM message_timestamp)::bigint FROM rgsd.entry WHERE seq = 1";
    let shown = ["16777215x16777215x65535", &i64::MAX.to_string(), &u32::MAX.to_string(), "65535", "1", "t"];
    assert_eq!(database.rows(row)[0][..6], shown);
    assert_eq!(database.rows(row)[0][6], u32::MAX.to_string());

    // A moment that no database can tell is told as the last one that can be.
    let mut later = updates(6, 1, UnixMs(u64::MAX));
    ship(&mut archive, &standing, &later).await;
    later[0].seen = UnixMs(9_224_318_015_999_999);
    assert_eq!(archive.page(Seq(5), 10).await.expect("readable"), later);
}

#[tokio::test]
async fn reads_by_pages_over_gaps() {
    let database = Cluster::shared().database();
    let (mut archive, standing) = founded(&database).await;
    // The local journal has forgotten some before they were shipped.
    let mut entries = updates(1, 100, UnixMs(NOON_MS));
    entries.retain(|entry| entry.seq.0 > 20 && entry.seq.0 % 3 != 0);
    let shipped = archive.ship(standing.term, standing.holder, Seq(0), &entries).await.expect("well");
    assert_eq!(shipped, Shipped::Done);

    assert_eq!(archive.page(Seq(0), 5).await.expect("readable"), entries[..5]);
    assert_eq!(archive.page(entries[4].seq, 1_000).await.expect("readable"), entries[5..]);
    assert_eq!(archive.page(Seq(100), 10).await.expect("readable"), []);
    assert_eq!(archive.page(Seq(u64::MAX), usize::MAX).await.expect("readable"), []);

    let at = |seq: u64| entries.iter().rev().find(|entry| entry.seq.0 <= seq).cloned();
    for seq in [0, 20, 21, 22, 23, 24, 25, 99, 100, 1_000, u64::MAX] {
        assert_eq!(archive.entry_at_or_before(Seq(seq)).await.expect("readable"), at(seq), "{seq}");
    }
}

#[tokio::test]
async fn says_which_entry_makes_no_sense() {
    let database = Cluster::shared().database();
    let (mut archive, standing) = founded(&database).await;
    ship(&mut archive, &standing, &updates(1, 10, UnixMs(NOON_MS))).await;
    let spoils = [
        "body = '\\x0102'",
        "body = decode(repeat('00', 65544), 'hex')",
        "kind = 99",
        "kind = -1",
        "seen = 'infinity'",
        "seen = '-infinity'",
        "seen = '1969-12-31'",
    ];
    for spoil in spoils {
        database.sql(&format!("UPDATE rgsd.entry SET {spoil} WHERE seq = 7"));
        let error = archive.page(Seq(0), 100).await.expect_err(spoil);
        assert_says(&error, &["archive", "damaged", "entry 7", "back-up"]);
        database.sql(
            "UPDATE rgsd.entry SET body = b.body, kind = b.kind, seen = b.seen
            FROM rgsd.entry AS b WHERE entry.seq = 7 AND b.seq = 6",
        );
    }
    assert_eq!(archive.page(Seq(0), 100).await.expect("mended").len(), 10);
    // Numbers that no journal gives.
    for (seq, word) in [(-5, "seq is -5"), (0, "entry 0")] {
        database.sql(&format!(
            "INSERT INTO rgsd.entry (seq, seen, kind, body) SELECT {seq}, seen, kind, body FROM rgsd.entry WHERE seq = 7"
        ));
        let error = archive.entry_at_or_before(Seq(0)).await.expect_err("no number");
        assert_says(&error, &["archive", "damaged", word]);
    }
    database.sql(
        "ALTER TABLE rgsd.entry DROP CONSTRAINT entry_pkey; INSERT INTO rgsd.entry SELECT * FROM rgsd.entry WHERE seq = 7",
    );
    let error = archive.page(Seq(0), 100).await.expect_err("twice the same");
    assert_says(&error, &["archive", "damaged", "entry 7 comes after entry 7"]);
}

/// What no message can be fills nobody's memory, and does not look like something to take.
#[tokio::test]
async fn does_not_fetch_what_is_too_long_for_a_message() {
    let database = Cluster::shared().database();
    let (mut archive, _) = founded(&database).await;
    database.sql("INSERT INTO rgsd.offered (message) VALUES (decode(repeat('00', 65536), 'hex'))");
    assert!(!archive.look().await.expect("readable").expect("founded").offered);
    archive.offer(&[b"one"]).await.expect("offered");
    assert!(archive.look().await.expect("readable").expect("founded").offered);
    let offered = archive.offered(10).await.expect("readable");
    assert_eq!(offered.iter().map(|(_, message)| &message[..]).collect::<Vec<_>>(), [b"one"]);
    archive.taken(&[offered[0].0]).await.expect("taken");
    assert!(!archive.look().await.expect("readable").expect("founded").offered);
}

#[tokio::test]
async fn keeps_what_is_offered_until_it_is_taken() {
    let database = Cluster::shared().database();
    let (mut archive, standing) = founded(&database).await;
    assert!(!standing.offered);
    let large = vec![7; 65_535];
    archive.offer(&[b"one", b"", &large]).await.expect("offered");
    archive.offer(&[]).await.expect("nothing offered");
    assert!(archive.look().await.expect("readable").expect("founded").offered);
    let offered = archive.offered(2).await.expect("readable");
    assert_eq!(offered.iter().map(|(_, message)| &message[..]).collect::<Vec<_>>(), [&b"one"[..], b""]);
    archive.taken(&[offered[0].0, offered[1].0, i64::MAX]).await.expect("taken");
    let rest = archive.offered(100).await.expect("readable");
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0].1, large);
    archive.taken(&[rest[0].0]).await.expect("taken");
    assert!(!archive.look().await.expect("readable").expect("founded").offered);
}

/// A week is 1.2 million messages: three updates to two announcements of nodes, and few of channels. It is to take less
/// than 400 MB, with all indexes.
#[tokio::test]
async fn is_compact() {
    let database = Cluster::shared().database();
    let (mut archive, standing) = founded(&database).await;
    let one = |n: u64| {
        let channel = scid((n * 7_919 % 8_000) << 40);
        match n % 100 {
            0..60 => Fact::Update(update(channel, Direction::OneToTwo, n as u32, &policy(n as u32))),
            60..97 => Fact::Node(node_announcement(n as u32 % 5_000, n as u32, &[0; 7], &[0; 21])),
            _ => Fact::Channel { announcement: announcement(channel, [n as u32, 1], &[]), capacity_sat: Some(n) },
        }
    };
    let drafts = (0..40_000).map(|n| Draft { seen: UnixMs(NOON_MS + n), ..draft(0, one(n)) }).collect();
    for batch in numbered(1, drafts).chunks(5_000) {
        ship(&mut archive, &standing, batch).await;
    }
    database.sql("VACUUM rgsd.entry");
    let size = "SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('rgsd.entry')";
    let bytes: u64 = database.value(size).parse().expect("a number");
    let a_week = bytes * 1_200_000 / 40_000;
    assert!(a_week < 400_000_000, "{a_week} bytes a week");
}

fn fact() -> impl Strategy<Value = Fact> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..40);
    let heard = (any::<u64>(), any::<bool>(), any::<u32>(), any::<(u64, u64, u32, u32, u16, bool)>());
    prop_oneof![
        heard.prop_map(|(at, back, timestamp, (min, max, base, millionths, cltv, enabled))| {
            let policy = Policy {
                htlc_minimum_msat: min,
                htlc_maximum_msat: max,
                fee_base_msat: base,
                fee_proportional_millionths: millionths,
                cltv_expiry_delta: cltv,
                enabled,
            };
            Fact::Update(update(scid(at), Direction::from_flags(back.into()), timestamp, &policy))
        }),
        (any::<u64>(), any::<[u32; 2]>(), bytes(), any::<Option<u64>>()).prop_map(
            |(at, nodes, features, capacity_sat)| {
                Fact::Channel { announcement: announcement(scid(at), nodes, &features), capacity_sat }
            }
        ),
        (any::<u32>(), any::<u32>(), bytes(), bytes()).prop_map(|(n, timestamp, features, addresses)| Fact::Node(
            node_announcement(n, timestamp, &features, &addresses)
        )),
        any::<(u64, u64)>().prop_map(|(at, capacity_sat)| Fact::Proof { scid: scid(at), capacity_sat }),
        any::<u32>().prop_map(|n| Fact::SyncCompleted { peer: node(n) }),
    ]
}

/// Entries with gaps in their numbers and a clock that jumps by days, and where to cut them into batches.
fn journal() -> impl Strategy<Value = (Vec<Entry>, Vec<usize>)> {
    let line = (1..4_u64, 0..10 * 86_400_000_u64, fact());
    (proptest::collection::vec(line, 1..60), proptest::collection::vec(1..20_usize, 60)).prop_map(|(lines, cuts)| {
        let mut seq = 0;
        let entry = |(gap, seen_ms, fact): (u64, u64, Fact)| {
            seq += gap;
            Draft { seen: UnixMs(NOON_MS + seen_ms), ..draft(0, fact) }.numbered(Seq(seq))
        };
        (lines.into_iter().map(entry).collect(), cuts)
    })
}

#[test]
fn any_journal_comes_back() {
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let database = Cluster::shared().database();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(24));
    let outcome = runner.run(&journal(), |(entries, cuts)| {
        runtime.block_on(async {
            database.sql("DROP SCHEMA IF EXISTS rgsd CASCADE");
            let (mut archive, standing) = founded(&database).await;
            let (mut after, mut rest, mut cuts) = (Seq(0), &entries[..], cuts.into_iter());
            while !rest.is_empty() {
                let (batch, others) = rest.split_at(cuts.next().unwrap_or(1).min(rest.len()));
                let shipped = archive.ship(standing.term, standing.holder, after, batch).await;
                prop_assert_eq!(shipped.expect("the database is well"), Shipped::Done);
                after = batch.last().map_or(after, |entry| entry.seq);
                rest = others;
            }
            prop_assert_eq!(all(&mut archive).await, entries);
            Ok(())
        })
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}
