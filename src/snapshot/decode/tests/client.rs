//! The official client as the judge: what it makes of a snapshot and a delta after it is what follows from what we
//! decode. And what it refuses to read, we refuse.

use std::collections::BTreeMap;

use bitcoin::Network;
use lightning::ln::msgs::SocketAddress;
use lightning::routing::gossip::NetworkGraph;
use lightning::util::ser::Readable;
use lightning_rapid_gossip_sync::{GraphSyncError, RapidGossipSync};
use proptest::prelude::*;
use proptest::test_runner::Config;

use super::*;
use crate::snapshot::verify::Quiet;

#[derive(Clone, PartialEq, Debug)]
struct KnownChannel {
    nodes: [NodeId; 2],
    capacity_sat: Option<u64>,
    /// Little-endian, without zeros at the end.
    features: Vec<u8>,
    policies: [Option<Policy>; 2],
}

#[derive(Clone, PartialEq, Debug, Default)]
struct Known {
    channels: BTreeMap<u64, KnownChannel>,
    /// Features as above, and what can be read of the addresses.
    nodes: BTreeMap<NodeId, (Vec<u8>, Vec<SocketAddress>)>,
}

fn little_endian(features: &[u8]) -> Vec<u8> {
    significant(features).iter().rev().copied().collect()
}

impl Known {
    /// What the client documents of itself: what is known already stays, and an update that makes no sense is
    /// passed over.
    fn learn(&mut self, decoded: &Decoded<'_>) {
        for channel in &decoded.channels {
            let told = KnownChannel {
                nodes: channel.nodes.map(|node| decoded.nodes[node as usize].id),
                capacity_sat: channel.capacity_sat,
                features: little_endian(channel.features),
                policies: [None; 2],
            };
            self.channels.entry(channel.scid.0).or_insert(told);
        }
        for node in decoded.nodes.iter().filter(|node| node.has_details() || node.reminder) {
            if self.channels.values().any(|channel| channel.nodes.contains(&node.id)) {
                let known = self.nodes.entry(node.id).or_default();
                node.features.into_iter().for_each(|features| known.0 = little_endian(features));
                if let Some(addresses) = node.addresses {
                    known.1 = addresses.iter().filter_map(|mut one| SocketAddress::read(&mut one).ok()).collect();
                }
            }
        }
        for update in &decoded.updates {
            let Some(channel) = self.channels.get_mut(&update.scid.0) else { continue };
            let known = &mut channel.policies[update.direction as usize];
            let policy = match (update.told, *known) {
                (Told::Full(policy), _) => policy,
                (_, None) => continue,
                (Told::Reminder, Some(policy)) => policy,
                (Told::Incremental(changes), Some(policy)) => changes.applied_to(policy),
            };
            let most_msat = channel.capacity_sat.map_or(ALL_MSAT, |sat| sat.saturating_mul(1000));
            let makes_sense = policy.htlc_maximum_msat <= most_msat.min(ALL_MSAT)
                && channel.capacity_sat.is_none_or(|sat| sat <= ALL_MSAT / 1000);
            if makes_sense {
                *known = Some(Policy { enabled: update.enabled, ..policy });
            }
        }
    }

    fn of(graph: &NetworkGraph<Quiet>) -> Self {
        let graph = graph.read_only();
        let trimmed = |features: &[u8]| {
            let end = features.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            features[..end].to_vec()
        };
        let channels = graph.channels().unordered_iter().map(|(scid, read)| {
            let channel = KnownChannel {
                nodes: [read.node_one, read.node_two],
                capacity_sat: read.capacity_sats,
                features: trimmed(read.features.le_flags()),
                policies: [&read.one_to_two, &read.two_to_one].map(|read| read.as_ref().map(Policy::from)),
            };
            (*scid, channel)
        });
        let nodes = graph.nodes().unordered_iter().filter_map(|(id, read)| {
            let told = read.announcement_info.as_ref()?;
            Some((*id, (trimmed(told.features().le_flags()), told.addresses().to_vec())))
        });
        Self { channels: channels.collect(), nodes: nodes.collect() }
    }
}

/// Two snapshots of a server, an hour apart.
fn two_drafts() -> impl Strategy<Value = [Draft; 2]> {
    let now_s = now_s();
    let pair = move |version| (drafts(version, now_s - 3600), drafts(version, now_s)).prop_map(|(a, b)| [a, b]);
    prop_oneof![pair(Version::V1), pair(Version::V2)]
}

proptest! {
    #![proptest_config(Config { cases: 192, ..Config::default() })]

    #[test]
    fn the_client_learns_what_was_decoded(drafts in two_drafts()) {
        let graph = NetworkGraph::new(Network::Regtest, Quiet);
        let client = RapidGossipSync::new(&graph, Quiet);
        let mut known = Known::default();
        for draft in drafts {
            let bytes = draft.bytes();
            known.learn(&decode(&bytes).expect("a snapshot"));
            let read = client.update_network_graph_no_std(&bytes, None);
            prop_assert!(read.is_ok(), "{:?}", read);
            prop_assert_eq!(&Known::of(&graph), &known);
        }
    }

    /// What the client cannot parse cannot be decoded, and the other way round. (It may also refuse what it can
    /// parse: that is no matter of the format.)
    #[test]
    fn the_client_refuses_to_read_what_we_refuse(
        draft in two_drafts(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in proptest::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let mut bytes = draft[1].bytes();
        for (place, value) in changes {
            let place = place.index(bytes.len() - 40) + 40;
            bytes[place] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let graph = NetworkGraph::new(Network::Regtest, Quiet);
        let read = RapidGossipSync::new(&graph, Quiet).update_network_graph_no_std(&bytes, None);
        match (decode(&bytes), read) {
            (Ok(_), Err(GraphSyncError::DecodeError(error))) => prop_assert!(false, "only the client refuses: {error:?}"),
            (Err(error), Ok(_)) => prop_assert!(false, "only we refuse: {error}"),
            _ => {}
        }
    }
}
