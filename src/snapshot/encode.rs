//! The bytes of a snapshot, full or a delta: Rapid Gossip Sync, versions 1 and 2, as the official client reads them
//! (`lightning-rapid-gossip-sync`, `processing.rs`).
//!
//! Integers are big-endian; BigSize is BOLT 1's. In order:
//!
//! | part | v1 | v2 |
//! |---|---|---|
//! | prefix | `LDK`, version byte | the same |
//! | chain hash, timestamp | 32 bytes, u32 | the same |
//! | default node features | – | u8 count; u16 length and bytes each |
//! | nodes | u32 count; 33 bytes each | the same, the first byte carrying flags; then what the flags announce |
//! | channels | u32 count; u16 length and features, BigSize scid delta, BigSize indexes of both nodes | with a capacity, bit 63 of the second index is set and a u16 length and a BigSize of sats follow |
//! | updates | u32 count; if any, the defaults (u16 cltv, u64 minimum, u32 base, u32 proportional, u64 maximum), then BigSize scid delta, flags, and the fields that the flags announce | the same |
//!
//! An update is *incremental* where bit 7 of its flags is set: the fields that it does not announce stay as the client
//! has them, and a client that does not have the direction passes over it. Any other takes such fields from the
//! defaults.
//!
//! As small as the format allows: nodes that are named most often get the indexes that take fewest bytes, every
//! default is the value that saves most, nothing is said twice, and nothing that a client would pass over is said at
//! all. The same view gives the same bytes.

mod updates;

use std::cmp::Reverse;
use std::collections::HashMap;

use bitcoin::constants::ChainHash;

use super::contents::{Contents, ToldNode};
use crate::gossip::{NodeDetails, addresses_in};
use crate::history::View;

/// Official clients drop a snapshot that holds more.
pub(super) const NODES_AT_MOST: usize = 200_000;
pub(super) const UPDATES_AT_MOST: usize = 600_000;
/// ldk-node gives up on a larger one.
const BYTES_AT_MOST: usize = 15 << 20;

/// The versions of the format.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Version {
    /// No capacities and no node details.
    V1 = 1,
    /// With both.
    V2 = 2,
}

/// A snapshot would be larger than wallets accept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TooLarge {
    #[error(
        "{nodes} nodes and {channels} channels are more than wallets accept ({NODES_AT_MOST} nodes, {} channels)",
        UPDATES_AT_MOST / 2
    )]
    Network { nodes: usize, channels: usize },
    #[error("a snapshot of {bytes} bytes is more than wallets accept ({BYTES_AT_MOST} bytes)")]
    Snapshot { bytes: usize },
}

/// Where the timestamp stands in every snapshot.
pub(super) const TIMESTAMP_AT: usize = 4 + 32;

/// Flags of a node's first byte in v2 (the lowest two bits are the key's parity).
pub(super) const NODE_ADDRESSES: u8 = 1 << 2;
pub(super) const NODE_FEATURES_SHIFT: u8 = 3;
/// Of the three bits above the shift: 1 to 6 name a default, 7 says that the features follow.
pub(super) const NODE_FEATURES_FOLLOW: u8 = 7;
const DEFAULT_FEATURES_AT_MOST: usize = 6;

pub(super) use updates::{BASE, CLTV, DISABLED, INCREMENTAL, MAXIMUM, MINIMUM, PROPORTIONAL};

/// Encodes a whole view.
pub fn encode_full(view: &View, chain: ChainHash, version: Version) -> Result<Vec<u8>, TooLarge> {
    encode(&Contents::full(view), chain, version)
}

/// Encodes what is to be told.
pub fn encode(contents: &Contents, chain: ChainHash, version: Version) -> Result<Vec<u8>, TooLarge> {
    encode_apart(contents, chain, version).map(|(bytes, _)| bytes)
}

/// The same, and where the updates begin.
pub(super) fn encode_apart(
    contents: &Contents,
    chain: ChainHash,
    version: Version,
) -> Result<(Vec<u8>, usize), TooLarge> {
    let (nodes, channels, updates) = (contents.nodes.len(), contents.channels.len(), contents.updates.len());
    if nodes > NODES_AT_MOST || channels.max(updates.div_ceil(2)) > UPDATES_AT_MOST / 2 {
        return Err(TooLarge::Network { nodes, channels: channels.max(updates.div_ceil(2)) });
    }
    let mut out = Out::with_capacity(128 + nodes * 64 + channels * 28 + updates * 32);
    out.bytes(b"LDK");
    out.u8(version as u8);
    out.bytes(chain.as_bytes());
    out.u32(contents.timestamp);
    let indexes = Indexes::new(contents, version);
    match version {
        Version::V1 => nodes_v1(contents, &indexes, &mut out),
        Version::V2 => nodes_v2(contents, &indexes, &mut out),
    }
    announcements(contents, &indexes, version, &mut out);
    let updates_at = out.0.len();
    updates::write(&contents.updates, &mut out);
    let bytes = out.0.len();
    if bytes > BYTES_AT_MOST { Err(TooLarge::Snapshot { bytes }) } else { Ok((out.0, updates_at)) }
}

/// Which node stands where in the snapshot.
struct Indexes {
    /// By index in the snapshot: the node's index in what is told.
    order: Vec<u32>,
    /// By index in what is told: the node's index in the snapshot, if it is there.
    of: Vec<u32>,
}

impl Indexes {
    /// The nodes whose index is written most often come first, because the first 253 indexes take one byte. In v2 an
    /// announcement with a capacity always spends nine bytes on its second index (bit 63 is set), so only first
    /// indexes count there. Version 1 has no details: it leaves out whom no announcement names.
    fn new(contents: &Contents, version: Version) -> Self {
        let mut namings = vec![0_u32; contents.nodes.len()];
        let mut named = vec![version == Version::V2; contents.nodes.len()];
        for channel in &contents.channels {
            let [one, two] = channel.nodes.map(|node| node as usize);
            namings[one] += 1;
            if version == Version::V1 || channel.capacity_sat.is_none() {
                namings[two] += 1;
            }
            (named[one], named[two]) = (true, true);
        }
        let mut order: Vec<u32> = (0..count(namings.len())).filter(|node| named[*node as usize]).collect();
        order.sort_by_key(|node| Reverse(namings[*node as usize]));
        let mut of = vec![0; namings.len()];
        for (index, node) in (0..).zip(&order) {
            of[*node as usize] = index;
        }
        Self { order, of }
    }

    fn nodes<'a>(&'a self, contents: &'a Contents) -> impl Iterator<Item = &'a ToldNode> {
        self.order.iter().map(|node| &contents.nodes[*node as usize])
    }
}

fn nodes_v1(contents: &Contents, indexes: &Indexes, out: &mut Out) {
    out.u32(count(indexes.order.len()));
    for node in indexes.nodes(contents) {
        out.bytes(node.id.as_slice());
    }
}

fn nodes_v2(contents: &Contents, indexes: &Indexes, out: &mut Out) {
    let defaults = default_features(contents);
    out.u8(defaults.len() as u8); // at most six
    for features in &defaults {
        out.with_u16_length(features);
    }
    out.u32(count(indexes.order.len()));
    for node in indexes.nodes(contents) {
        node_v2(node, &defaults, out);
    }
}

fn node_v2(node: &ToldNode, defaults: &[&[u8]], out: &mut Out) {
    let id = node.id.as_slice();
    let features = node.features.as_deref().map(|details| significant(&details.features));
    let marker = features.map(|features| {
        let default = defaults.iter().position(|default| *default == features);
        default.map_or(NODE_FEATURES_FOLLOW, |index| index as u8 + 1) // index: at most five
    });
    let with_addresses = if node.addresses.is_some() { NODE_ADDRESSES } else { 0 };
    out.u8(id[0] | with_addresses | marker.unwrap_or(0) << NODE_FEATURES_SHIFT);
    out.bytes(&id[1..]);
    if let Some(details) = &node.addresses {
        out.u8(addresses(details).count() as u8); // at most 255, as is each length
        for address in addresses(details) {
            out.u8(address.len() as u8);
            out.bytes(address);
        }
    }
    if let Some(features) = features.filter(|_| marker == Some(NODE_FEATURES_FOLLOW)) {
        out.with_u16_length(features);
    }
}

/// The addresses that a snapshot can hold and a client can read: up to 255, of up to 255 bytes each. LDK passes over
/// a host name with other characters than these.
pub(super) fn addresses(details: &NodeDetails) -> impl Iterator<Item = &[u8]> {
    let in_host_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    let readable = move |address: &&[u8]| match address {
        [5, _, host @ .., _, _] => host.iter().all(in_host_name), // type, length, host name, port
        _ => true,
    };
    addresses_in(&details.addresses).filter(|address| address.len() <= 255).filter(readable).take(255)
}

/// Features without the zero bytes at their head, which mean nothing (BOLT 9: feature vectors are padded on the left).
pub(super) fn significant(features: &[u8]) -> &[u8] {
    let zeros = features.iter().take_while(|byte| **byte == 0).count();
    &features[zeros..]
}

/// Up to six feature sets that save bytes when said once for all, the most saving first.
fn default_features(contents: &Contents) -> Vec<&[u8]> {
    let mut uses: HashMap<&[u8], usize> = HashMap::new();
    for details in contents.nodes.iter().filter_map(|node| node.features.as_deref()) {
        *uses.entry(significant(&details.features)).or_default() += 1;
    }
    let saved = |features: &[u8], uses: usize| (uses - 1) * (2 + features.len());
    let mut best: Vec<_> = uses.into_iter().map(|(features, uses)| (saved(features, uses), features)).collect();
    best.retain(|(saved, _)| *saved > 0);
    best.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    best.truncate(DEFAULT_FEATURES_AT_MOST);
    best.into_iter().map(|(_, features)| features).collect()
}

fn announcements(contents: &Contents, indexes: &Indexes, version: Version, out: &mut Out) {
    out.u32(count(contents.channels.len()));
    let mut previous_scid = 0;
    for channel in &contents.channels {
        out.with_u16_length(significant(&channel.features));
        out.big_size(channel.scid.0 - previous_scid); // in ascending order
        previous_scid = channel.scid.0;
        let [one, two] = channel.nodes.map(|node| u64::from(indexes.of[node as usize]));
        out.big_size(one);
        match channel.capacity_sat.filter(|_| version == Version::V2) {
            None => out.big_size(two),
            Some(capacity_sat) => {
                out.big_size(two | 1 << 63);
                out.u16(big_size_len(capacity_sat));
                out.big_size(capacity_sat);
            }
        }
    }
}

/// A length that was checked against the client's limits, which are far below 2³².
fn count(len: usize) -> u32 {
    len as u32
}

fn big_size_len(value: u64) -> u16 {
    match value {
        0..0xfd => 1,
        0xfd..0x1_0000 => 3,
        0x1_0000..0x1_0000_0000 => 5,
        _ => 9,
    }
}

/// Bytes being written.
pub(super) struct Out(pub(super) Vec<u8>);

impl Out {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.bytes(&value.to_be_bytes());
    }

    /// Features came in a message, whose lengths are u16, too.
    pub(super) fn with_u16_length(&mut self, bytes: &[u8]) {
        self.u16(bytes.len() as u16);
        self.bytes(bytes);
    }

    /// BOLT 1's BigSize.
    pub(super) fn big_size(&mut self, value: u64) {
        match big_size_len(value) {
            1 => self.u8(value as u8),
            3 => {
                self.u8(0xfd);
                self.u16(value as u16);
            }
            5 => {
                self.u8(0xfe);
                self.u32(value as u32);
            }
            _ => {
                self.u8(0xff);
                self.u64(value);
            }
        }
    }
}

#[cfg(test)]
mod tests;
