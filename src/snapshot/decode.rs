//! Reads snapshots of any server: Rapid Gossip Sync, versions 1 and 2, full ones and deltas. The format is as in
//! [`encode`](super::encode_full)'s module, and here with all that the official client reads
//! (`lightning-rapid-gossip-sync` 0.2, `processing.rs`).
//!
//! Owns what the bytes mean, not what they do: a delta says what changed, and to whom it says that is the caller's
//! business. Promises to refuse what the client's parser refuses, and nothing else; that an error names the byte; that no
//! input panics; and that what is allocated is a small multiple of the input, whatever its counts say. (The client's
//! limits on counts are part of that: at most 200,000 nodes and 600,000 updates.)
//!
//! What is after the end is passed over by the client, and is in [`Decoded::trailing`] here.

mod entries;
mod input;

use std::borrow::Cow;
use std::ops::Range;

use bitcoin::constants::ChainHash;

use self::entries::{channels, nodes, updates};
use self::input::{Input, Result};
use super::Version;
use crate::gossip::{Direction, NodeId, Policy, ShortChannelId};

pub use self::input::Undecodable;

/// A node's id, whose first byte carries flags in v2.
const NODE_ID: usize = 33;

/// What a snapshot says. Slices are parts of the input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decoded<'a> {
    pub version: Version,
    pub chain: ChainHash,
    /// Unix seconds: when the server last heard something; a wallet asks for what came after it.
    pub timestamp: u32,
    /// Feature sets that nodes refer to (v2).
    pub default_features: Vec<&'a [u8]>,
    pub nodes: Vec<Node<'a>>,
    pub channels: Vec<Channel<'a>>,
    /// What full updates leave out; `None` if there are no updates at all.
    pub defaults: Option<Policy>,
    pub updates: Vec<Update>,
    /// What the format keeps room for and nobody reads yet (v2).
    pub additional: Additional,
    sections: Sections,
    bytes: &'a [u8],
}

/// A node that channels refer to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Node<'a> {
    pub id: NodeId,
    /// It is still there, though nothing else about it may have changed (v2, deltas).
    pub reminder: bool,
    /// Its addresses, if they are told (v2).
    pub addresses: Option<Addresses<'a>>,
    /// Its features as in its announcement, big-endian, if they are told: here or among the defaults (v2).
    pub features: Option<&'a [u8]>,
    /// Where its entry begins.
    at: usize,
    /// How long it is.
    len: usize,
}

impl Node<'_> {
    /// Whether anything is told of it beyond its id.
    pub fn has_details(&self) -> bool {
        self.addresses.is_some() || self.features.is_some()
    }
}

/// A node's addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Addresses<'a> {
    /// Each after its u8 length; checked to be whole.
    list: &'a [u8],
}

impl<'a> Addresses<'a> {
    /// Each as in an announcement, its type first; also those that the client cannot read and passes over.
    pub fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self.list;
        std::iter::from_fn(move || {
            let (len, tail) = rest.split_first()?;
            let (address, tail) = tail.split_at_checked(usize::from(*len))?;
            rest = tail;
            Some(address)
        })
    }
}

/// An announced channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Channel<'a> {
    pub scid: ShortChannelId,
    /// Feature bits, big-endian.
    pub features: &'a [u8],
    /// Indexes of `node_id_1` and `node_id_2` in [`Decoded::nodes`].
    pub nodes: [u32; 2],
    /// The funding output's value (v2).
    pub capacity_sat: Option<u64>,
}

/// What one direction of a channel charges and allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Update {
    pub scid: ShortChannelId,
    pub direction: Direction,
    pub enabled: bool,
    pub told: Told,
}

/// How much of a policy an update tells. (Whether the direction is enabled is always told.)
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// All of it.
    Full(Policy),
    /// The fields that changed: at least one.
    Incremental(Changes),
    /// Nothing: the direction was heard again, that is all.
    Reminder,
}

/// Fields of a policy; `None` is unchanged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Changes {
    pub cltv_expiry_delta: Option<u16>,
    pub htlc_minimum_msat: Option<u64>,
    pub fee_base_msat: Option<u32>,
    pub fee_proportional_millionths: Option<u32>,
    pub htlc_maximum_msat: Option<u64>,
}

impl Changes {
    /// `policy` after these changes; a policy of `enabled` is not among them.
    pub fn applied_to(&self, policy: Policy) -> Policy {
        Policy {
            htlc_minimum_msat: self.htlc_minimum_msat.unwrap_or(policy.htlc_minimum_msat),
            htlc_maximum_msat: self.htlc_maximum_msat.unwrap_or(policy.htlc_maximum_msat),
            fee_base_msat: self.fee_base_msat.unwrap_or(policy.fee_base_msat),
            fee_proportional_millionths: self
                .fee_proportional_millionths
                .unwrap_or(policy.fee_proportional_millionths),
            cltv_expiry_delta: self.cltv_expiry_delta.unwrap_or(policy.cltv_expiry_delta),
            enabled: policy.enabled,
        }
    }
}

/// How much there is that nobody reads yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Additional {
    pub pieces: usize,
    pub bytes: usize,
}

/// Into what the bytes of a snapshot can be told apart. Every byte but the trailing ones is in one part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// Magic, version, chain, timestamp; in v2 the default features.
    Header,
    /// How many nodes there are, and 33 bytes each.
    NodeIds,
    /// Addresses, features, additional data.
    NodeDetails,
    /// How many channels there are, and each one's announcement.
    Announcements,
    /// How many updates there are, the defaults, and the updates.
    Updates,
}

impl Part {
    pub const ALL: [Part; 5] = [Part::Header, Part::NodeIds, Part::NodeDetails, Part::Announcements, Part::Updates];
}

/// Where the sections begin, and where the last one ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Sections {
    nodes: usize,
    channels: usize,
    updates: usize,
    end: usize,
}

impl<'a> Decoded<'a> {
    /// The bytes of a part, gathered.
    pub fn part(&self, part: Part) -> Cow<'a, [u8]> {
        let Sections { nodes, channels, updates, end } = self.sections;
        let slice = |range: Range<usize>| Cow::Borrowed(&self.bytes[range]);
        match part {
            Part::Header => slice(0..nodes),
            Part::Announcements => slice(channels..updates),
            Part::Updates => slice(updates..end),
            Part::NodeIds => {
                let ids = self.nodes.iter().map(|node| &self.bytes[node.at..node.at + NODE_ID]);
                let count = &self.bytes[nodes..nodes + 4];
                Cow::Owned(std::iter::once(count).chain(ids).collect::<Vec<_>>().concat())
            }
            Part::NodeDetails => {
                let details = self.nodes.iter().map(|node| &self.bytes[node.at + NODE_ID..node.at + node.len]);
                Cow::Owned(details.collect::<Vec<_>>().concat())
            }
        }
    }

    /// What comes after the end; the official client passes over it.
    pub fn trailing(&self) -> Range<usize> {
        self.sections.end..self.bytes.len()
    }
}

/// Reads a whole snapshot.
pub fn decode(bytes: &[u8]) -> Result<Decoded<'_>> {
    let mut input = Input::new(bytes);
    let mut additional = Additional::default();
    let mut sections = Sections::default();
    let version = version(&mut input)?;
    let chain = chain(&mut input)?;
    let timestamp = input.u32("the timestamp")?;
    let default_features = if version == Version::V2 { default_features(&mut input)? } else { Vec::new() };
    sections.nodes = input.at();
    let nodes = nodes(&mut input, version, &default_features, &mut additional)?;
    sections.channels = input.at();
    let channels = channels(&mut input, version, nodes.len(), &mut additional)?;
    sections.updates = input.at();
    let (defaults, updates) = updates(&mut input, version, &mut additional)?;
    sections.end = input.at();
    Ok(Decoded {
        version,
        chain,
        timestamp,
        default_features,
        nodes,
        channels,
        defaults,
        updates,
        additional,
        sections,
        bytes,
    })
}

fn version(input: &mut Input<'_>) -> Result<Version> {
    if input.take(3, "\"LDK\", with which every snapshot begins")? != b"LDK" {
        return Err(Undecodable::new(0, "\"LDK\", with which every snapshot begins", "found something else"));
    }
    let at = input.at();
    match input.u8("the version")? {
        1 => Ok(Version::V1),
        2 => Ok(Version::V2),
        other => Err(Undecodable::new(at, "version 1 or 2", format!("found {other}"))),
    }
}

fn chain(input: &mut Input<'_>) -> Result<ChainHash> {
    let mut hash = [0; 32];
    hash.copy_from_slice(input.take(32, "the chain's hash")?);
    Ok(ChainHash::from(hash))
}

fn default_features<'a>(input: &mut Input<'a>) -> Result<Vec<&'a [u8]>> {
    let count = input.u8("the number of default features")?;
    (0..count).map(|_| input.with_u16_length("default features")).collect()
}

#[cfg(test)]
mod tests;
