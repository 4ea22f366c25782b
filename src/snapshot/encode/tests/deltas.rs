//! A delta is read as it was told: every announcement, every part of a node's details, every kind of update.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::Config;

use super::*;
use crate::gossip::{Direction, Policy, ShortChannelId};
use crate::history::Changed;
use crate::snapshot::contents::{ToldUpdate, What};
use crate::snapshot::decode::{Decoded, Part, Told, decode};

/// Of each channel: whether it is announced, and what is told of its directions; of each node, which details are told.
type Choices = (Vec<(bool, [u8; 2])>, Vec<[bool; 2]>, Vec<[bool; 6]>);

fn choices() -> impl Strategy<Value = Choices> {
    let channel = (any::<bool>(), [0..5u8, 0..5u8]);
    (
        prop::collection::vec(channel, 60),
        prop::collection::vec(any::<[bool; 2]>(), 30),
        prop::collection::vec(any::<[bool; 6]>(), 60),
    )
}

/// A part of all that a view has to tell.
fn some_of(view: &View, (channels, nodes, fields): &Choices) -> Contents {
    let mut contents = Contents::full(view);
    let announced: BTreeMap<_, _> = contents.channels.iter().map(|channel| channel.scid).zip(channels).collect();
    contents.channels.retain(|channel| announced[&channel.scid].0);
    for (node, told) in contents.nodes.iter_mut().zip(nodes) {
        node.features = node.features.take().filter(|_| told[0]);
        node.addresses = node.addresses.take().filter(|_| told[1]);
    }
    let mut fields = fields.iter().cycle();
    contents.updates.retain_mut(|update| {
        let What::Whole(policy) = update.what else { return false };
        update.what = match announced[&update.scid].1[update.direction as usize] {
            0 => What::Whole(policy),
            1 => What::Parts(policy, changed(fields.next().copied().unwrap_or_default())),
            2 => What::Reminder { enabled: policy.enabled },
            3 => What::Gone,
            _ => return false,
        };
        true
    });
    contents
}

fn changed([enabled, cltv, minimum, maximum, base, proportional]: [bool; 6]) -> Changed {
    Changed {
        enabled,
        cltv_expiry_delta: cltv,
        htlc_minimum_msat: minimum,
        htlc_maximum_msat: maximum,
        fee_base_msat: base,
        fee_proportional_millionths: proportional,
    }
}

/// What a client that has `before` of a direction has after an update.
fn after(update: &crate::snapshot::decode::Update, before: Policy) -> Policy {
    let policy = match update.told {
        Told::Full(policy) => policy,
        Told::Incremental(changes) => changes.applied_to(before),
        Told::Reminder => before,
    };
    Policy { enabled: update.enabled, ..policy }
}

/// The policy with other values in the fields that changed.
fn before(told: &ToldUpdate) -> Policy {
    match told.what {
        What::Whole(_) | What::Reminder { .. } | What::Gone => POLICY,
        What::Parts(policy, changed) => {
            let other = |changed: bool, value: u64| if changed { value.wrapping_add(1) } else { value };
            Policy {
                htlc_minimum_msat: other(changed.htlc_minimum_msat, policy.htlc_minimum_msat),
                htlc_maximum_msat: other(changed.htlc_maximum_msat, policy.htlc_maximum_msat),
                fee_base_msat: other(changed.fee_base_msat, policy.fee_base_msat.into()) as u32,
                fee_proportional_millionths: other(
                    changed.fee_proportional_millionths,
                    policy.fee_proportional_millionths.into(),
                ) as u32,
                cltv_expiry_delta: other(changed.cltv_expiry_delta, policy.cltv_expiry_delta.into()) as u16,
                enabled: policy.enabled != changed.enabled,
            }
        }
    }
}

fn assert_told(contents: &Contents, decoded: &Decoded<'_>) {
    let v2 = decoded.version == Version::V2;
    let named = |n: u32| contents.channels.iter().any(|channel| channel.nodes.contains(&n));
    let told: Vec<_> = (0..).zip(&contents.nodes).filter(|(n, _)| v2 || named(*n)).map(|(_, node)| node).collect();
    assert_eq!(decoded.nodes.len(), told.len());
    for node in told {
        let read = decoded.nodes.iter().find(|read| read.id == node.id).expect("every node that is told");
        let features = node.features.as_ref().filter(|_| v2).map(|details| significant(&details.features));
        assert_eq!(read.features, features);
        let told = node.addresses.as_ref().filter(|_| v2).map(|details| addresses(details).collect::<Vec<_>>());
        assert_eq!(read.addresses.map(|addresses| addresses.iter().collect::<Vec<_>>()), told);
    }
    assert_eq!(decoded.channels.len(), contents.channels.len());
    for (read, channel) in decoded.channels.iter().zip(&contents.channels) {
        assert_eq!((read.scid, read.features), (channel.scid, significant(&channel.features)));
        let ids = read.nodes.map(|node| decoded.nodes[node as usize].id);
        assert_eq!(ids, channel.nodes.map(|node| contents.nodes[node as usize].id));
        assert_eq!(read.capacity_sat, channel.capacity_sat.filter(|_| v2));
    }
    assert_eq!(decoded.updates.len(), contents.updates.len());
    for (read, update) in decoded.updates.iter().zip(&contents.updates) {
        let place: (_, Direction) = (read.scid, read.direction);
        assert_eq!(place, update.place());
        let before = before(update);
        let expected = match update.what {
            What::Whole(policy) | What::Parts(policy, _) => policy,
            What::Reminder { enabled } => Policy { enabled, ..before },
            What::Gone => Policy { enabled: false, ..before },
        };
        assert_eq!(after(read, before), expected);
        assert!(matches!(read.told, Told::Full(_)) || !matches!(update.what, What::Whole(_)), "all of it is told");
    }
}

/// So that the client need not read what is made of parts that it has read.
#[test]
fn the_versions_share_their_updates_and_what_has_departed_is_among_them() {
    let full = Contents::full(&chain_of(9));
    let returning = full.clone().with_departed(&[ShortChannelId(3), ShortChannelId(99 << 40)]);
    let [one, two] = [&full, &returning].map(|contents| {
        [Version::V1, Version::V2]
            .map(|version| super::super::encode(contents, CHAIN, version).expect("small enough"))
    });
    let part = |bytes: &[u8], part| decode(bytes).expect("decodable").part(part).into_owned();
    for bodies in [&one, &two] {
        assert_eq!(part(&bodies[0], Part::Updates), part(&bodies[1], Part::Updates));
    }
    assert_ne!(part(&one[0], Part::Updates), part(&two[0], Part::Updates));
    for (one, two) in one.iter().zip(&two) {
        for other in Part::ALL.into_iter().filter(|other| *other != Part::Updates) {
            assert_eq!(part(one, other), part(two, other));
        }
    }
}

proptest! {
    #![proptest_config(Config { cases: 200, ..Config::default() })]

    #[test]
    fn what_is_told_is_what_is_read(view in views(), choices in choices()) {
        let contents = some_of(&view, &choices);
        for version in [Version::V1, Version::V2] {
            let bytes = super::super::encode(&contents, CHAIN, version).expect("small enough");
            assert_told(&contents, &decode(&bytes).expect("decodable"));
        }
    }
}
