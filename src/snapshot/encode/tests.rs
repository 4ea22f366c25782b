//! The bytes themselves: that they are the same every time, and that no other choice would give fewer.

mod deltas;

use proptest::prelude::*;
use proptest::test_runner::Config;

use super::super::testing::*;
use super::*;
use crate::history::{ViewChannel, ViewNode};

const CHAIN: ChainHash = ChainHash::SIGNET;

fn encode(view: &View, version: Version) -> Vec<u8> {
    super::encode_full(view, CHAIN, version).expect("small enough")
}

/// How many bytes `write` writes.
pub(super) fn size(write: impl FnOnce(&mut Out)) -> usize {
    let mut out = Out::with_capacity(0);
    write(&mut out);
    out.0.len()
}

#[test]
fn an_empty_view_is_a_head_and_three_zeros() {
    let v1 = encode(&view(Vec::new(), Vec::new()), Version::V1);
    assert_eq!(v1[..4], *b"LDK\x01");
    assert_eq!(v1[4..36], *CHAIN.as_bytes());
    assert_eq!(v1[36..], [&1_600_000_003_u32.to_be_bytes()[..], &[0; 12]].concat());
    assert_eq!(encode(&view(Vec::new(), Vec::new()), Version::V2).len(), 53);
}

#[test]
fn a_single_channel_byte_for_byte() {
    let mut view = chain_of(2);
    view.channels[0].policies[1].fee_proportional_millionths = 7;
    view.channels[0].policies[1].enabled = false;
    view.nodes[1].details = details(&[0, 5], &address(1, 9));
    let [one, two] = [0, 1].map(|n| view.nodes[n].id.as_slice());
    let scid = [0xff, 0, 0, 1, 0, 0, 0, 0, 0];
    let defaults = [&[0, 40][..], &1000_u64.to_be_bytes(), &1000_u32.to_be_bytes(), &7_u32.to_be_bytes()].concat();
    let defaults = [&defaults[..], &990_000_000_u64.to_be_bytes()].concat();
    let updates = [&[0, 0, 0, 2][..], &defaults, &scid, &[0b1000, 0, 0, 0, 100], &[0, 0b11]].concat();

    let nodes = [&[0, 0, 0, 2], one, two].concat();
    let channels = [&[0, 0, 0, 1, 0, 0][..], &scid, &[0, 1]].concat();
    assert_eq!(encode(&view, Version::V1)[40..], [&nodes[..], &channels, &updates].concat());

    let told = [&[2 | 4 | 7 << 3], &two[1..], &[1, 7, 1, 9, 9, 9, 9, 9, 9, 0, 1, 5]].concat();
    let nodes = [&[0, 0, 0, 0, 2], one, &told].concat();
    let capacity = [0, 5, 0xfe, 0, 0x0f, 0x42, 0x40];
    let channels = [&[0, 0, 0, 1, 0, 0][..], &scid, &[0, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1], &capacity].concat();
    assert_eq!(encode(&view, Version::V2)[40..], [&nodes[..], &channels, &updates].concat());
}

#[test]
fn features_say_no_more_than_they_mean() {
    let mut view = chain_of(3);
    view.channels[0].features = [0, 0, 1].into();
    view.nodes[0].details = details(&[0, 8, 8, 8], &[]);
    view.nodes[1].details = details(&[8, 8, 8], &[]);
    let mut shorter = view.clone();
    shorter.channels[0].features = [1].into();
    shorter.nodes[0].details = shorter.nodes[1].details.clone();
    for version in [Version::V1, Version::V2] {
        assert_eq!(encode(&view, version), encode(&shorter, version));
    }
}

#[test]
fn a_network_that_wallets_would_drop_is_an_error() {
    let nodes: Vec<ViewNode> = (0..200_001).map(node).collect();
    assert!(encode_full(&view(nodes[..200_000].to_vec(), Vec::new()), CHAIN, Version::V1).is_ok());
    let error = encode_full(&view(nodes, Vec::new()), CHAIN, Version::V1);
    assert_eq!(error, Err(TooLarge::Network { nodes: 200_001, channels: 0 }));
    let channels: Vec<_> = (0..300_001).map(|n| channel(n, [0, 1])).collect();
    let error = encode_full(&view(vec![node(0), node(1)], channels), CHAIN, Version::V2);
    assert_eq!(error, Err(TooLarge::Network { nodes: 2, channels: 300_001 }));
}

proptest! {
    #![proptest_config(Config { cases: 32, ..Config::default() })]

    #[test]
    fn the_same_view_gives_the_same_bytes(view in views()) {
        for version in [Version::V1, Version::V2] {
            prop_assert_eq!(encode(&view, version), encode(&view.clone(), version));
        }
    }

    #[test]
    fn no_other_default_features_are_smaller(uses in prop::collection::vec((0..9u8, 0..3usize), 1..14)) {
        let sets: Vec<Vec<u8>> = uses.iter().map(|(n, len)| vec![n + 1; *len * 2]).collect();
        let mut view = chain_of(u32::try_from(sets.len()).expect("few") + 1);
        for (node, features) in view.nodes.iter_mut().zip(&sets) {
            node.details = details(features, &[]);
        }
        let contents = Contents::full(&view);
        let with = |defaults: &[&[u8]]| size(|out| {
            defaults.iter().for_each(|features| out.with_u16_length(features));
            contents.nodes.iter().for_each(|node| node_v2(node, defaults, out));
        });
        let chosen = with(&default_features(&contents));
        let mut distinct: Vec<&[u8]> = sets.iter().map(Vec::as_slice).collect();
        distinct.sort_unstable();
        distinct.dedup();
        for choice in (0..1_u32 << distinct.len()).filter(|choice| choice.count_ones() <= 6) {
            let picked = distinct.iter().enumerate().filter(|(n, _)| choice >> n & 1 == 1);
            let picked: Vec<&[u8]> = picked.map(|(_, features)| *features).collect();
            prop_assert!(with(&picked) >= chosen, "{:?} is smaller", picked);
        }
    }
}

proptest! {
    #![proptest_config(Config { cases: 4, ..Config::default() })]

    /// An index takes one byte or three here, so an order is the best one if no exchange across that line betters it.
    #[test]
    fn no_other_order_of_nodes_is_smaller(
        ends in prop::collection::vec((0..257_u32, 0..16_u32, any::<bool>()), 40..80),
    ) {
        let mut view = chain_of(257);
        let more = (1..).zip(ends).filter(|(_, (one, other, _))| one != other);
        view.channels.extend(more.map(|(n, (one, other, known))| {
            let capacity_sat = known.then_some(5);
            ViewChannel { capacity_sat, ..channel((300 + n) << 40, [one.min(other), one.max(other)]) }
        }));
        let contents = Contents::full(&view);
        for version in [Version::V1, Version::V2] {
            let with = |indexes: &Indexes| size(|out| announcements(&contents, indexes, version, out));
            let mut indexes = Indexes::new(&contents, version);
            let chosen = with(&indexes);
            for (low, high) in (0..253).flat_map(|low| (253..257).map(move |high| (low, high))) {
                exchange(&mut indexes, low, high);
                prop_assert!(with(&indexes) >= chosen);
                exchange(&mut indexes, low, high);
            }
        }
    }
}

fn exchange(indexes: &mut Indexes, low: usize, high: usize) {
    indexes.order.swap(low, high);
    let [low, high] = [low, high].map(|index| indexes.order[index] as usize);
    indexes.of.swap(low, high);
}

#[test]
fn the_versions_order_nodes_each_to_its_own_good() {
    // Node 2 is named most often, but as the second: with a capacity, v2 spends nine bytes on it anyway.
    let channels = vec![channel(1, [0, 2]), channel(2, [1, 2]), channel(3, [1, 2])];
    let mut view = view((0..3).map(node).collect(), channels);
    let order = |view: &View, version| Indexes::new(&Contents::full(view), version).order;
    assert_eq!(order(&view, Version::V1), [2, 1, 0]);
    assert_eq!(order(&view, Version::V2), [1, 0, 2]);
    view.channels.iter_mut().for_each(|channel| channel.capacity_sat = None);
    assert_eq!(order(&view, Version::V2), [2, 1, 0]);
}

#[test]
fn big_sizes_are_bolt_ones() {
    let cases: [(u64, &[u8]); 7] = [
        (0, &[0]),
        (252, &[252]),
        (253, &[0xfd, 0, 253]),
        (65_535, &[0xfd, 0xff, 0xff]),
        (65_536, &[0xfe, 0, 1, 0, 0]),
        (u64::from(u32::MAX), &[0xfe, 0xff, 0xff, 0xff, 0xff]),
        (u64::from(u32::MAX) + 1, &[0xff, 0, 0, 0, 1, 0, 0, 0, 0]),
    ];
    for (value, bytes) in cases {
        let mut out = Out::with_capacity(9);
        out.big_size(value);
        assert_eq!(out.0, bytes, "{value}");
    }
}
