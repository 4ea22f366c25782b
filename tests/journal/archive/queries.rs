//! The queries that the README shows: each says what it promises, and finds it by an index.

use std::time::{SystemTime, UNIX_EPOCH};

use rgsd::gossip::{Closing, Direction, Fact, Policy, ShortChannelId, UnixMs};
use rgsd::journal::{Draft, Entry};

use super::{DAY_MS, founded, numbered, ship};
use crate::postgres::{Cluster, Database};
use crate::unsigned::{announcement, draft, policy, update};

const README: &str = include_str!("../../../README.md");

fn queries() -> Vec<&'static str> {
    let (_, begin) = README.split_once("```sql\n").expect("the queries");
    let (queries, _) = begin.split_once("```").expect("their end");
    queries.split(';').map(str::trim).filter(|query| !query.is_empty()).collect()
}

fn channel(n: u32) -> ShortChannelId {
    ShortChannelId::new(800_000, n, 1)
}

/// An update by a channel's first node, some hours before now.
fn said(now_ms: u64, hours_ago: u64, n: u32, policy: &Policy) -> Draft {
    let seen = UnixMs(now_ms - hours_ago * 3_600_000);
    Draft { seen, ..draft(0, Fact::Update(update(channel(n), Direction::OneToTwo, seen.secs(), policy))) }
}

/// Three days: every channel announced and heard once a day, saying the same; channel 12 changes its mind, channel 13
/// is closed, channel 14 for an hour only.
fn three_days(now_ms: u64) -> Vec<Entry> {
    let mut drafts = Vec::new();
    let ago = |hours: u64, fact| Draft { seen: UnixMs(now_ms - hours * 3_600_000), ..draft(0, fact) };
    for n in 1..=100 {
        let announcement = announcement(channel(n), [1 + u32::from(n > 20), 2 + n], &[]);
        drafts.push(ago(71, Fact::Channel { announcement, capacity_sat: Some(50_000) }));
    }
    for hours in [70, 46, 22] {
        drafts.extend((1..=3_000).map(|n| said(now_ms, hours, n, &policy(1))));
    }
    let closed = Fact::Closed { scid: channel(13), reason: Closing::Unfunded };
    drafts.push(ago(21, closed));
    drafts.push(ago(21, Fact::Closed { scid: channel(14), reason: Closing::Spent { height: 900_000 } }));
    drafts.push(ago(20, Fact::Reopened { scid: channel(14) }));
    let fees = [5, 6, 7, 7];
    drafts.extend(fees.iter().map(|fee| said(now_ms, 20, 12, &policy(*fee))));
    let fresh = said(now_ms, 19, 5_000, &policy(1));
    drafts.push(fresh);
    numbered(1, drafts)
}

async fn filled(now_ms: u64) -> Database {
    let database = Cluster::shared().database();
    let (mut archive, standing) = founded(&database).await;
    let entries = three_days(now_ms);
    let days = entries.chunk_by(|a, b| a.seen.0 / DAY_MS == b.seen.0 / DAY_MS);
    for day in days {
        ship(&mut archive, &standing, day).await;
    }
    database.sql("VACUUM ANALYZE rgsd.entry");
    database
}

#[tokio::test]
async fn the_documented_queries_find_what_they_promise() {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64;
    let database = filled(now_ms).await;
    let [history, busiest, opened, node, kept_alive] = queries()[..] else { panic!("not five") };

    let rows = database.rows(history);
    let fees: Vec<&str> = rows.iter().map(|row| &row[2][..]).collect();
    assert_eq!(fees, ["1", "1", "1", "5", "6", "7", "7"]);

    assert_eq!(database.rows(busiest), [["800000x12x1", "0", "3", "100", "100"]]);

    let rows = database.rows(opened);
    let sum = |column: usize| rows.iter().map(|row| row[column].parse::<u32>().expect("a number")).sum::<u32>();
    assert_eq!((sum(1), sum(2), sum(3)), (100, 2, 1));

    let rows = database.rows(node);
    assert_eq!(rows.len(), 19, "twenty channels, and one of them closed");
    let twelfth = rows.iter().find(|row| row[0] == "800000x12x1").expect("open");
    assert_eq!(twelfth[1..], ["50000", "0", "t", "7", "100", "f"]);

    assert_eq!(database.rows(kept_alive), [["3001", "3", "1"]]);
}

#[tokio::test]
async fn the_documented_queries_use_the_indexes() {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64;
    // Told at noon, so that no day has but a few entries, which are read as they lie.
    let database = filled(now_ms / DAY_MS * DAY_MS + DAY_MS / 2).await;
    let plan = |query: &str| database.rows(&format!("EXPLAIN (COSTS OFF) {query}")).concat().join("\n");
    let queries = queries();
    let history = plan(queries[0]);
    assert!(history.contains("scid_idx") && !history.contains("Seq Scan on entry_"), "{history}");
    let opened = plan(queries[2]);
    assert!(opened.contains("kind_seen_idx") && !opened.contains("Seq Scan on entry_"), "{opened}");
    let node = plan(queries[3]);
    assert!(node.contains("node_id_1_idx") && node.contains("scid_idx"), "{node}");
}

#[tokio::test]
async fn the_views_show_each_kind() {
    let database = Cluster::shared().database();
    let (mut archive, standing) = founded(&database).await;
    ship(&mut archive, &standing, &numbered(1, crate::unsigned::one_of_each())).await;
    let channels = "SELECT seq, channel, capacity_sat, left(node_1, 2), octet_length(message),
        get_byte(message, 0) * 256 + get_byte(message, 1) FROM rgsd.channel_announcement ORDER BY seq";
    let length = database.value("SELECT octet_length(body) FROM rgsd.entry WHERE seq = 1");
    assert_eq!(
        database.rows(channels),
        [["1", "0x0x7", "", "02", &length, "256"], ["2", "0x0x7", "2100000000000000", "02", &length, "256"]]
    );
    let updates = "SELECT channel, direction, fee_base_msat, extract(epoch FROM message_timestamp)::bigint,
        octet_length(message) FROM rgsd.channel_update ORDER BY seq";
    let expected = [["0x0x7", "0", "1", "1700000000", "138"], ["0x0x7", "1", "4294967295", "4294967295", "138"]];
    assert_eq!(database.rows(updates), expected);
    let nodes = "SELECT node, extract(epoch FROM message_timestamp)::bigint FROM rgsd.node_announcement";
    assert_eq!(database.rows(nodes), [[format!("02{:064}", 1), "1700000000".to_owned()]]);
    let epochs = "SELECT timestamp, rules_version, graph FROM rgsd.epoch ORDER BY seq";
    assert_eq!(database.rows(epochs), [["1700000017", "2", "routable"], ["1700003617", "2", "complete"]]);
    let closings = "SELECT channel, reason, height FROM rgsd.closing ORDER BY seq";
    let expected = [
        ["0x0x7", "silent", ""],
        ["0x0x8", "unfunded", ""],
        ["0x0x9", "spent", "4294967295"],
        ["0x0x7", "possible splice", "800000"],
        ["0x0x9", "reopened", ""],
    ];
    assert_eq!(database.rows(closings), expected);
    let hash = crate::unsigned::block(800_001).hash.to_string();
    assert_eq!(database.rows("SELECT height, hash FROM rgsd.block"), [["800001", &hash]]);
    let ids = "SELECT rgsd.scid('0x0x7'), rgsd.scid_text(rgsd.scid('16777215x1x65535')), rgsd.scid('1x2'),
        rgsd.scid('16777216x0x0'), rgsd.scid('1x2x70000'), rgsd.scid_text(-1)";
    assert_eq!(database.rows(ids), [["7", "16777215x1x65535", "", "", "", "16777215x16777215x65535"]]);
}
