//! The differences between two networks, in the order of scids and node ids.

use std::collections::BTreeMap;

use bitcoin::hex::DisplayHex;
use lightning::ln::msgs::SocketAddress;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::network::{Channel, Details, Network};
use crate::gossip::{Direction, NodeId, Policy, ShortChannelId};

/// All differences. Its names are those of `--json`, and stay.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Differences {
    pub compared: Compared,
    pub channels_only_in_a: Vec<LoneChannel>,
    pub channels_only_in_b: Vec<LoneChannel>,
    /// Channels of both whose nodes, features or capacities differ.
    pub channels_changed: Vec<ChannelChange>,
    /// Directions of channels of both.
    pub policies_changed: Vec<PolicyChange>,
    /// Nodes of both.
    pub nodes_changed: Vec<NodeChange>,
}

impl Differences {
    pub fn is_empty(&self) -> bool {
        self.channels_only_in_a.is_empty()
            && self.channels_only_in_b.is_empty()
            && self.channels_changed.is_empty()
            && self.policies_changed.is_empty()
            && self.nodes_changed.is_empty()
    }
}

/// What both sides could tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Compared {
    pub capacities: bool,
    pub node_details: bool,
}

/// A channel that only one side has.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LoneChannel {
    #[serde(serialize_with = "as_text")]
    pub scid: ShortChannelId,
    #[serde(serialize_with = "as_hex")]
    pub node_id_1: NodeId,
    #[serde(serialize_with = "as_hex")]
    pub node_id_2: NodeId,
    pub capacity_sat: Option<u64>,
}

/// What is different of a channel.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ChannelChange {
    #[serde(serialize_with = "as_text")]
    pub scid: ShortChannelId,
    pub changes: Vec<Change>,
}

/// What is different in a direction; a policy that one side does not tell is null in every field.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct PolicyChange {
    #[serde(serialize_with = "as_text")]
    pub scid: ShortChannelId,
    /// 0 for `node_id_1`'s policy, 1 for `node_id_2`'s.
    pub direction: u8,
    pub changes: Vec<Change>,
}

/// What is different of a node; details that one side does not tell are null.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct NodeChange {
    #[serde(serialize_with = "as_hex")]
    pub node_id: NodeId,
    pub changes: Vec<Change>,
}

/// A field's value on both sides, where it is not the same.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Change {
    pub field: &'static str,
    pub from: Value,
    pub to: Value,
}

fn as_text<S: Serializer>(scid: &ShortChannelId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(scid)
}

fn as_hex<S: Serializer>(id: &NodeId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&id.as_slice().as_hex())
}

/// Compares what both can tell.
pub fn compare(a: &Network, b: &Network) -> Differences {
    let both = a.has_details && b.has_details;
    let in_both = || a.channels.iter().filter_map(|(scid, a)| Some((*scid, a, b.channels.get(scid)?)));
    let channels_changed = in_both().filter_map(|(scid, a, b)| {
        let changes = channel_changes(a, b, both);
        (!changes.is_empty()).then_some(ChannelChange { scid, changes })
    });
    let directions = in_both().flat_map(|(scid, a, b)| Direction::BOTH.map(|direction| (scid, direction, a, b)));
    let policies_changed = directions.filter_map(|(scid, direction, a, b)| {
        let at = direction as usize;
        let changes = policy_changes(a.policies[at].as_ref(), b.policies[at].as_ref());
        (!changes.is_empty()).then_some(PolicyChange { scid, direction: direction as u8, changes })
    });
    let nodes = a.nodes.iter().filter_map(|(id, a)| Some((*id, a, b.nodes.get(id)?)));
    let nodes_changed = nodes.filter(|_| both).filter_map(|(node_id, a, b)| {
        let changes = node_changes(a.as_ref(), b.as_ref());
        (!changes.is_empty()).then_some(NodeChange { node_id, changes })
    });
    Differences {
        compared: Compared { capacities: both, node_details: both },
        channels_only_in_a: lone_channels(a, &b.channels),
        channels_only_in_b: lone_channels(b, &a.channels),
        channels_changed: channels_changed.collect(),
        policies_changed: policies_changed.collect(),
        nodes_changed: nodes_changed.collect(),
    }
}

fn lone_channels(network: &Network, other: &BTreeMap<ShortChannelId, Channel>) -> Vec<LoneChannel> {
    let lone = network.channels.iter().filter(|(scid, _)| !other.contains_key(scid));
    let lone = lone.map(|(scid, channel)| LoneChannel {
        scid: *scid,
        node_id_1: channel.nodes[0],
        node_id_2: channel.nodes[1],
        capacity_sat: channel.capacity_sat,
    });
    lone.collect()
}

/// Gathers the fields that differ.
struct Changes(Vec<Change>);

impl Changes {
    fn field<T: PartialEq>(&mut self, field: &'static str, from: T, to: T, show: impl Fn(T) -> Value) {
        if from != to {
            self.0.push(Change { field, from: show(from), to: show(to) });
        }
    }
}

fn channel_changes(a: &Channel, b: &Channel, with_capacity: bool) -> Vec<Change> {
    let mut changes = Changes(Vec::new());
    let hex = |id: NodeId| json!(id.as_slice().to_lower_hex_string());
    changes.field("node_id_1", a.nodes[0], b.nodes[0], hex);
    changes.field("node_id_2", a.nodes[1], b.nodes[1], hex);
    changes.field("features", &a.features, &b.features, |bits| json!(bits.to_lower_hex_string()));
    if with_capacity {
        changes.field("capacity_sat", a.capacity_sat, b.capacity_sat, |sat| json!(sat));
    }
    changes.0
}

fn policy_changes(a: Option<&Policy>, b: Option<&Policy>) -> Vec<Change> {
    let mut changes = Changes(Vec::new());
    let mut field = |name, value: fn(&Policy) -> Value| changes.field(name, a.map(value), b.map(value), |v| json!(v));
    field("enabled", |policy| json!(policy.enabled));
    field("cltv_expiry_delta", |policy| json!(policy.cltv_expiry_delta));
    field("htlc_minimum_msat", |policy| json!(policy.htlc_minimum_msat));
    field("htlc_maximum_msat", |policy| json!(policy.htlc_maximum_msat));
    field("fee_base_msat", |policy| json!(policy.fee_base_msat));
    field("fee_proportional_millionths", |policy| json!(policy.fee_proportional_millionths));
    changes.0
}

fn node_changes(a: Option<&Details>, b: Option<&Details>) -> Vec<Change> {
    let mut changes = Changes(Vec::new());
    let features = |details: &Details| json!(details.features.to_lower_hex_string());
    let addresses =
        |details: &Details| json!(details.addresses.iter().map(SocketAddress::to_string).collect::<Vec<_>>());
    changes.field("features", a.map(features), b.map(features), |value| json!(value));
    changes.field("addresses", a.map(addresses), b.map(addresses), |value| json!(value));
    changes.0
}
