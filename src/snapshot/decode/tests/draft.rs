//! Snapshots as other servers may write them, deltas too, from plain random values: what our encoder never writes.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::gossip::Policy;
use crate::snapshot::Version;
use crate::snapshot::decode::Changes;
use crate::snapshot::encode::Out;
use crate::snapshot::testing::{ALL_MSAT, POLICY, address, node};

pub const CHAIN: bitcoin::constants::ChainHash = bitcoin::constants::ChainHash::REGTEST;

#[derive(Clone, Debug)]
pub struct Draft {
    pub version: Version,
    pub timestamp: u32,
    pub default_features: Vec<Vec<u8>>,
    pub nodes: Vec<DraftNode>,
    pub channels: Vec<DraftChannel>,
    pub defaults: Policy,
    pub updates: Vec<DraftUpdate>,
}

#[derive(Clone, Debug)]
pub struct DraftNode {
    pub id: [u8; 33],
    pub reminder: bool,
    pub addresses: Option<Vec<Vec<u8>>>,
    pub features: DraftFeatures,
    pub additional: Option<Vec<u8>>,
}

#[derive(Clone, Debug)]
pub enum DraftFeatures {
    Untold,
    Default(usize),
    Here(Vec<u8>),
}

#[derive(Clone, Debug)]
pub struct DraftChannel {
    pub scid: u64,
    pub features: Vec<u8>,
    pub nodes: [usize; 2],
    /// The capacity, and what else is there.
    pub additional: Option<(u64, Vec<u8>)>,
}

#[derive(Clone, Debug)]
pub struct DraftUpdate {
    pub scid: u64,
    pub direction: u8,
    pub incremental: bool,
    pub disabled: bool,
    pub changes: Changes,
    pub additional: Option<Vec<u8>>,
}

impl Draft {
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Out(Vec::new());
        out.bytes(b"LDK");
        out.u8(self.version as u8);
        out.bytes(CHAIN.as_bytes());
        out.u32(self.timestamp);
        if self.version == Version::V2 {
            out.u8(self.default_features.len() as u8);
            self.default_features.iter().for_each(|features| out.with_u16_length(features));
        }
        out.u32(self.nodes.len() as u32);
        self.nodes.iter().for_each(|node| self.node(node, &mut out));
        self.channels(&mut out);
        self.updates(&mut out);
        out.0
    }

    fn node(&self, node: &DraftNode, out: &mut Out) {
        let v2 = self.version == Version::V2;
        let marker = match node.features {
            DraftFeatures::Untold => 0,
            DraftFeatures::Default(index) => index as u8 + 1,
            DraftFeatures::Here(_) => 7,
        };
        let flag = |set: bool, bit: u8| u8::from(set) << bit;
        let flags = flag(node.additional.is_some(), 7)
            | flag(node.reminder, 6)
            | marker << 3
            | flag(node.addresses.is_some(), 2);
        out.u8(node.id[0] | if v2 { flags } else { 0 });
        out.bytes(&node.id[1..]);
        if !v2 {
            return;
        }
        if let Some(addresses) = &node.addresses {
            out.u8(addresses.len() as u8);
            for address in addresses {
                out.u8(address.len() as u8);
                out.bytes(address);
            }
        }
        if let DraftFeatures::Here(features) = &node.features {
            out.with_u16_length(features);
        }
        if let Some(additional) = &node.additional {
            out.with_u16_length(additional);
        }
    }

    fn channels(&self, out: &mut Out) {
        out.u32(self.channels.len() as u32);
        let mut last = 0;
        for channel in &self.channels {
            out.with_u16_length(&channel.features);
            out.big_size(channel.scid - last);
            last = channel.scid;
            out.big_size(channel.nodes[0] as u64);
            // In version 1 the bit is there to be passed over.
            out.big_size(channel.nodes[1] as u64 | u64::from(channel.additional.is_some()) << 63);
            if let (Version::V2, Some((capacity_sat, more))) = (self.version, &channel.additional) {
                let mut data = Out(Vec::new());
                data.big_size(*capacity_sat);
                data.bytes(more);
                out.with_u16_length(&data.0);
            }
        }
    }

    fn updates(&self, out: &mut Out) {
        let v2 = self.version == Version::V2;
        let additional = self.updates.iter().filter(|update| v2 && update.additional.is_some()).count();
        out.u32((self.updates.len() + additional) as u32);
        if self.updates.is_empty() {
            return;
        }
        out.u16(self.defaults.cltv_expiry_delta);
        out.u64(self.defaults.htlc_minimum_msat);
        out.u32(self.defaults.fee_base_msat);
        out.u32(self.defaults.fee_proportional_millionths);
        out.u64(self.defaults.htlc_maximum_msat);
        let mut last = 0;
        for update in &self.updates {
            out.big_size(update.scid - last);
            last = update.scid;
            self::update(update, out);
            if let Some(additional) = update.additional.as_ref().filter(|_| v2) {
                out.big_size(0);
                out.u8(update.direction | 0b1111_1110); // only the direction matters
                out.with_u16_length(additional);
            }
        }
    }
}

fn update(update: &DraftUpdate, out: &mut Out) {
    let Changes {
        cltv_expiry_delta,
        htlc_minimum_msat,
        fee_base_msat,
        fee_proportional_millionths,
        htlc_maximum_msat,
    } = update.changes;
    let flag = |set: bool, bit: u8| u8::from(set) << bit;
    out.u8(update.direction
        | flag(update.disabled, 1)
        | flag(htlc_maximum_msat.is_some(), 2)
        | flag(fee_proportional_millionths.is_some(), 3)
        | flag(fee_base_msat.is_some(), 4)
        | flag(htlc_minimum_msat.is_some(), 5)
        | flag(cltv_expiry_delta.is_some(), 6)
        | flag(update.incremental, 7));
    cltv_expiry_delta.into_iter().for_each(|value| out.u16(value));
    htlc_minimum_msat.into_iter().for_each(|value| out.u64(value));
    fee_base_msat.into_iter().for_each(|value| out.u32(value));
    fee_proportional_millionths.into_iter().for_each(|value| out.u32(value));
    htlc_maximum_msat.into_iter().for_each(|value| out.u64(value));
}

/// Few enough scids and nodes that two drafts have some in common.
const SCIDS: [u64; 8] = [0, 1, 2, 252, 1000, 1 << 40, u64::MAX - 1, u64::MAX];
const NODES: u32 = 6;

/// Drafts of a version, of an hour before `now_s` or so.
pub fn drafts(version: Version, timestamp: u32) -> impl Strategy<Value = Draft> {
    let default_features = vec(vec(any::<u8>(), 0..4), 0..=6);
    let nodes = default_features.prop_flat_map(|defaults| {
        let nodes = btree_map(0..NODES, draft_node(defaults.len()), 2..NODES as usize);
        (Just(defaults), nodes)
    });
    let scid = || prop::sample::select(&SCIDS[..]);
    let channels = btree_map(scid(), draft_channel(), 0..6);
    let updates = btree_map((scid(), 0..2_u8), draft_update(), 0..12);
    (nodes, channels, changes(), updates).prop_map(move |((default_features, nodes), channels, defaults, updates)| {
        let count = nodes.len();
        let nodes = nodes.into_iter().map(|(n, told)| DraftNode { id: id(n), ..told });
        let channels = channels.into_iter().map(|(scid, (one, two, features, additional))| {
            let one = one.index(count);
            let two = (one + 1 + two.index(count - 1)) % count;
            DraftChannel { scid, features, nodes: [one, two], additional }
        });
        let updates =
            updates.into_iter().map(|((scid, direction), update)| DraftUpdate { scid, direction, ..update });
        Draft {
            version,
            timestamp,
            default_features,
            nodes: nodes.collect(),
            channels: channels.collect(),
            defaults: defaults.applied_to(POLICY),
            updates: updates.collect(),
        }
    })
}

fn id(n: u32) -> [u8; 33] {
    node(n).id.as_slice().try_into().expect("33 bytes")
}

fn draft_node(defaults: usize) -> impl Strategy<Value = DraftNode> {
    let one = (0..8_u8, any::<u8>()).prop_map(|(kind, fill)| match kind {
        0 => Vec::new(),
        6 => vec![fill.max(6); 9],
        7 => vec![1, fill],
        kind => address(kind, fill),
    });
    let features = (0..2 + defaults, vec(any::<u8>(), 0..5)).prop_map(|(choice, features)| match choice {
        0 => DraftFeatures::Untold,
        1 => DraftFeatures::Here(features),
        choice => DraftFeatures::Default(choice - 2),
    });
    let addresses = proptest::option::of(vec(one, 0..4));
    (any::<bool>(), addresses, features, additional()).prop_map(|(reminder, addresses, features, additional)| {
        DraftNode { id: [0; 33], reminder, addresses, features, additional }
    })
}

type DraftChannelBody = (prop::sample::Index, prop::sample::Index, Vec<u8>, Option<(u64, Vec<u8>)>);

fn draft_channel() -> impl Strategy<Value = DraftChannelBody> {
    let capacity_sat = prop_oneof![Just(0), Just(5_000_000), any::<u64>()];
    let additional = proptest::option::of((capacity_sat, vec(any::<u8>(), 0..3)));
    (any::<prop::sample::Index>(), any::<prop::sample::Index>(), vec(any::<u8>(), 0..3), additional)
}

fn draft_update() -> impl Strategy<Value = DraftUpdate> {
    (any::<bool>(), any::<bool>(), changes(), additional()).prop_map(
        |(incremental, disabled, changes, additional)| DraftUpdate {
            scid: 0,
            direction: 0,
            incremental,
            disabled,
            changes,
            additional,
        },
    )
}

fn changes() -> impl Strategy<Value = Changes> {
    let maximum = prop_oneof![Just(1000), Just(ALL_MSAT), any::<u64>()];
    let some = (
        proptest::option::of(any::<u16>()),
        proptest::option::of(any::<u64>()),
        proptest::option::of(any::<u32>()),
        proptest::option::of(any::<u32>()),
        proptest::option::of(maximum),
    );
    let some = some.prop_map(|(cltv, minimum, base, proportional, maximum)| Changes {
        cltv_expiry_delta: cltv,
        htlc_minimum_msat: minimum,
        fee_base_msat: base,
        fee_proportional_millionths: proportional,
        htlc_maximum_msat: maximum,
    });
    prop_oneof![1 => Just(Changes::default()), 3 => some]
}

fn additional() -> impl Strategy<Value = Option<Vec<u8>>> {
    proptest::option::weighted(0.2, vec(any::<u8>(), 0..5))
}
