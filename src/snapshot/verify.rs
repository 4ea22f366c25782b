//! The official client is the judge: a snapshot is published only after `lightning-rapid-gossip-sync` has read from
//! it exactly the view that it was made from.

use std::collections::BTreeSet;

use bitcoin::Network;
use lightning::ln::msgs::SocketAddress;
use lightning::routing::gossip::{ChannelInfo, ChannelUpdateInfo, NetworkGraph, NodeInfo, ReadOnlyNetworkGraph};
use lightning::util::logger::{Logger, Record};
use lightning::util::ser::Readable;
use lightning_rapid_gossip_sync::{GraphSyncError, RapidGossipSync};
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::encode::TIMESTAMP_AT;
use super::{USELESS_AFTER_S, Version};
use crate::gossip::{NodeDetails, NodeId, Policy, ShortChannelId, addresses_in};
use crate::history::{HEARD_FOR_S, View, ViewChannel, ViewNode};

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

/// Lets the official client read `bytes`, with nothing before it, and compares what it got with `view`.
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
    let client = Client::new(network, now_s);
    client.reads(view, bytes.to_vec(), now_s)?;
    client.differences(view, version, now_s)
}

/// The same for the two snapshots of a view in version 2: a new wallet's and a returning one's. `updates_at` is where
/// the updates begin in the first.
///
/// What comes before them is the same in both, byte for byte. So the client reads that, then the whole of the one and,
/// when it has forgotten its updates, those of the other: between the parts of a snapshot it keeps nothing but its graph.
/// It is told of the channels first, a second later than of the updates, for them to outlive these.
pub(super) fn differences_of_both(
    view: &View,
    [full, returning]: [&[u8]; 2],
    updates_at: usize,
    network: Network,
    now_s: u32,
) -> Result<Differences, Rejected> {
    let alone = |bytes| differences(view, bytes, Version::V2, network, now_s);
    let (head, updates) = full.split_at_checked(updates_at).unwrap_or((full, &[]));
    let Some(returning_updates) = returning.strip_prefix(head).filter(|_| !updates.is_empty()) else {
        let mut found = alone(full)?;
        found.merge(alone(returning)?);
        return Ok(found);
    };
    let client = Client::new(network, now_s);
    let told_s = [now_s, now_s.saturating_add(1)];
    client.reads(view, [head, &NONE].concat(), told_s[1])?;
    client.reads(view, full.to_vec(), told_s[0])?;
    let mut found = client.differences(view, Version::V2, told_s[0])?;
    if client.forgets_updates_before(told_s[1]) {
        client.reads(view, updates_alone(head, returning_updates), told_s[1])?;
        found.merge(client.differences(view, Version::V2, told_s[1])?);
    } else {
        drop(client); // there is no room for two
        found.merge(alone(returning)?);
    }
    Ok(found)
}

/// How many there are, where there are none.
const NONE: [u8; 4] = [0; 4];

/// A snapshot in version 2, for the same chain as the one that begins with `head`, that tells nothing but these updates.
fn updates_alone(head: &[u8], updates: &[u8]) -> Vec<u8> {
    let chain_and_timestamp = head.get(..TIMESTAMP_AT + 4).unwrap_or_default();
    let (default_features, nodes, channels) = ([0], NONE, NONE);
    [chain_and_timestamp, &default_features, &nodes, &channels, updates].concat()
}

/// An official client.
struct Client {
    graph: NetworkGraph<Quiet>,
    now_s: u32,
}

impl Client {
    fn new(network: Network, now_s: u32) -> Self {
        Self { graph: NetworkGraph::new(network, Quiet), now_s }
    }

    /// Lets it read a snapshot, stamped `told_s`, of (a part of) a view.
    fn reads(&self, view: &View, mut bytes: Vec<u8>, told_s: u32) -> Result<(), Rejected> {
        if let Some(timestamp) = bytes.get_mut(TIMESTAMP_AT..TIMESTAMP_AT + 4) {
            timestamp.copy_from_slice(&told_s.to_be_bytes());
        }
        let sync = RapidGossipSync::new(&self.graph, Quiet);
        let result = sync.update_network_graph_no_std(&bytes, Some(self.now_s.into()));
        let refused =
            |error| Rejected::ByClient { reason: reason(error), at: first_missing(view, &self.graph.read_only()) };
        result.map_err(refused).map(|_| ())
    }

    /// Lets it forget every update that it was told before `told_s`, as it does after a fortnight; channels that it was
    /// told then stay. Whether no update is left.
    fn forgets_updates_before(&self, told_s: u32) -> bool {
        let forgotten_s = u64::from(backdated(told_s)) + u64::from(HEARD_FOR_S);
        self.graph.remove_stale_channels_and_tracking_with_time(forgotten_s);
        let graph = self.graph.read_only();
        let mut channels = graph.channels().unordered_iter();
        channels.all(|(_, channel)| channel.one_to_two.is_none() && channel.two_to_one.is_none())
    }

    /// Holds all that it has against `view`; what it has of a direction has to have been told by the snapshot of `told_s`.
    fn differences(&self, view: &View, version: Version, told_s: u32) -> Result<Differences, Rejected> {
        let graph = self.graph.read_only();
        let (told, read) = (view.channels.len(), graph.channels().len());
        if read > told {
            return Err(Rejected::ChannelCount { told, read });
        }
        Ok(compare(view, &graph, version, backdated(told_s)))
    }
}

/// When the client takes something for said that it is told at a time.
fn backdated(told_s: u32) -> u32 {
    told_s.saturating_sub(USELESS_AFTER_S)
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

fn compare(view: &View, graph: &ReadOnlyNetworkGraph<'_>, version: Version, said_s: u32) -> Differences {
    let (channels, nodes) = (graph.channels(), graph.nodes());
    let channel_differs = |channel: &&ViewChannel| {
        let read = channels.get(&channel.scid.0);
        !read.is_some_and(|read| same_channel(view, channel, read, version, said_s))
    };
    let node_differs =
        |node: &&ViewNode| version == Version::V2 && !nodes.get(&node.id).is_some_and(|read| same_node(node, read));
    Differences {
        channels: view.channels.par_iter().filter(channel_differs).map(|channel| channel.scid).collect(),
        nodes: view.nodes.par_iter().filter(node_differs).map(|node| node.id).collect(),
    }
}

fn same_channel(view: &View, told: &ViewChannel, read: &ChannelInfo, version: Version, said_s: u32) -> bool {
    let [one, two] = told.nodes.map(|node| view.nodes[node as usize].id);
    (read.node_one, read.node_two) == (one, two)
        && read.capacity_sats == told.capacity_sat.filter(|_| version == Version::V2)
        && same_features(read.features.le_flags(), &told.features)
        && same_policy(&told.policies[0], read.one_to_two.as_ref(), said_s)
        && same_policy(&told.policies[1], read.two_to_one.as_ref(), said_s)
}

fn same_policy(told: &Policy, read: Option<&ChannelUpdateInfo>, said_s: u32) -> bool {
    read.is_some_and(|read| read.last_update == said_s && Policy::from(read) == *told)
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
