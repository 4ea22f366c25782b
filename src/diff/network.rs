//! A network in memory, as a wallet knows it that was told of it at once: what is compared.

use std::collections::BTreeMap;

use lightning::ln::msgs::SocketAddress;
use lightning::util::ser::Readable;

use crate::gossip::{Direction, NodeDetails, NodeId, Policy, ShortChannelId, addresses_in};
use crate::history::{View, ViewChannel};
use crate::snapshot::decode::{Channel as ToldChannel, Node, Told};
use crate::snapshot::{Decoded, Version};

/// Channels and nodes by their names.
#[derive(Clone, PartialEq, Debug)]
pub struct Network {
    /// Whether capacities and node details can be told at all: RGS version 1 has none.
    pub has_details: bool,
    pub channels: BTreeMap<ShortChannelId, Channel>,
    /// Every node that is told of; `None` if nothing but its id is.
    pub nodes: BTreeMap<NodeId, Option<Details>>,
}

/// A channel, and what its ends charge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Channel {
    /// `node_id_1` and `node_id_2`.
    pub nodes: [NodeId; 2],
    /// Feature bits, big-endian, without leading zeros.
    pub features: Box<[u8]>,
    pub capacity_sat: Option<u64>,
    /// By [`Direction`]; `None` for one that is not told of.
    pub policies: [Option<Policy>; 2],
}

/// What a wallet learns of a node.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Details {
    /// Feature bits, big-endian, without leading zeros.
    pub features: Box<[u8]>,
    /// Those that official clients can read.
    pub addresses: Vec<SocketAddress>,
}

/// A snapshot tells only what changed since another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "it is not a full snapshot, and only full ones can be compared: it updates channel {scid}, direction {}, of which it \
     does not tell the rest; ask the server for the snapshot since 0",
    *.direction as u8
)]
pub struct NotFull {
    pub scid: ShortChannelId,
    pub direction: Direction,
}

impl Network {
    /// What a full snapshot tells. As for wallets, what is told first stays.
    pub fn of_snapshot(decoded: &Decoded<'_>) -> Result<Self, NotFull> {
        let mut channels = BTreeMap::new();
        for told in &decoded.channels {
            channels.entry(told.scid).or_insert_with(|| channel(decoded, told));
        }
        for update in &decoded.updates {
            let not_full = NotFull { scid: update.scid, direction: update.direction };
            let channel = channels.get_mut(&update.scid).ok_or(not_full)?;
            let policy = &mut channel.policies[update.direction as usize];
            match (update.told, &policy) {
                (_, Some(_)) => {}
                (Told::Full(told), None) => *policy = Some(told),
                (Told::Incremental(_) | Told::Reminder, None) => return Err(not_full),
            }
        }
        let nodes = decoded.nodes.iter().map(|node| (node.id, details(node))).collect();
        Ok(Self { has_details: decoded.version == Version::V2, channels, nodes })
    }

    /// What a wallet would be told of a view.
    pub fn of_view(view: &View) -> Self {
        let channel = |channel: &ViewChannel| Channel {
            nodes: channel.nodes.map(|node| view.nodes[node as usize].id),
            features: significant(&channel.features),
            capacity_sat: channel.capacity_sat,
            policies: channel.policies.map(Some),
        };
        let details = |details: &NodeDetails| Details {
            features: significant(&details.features),
            // The format holds no more, and no longer ones.
            addresses: readable(addresses_in(&details.addresses).filter(|address| address.len() <= 255))
                .take(255)
                .collect(),
        };
        Self {
            has_details: true,
            channels: view.channels.iter().map(|told| (told.scid, channel(told))).collect(),
            nodes: view.nodes.iter().map(|node| (node.id, node.details.as_deref().map(details))).collect(),
        }
    }

    /// How many directions have a policy.
    pub fn policies(&self) -> usize {
        self.channels.values().flat_map(|channel| &channel.policies).flatten().count()
    }
}

fn channel(decoded: &Decoded<'_>, told: &ToldChannel<'_>) -> Channel {
    Channel {
        nodes: told.nodes.map(|node| decoded.nodes[node as usize].id), // checked when decoded
        features: significant(told.features),
        capacity_sat: told.capacity_sat,
        policies: [None; 2],
    }
}

/// To a wallet that knows nothing, what is not told of a node is empty.
fn details(node: &Node<'_>) -> Option<Details> {
    node.has_details().then(|| Details {
        features: significant(node.features.unwrap_or_default()),
        addresses: node.addresses.into_iter().flat_map(|list| readable(list.iter())).collect(),
    })
}

fn readable<'a>(addresses: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = SocketAddress> {
    addresses.filter_map(|mut address| SocketAddress::read(&mut address).ok())
}

/// Zero bytes at the head mean nothing (BOLT 9).
fn significant(features: &[u8]) -> Box<[u8]> {
    features.iter().copied().skip_while(|byte| *byte == 0).collect()
}
