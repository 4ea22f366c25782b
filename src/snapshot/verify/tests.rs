//! What the official client reads, and that a difference of any kind is found where it is.

use bitcoin::constants::ChainHash;
use proptest::prelude::*;
use proptest::test_runner::Config;

use super::super::encode::{encode_apart, encode_full};
use super::super::testing::*;
use super::super::{Contents, ToldUpdate, What};
use super::*;
use crate::history::Changed;

const NETWORK: Network = Network::Signet;
const BOTH: [Version; 2] = [Version::V1, Version::V2];

fn encode(view: &View, version: Version) -> Vec<u8> {
    encode_full(view, ChainHash::using_genesis_block_const(NETWORK), version).expect("small enough")
}

fn check(view: &View, version: Version) -> Result<Differences, Rejected> {
    differences(view, &encode(view, version), version, NETWORK, now_s())
}

/// What is found in a full snapshot of `view` and one of these contents.
fn check_both(view: &View, returning: &Contents) -> Result<Differences, Rejected> {
    let encode = |contents| encode_apart(contents, ChainHash::using_genesis_block_const(NETWORK), Version::V2);
    let [(full, updates_at), (returning, _)] = [&Contents::full(view), returning].map(|c| encode(c).expect("small"));
    differences_of_both(view, [&full, &returning], updates_at, NETWORK, now_s())
}

fn assert_read(view: &View) {
    for version in BOTH {
        assert_eq!(check(view, version), Ok(Differences::default()), "{version:?}");
    }
}

proptest! {
    #![proptest_config(Config { cases: 96, ..Config::default() })]

    #[test]
    fn the_client_reads_the_view(view in views()) {
        for version in BOTH {
            prop_assert_eq!(check(&view, version), Ok(Differences::default()));
        }
    }

    #[test]
    fn a_changed_channel_is_found(view in views(), which: prop::sample::Index, part in 0..9, direction in 0..2usize) {
        prop_assume!(!view.channels.is_empty());
        let bytes = BOTH.map(|version| encode(&view, version));
        let mut changed = view;
        let at = which.index(changed.channels.len());
        let channel = &mut changed.channels[at];
        let (scid, policy) = (channel.scid, &mut channel.policies[direction]);
        match part {
            0 => policy.htlc_minimum_msat ^= 1,
            1 => policy.htlc_maximum_msat ^= 1,
            2 => policy.fee_base_msat ^= 1,
            3 => policy.fee_proportional_millionths ^= 1,
            4 => policy.cltv_expiry_delta ^= 1,
            5 => policy.enabled ^= true,
            6 => channel.features = Box::new([1, 2, 3, 4, 5]),
            7 => channel.nodes.reverse(),
            _ => channel.capacity_sat = Some(channel.capacity_sat.map_or(5, |sat| sat ^ 1)),
        }
        for (bytes, version) in bytes.iter().zip(BOTH) {
            let found = differences(&changed, bytes, version, NETWORK, now_s());
            let expected = (part != 8 || version == Version::V2).then_some(scid);
            prop_assert_eq!(found.map(|found| found.channels), Ok(expected.into_iter().collect()));
        }
    }

    #[test]
    fn a_changed_node_is_found(view in views(), which: prop::sample::Index, part in 0..2) {
        prop_assume!(!view.nodes.is_empty());
        let bytes = encode(&view, Version::V2);
        let mut changed = view;
        let at = which.index(changed.nodes.len());
        let node = &mut changed.nodes[at];
        node.details = match (&node.details, part) {
            (Some(_), 0) => None,
            (Some(now), _) => details(&now.features, &[&now.addresses[..], &address(1, 1)].concat()),
            (None, _) => details(&[], &[]),
        };
        let id = node.id;
        let found = differences(&changed, &bytes, Version::V2, NETWORK, now_s());
        prop_assert_eq!(found, Ok(Differences { nodes: [id].into(), ..Differences::default() }));
    }
}

#[test]
fn nothing_and_a_single_channel() {
    assert_read(&view(Vec::new(), Vec::new()));
    assert_read(&chain_of(2));
}

#[test]
fn around_the_one_byte_boundary() {
    for nodes in 251..=257 {
        let mut view = chain_of(nodes);
        assert_read(&view);
        view.channels.iter_mut().for_each(|channel| channel.capacity_sat = None);
        assert_read(&view);
    }
}

#[test]
fn beyond_the_three_byte_boundary() {
    assert_read(&chain_of(65_540));
}

#[test]
fn extreme_policies() {
    let mut view = chain_of(4);
    let [none, most, off] = &mut view.channels[..] else { panic!("three channels") };
    let nothing = Policy {
        htlc_minimum_msat: 0,
        htlc_maximum_msat: 0,
        fee_base_msat: 0,
        fee_proportional_millionths: 0,
        cltv_expiry_delta: 0,
        enabled: true,
    };
    none.policies = [nothing, POLICY];
    most.capacity_sat = Some(ALL_MSAT / 1000);
    most.policies[0] = Policy {
        htlc_minimum_msat: u64::MAX,
        htlc_maximum_msat: ALL_MSAT,
        fee_base_msat: u32::MAX,
        fee_proportional_millionths: u32::MAX,
        cltv_expiry_delta: u16::MAX,
        enabled: true,
    };
    off.policies.iter_mut().for_each(|policy| policy.enabled = false);
    assert_read(&view);
}

#[test]
fn twenty_addresses_of_every_type_and_long_features() {
    let every: Vec<u8> = (1..=5).flat_map(|kind| (0..20).flat_map(move |n| address(kind, n))).collect();
    let mut view = chain_of(5);
    view.nodes[0].details = details(&[0x80; 32], &every);
    view.nodes[1].details = details(&[], &every);
    view.nodes[2].details = details(&[], &[]);
    view.nodes[3].details = details(&[1; 3], &[address(1, 9), vec![99, 1, 2, 3]].concat());
    for channel in &mut view.channels {
        channel.features = [0xff; 32].into();
    }
    assert_read(&view);
}

#[test]
fn addresses_that_cannot_be_told_are_left_out() {
    let (longest, too_long) = (host_name(&[b'x'; 251]), host_name(&[b'x'; 252]));
    let odd = host_name("käse.example".as_bytes());
    let mut view = chain_of(2);
    view.nodes[0].details = details(&[1], &[too_long, odd, longest, address(4, 1)].concat());
    view.nodes[1].details = details(&[1], &address(1, 1).repeat(300));
    assert_read(&view);
    let tail = encode(&view, Version::V2);
    assert!(!tail.windows(5).any(|bytes| bytes == "käse".as_bytes()));
}

#[test]
fn a_maximum_that_the_client_ignores_is_found() {
    let mut view = chain_of(4);
    view.channels[0].policies[1].htlc_maximum_msat = 1_000_000_001; // a msat over the capacity
    view.channels[1].policies[0].htlc_maximum_msat = ALL_MSAT + 1;
    let scids = |n: &[usize]| n.iter().map(|n| view.channels[*n].scid).collect::<BTreeSet<_>>();
    assert_eq!(check(&view, Version::V1).map(|found| found.channels), Ok(scids(&[1])));
    assert_eq!(check(&view, Version::V2).map(|found| found.channels), Ok(scids(&[0, 1])));
}

#[test]
fn a_refusal_names_the_channel() {
    let mut view = chain_of(5);
    view.channels[2].nodes = [1, 1];
    for version in BOTH {
        let Err(Rejected::ByClient { at, .. }) = check(&view, version) else { panic!("taken") };
        assert_eq!(at, Some(view.channels[2].scid));
    }
}

#[test]
fn what_was_not_told_is_found() {
    let view = chain_of(5);
    let bytes = encode(&view, Version::V1);
    let mut fewer = view.clone();
    fewer.channels.pop();
    let found = differences(&fewer, &bytes, Version::V1, NETWORK, now_s());
    assert_eq!(found, Err(Rejected::ChannelCount { told: 3, read: 4 }));
}

#[test]
fn bytes_that_are_no_snapshot_are_refused() {
    let view = chain_of(3);
    let bytes = encode(&view, Version::V2);
    for broken in [&bytes[..0], &bytes[..30], &bytes[..bytes.len() - 1]] {
        assert!(differences(&view, broken, Version::V2, NETWORK, now_s()).is_err());
    }
    assert!(differences(&view, &bytes, Version::V2, Network::Bitcoin, now_s()).is_err());
}

#[test]
fn a_returning_wallet_reads_the_same_and_what_has_gone() {
    let view = chain_of(50);
    let gone: Vec<_> = [3, u64::MAX >> 1].map(ShortChannelId).into();
    assert_eq!(check_both(&view, &Contents::full(&view).with_departed(&gone)), Ok(Differences::default()));
}

#[test]
fn what_a_returning_wallet_reads_otherwise_is_found() {
    let mut view = chain_of(50);
    // Nothing of it is as the defaults say, so that telling parts of it takes fewer bytes than telling it whole.
    let policy = Policy {
        htlc_minimum_msat: 7,
        htlc_maximum_msat: 70_000,
        fee_base_msat: 77,
        fee_proportional_millionths: 777,
        cltv_expiry_delta: 7,
        enabled: true,
    };
    view.channels[20].policies[0] = policy;
    let scid = view.channels[20].scid;
    let expected = Ok(Differences { channels: [scid].into(), ..Differences::default() });
    let part = Changed { fee_base_msat: true, ..Changed::default() };
    let all = Changed {
        enabled: true,
        cltv_expiry_delta: true,
        htlc_minimum_msat: true,
        htlc_maximum_msat: true,
        fee_base_msat: true,
        fee_proportional_millionths: true,
    };
    let others: [(&str, Option<What>); 6] = [
        ("another policy", Some(What::Whole(POLICY))),
        ("a part, for whom has the rest", Some(What::Parts(policy, part))),
        ("every part, for whom has any", Some(What::Parts(policy, all))),
        ("a reminder", Some(What::Reminder { enabled: true })),
        ("that it is gone", Some(What::Gone)),
        ("nothing", None),
    ];
    for (told, what) in others {
        let mut contents = Contents::full(&view);
        let place = contents.updates.iter().position(|update| update.scid == scid).expect("told");
        match what {
            Some(what) => contents.updates[place] = ToldUpdate { what, ..contents.updates[place].clone() },
            None => drop(contents.updates.remove(place)),
        }
        assert_eq!(check_both(&view, &contents), expected, "{told}");
    }
}

#[test]
fn what_a_returning_wallet_is_told_before_the_updates_counts_too() {
    let view = chain_of(50);
    let mut contents = Contents::full(&view);
    contents.channels[7].capacity_sat = Some(77_777_777);
    let expected = Differences { channels: [view.channels[7].scid].into(), ..Differences::default() };
    assert_eq!(check_both(&view, &contents), Ok(expected));
}

#[test]
fn updates_that_are_said_to_begin_elsewhere_are_refused() {
    let view = chain_of(50);
    let bytes = encode(&view, Version::V2);
    let contents = Contents::full(&view).with_departed(&[ShortChannelId(3)]);
    let chain = ChainHash::using_genesis_block_const(NETWORK);
    let (returning, updates_at) = encode_apart(&contents, chain, Version::V2).expect("small enough");
    let check = |at| differences_of_both(&view, [&bytes, &returning], at, NETWORK, now_s());
    assert_eq!(check(updates_at), Ok(Differences::default()));
    for at in [updates_at - 9, updates_at - 1, updates_at + 1, updates_at + 2] {
        assert!(check(at).is_err(), "{at}");
    }
    // Where that is nowhere, each is read alone.
    assert_eq!(check(usize::MAX), Ok(Differences::default()));
}

#[test]
fn what_nobody_reads_before_the_updates_is_no_part_of_a_snapshot() {
    let view = chain_of(50);
    let chain = ChainHash::using_genesis_block_const(NETWORK);
    let returning = Contents::full(&view).with_departed(&[ShortChannelId(3)]);
    // A client that stops there takes it for a count of updates: of none.
    for strange in [1, 4, 8] {
        let bodies = [&Contents::full(&view), &returning].map(|contents| {
            let (mut bytes, updates_at) = encode_apart(contents, chain, Version::V2).expect("small enough");
            bytes.splice(updates_at..updates_at, vec![0; strange]);
            (bytes, updates_at + strange)
        });
        let [(full, updates_at), (returning, _)] = &bodies;
        let found = differences_of_both(&view, [full, returning], *updates_at, NETWORK, now_s());
        assert!(found.is_err() || found.is_ok_and(|found| found.channels.len() == view.channels.len()), "{strange}");
    }
}
