//! What differs is found, in the order of scids; what is the same, or cannot be told, is not.

use proptest::prelude::*;
use proptest::test_runner::Config;
use serde_json::json;

use super::*;
use crate::gossip::{NodeId, ShortChannelId};
use crate::history::View;
use crate::snapshot::testing::*;
use crate::snapshot::{Version, encode_full};

fn encoded(view: &View, version: Version) -> Vec<u8> {
    encode_full(view, ChainHash::REGTEST, version).expect("small enough")
}

fn loaded(name: &str, bytes: Vec<u8>) -> anyhow::Result<Loaded> {
    load_snapshot(&Opened { name: name.to_owned(), bytes, packed: None })
}

fn outcome(a: &View, b: &View) -> Outcome {
    let [a, b] = [("a", a), ("b", b)].map(|(name, view)| loaded(name, encoded(view, Version::V2)).expect("full"));
    let differences = compare(&a.network, &b.network);
    Outcome { identical: differences.is_empty(), a: a.about, b: b.about, differences }
}

/// The lines of the differences.
fn said(a: &View, b: &View) -> Vec<String> {
    let text = print::text(&outcome(a, b), usize::MAX);
    let lines = text.lines().filter(|line| line.starts_with(['+', '-', '~'])).map(str::to_owned);
    lines.collect()
}

fn hex(id: NodeId) -> String {
    id.to_string()
}

proptest! {
    #![proptest_config(Config { cases: 64, ..Config::default() })]

    #[test]
    fn a_view_and_its_snapshot_are_the_same_network(view in views()) {
        let bytes = encoded(&view, Version::V2);
        let of_snapshot = Network::of_snapshot(&decode(&bytes).expect("a snapshot")).expect("a full one");
        prop_assert_eq!(&of_snapshot, &Network::of_view(&view));
        prop_assert!(compare(&of_snapshot, &of_snapshot).is_empty());
    }

    #[test]
    fn the_versions_of_a_snapshot_differ_in_nothing_that_both_can_tell(view in views()) {
        let bytes = encoded(&view, Version::V1);
        let v1 = Network::of_snapshot(&decode(&bytes).expect("a snapshot")).expect("a full one");
        for differences in [compare(&v1, &Network::of_view(&view)), compare(&Network::of_view(&view), &v1)] {
            prop_assert!(differences.is_empty());
            prop_assert_eq!(differences.compared, Compared { capacities: false, node_details: false });
        }
    }
}

#[test]
fn every_kind_of_difference_is_one_line_in_the_order_of_scids() {
    let mut a = chain_of(4);
    let mut b = a.clone();
    let [one, two, three, four] = [0, 1, 2, 3].map(|n| hex(a.nodes[n].id));
    a.channels.push(channel(9 << 40, [0, 3]));
    b.channels.push(channel(4 << 40, [1, 3]));
    b.channels.sort_by_key(|channel| channel.scid);
    b.channels[0].policies[1].fee_base_msat = 7;
    b.channels[0].policies[1].enabled = false;
    b.channels[1].capacity_sat = None;
    b.channels[1].features = [0, 8].into();
    b.channels[2].nodes = [0, 2];
    a.nodes[2].details = details(&[1], &address(1, 9));
    b.nodes[2].details = details(&[1], &[]);
    b.nodes[1].details = details(&[2], &[]);
    assert_eq!(
        said(&a, &b),
        [
            "~ 1x0x0/1  enabled true -> false, fee_base_msat 1000 -> 7".to_owned(),
            "~ 2x0x0  features none -> 08, capacity_sat 1000000 -> untold".to_owned(),
            format!("~ 3x0x0  node_id_1 {three} -> {one}, node_id_2 {four} -> {three}"),
            format!("+ 4x0x0  1000000 sat  {two} {four}"),
            format!("- 9x0x0  1000000 sat  {one} {four}"),
            format!("~ {two}  features untold -> 02, addresses untold -> none"),
            format!("~ {three}  addresses 9.9.9.9:2313 -> none"),
        ]
    );
}

#[test]
fn json_has_everything() {
    let a = chain_of(2);
    let mut b = a.clone();
    b.epoch.timestamp += 60;
    b.channels[0].policies[0].fee_proportional_millionths = 101;
    let json = serde_json::to_value(outcome(&a, &b)).expect("JSON");
    assert_eq!(json["identical"], false);
    assert_eq!(json["compared"], json!({ "capacities": true, "node_details": true }));
    let change = json!({ "field": "fee_proportional_millionths", "from": 100, "to": 101 });
    assert_eq!(json["policies_changed"], json!([{ "scid": "1x0x0", "direction": 0, "changes": [change] }]));
    for key in ["channels_only_in_a", "channels_only_in_b", "channels_changed", "nodes_changed"] {
        assert_eq!(json[key], json!([]), "{key}");
    }
    assert_eq!(json["b"]["timestamp"], 1_600_000_063);
    let keys: Vec<&String> = json["a"].as_object().expect("an object").keys().collect();
    let known =
        ["bytes", "chain", "channels", "format", "nodes", "policies", "source", "time", "timestamp", "version"];
    assert_eq!(keys, known);
}

#[test]
fn people_see_the_sides_a_summary_and_the_first_differences() {
    let a = chain_of(40);
    let mut b = a.clone();
    b.epoch.timestamp += 3660;
    b.channels.iter_mut().for_each(|channel| channel.policies[0].cltv_expiry_delta = 41);
    let text = print::text(&outcome(&a, &b), SHOWN);
    for line in [
        "timestamp  2020-09-13T12:26:43Z  2020-09-13T13:27:43Z  1h 1m later",
        "nodes                        40                    40         same",
        "policies that differ        39",
        "~ 20x0x0/0  cltv_expiry_delta 40 -> 41\n… and 19 more; --all prints every one",
    ] {
        assert!(text.contains(line), "{line:?} is missing:\n{text}");
    }
    assert!(!text.contains("21x0x0"));
    assert!(print::text(&outcome(&a, &b), usize::MAX).ends_with("~ 39x0x0/0  cltv_expiry_delta 40 -> 41\n"));
    assert!(print::text(&outcome(&a, &a), SHOWN).ends_with("No difference.\n"));
}

#[test]
fn a_delta_is_not_compared() {
    // The last byte is the flags of the last update, which says nothing but the defaults.
    let mut bytes = encoded(&chain_of(2), Version::V2);
    *bytes.last_mut().expect("not empty") |= 1 << 7;
    let error = format!("{:#}", loaded("delta.bin", bytes).expect_err("refused"));
    assert!(error.starts_with("delta.bin: it is not a full snapshot, and only full ones can be compared"), "{error}");
    assert!(error.contains("channel 1x0x0, direction 1"), "{error}");

    let whole = encoded(&chain_of(2), Version::V1);
    let decoded = decode(&whole).expect("a snapshot");
    let mut unannounced = decoded.clone();
    unannounced.channels.clear();
    let not_full = Network::of_snapshot(&unannounced).expect_err("refused");
    assert_eq!(not_full.scid, ShortChannelId::new(1, 0, 0));
}

#[tokio::test]
async fn what_is_neither_a_snapshot_nor_a_recording_is_told_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("x");
    for (content, why) in [(&b""[..], "it is empty"), (b"LD", "in no format"), (b"\x08\0\0\0 old", "version")] {
        std::fs::write(&file, content).expect("written");
        let source = file.display().to_string().parse().expect("a source");
        let found = || source::find(&source, LIMITS);
        let (a, b) = (found().await.expect("there"), found().await.expect("there"));
        let terms = Terms {
            network: bitcoin::Network::Regtest,
            graph: crate::journal::Graph::Complete,
            retention: std::time::Duration::from_secs(1),
            signatures: crate::gossip::check::Signatures::Checked,
            strict: false,
        };
        let error = format!("{:#}", load_both(a, b, None, terms).expect_err("refused"));
        assert!(error.contains(&file.display().to_string()) && error.contains(why), "{error}");
    }
}
