//! Views for this room's tests: handmade ones, and random ones with a liking for edges.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;

use super::{Matter, rules};
use crate::gossip::{NodeDetails, NodeId, Policy, ShortChannelId};
use crate::history::{View, ViewChannel, ViewNode};
use crate::journal::{Epoch, Graph, Seq};

/// LDK's `MAX_VALUE_MSAT`: all bitcoin that will ever be.
pub const ALL_MSAT: u64 = 21_000_000 * 100_000_000 * 1000;

pub const POLICY: Policy = Policy {
    htlc_minimum_msat: 1000,
    htlc_maximum_msat: 990_000_000,
    fee_base_msat: 1000,
    fee_proportional_millionths: 100,
    cltv_expiry_delta: 40,
    enabled: true,
};

/// The system's time: the official client insists on it.
pub fn now_s() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u32::try_from(since.as_secs()).expect("before 2106")
}

/// A view at an epoch that the client would find far too old.
pub fn view(nodes: Vec<ViewNode>, channels: Vec<ViewChannel>) -> View {
    let epoch = Epoch { timestamp: 1_600_000_003, seq: Seq(7), rules: rules(Graph::Routable) };
    View { epoch, nodes, channels }
}

/// An epoch of which nothing is known but its view.
pub fn alone(view: View) -> Matter {
    Matter { view, departed: Vec::new(), since: Vec::new() }
}

/// The `n`th node; ids ascend.
pub fn node(n: u32) -> ViewNode {
    let mut id = [7; 33];
    id[0] = 2 + u8::from(n >= 1 << 31);
    id[1..5].copy_from_slice(&n.to_be_bytes());
    ViewNode { id: NodeId::from_slice(&id).expect("33 bytes"), details: None }
}

pub fn channel(scid: u64, nodes: [u32; 2]) -> ViewChannel {
    ViewChannel {
        scid: ShortChannelId(scid),
        features: Box::default(),
        nodes,
        capacity_sat: Some(1_000_000),
        policies: [POLICY; 2],
    }
}

/// As many nodes, each with a channel to the next.
pub fn chain_of(nodes: u32) -> View {
    let channels = (1..nodes).map(|n| channel(u64::from(n) << 40, [n - 1, n])).collect();
    view((0..nodes).map(node).collect(), channels)
}

pub fn details(features: &[u8], addresses: &[u8]) -> Option<Arc<NodeDetails>> {
    Some(Arc::new(NodeDetails { features: features.into(), addresses: addresses.into() }))
}

/// One address of a type, as on the wire.
pub fn address(kind: u8, fill: u8) -> Vec<u8> {
    let len = match kind {
        1 => 6,
        2 => 18,
        3 => 12,
        4 => 37,
        _ => return host_name(&[b'a' + fill % 26; 9]),
    };
    [vec![kind], vec![fill; len]].concat()
}

/// A host name's address, as on the wire.
pub fn host_name(name: &[u8]) -> Vec<u8> {
    let len = u8::try_from(name.len()).expect("a short name");
    [&[5, len][..], name, &[0x26, 0x07]].concat()
}

/// Views of up to 30 nodes and 60 channels.
pub fn views() -> impl Strategy<Value = View> {
    let nodes = btree_set((2..=3u8, any::<[u8; 32]>()), 2..30).prop_flat_map(|ids| {
        let details = vec(proptest::option::weighted(0.8, node_details()), ids.len());
        (Just(ids), details)
    });
    let channels = btree_map(edgy_u64(), (any::<[prop::sample::Index; 2]>(), channel_body()), 0..60);
    (nodes, channels).prop_map(|((ids, details), channels)| {
        let nodes = ids.into_iter().zip(details).map(|((parity, x), details)| {
            let id = NodeId::from_slice(&[&[parity], &x[..]].concat()).expect("33 bytes");
            ViewNode { id, details: details.map(Arc::new) }
        });
        assemble(nodes.collect(), channels)
    })
}

type Body = (Box<[u8]>, Option<u64>, [Policy; 2]);

/// Joins the parts: nodes of channels only, `node_id_1` the lesser.
fn assemble(nodes: Vec<ViewNode>, channels: BTreeMap<u64, ([prop::sample::Index; 2], Body)>) -> View {
    let ends = |[one, other]: [prop::sample::Index; 2]| {
        let one = one.index(nodes.len());
        let other = (one + 1 + other.index(nodes.len() - 1)) % nodes.len();
        [one.min(other), one.max(other)]
    };
    let channels: Vec<_> = channels.into_iter().map(|(scid, (pair, body))| (scid, ends(pair), body)).collect();
    let named: BTreeSet<usize> = channels.iter().flat_map(|(_, ends, _)| *ends).collect();
    let place = |node: usize| u32::try_from(named.range(..node).count()).expect("few nodes");
    let channels = channels.into_iter().map(|(scid, ends, (features, capacity_sat, policies))| ViewChannel {
        scid: ShortChannelId(scid),
        features,
        nodes: ends.map(place),
        capacity_sat,
        policies,
    });
    let channels = channels.collect();
    view(named.iter().map(|node| nodes[*node].clone()).collect(), channels)
}

fn channel_body() -> impl Strategy<Value = Body> {
    let capacity_sat = proptest::option::of(prop_oneof![
        prop::sample::select(vec![0, 252, 253, 65_535, 65_536, u64::from(u32::MAX), ALL_MSAT / 1000]),
        0..ALL_MSAT / 1000,
    ]);
    (features(), capacity_sat).prop_flat_map(|(features, capacity_sat)| {
        let most_msat = capacity_sat.map_or(ALL_MSAT, |sat| sat * 1000);
        (Just(features), Just(capacity_sat), [policy(most_msat), policy(most_msat)])
    })
}

fn policy(most_msat: u64) -> impl Strategy<Value = Policy> {
    let maximum = prop_oneof![Just(most_msat), Just(0), 0..=most_msat];
    let fee = || prop_oneof![Just(0), Just(1000), Just(u32::MAX), any::<u32>()];
    let cltv = prop_oneof![Just(40), Just(0), any::<u16>()];
    (edgy_u64(), maximum, fee(), fee(), cltv, any::<bool>()).prop_map(|(min, max, base, proportional, cltv, on)| {
        Policy {
            htlc_minimum_msat: min,
            htlc_maximum_msat: max,
            fee_base_msat: base,
            fee_proportional_millionths: proportional,
            cltv_expiry_delta: cltv,
            enabled: on,
        }
    })
}

fn node_details() -> impl Strategy<Value = NodeDetails> {
    let known = vec((1..=5u8, any::<u8>()), 0..6).prop_map(|kinds| {
        let addresses: Vec<_> = kinds.into_iter().map(|(kind, fill)| address(kind, fill)).collect();
        addresses.concat()
    });
    (features(), known).prop_map(|(features, addresses)| NodeDetails { features, addresses: addresses.into() })
}

fn features() -> impl Strategy<Value = Box<[u8]>> {
    let some = (1..=7u8).prop_map(|n| vec![n; usize::from(n)]);
    prop_oneof![Just(Vec::new()), some, Just(vec![0, 0, 9]), vec(any::<u8>(), 32)].prop_map(Vec::into_boxed_slice)
}

fn edgy_u64() -> impl Strategy<Value = u64> {
    let edges = vec![0, 1, 252, 253, 65_535, 65_536, u64::from(u32::MAX), u64::from(u32::MAX) + 1, u64::MAX];
    prop_oneof![prop::sample::select(edges), 0..1000u64, any::<u64>()]
}
