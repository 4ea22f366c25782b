//! Gossip messages as they stand on the wire (BOLT 7), with the few fields that the other rooms read.
//!
//! A message is kept as its signed bytes: they are what the journal stores, what a recording exports, and what
//! can be checked again by anybody. Construction checks that every fixed field is there, so that reading one
//! later cannot fail. Signatures are *not* checked here: that is the checking stage's work.

use std::fmt;

use lightning::routing::gossip::{ChannelUpdateInfo, NodeId};

/// A channel's place in the chain: block height, index of the transaction in the block, index of the output
/// (BOLT 7, "Definition of `short_channel_id`").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShortChannelId(pub u64);

impl ShortChannelId {
    /// Puts the three parts together; `tx_index` is cut to 24 bits, `height` to 24.
    pub fn new(height: u32, tx_index: u32, output: u16) -> Self {
        Self((u64::from(height & 0xff_ffff) << 40) | (u64::from(tx_index & 0xff_ffff) << 16) | u64::from(output))
    }

    /// Height of the block that holds the funding transaction.
    pub fn height(self) -> u32 {
        (self.0 >> 40) as u32
    }

    /// Index of the funding transaction in its block.
    pub fn tx_index(self) -> u32 {
        (self.0 >> 16) as u32 & 0xff_ffff
    }

    /// Index of the funding output in its transaction.
    pub fn output(self) -> u16 {
        self.0 as u16
    }
}

impl fmt::Display for ShortChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.height(), self.tx_index(), self.output())
    }
}

impl fmt::Debug for ShortChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which end of a channel speaks: bit 0 of `channel_flags` (BOLT 7, `channel_update`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Direction {
    /// `node_id_1` charges for what it forwards to `node_id_2`.
    OneToTwo = 0,
    /// `node_id_2` charges for what it forwards to `node_id_1`.
    TwoToOne = 1,
}

impl Direction {
    /// Both, in the order of their bit.
    pub const BOTH: [Direction; 2] = [Direction::OneToTwo, Direction::TwoToOne];

    /// The direction that a `channel_flags` byte names.
    pub fn from_flags(channel_flags: u8) -> Self {
        if channel_flags & 1 == 0 { Self::OneToTwo } else { Self::TwoToOne }
    }
}

/// What one direction of a channel charges and allows (BOLT 7, `channel_update`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Policy {
    pub htlc_minimum_msat: u64,
    pub htlc_maximum_msat: u64,
    pub fee_base_msat: u32,
    pub fee_proportional_millionths: u32,
    pub cltv_expiry_delta: u16,
    pub enabled: bool,
}

/// As LDK keeps it.
impl From<&ChannelUpdateInfo> for Policy {
    fn from(read: &ChannelUpdateInfo) -> Self {
        Self {
            htlc_minimum_msat: read.htlc_minimum_msat,
            htlc_maximum_msat: read.htlc_maximum_msat,
            fee_base_msat: read.fees.base_msat,
            fee_proportional_millionths: read.fees.proportional_millionths,
            cltv_expiry_delta: read.cltv_expiry_delta,
            enabled: read.enabled,
        }
    }
}

/// What wallets learn about a node: its features, and where it can be reached.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct NodeDetails {
    /// Feature bits as on the wire: big-endian, without the length (BOLT 9).
    pub features: Box<[u8]>,
    /// Address descriptors as on the wire, one after another, each with its type byte (BOLT 7,
    /// `node_announcement`); those of a type that nobody knows yet are left out.
    pub addresses: Box<[u8]>,
}

/// Bytes that are not the gossip message they claim to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a well-formed {kind} ({len} bytes)")]
pub struct Malformed {
    /// The message's name in BOLT 7.
    pub kind: &'static str,
    /// How many bytes there were.
    pub len: usize,
}

const SIGNATURE: usize = 64;
const NODE_ID: usize = 33;
const CHAIN_HASH: usize = 32;
const TYPE: usize = 2;

fn be<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("slice of N bytes")
}

fn node_id(bytes: &[u8], at: usize) -> NodeId {
    NodeId::from_slice(&bytes[at..at + NODE_ID]).expect("33 bytes")
}

/// A signed `channel_announcement` (type 256).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ChannelAnnouncement {
    bytes: Box<[u8]>,
    /// Length of the features, in bytes.
    features_len: u16,
}

impl ChannelAnnouncement {
    /// The message's type number (BOLT 7).
    pub const TYPE: u16 = 256;
    const FEATURES: usize = TYPE + 4 * SIGNATURE + 2;

    /// Takes the whole message, type included.
    pub fn from_wire(bytes: impl Into<Box<[u8]>>) -> Result<Self, Malformed> {
        let bytes = bytes.into();
        let malformed = Malformed { kind: "channel_announcement", len: bytes.len() };
        if bytes.len() < Self::FEATURES || u16::from_be_bytes(be(&bytes, 0)) != Self::TYPE {
            return Err(malformed);
        }
        let features_len = u16::from_be_bytes(be(&bytes, Self::FEATURES - 2));
        let fixed = Self::FEATURES + usize::from(features_len) + CHAIN_HASH + 8 + 4 * NODE_ID;
        if bytes.len() < fixed {
            return Err(malformed);
        }
        Ok(Self { bytes, features_len })
    }

    fn after_features(&self) -> usize {
        Self::FEATURES + usize::from(self.features_len)
    }

    /// The whole signed message, type included.
    pub fn wire(&self) -> &[u8] {
        &self.bytes
    }

    /// The channel's feature bits, big-endian.
    pub fn features(&self) -> &[u8] {
        &self.bytes[Self::FEATURES..self.after_features()]
    }

    pub fn chain_hash(&self) -> [u8; 32] {
        be(&self.bytes, self.after_features())
    }

    pub fn scid(&self) -> ShortChannelId {
        ShortChannelId(u64::from_be_bytes(be(&self.bytes, self.after_features() + CHAIN_HASH)))
    }

    /// `node_id_1` and `node_id_2`.
    pub fn nodes(&self) -> [NodeId; 2] {
        let at = self.after_features() + CHAIN_HASH + 8;
        [node_id(&self.bytes, at), node_id(&self.bytes, at + NODE_ID)]
    }

    /// `bitcoin_key_1` and `bitcoin_key_2`, as bytes: nobody has checked that they are points.
    pub fn bitcoin_keys(&self) -> [NodeId; 2] {
        let at = self.after_features() + CHAIN_HASH + 8 + 2 * NODE_ID;
        [node_id(&self.bytes, at), node_id(&self.bytes, at + NODE_ID)]
    }
}

/// A signed `channel_update` (type 258).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ChannelUpdate {
    bytes: Box<[u8]>,
}

impl ChannelUpdate {
    /// The message's type number (BOLT 7).
    pub const TYPE: u16 = 258;
    const CHAIN: usize = TYPE + SIGNATURE;
    const SCID: usize = Self::CHAIN + CHAIN_HASH;
    const TIMESTAMP: usize = Self::SCID + 8;
    const MESSAGE_FLAGS: usize = Self::TIMESTAMP + 4;
    const CHANNEL_FLAGS: usize = Self::MESSAGE_FLAGS + 1;
    const CLTV: usize = Self::CHANNEL_FLAGS + 1;
    const MINIMUM: usize = Self::CLTV + 2;
    const BASE: usize = Self::MINIMUM + 8;
    const PROPORTIONAL: usize = Self::BASE + 4;
    const MAXIMUM: usize = Self::PROPORTIONAL + 4;
    const LEN: usize = Self::MAXIMUM + 8;

    /// Takes the whole message, type included. One without `htlc_maximum_msat` (an option of old) is malformed.
    pub fn from_wire(bytes: impl Into<Box<[u8]>>) -> Result<Self, Malformed> {
        let bytes = bytes.into();
        if bytes.len() < Self::LEN
            || u16::from_be_bytes(be(&bytes, 0)) != Self::TYPE
            || bytes[Self::MESSAGE_FLAGS] & 1 == 0
        {
            return Err(Malformed { kind: "channel_update", len: bytes.len() });
        }
        Ok(Self { bytes })
    }

    /// The whole signed message, type included.
    pub fn wire(&self) -> &[u8] {
        &self.bytes
    }

    pub fn chain_hash(&self) -> [u8; 32] {
        be(&self.bytes, Self::CHAIN)
    }

    pub fn scid(&self) -> ShortChannelId {
        ShortChannelId(u64::from_be_bytes(be(&self.bytes, Self::SCID)))
    }

    /// The sender's clock, in unix seconds; orders the updates of one direction.
    pub fn timestamp(&self) -> u32 {
        u32::from_be_bytes(be(&self.bytes, Self::TIMESTAMP))
    }

    pub fn direction(&self) -> Direction {
        Direction::from_flags(self.bytes[Self::CHANNEL_FLAGS])
    }

    pub fn policy(&self) -> Policy {
        Policy {
            htlc_minimum_msat: u64::from_be_bytes(be(&self.bytes, Self::MINIMUM)),
            htlc_maximum_msat: u64::from_be_bytes(be(&self.bytes, Self::MAXIMUM)),
            fee_base_msat: u32::from_be_bytes(be(&self.bytes, Self::BASE)),
            fee_proportional_millionths: u32::from_be_bytes(be(&self.bytes, Self::PROPORTIONAL)),
            cltv_expiry_delta: u16::from_be_bytes(be(&self.bytes, Self::CLTV)),
            enabled: self.bytes[Self::CHANNEL_FLAGS] & 2 == 0,
        }
    }
}

/// A signed `node_announcement` (type 257).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct NodeAnnouncement {
    bytes: Box<[u8]>,
    /// Length of the features, in bytes.
    features_len: u16,
}

impl NodeAnnouncement {
    /// The message's type number (BOLT 7).
    pub const TYPE: u16 = 257;
    const FEATURES: usize = TYPE + SIGNATURE + 2;
    /// timestamp, node id, rgb, alias, length of the addresses
    const MIDDLE: usize = 4 + NODE_ID + 3 + 32 + 2;

    /// Takes the whole message, type included.
    pub fn from_wire(bytes: impl Into<Box<[u8]>>) -> Result<Self, Malformed> {
        let bytes = bytes.into();
        let malformed = Malformed { kind: "node_announcement", len: bytes.len() };
        if bytes.len() < Self::FEATURES || u16::from_be_bytes(be(&bytes, 0)) != Self::TYPE {
            return Err(malformed);
        }
        let features_len = u16::from_be_bytes(be(&bytes, Self::FEATURES - 2));
        let addresses = Self::FEATURES + usize::from(features_len) + Self::MIDDLE;
        if bytes.len() < addresses {
            return Err(malformed);
        }
        let addresses_len = u16::from_be_bytes(be(&bytes, addresses - 2));
        if bytes.len() < addresses + usize::from(addresses_len) {
            return Err(malformed);
        }
        Ok(Self { bytes, features_len })
    }

    fn after_features(&self) -> usize {
        Self::FEATURES + usize::from(self.features_len)
    }

    /// The whole signed message, type included.
    pub fn wire(&self) -> &[u8] {
        &self.bytes
    }

    /// The sender's clock, in unix seconds; orders a node's announcements.
    pub fn timestamp(&self) -> u32 {
        u32::from_be_bytes(be(&self.bytes, self.after_features()))
    }

    pub fn node_id(&self) -> NodeId {
        node_id(&self.bytes, self.after_features() + 4)
    }

    /// The node's feature bits, big-endian.
    pub fn features(&self) -> &[u8] {
        &self.bytes[Self::FEATURES..self.after_features()]
    }

    /// The address descriptors as they stand in the message, those of unknown types included.
    pub fn address_bytes(&self) -> &[u8] {
        let at = self.after_features() + Self::MIDDLE;
        let len = usize::from(u16::from_be_bytes(be(&self.bytes, at - 2)));
        &self.bytes[at..at + len]
    }

    /// What wallets learn from this message.
    pub fn details(&self) -> NodeDetails {
        let addresses = self.address_bytes();
        let known: usize = addresses_in(addresses).map(<[u8]>::len).sum();
        NodeDetails { features: self.features().into(), addresses: addresses[..known].into() }
    }
}

/// The address descriptors at the head of `bytes`, each with its type byte; ends at the first that is cut short
/// or of an unknown type, because nothing tells how long that one is (BOLT 7: ignore the rest).
pub fn addresses_in(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let len = 1 + match *rest.first()? {
            1 => 4 + 2,                              // IPv4
            2 => 16 + 2,                             // IPv6
            3 => 10 + 2,                             // Tor v2, deprecated
            4 => 35 + 2,                             // Tor v3
            5 => 1 + usize::from(*rest.get(1)?) + 2, // DNS host name
            _ => return None,
        };
        let (address, tail) = rest.split_at_checked(len)?;
        rest = tail;
        Some(address)
    })
}

impl fmt::Debug for ChannelAnnouncement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "channel_announcement {}", self.scid())
    }
}

impl fmt::Debug for ChannelUpdate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "channel_update {}/{} at {}", self.scid(), self.direction() as u8, self.timestamp())
    }
}

impl fmt::Debug for NodeAnnouncement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node_announcement {} at {}", self.node_id(), self.timestamp())
    }
}
