//! The official client is the judge: a snapshot is published only after `lightning-rapid-gossip-sync` has read from
//! it exactly the view that it was made from.

use std::collections::BTreeSet;

use bitcoin::Network;
use lightning::ln::msgs::SocketAddress;
use lightning::routing::gossip::{ChannelInfo, ChannelUpdateInfo, NetworkGraph, NodeInfo, ReadOnlyNetworkGraph};
use lightning::util::logger::{Logger, Record};
use lightning::util::ser::Readable;
use lightning_rapid_gossip_sync::{GraphSyncError, RapidGossipSync};

use super::Version;
use super::encode::TIMESTAMP_AT;
use crate::gossip::{NodeDetails, NodeId, Policy, ShortChannelId, addresses_in};
use crate::history::{View, ViewChannel, ViewNode};

/// What the client read otherwise than it was meant.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Differences {
    pub channels: BTreeSet<ShortChannelId>,
    pub nodes: BTreeSet<NodeId>,
}

impl Differences {
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.nodes.is_empty()
    }

    pub(super) fn merge(&mut self, other: Differences) {
        self.channels.extend(other.channels);
        self.nodes.extend(other.nodes);
    }
}

/// The client would not have the snapshot at all.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Rejected {
    /// It takes channels in their order and stops at the first that it will not have: that is `at`, unless the
    /// trouble lies elsewhere.
    #[error("the official client refuses the snapshot: {reason}")]
    ByClient { reason: String, at: Option<ShortChannelId> },
    #[error("the official client read {read} channels from a snapshot of {told}")]
    ChannelCount { told: usize, read: usize },
}

/// Lets the official client read `bytes`, and compares what it got with `view`.
///
/// The client holds every update against the system's clock, so it gets a copy that is stamped `now_s` (unix
/// seconds), which should be the system's time.
pub fn differences(
    view: &View,
    bytes: &[u8],
    version: Version,
    network: Network,
    now_s: u32,
) -> Result<Differences, Rejected> {
    let mut copy = bytes.to_vec();
    if let Some(timestamp) = copy.get_mut(TIMESTAMP_AT..TIMESTAMP_AT + 4) {
        timestamp.copy_from_slice(&now_s.to_be_bytes());
    }
    let graph = NetworkGraph::new(network, Quiet);
    let result = RapidGossipSync::new(&graph, Quiet).update_network_graph_no_std(&copy, Some(now_s.into()));
    let graph = graph.read_only();
    if let Err(error) = result {
        return Err(Rejected::ByClient { reason: reason(error), at: first_missing(view, &graph) });
    }
    let (told, read) = (view.channels.len(), graph.channels().len());
    if read > told {
        return Err(Rejected::ChannelCount { told, read });
    }
    Ok(compare(view, &graph, version))
}

fn reason(error: GraphSyncError) -> String {
    match error {
        GraphSyncError::DecodeError(error) => format!("{error:?}"),
        GraphSyncError::LightningError(error) => error.err,
    }
}

fn first_missing(view: &View, graph: &ReadOnlyNetworkGraph<'_>) -> Option<ShortChannelId> {
    view.channels.iter().map(|channel| channel.scid).find(|scid| !graph.channels().contains_key(&scid.0))
}

fn compare(view: &View, graph: &ReadOnlyNetworkGraph<'_>, version: Version) -> Differences {
    let channel_differs = |channel: &&ViewChannel| {
        let read = graph.channels().get(&channel.scid.0);
        !read.is_some_and(|read| same_channel(view, channel, read, version))
    };
    let node_differs = |node: &&ViewNode| {
        version == Version::V2 && !graph.nodes().get(&node.id).is_some_and(|read| same_node(node, read))
    };
    Differences {
        channels: view.channels.iter().filter(channel_differs).map(|channel| channel.scid).collect(),
        nodes: view.nodes.iter().filter(node_differs).map(|node| node.id).collect(),
    }
}

fn same_channel(view: &View, told: &ViewChannel, read: &ChannelInfo, version: Version) -> bool {
    let [one, two] = told.nodes.map(|node| view.nodes[node as usize].id);
    (read.node_one, read.node_two) == (one, two)
        && read.capacity_sats == told.capacity_sat.filter(|_| version == Version::V2)
        && same_features(read.features.le_flags(), &told.features)
        && same_policy(&told.policies[0], read.one_to_two.as_ref())
        && same_policy(&told.policies[1], read.two_to_one.as_ref())
}

fn same_policy(told: &Policy, read: Option<&ChannelUpdateInfo>) -> bool {
    read.is_some_and(|read| Policy::from(read) == *told)
}

fn same_node(told: &ViewNode, read: &NodeInfo) -> bool {
    match (&told.details, &read.announcement_info) {
        (None, None) => true,
        (Some(told), Some(read)) => {
            same_features(read.features().le_flags(), &told.features) && read.addresses() == readable_addresses(told)
        }
        _ => false,
    }
}

/// LDK keeps features little-endian; zero bytes at the high end mean nothing.
fn same_features(read: &[u8], told: &[u8]) -> bool {
    let told = told.iter().skip_while(|byte| **byte == 0);
    let read = read.iter().rev().skip_while(|byte| **byte == 0);
    read.eq(told)
}

/// The addresses that fit the format and that LDK can read; it passes over the others.
fn readable_addresses(details: &NodeDetails) -> Vec<SocketAddress> {
    let fitting = addresses_in(&details.addresses).filter(|address| address.len() <= 255);
    fitting.filter_map(|mut address| SocketAddress::read(&mut address).ok()).take(255).collect()
}

/// The client's log lines: the comparison says all there is to say.
pub(crate) struct Quiet;

impl Logger for Quiet {
    fn log(&self, _record: Record) {}
}

impl std::ops::Deref for Quiet {
    type Target = Self;

    fn deref(&self) -> &Self {
        self
    }
}

#[cfg(test)]
mod tests;
