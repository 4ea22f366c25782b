//! What is decoded is what was written, by us and by others; what the official client makes of the same bytes is the
//! same; and no bytes at all are a surprise.

mod client;
mod draft;

use proptest::prelude::*;
use proptest::test_runner::Config;

use self::draft::{Draft, DraftFeatures, DraftUpdate, drafts};
use super::*;
use crate::gossip::addresses_in;
use crate::history::View;
use crate::snapshot::encode::{addresses as told_addresses, significant};
use crate::snapshot::encode_full;
use crate::snapshot::testing::*;

const BOTH: [Version; 2] = [Version::V1, Version::V2];

fn encoded(view: &View, version: Version) -> Vec<u8> {
    encode_full(view, draft::CHAIN, version).expect("small enough")
}

/// Asserts that a decoded snapshot says what the view says.
fn assert_says(decoded: &Decoded<'_>, view: &View) {
    let v2 = decoded.version == Version::V2;
    assert_eq!((decoded.chain, decoded.timestamp), (draft::CHAIN, view.epoch.timestamp));
    assert_eq!((decoded.nodes.len(), decoded.channels.len()), (view.nodes.len(), view.channels.len()));
    assert!(decoded.trailing().is_empty() && decoded.additional == Additional::default());
    for (read, told) in decoded.channels.iter().zip(&view.channels) {
        assert_eq!((read.scid, read.features), (told.scid, significant(&told.features)));
        assert_eq!(read.capacity_sat, told.capacity_sat.filter(|_| v2));
        let ids = |nodes: [u32; 2]| nodes.map(|node| decoded.nodes[node as usize].id);
        assert_eq!(ids(read.nodes), told.nodes.map(|node| view.nodes[node as usize].id));
    }
    for read in &decoded.nodes {
        let told = view.nodes.iter().find(|node| node.id == read.id).expect("a node of the view").details.as_ref();
        let told = told.filter(|_| v2);
        assert_eq!(read.features, told.map(|details| significant(&details.features)));
        let addresses = read.addresses.map(|addresses| addresses.iter().collect::<Vec<_>>());
        assert_eq!(addresses, told.map(|details| told_addresses(details).collect()));
        assert!(!read.reminder);
    }
    let policies = view.channels.iter().flat_map(|channel| {
        let direction = |n: usize| Direction::BOTH[n];
        (0..2).map(move |n| (channel.scid, direction(n), Told::Full(channel.policies[n])))
    });
    assert!(policies.eq(decoded.updates.iter().map(|update| (update.scid, update.direction, update.told))));
}

/// Asserts that a decoded snapshot says what the draft says.
fn assert_is(decoded: &Decoded<'_>, draft: &Draft) {
    let v2 = draft.version == Version::V2;
    assert_eq!((decoded.version, decoded.timestamp), (draft.version, draft.timestamp));
    assert_eq!(decoded.nodes.len(), draft.nodes.len());
    for (read, told) in decoded.nodes.iter().zip(&draft.nodes) {
        assert_eq!(read.id.as_slice(), told.id);
        assert_eq!(read.reminder, told.reminder && v2);
        let features = match &told.features {
            DraftFeatures::Untold => None,
            DraftFeatures::Default(index) => Some(&draft.default_features[*index]),
            DraftFeatures::Here(features) => Some(features),
        };
        assert_eq!(read.features, features.filter(|_| v2).map(Vec::as_slice));
        let addresses = read.addresses.map(|read| read.iter().map(<[u8]>::to_vec).collect::<Vec<_>>());
        assert_eq!(addresses, told.addresses.clone().filter(|_| v2));
    }
    assert_eq!(decoded.channels.len(), draft.channels.len());
    for (read, told) in decoded.channels.iter().zip(&draft.channels) {
        assert_eq!((read.scid.0, read.features), (told.scid, &told.features[..]));
        assert_eq!(read.nodes.map(|node| node as usize), told.nodes);
        assert_eq!(read.capacity_sat, told.additional.as_ref().filter(|_| v2).map(|(capacity_sat, _)| *capacity_sat));
    }
    assert_eq!(decoded.updates, draft.updates.iter().map(|update| expected(draft, update)).collect::<Vec<_>>());
    assert_eq!(decoded.defaults, (!draft.updates.is_empty()).then_some(draft.defaults));
}

fn expected(draft: &Draft, update: &DraftUpdate) -> Update {
    let enabled = !update.disabled;
    let told = match (update.incremental, update.changes) {
        (false, changes) => Told::Full(changes.applied_to(Policy { enabled, ..draft.defaults })),
        (true, changes) if changes == Changes::default() => Told::Reminder,
        (true, changes) => Told::Incremental(changes),
    };
    let direction = Direction::from_flags(update.direction);
    Update { scid: ShortChannelId(update.scid), direction, enabled, told }
}

/// Any draft, of either version.
fn any_draft() -> impl Strategy<Value = Draft> {
    prop_oneof![drafts(Version::V1, 1_700_000_000), drafts(Version::V2, 1_700_000_000)]
}

/// Decodes whatever it is, and asserts of errors what is promised of them.
fn survives(bytes: &[u8]) {
    match decode(bytes) {
        Ok(decoded) => {
            let parts: usize = Part::ALL.iter().map(|part| decoded.part(*part).len()).sum();
            assert_eq!(parts + decoded.trailing().len(), bytes.len());
        }
        Err(error) => assert!(error.at <= bytes.len() && !error.expected.is_empty(), "{error}"),
    }
}

proptest! {
    #![proptest_config(Config { cases: 64, ..Config::default() })]

    #[test]
    fn what_our_encoder_writes_is_read(view in views()) {
        for version in BOTH {
            assert_says(&decode(&encoded(&view, version)).expect("a snapshot"), &view);
        }
    }

    #[test]
    fn what_others_may_write_is_read(draft in any_draft(), trailing in 0..3_usize) {
        let mut bytes = draft.bytes();
        let end = bytes.len();
        bytes.extend(vec![0; trailing]);
        let decoded = decode(&bytes).expect("a snapshot");
        assert_is(&decoded, &draft);
        prop_assert_eq!(decoded.trailing(), end..end + trailing);
    }

    #[test]
    fn every_byte_is_in_one_part(draft in any_draft()) {
        let bytes = draft.bytes();
        let decoded = decode(&bytes).expect("a snapshot");
        let mut parts: Vec<u8> = Part::ALL.iter().flat_map(|part| decoded.part(*part).into_owned()).collect();
        let mut all = bytes.clone();
        parts.sort_unstable();
        all.sort_unstable();
        prop_assert_eq!(parts, all);
        prop_assert_eq!(decoded.part(Part::NodeIds).len(), 4 + 33 * draft.nodes.len());
    }

    #[test]
    fn cut_short_anywhere_it_is_an_error_there(draft in any_draft()) {
        let bytes = draft.bytes();
        for len in 0..bytes.len() {
            let error = decode(&bytes[..len]).expect_err("cut short");
            prop_assert!(error.at <= len, "{} of {}: {}", len, bytes.len(), error);
        }
    }

    #[test]
    fn arbitrary_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400), version in 1..=2_u8) {
        survives(&bytes);
        let head = [&b"LDK"[..], &[version], &[0; 36]].concat();
        survives(&[&head, &bytes[..]].concat());
        survives(&[&head, &[0, 0, 0, 0, 3][usize::from(version == 1)..], &bytes[..]].concat());
    }

    #[test]
    fn a_mutated_snapshot_is_survived(
        draft in any_draft(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = draft.bytes();
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        survives(&bytes);
    }
}

/// A snapshot with one of everything, of which pieces can be replaced.
fn small() -> (View, Vec<u8>) {
    let mut view = chain_of(2);
    view.nodes[1].details = details(&[5], &address(1, 9));
    let bytes = encoded(&view, Version::V2);
    (view, bytes)
}

fn refused(bytes: &[u8]) -> String {
    decode(bytes).expect_err("refused").to_string()
}

#[test]
fn errors_name_the_byte_and_what_belongs_there() {
    let (_, good) = small();
    let with = |at: usize, bytes: &[u8]| {
        let mut copy = good.clone();
        copy[at..at + bytes.len()].copy_from_slice(bytes);
        refused(&copy)
    };
    assert_eq!(
        refused(b""),
        "byte 0: expected \"LDK\", with which every snapshot begins (3 bytes), but the snapshot ends there"
    );
    assert_eq!(with(0, b"X"), "byte 0: expected \"LDK\", with which every snapshot begins, but found something else");
    assert_eq!(with(3, &[3]), "byte 3: expected version 1 or 2, but found 3");
    assert_eq!(
        refused(&good[..38]),
        "byte 36: expected the timestamp (4 bytes), but the snapshot ends 2 bytes later"
    );
    assert_eq!(
        with(41, &u32::MAX.to_be_bytes()),
        "byte 41: expected the number of nodes, of which official clients accept 200000, but found 4294967295"
    );
    // Whose features are a default that nobody told; whose address says that it is longer than it can be.
    let second = 45 + 33;
    assert!(good[second] & NODE_ADDRESSES_AND_FEATURES == NODE_ADDRESSES_AND_FEATURES);
    let told = with(second, &[2 | 1 << 3]);
    assert_eq!(told, "byte 78: expected a node with one of 0 default features, but it names number 1");
    let told = with(second + 34, &[8]);
    assert!(
        told.starts_with("byte 112: expected an address and its length, but found 8 bytes, the last 1"),
        "{told}"
    );
    let channels = decode(&good).expect("good").sections.channels;
    assert_eq!(
        with(channels + 6, &[0xff, 0, 0, 0, 0, 1]).split(',').next_back(),
        Some(" but 16777216 takes more bytes there than a BigSize may")
    );
    assert_eq!(
        with(channels + 15, &[2]),
        format!("byte {}: expected the index of one of 2 nodes, but found 2", channels + 15)
    );
}

const NODE_ADDRESSES_AND_FEATURES: u8 = 0b0011_1100;

#[test]
fn a_capacity_that_is_not_there_is_an_error() {
    let mut draft = one_channel();
    draft.channels[0].additional = Some((7, Vec::new()));
    let bytes = draft.bytes();
    let at = decode(&bytes).expect("good").sections.updates - 3;
    let empty = [&bytes[..at], &[0, 0], &bytes[at + 3..]].concat();
    assert_eq!(
        refused(&empty),
        format!("byte {}: expected a channel's capacity, but the additional data end first", at + 2)
    );
    let short = [&bytes[..at], &[0, 1, 0xff], &bytes[at + 3..]].concat();
    assert_eq!(
        refused(&short),
        format!("byte {}: expected a channel's capacity, but the additional data end first", at + 2)
    );
}

fn one_channel() -> Draft {
    let nodes = [1_u32, 2].map(|n| draft::DraftNode {
        id: node(n).id.as_slice().try_into().expect("33 bytes"),
        reminder: false,
        addresses: None,
        features: DraftFeatures::Untold,
        additional: None,
    });
    let channel = draft::DraftChannel { scid: 9, features: Vec::new(), nodes: [0, 1], additional: None };
    Draft {
        version: Version::V2,
        timestamp: 1,
        default_features: Vec::new(),
        nodes: nodes.to_vec(),
        channels: vec![channel],
        defaults: POLICY,
        updates: Vec::new(),
    }
}

#[test]
fn additional_data_may_be_longer_than_a_u16_says() {
    let (mut draft, more) = (one_channel(), vec![7; 70_000]);
    draft.nodes[1].additional = Some(Vec::new());
    let bytes = draft.bytes();
    let at = decode(&bytes).expect("good").sections.channels - 2;
    let length = [&[0xff, 0xff][..], &(70_000_u64 - 0xffff).to_be_bytes()].concat();
    let longer = [&bytes[..at], &length, &more, &bytes[at + 2..]].concat();
    assert_eq!(decode(&longer).expect("good").additional, Additional { pieces: 1, bytes: 70_000 });
    let endless = [&bytes[..at], &[0xff; 10], &bytes[at + 2..]].concat();
    assert!(refused(&endless).contains("its length is beyond all that can be"));
}

#[test]
fn a_count_allocates_nothing_by_itself() {
    let head = [&b"LDK\x01"[..], &[0; 36]].concat();
    for tail in
        [&[0, 3, 0x0d, 0x40][..], &[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], &[0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0x27, 0xc0]]
    {
        let bytes = [&head, tail].concat();
        let error = decode(&bytes).expect_err("cut short");
        assert_eq!(error.at, bytes.len(), "{error}");
    }
}

#[test]
fn addresses_of_the_view_are_addresses() {
    let (view, bytes) = small();
    let decoded = decode(&bytes).expect("good");
    let node = decoded.nodes.iter().find(|node| node.has_details()).expect("with details");
    let told = view.nodes[1].details.as_ref().expect("with details");
    assert!(node.addresses.expect("told").iter().eq(addresses_in(&told.addresses)));
}
