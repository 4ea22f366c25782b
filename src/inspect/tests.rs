//! The report says what is there, in both its forms.

use bitcoin::constants::ChainHash;
use serde_json::Value;

use super::*;
use crate::recording::Packing;
use crate::snapshot::testing::*;
use crate::snapshot::{Version, encode_full};

/// Three channels, of which one has no capacity and one is disabled in a direction; a node with details.
fn bytes(version: Version) -> Vec<u8> {
    let mut view = chain_of(4);
    view.channels[0].capacity_sat = None;
    view.channels[1].policies[1].enabled = false;
    view.nodes[2].details = details(&[7; 100], &address(1, 9));
    encode_full(&view, ChainHash::REGTEST, version).expect("small enough")
}

fn opened(bytes: Vec<u8>) -> Opened {
    Opened { name: "file.bin".to_owned(), bytes, packed: None }
}

#[test]
fn a_report_counts_what_there_is() {
    let report = report(&opened(bytes(Version::V2)), 1_600_000_063).expect("a snapshot");
    assert_eq!((report.version, report.chain.as_deref(), report.age_s), (2, Some("regtest"), 60));
    assert_eq!(report.time, "2020-09-13T12:26:43Z");
    assert_eq!((report.channels, report.channels_with_capacity), (3, 2));
    assert_eq!((report.nodes, report.nodes_with_details, report.nodes_without_details), (4, 1, 3));
    assert_eq!((report.updates, report.updates_full, report.disabled_directions), (6, 6, 1));
    assert_eq!((report.updates_incremental, report.updates_reminder, report.node_reminders), (0, 0, 0));

    let sizes = report.bytes;
    let parts = sizes.rows().map(|(_, sizes)| sizes.raw);
    assert_eq!(parts[..5].iter().sum::<usize>(), parts[5]);
    assert_eq!((sizes.header.raw, sizes.node_ids.raw), (41, 4 + 4 * 33));
    assert_eq!(sizes.node_details.raw, 1 + 8 + 102);
    for packed in [sizes.node_details.gzip, sizes.node_details.brotli, sizes.node_details.zstd] {
        assert!((1..60).contains(&packed), "hundred times the same: {packed}");
    }
}

#[test]
fn version_1_has_no_details_to_take_bytes() {
    let report = report(&opened(bytes(Version::V1)), 0).expect("a snapshot");
    assert_eq!((report.version, report.channels_with_capacity, report.nodes_with_details), (1, 0, 0));
    assert_eq!(report.bytes.node_details, sizes::Sizes::default());
    assert_eq!(report.age_s, -1_600_000_003);
}

#[test]
fn the_names_in_json_stay() {
    let report = report(&opened(bytes(Version::V2)), 0).expect("a snapshot");
    let json = serde_json::to_value(report).expect("JSON");
    let help = <crate::cli::Cli as clap::CommandFactory>::command();
    let help = help.find_subcommand("inspect").and_then(clap::Command::get_after_help).expect("help").to_string();
    let documented = |key: &String| assert!(help.contains(key.as_str()), "{key} is not in the help");
    let object = |value: &Value| value.as_object().expect("an object").clone();
    object(&json).keys().for_each(documented);
    object(&json["bytes"]).keys().for_each(documented);
    object(&json["bytes"]["total"]).keys().for_each(documented);
    assert_eq!(object(&json).len(), 23);
    assert_eq!(json["bytes"]["node_ids"]["raw"], 136);
}

#[test]
fn people_get_lines_that_can_be_piped() {
    let mut bytes = bytes(Version::V2);
    bytes.extend([0; 1000]);
    let opened = Opened { packed: Some(Packing::Gzip), ..opened(bytes) };
    let report = report(&opened, 1_600_007_203).expect("a snapshot");
    let text = print::text(&report);
    for line in [
        "file.bin (unpacked from gzip)\n",
        "version    2\n",
        "chain      regtest\n",
        "timestamp  2020-09-13T12:26:43Z (1600000003), 2h ago\n",
        "channels   3, 2 of them with capacity\n",
        "nodes      4: 1 with details, 3 without\n",
        "updates    6: 6 full, 0 incremental, 0 reminders; 1 disabled directions, 0 disabled channels\n",
        "where the bytes go    raw    share  gzip  brotli  zstd\n",
        "\nThe snapshot ends at byte ",
        "; official clients pass over the 1,000 bytes after it.\n",
    ] {
        assert!(text.contains(line), "{line:?} is missing:\n{text}");
    }
    assert!(text.lines().all(|line| line.len() <= 100 && line == line.trim_end()), "{text}");
}

#[test]
fn an_unknown_chain_is_shown_by_its_hash() {
    let mut bytes = bytes(Version::V2);
    bytes[4..36].fill(0xab);
    let report = report(&opened(bytes), 0).expect("a snapshot");
    assert_eq!(report.chain, None);
    assert_eq!(report.chain_hash, "ab".repeat(32));
    assert!(print::text(&report).contains(&format!("chain      unknown: {}", "ab".repeat(32))));
}

#[test]
fn what_is_damaged_is_named_with_its_byte() {
    let mut bytes = bytes(Version::V2);
    bytes.truncate(100);
    let error = format!("{:#}", report(&opened(bytes), 0).expect_err("damaged"));
    assert_eq!(error, "file.bin: byte 78: expected a node's id (33 bytes), but the snapshot ends 22 bytes later");
}
