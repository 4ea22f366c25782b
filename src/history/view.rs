//! Cutting a view: which channels and nodes an epoch shows, in order.

use super::channels::{Channel, Channels};
use super::nodes::Nodes;
use super::timeline::Ordinal;
use super::{View, ViewChannel, ViewNode, is_shown};
use crate::gossip::Policy;
use crate::journal::Epoch;

/// The view of `epoch`, whose number is `ordinal`.
pub(super) fn cut(channels: &Channels, nodes: &Nodes, epoch: Epoch, ordinal: Ordinal) -> View {
    let mut shown: Vec<(&Channel, [Policy; 2])> = channels
        .at(ordinal)
        .filter_map(|channel| Some((channel, channel.policies(channels.past(), ordinal, epoch.timestamp)?)))
        .filter(|(_, policies)| is_shown(policies, epoch.rules.graph))
        .collect();
    shown.sort_unstable_by_key(|(channel, _)| channel.scid);

    let (named, places) = named(&shown, nodes);
    let view_nodes =
        named.iter().map(|index| ViewNode { id: nodes.id(*index), details: nodes.details(*index, ordinal).cloned() });
    let view_channels = shown.iter().map(|(channel, policies)| ViewChannel {
        scid: channel.scid,
        features: channel.features.clone(),
        nodes: channel.nodes.map(|index| places[index as usize]),
        capacity_sat: channel.capacity_sat(ordinal),
        policies: *policies,
    });
    View { epoch, nodes: view_nodes.collect(), channels: view_channels.collect() }
}

/// The indexes of the nodes that `shown` names, in the order of their ids; and each one's place in it, by index.
fn named(shown: &[(&Channel, [Policy; 2])], nodes: &Nodes) -> (Vec<u32>, Vec<u32>) {
    const UNNAMED: u32 = u32::MAX;
    let mut places = vec![UNNAMED; nodes.len()];
    let mut named = Vec::new();
    for index in shown.iter().flat_map(|(channel, _)| channel.nodes) {
        // Every channel's nodes are in `nodes`.
        if std::mem::replace(&mut places[index as usize], 0) == UNNAMED {
            named.push(index);
        }
    }
    named.sort_unstable_by_key(|index| nodes.id(*index));
    for (place, index) in (0..).zip(&named) {
        places[*index as usize] = place;
    }
    (named, places)
}
