//! How an [`Event`] is stored: a kind and a body. The same in every store.
//!
//! | kind | event | body |
//! |---|---|---|
//! | 0 | `channel_update` | the signed message as on the wire, type included |
//! | 1 | `node_announcement` | the same |
//! | 2 | `channel_announcement`, unproven | the same |
//! | 3 | `channel_announcement`, proven | u64 capacity in sat, then the message |
//! | 4 | proof | u64 scid, u64 capacity in sat |
//! | 5 | closing | u64 scid, u8 reason: 0 silent, 1 unfunded, 2 recorded, 3 spent; then, of 3 alone, u32 height |
//! | 6 | sync completed | the peer's 33 bytes |
//! | 7 | epoch | u32 timestamp, u16 rules version, u8 graph: 0 routable, 1 complete |
//! | 8 | reopening | u64 scid |
//! | 9 | possible splice | u64 scid, u32 height |
//! | 10 | block | u32 height, the hash's 32 bytes as Bitcoin serialises it |
//!
//! Numbers are big-endian. Kinds, and codes within bodies, are never given another meaning; new ones may be added.

use std::borrow::Cow;

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;

use super::{Event, Graph, Rules};
use crate::gossip::{
    BlockId, ChannelAnnouncement, ChannelUpdate, Closing, Fact, Malformed, NodeAnnouncement, NodeId, ShortChannelId,
};

/// The kind of an epoch's entry.
pub const EPOCH: u8 = 7;

/// A stored entry that no version of this code wrote.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Undecodable {
    #[error("unknown kind {0}")]
    Kind(i64),
    #[error("kind {kind} with a body of {len} bytes that does not fit it")]
    Body { kind: u8, len: usize },
    #[error(transparent)]
    Message(#[from] Malformed),
}

/// An event as its kind and body.
pub fn encode(event: &Event) -> (u8, Cow<'_, [u8]>) {
    match event {
        Event::Fact(Fact::Update(update)) => (0, update.wire().into()),
        Event::Fact(Fact::Node(node)) => (1, node.wire().into()),
        Event::Fact(Fact::Channel { announcement, capacity_sat: None }) => (2, announcement.wire().into()),
        Event::Fact(Fact::Channel { announcement, capacity_sat: Some(capacity_sat) }) => {
            (3, [&capacity_sat.to_be_bytes(), announcement.wire()].concat().into())
        }
        Event::Fact(Fact::Proof { scid, capacity_sat }) => {
            (4, [scid.0.to_be_bytes(), capacity_sat.to_be_bytes()].concat().into())
        }
        Event::Fact(Fact::Closed { scid, reason }) => {
            (5, [&scid.0.to_be_bytes()[..], &encode_reason(*reason)].concat().into())
        }
        Event::Fact(Fact::SyncCompleted { peer }) => (6, peer.as_slice().into()),
        Event::Fact(Fact::Reopened { scid }) => (8, scid.0.to_be_bytes().to_vec().into()),
        Event::Fact(Fact::PossibleSplice { scid, height }) => {
            (9, [&scid.0.to_be_bytes()[..], &height.to_be_bytes()].concat().into())
        }
        Event::Fact(Fact::Block(block)) => {
            (10, [&block.height.to_be_bytes()[..], block.hash.as_byte_array()].concat().into())
        }
        Event::Epoch { timestamp, rules } => {
            let graph = match rules.graph {
                Graph::Routable => 0,
                Graph::Complete => 1,
            };
            (EPOCH, [&timestamp.to_be_bytes()[..], &rules.version.to_be_bytes(), &[graph]].concat().into())
        }
    }
}

/// The event that [`encode`] took apart.
pub fn decode(kind: i64, body: &[u8]) -> Result<Event, Undecodable> {
    let kind = u8::try_from(kind).map_err(|_| Undecodable::Kind(kind))?;
    let misfit = || Undecodable::Body { kind, len: body.len() };
    Ok(match kind {
        0 => Event::Fact(Fact::Update(ChannelUpdate::from_wire(body)?)),
        1 => Event::Fact(Fact::Node(NodeAnnouncement::from_wire(body)?)),
        2 => channel(body, None)?,
        3 => {
            let (capacity_sat, message) = body.split_first_chunk().ok_or_else(misfit)?;
            channel(message, Some(u64::from_be_bytes(*capacity_sat)))?
        }
        4 => decode_proof(body).ok_or_else(misfit)?,
        5 => decode_closing(body).ok_or_else(misfit)?,
        6 => Event::Fact(Fact::SyncCompleted { peer: NodeId::from_slice(body).map_err(|_| misfit())? }),
        EPOCH => decode_epoch(body).ok_or_else(misfit)?,
        8 => decode_reopening(body).ok_or_else(misfit)?,
        9 => decode_possible_splice(body).ok_or_else(misfit)?,
        10 => decode_block(body).ok_or_else(misfit)?,
        unknown => return Err(Undecodable::Kind(unknown.into())),
    })
}

fn channel(message: &[u8], capacity_sat: Option<u64>) -> Result<Event, Undecodable> {
    Ok(Event::Fact(Fact::Channel { announcement: ChannelAnnouncement::from_wire(message)?, capacity_sat }))
}

fn decode_proof(body: &[u8]) -> Option<Event> {
    let (scid, capacity_sat) = body.split_first_chunk()?;
    let capacity_sat = u64::from_be_bytes(capacity_sat.try_into().ok()?);
    Some(Event::Fact(Fact::Proof { scid: ShortChannelId(u64::from_be_bytes(*scid)), capacity_sat }))
}

fn encode_reason(reason: Closing) -> Vec<u8> {
    match reason {
        Closing::Silent => vec![0],
        Closing::Unfunded => vec![1],
        Closing::Recorded => vec![2],
        Closing::Spent { height } => [&[3][..], &height.to_be_bytes()].concat(),
    }
}

fn decode_closing(body: &[u8]) -> Option<Event> {
    let (scid, reason) = body.split_first_chunk()?;
    let reason = match reason {
        [0] => Closing::Silent,
        [1] => Closing::Unfunded,
        [2] => Closing::Recorded,
        [3, height @ ..] => Closing::Spent { height: u32::from_be_bytes(height.try_into().ok()?) },
        _ => return None,
    };
    Some(Event::Fact(Fact::Closed { scid: ShortChannelId(u64::from_be_bytes(*scid)), reason }))
}

fn decode_reopening(body: &[u8]) -> Option<Event> {
    Some(Event::Fact(Fact::Reopened { scid: ShortChannelId(u64::from_be_bytes(body.try_into().ok()?)) }))
}

fn decode_possible_splice(body: &[u8]) -> Option<Event> {
    let (scid, height) = body.split_first_chunk()?;
    let height = u32::from_be_bytes(height.try_into().ok()?);
    Some(Event::Fact(Fact::PossibleSplice { scid: ShortChannelId(u64::from_be_bytes(*scid)), height }))
}

fn decode_block(body: &[u8]) -> Option<Event> {
    let (height, hash) = body.split_first_chunk()?;
    let hash = BlockHash::from_byte_array(hash.try_into().ok()?);
    Some(Event::Fact(Fact::Block(BlockId { height: u32::from_be_bytes(*height), hash })))
}

fn decode_epoch(body: &[u8]) -> Option<Event> {
    let (timestamp, rest) = body.split_first_chunk()?;
    let (version, graph) = rest.split_first_chunk()?;
    let graph = match graph {
        [0] => Graph::Routable,
        [1] => Graph::Complete,
        _ => return None,
    };
    let rules = Rules { version: u16::from_be_bytes(*version), graph };
    Some(Event::Epoch { timestamp: u32::from_be_bytes(*timestamp), rules })
}
