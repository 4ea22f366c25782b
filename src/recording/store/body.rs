//! A record's message as a [`Body`], and back; the table is in the parent's head.

use crate::gossip::{ShortChannelId, UnixMs};
use crate::recording::{Body, Damage};

const CHANNEL_ANNOUNCEMENT: u16 = 256;
const CHANNEL_UPDATE: u16 = 258;
const AMOUNT: u16 = 4101;
const PRIVATE_UPDATE: u16 = 4102;
const CLOSED: u16 = 4103;
const PRIVATE_CHANNEL: u16 = 4104;
const ENDED: u16 = 4105;
const DYING: u16 = 4106;
const UUID: u16 = 4107;
const TIME: u16 = 54_007;
const PROOF: u16 = 54_009;

/// The message of a record whose checksum fits.
pub(super) fn decode(message: &[u8]) -> Result<Body, Damage> {
    let Some((kind, rest)) = message.split_first_chunk() else {
        return Err(Damage::NoType { len: message.len() });
    };
    let kind = u16::from_be_bytes(*kind);
    decode_kind(kind, rest, message).ok_or(Damage::Length { kind, len: message.len() })
}

fn decode_kind(kind: u16, rest: &[u8], message: &[u8]) -> Option<Body> {
    Some(match kind {
        CHANNEL_ANNOUNCEMENT..=CHANNEL_UPDATE => Body::Message(message.into()),
        PRIVATE_UPDATE | PRIVATE_CHANNEL => Body::Private(message.into()),
        AMOUNT => Body::Amount { capacity_sat: u64(rest)? },
        CLOSED => Body::Closed(ShortChannelId(u64(rest)?)),
        ENDED if rest.len() == 8 => Body::Ended { offset: u64(rest)?, uuid: None },
        ENDED => {
            let (offset, uuid) = rest.split_at_checked(8)?;
            Body::Ended { offset: u64(offset)?, uuid: Some(uuid.try_into().ok()?) }
        }
        DYING => {
            let (scid, height) = rest.split_at_checked(8)?;
            let deadline_height = u32::from_be_bytes(height.try_into().ok()?);
            Body::Dying { scid: ShortChannelId(u64(scid)?), deadline_height }
        }
        UUID => Body::Uuid(rest.try_into().ok()?),
        TIME => Body::Time(UnixMs(u64(rest)?)),
        PROOF => {
            let (scid, capacity) = rest.split_at_checked(8)?;
            Body::Proof { scid: ShortChannelId(u64(scid)?), capacity_sat: u64(capacity)? }
        }
        _ => Body::Unknown(message.into()),
    })
}

fn u64(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

/// Whether a record of this type, which must be one of the table, may be so long, type included.
pub(super) fn plausible(kind: u16, len: usize) -> bool {
    match kind {
        CHANNEL_ANNOUNCEMENT..=CHANNEL_UPDATE | PRIVATE_UPDATE | PRIVATE_CHANNEL => len >= 2,
        AMOUNT | CLOSED | TIME => len == 10,
        ENDED => len == 10 || len == 42,
        DYING => len == 14,
        UUID => len == 34,
        PROOF => len == 18,
        _ => false,
    }
}

/// Appends the message. `None`: it would be read as something else, since its bytes are not of the type that the body
/// is for.
pub(super) fn encode(body: &Body, out: &mut Vec<u8>) -> Option<()> {
    match body {
        Body::Message(message) | Body::Private(message) | Body::Unknown(message) => {
            let kind = u16::from_be_bytes(*message.first_chunk()?);
            if !is_for(body, kind) {
                return None;
            }
            out.extend_from_slice(message);
        }
        Body::Amount { capacity_sat } => put(out, AMOUNT, &[&capacity_sat.to_be_bytes()]),
        Body::Closed(scid) => put(out, CLOSED, &[&scid.0.to_be_bytes()]),
        Body::Dying { scid, deadline_height } => {
            put(out, DYING, &[&scid.0.to_be_bytes(), &deadline_height.to_be_bytes()]);
        }
        Body::Ended { offset, uuid } => {
            put(out, ENDED, &[&offset.to_be_bytes(), uuid.as_ref().map_or(&[], <[u8; 32]>::as_slice)]);
        }
        Body::Uuid(uuid) => put(out, UUID, &[uuid]),
        Body::Time(time) => put(out, TIME, &[&time.0.to_be_bytes()]),
        Body::Proof { scid, capacity_sat } => {
            put(out, PROOF, &[&scid.0.to_be_bytes(), &capacity_sat.to_be_bytes()]);
        }
    }
    Some(())
}

fn is_for(body: &Body, kind: u16) -> bool {
    match kind {
        CHANNEL_ANNOUNCEMENT..=CHANNEL_UPDATE => matches!(body, Body::Message(_)),
        PRIVATE_UPDATE | PRIVATE_CHANNEL => matches!(body, Body::Private(_)),
        AMOUNT | CLOSED | ENDED | DYING | UUID | TIME | PROOF => false,
        _ => matches!(body, Body::Unknown(_)),
    }
}

fn put(out: &mut Vec<u8>, kind: u16, parts: &[&[u8]]) {
    out.extend_from_slice(&kind.to_be_bytes());
    for part in parts {
        out.extend_from_slice(part);
    }
}
