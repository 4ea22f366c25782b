//! Gossip without signatures, for the rooms that never look at them: the journal and the history.

#![allow(dead_code)] // Each test binary uses its part of it.

use bitcoin::hashes::Hash;
use rgsd::gossip::UnixMs;
use rgsd::gossip::{
    BlockId, ChannelAnnouncement, ChannelUpdate, Direction, Fact, NodeAnnouncement, NodeId, Policy, ShortChannelId,
};
use rgsd::journal::{Draft, Event, Graph};
use rgsd::snapshot::rules;

const SIGNATURE: usize = 64;

/// The node number `n`; ascending as `n` is.
pub fn node(n: u32) -> NodeId {
    let mut bytes = [0; 33];
    bytes[0] = 2;
    bytes[29..].copy_from_slice(&n.to_be_bytes());
    NodeId::from_slice(&bytes).expect("33 bytes")
}

pub fn scid(n: u64) -> ShortChannelId {
    ShortChannelId(n)
}

/// A block; its hash says its height, and nothing else.
pub fn block(height: u32) -> BlockId {
    let mut hash = [0; 32];
    hash[..4].copy_from_slice(&height.to_le_bytes());
    BlockId { height, hash: bitcoin::BlockHash::from_byte_array(hash) }
}

/// A policy that differs by `fee` alone.
pub fn policy(fee: u32) -> Policy {
    Policy {
        htlc_minimum_msat: 1,
        htlc_maximum_msat: 1_000_000,
        fee_base_msat: fee,
        fee_proportional_millionths: 100,
        cltv_expiry_delta: 40,
        enabled: true,
    }
}

pub fn announcement(scid: ShortChannelId, nodes: [u32; 2], features: &[u8]) -> ChannelAnnouncement {
    let mut wire = ChannelAnnouncement::TYPE.to_be_bytes().to_vec();
    wire.resize(wire.len() + 4 * SIGNATURE, 0);
    wire.extend((features.len() as u16).to_be_bytes());
    wire.extend(features);
    wire.extend([0; 32]);
    wire.extend(scid.0.to_be_bytes());
    wire.extend(nodes.map(|n| *node(n).as_array()).concat());
    wire.extend(nodes.map(|n| *node(n).as_array()).concat());
    ChannelAnnouncement::from_wire(wire).expect("well-formed")
}

pub fn update(scid: ShortChannelId, direction: Direction, timestamp: u32, policy: &Policy) -> ChannelUpdate {
    let mut wire = ChannelUpdate::TYPE.to_be_bytes().to_vec();
    wire.resize(wire.len() + SIGNATURE + 32, 0);
    wire.extend(scid.0.to_be_bytes());
    wire.extend(timestamp.to_be_bytes());
    wire.extend([1, direction as u8 | if policy.enabled { 0 } else { 2 }]);
    wire.extend(policy.cltv_expiry_delta.to_be_bytes());
    wire.extend(policy.htlc_minimum_msat.to_be_bytes());
    wire.extend(policy.fee_base_msat.to_be_bytes());
    wire.extend(policy.fee_proportional_millionths.to_be_bytes());
    wire.extend(policy.htlc_maximum_msat.to_be_bytes());
    ChannelUpdate::from_wire(wire).expect("well-formed")
}

pub fn node_announcement(n: u32, timestamp: u32, features: &[u8], addresses: &[u8]) -> NodeAnnouncement {
    let mut wire = NodeAnnouncement::TYPE.to_be_bytes().to_vec();
    wire.resize(wire.len() + SIGNATURE, 0);
    wire.extend((features.len() as u16).to_be_bytes());
    wire.extend(features);
    wire.extend(timestamp.to_be_bytes());
    wire.extend(node(n).as_slice());
    wire.resize(wire.len() + 3 + 32, 0);
    wire.extend((addresses.len() as u16).to_be_bytes());
    wire.extend(addresses);
    NodeAnnouncement::from_wire(wire).expect("well-formed")
}

/// An IPv4 address descriptor.
pub fn ipv4(last: u8) -> [u8; 7] {
    [1, 10, 0, 0, last, 0x26, 0x07]
}

pub fn draft(seen_s: u64, fact: Fact) -> Draft {
    Draft { seen: UnixMs(seen_s * 1_000), event: Event::Fact(fact) }
}

pub fn epoch(timestamp: u32) -> Draft {
    epoch_of(timestamp, Graph::Routable)
}

pub fn epoch_of(timestamp: u32, graph: Graph) -> Draft {
    let event = Event::Epoch { timestamp, rules: rules(graph) };
    Draft { seen: UnixMs(u64::from(timestamp) * 1_000), event }
}

/// One entry of every kind there is.
pub fn one_of_each() -> Vec<Draft> {
    use rgsd::gossip::Closing;
    let announcement = announcement(scid(7), [1, 2], &[0x08, 0x00]);
    let facts = vec![
        Fact::Channel { announcement: announcement.clone(), capacity_sat: None },
        Fact::Channel { announcement, capacity_sat: Some(21_000_000 * 100_000_000) },
        Fact::Update(update(scid(7), Direction::OneToTwo, 1_700_000_000, &policy(1))),
        Fact::Update(update(scid(7), Direction::TwoToOne, u32::MAX, &policy(u32::MAX))),
        Fact::Node(node_announcement(1, 1_700_000_000, &[2, 0], &ipv4(1))),
        Fact::Proof { scid: scid(u64::MAX), capacity_sat: 1 },
        Fact::Closed { scid: scid(7), reason: Closing::Silent },
        Fact::Closed { scid: scid(8), reason: Closing::Unfunded },
        Fact::SyncCompleted { peer: node(3) },
        Fact::Closed { scid: scid(9), reason: Closing::Spent { height: u32::MAX } },
        Fact::PossibleSplice { scid: scid(7), height: 800_000 },
        Fact::Reopened { scid: scid(9) },
        Fact::Block(block(800_001)),
    ];
    let mut drafts: Vec<Draft> = facts.into_iter().map(|fact| draft(1_700_000_000, fact)).collect();
    drafts.push(epoch_of(1_700_000_017, Graph::Routable));
    drafts.push(epoch_of(1_700_003_617, Graph::Complete));
    drafts
}
