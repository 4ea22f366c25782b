//! The few messages of BOLT 1 and BOLT 7 that a synthetic peer understands and sends besides gossip itself.

use bitcoin::constants::ChainHash;

use crate::gossip::ShortChannelId;

const INIT: u16 = 16;
const PING: u16 = 18;
const PONG: u16 = 19;
const QUERY_CHANNEL_RANGE: u16 = 263;
const REPLY_CHANNEL_RANGE: u16 = 264;
const GOSSIP_TIMESTAMP_FILTER: u16 = 265;

/// Short channel ids in one reply: 64,000 bytes, below the limit of 65,535.
const SCIDS_PER_REPLY: usize = 8000;

/// What a client says that a peer reacts to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Heard {
    Ping { num_pong_bytes: u16 },
    Filter { first_timestamp: u32, timestamp_range: u32 },
    Query { first_blocknum: u32, number_of_blocks: u32 },
}

/// What `message` asks for on this chain, if anything.
pub(super) fn heard(message: &[u8], chain: ChainHash) -> Option<Heard> {
    let (kind, body) = message.split_first_chunk()?;
    match u16::from_be_bytes(*kind) {
        PING => Some(Heard::Ping { num_pong_bytes: u16::from_be_bytes(*body.first_chunk()?) }),
        GOSSIP_TIMESTAMP_FILTER => {
            let [first_timestamp, timestamp_range] = two_numbers(body, chain)?;
            Some(Heard::Filter { first_timestamp, timestamp_range })
        }
        QUERY_CHANNEL_RANGE => {
            let [first_blocknum, number_of_blocks] = two_numbers(body, chain)?;
            Some(Heard::Query { first_blocknum, number_of_blocks })
        }
        _ => None,
    }
}

fn two_numbers(body: &[u8], chain: ChainHash) -> Option<[u32; 2]> {
    let numbers = body.strip_prefix(chain.as_bytes())?;
    let (one, rest) = numbers.split_first_chunk()?;
    Some([u32::from_be_bytes(*one), u32::from_be_bytes(*rest.first_chunk()?)])
}

/// `init` (BOLT 1): gossip_queries and what every node has nowadays, all optional; and the chain.
pub(super) fn init(chain: ChainHash) -> Vec<u8> {
    /// BOLT 9: bits 7 gossip_queries, 9 var_onion_optin, 13 static_remotekey, 15 payment_secret.
    const FEATURES: [u8; 2] = [0xa2, 0x80];
    let mut message = INIT.to_be_bytes().to_vec();
    message.extend([0, 0]); // globalfeatures
    message.extend([0, FEATURES.len() as u8]);
    message.extend(FEATURES);
    message.extend([1, 32]); // networks
    message.extend(chain.as_bytes());
    message
}

/// BOLT 1: none is owed for 65,532 bytes and more.
pub(super) fn pong(num_pong_bytes: u16) -> Option<Vec<u8>> {
    (num_pong_bytes < 65_532).then(|| {
        let mut message = PONG.to_be_bytes().to_vec();
        message.extend(num_pong_bytes.to_be_bytes());
        message.resize(4 + usize::from(num_pong_bytes), 0);
        message
    })
}

/// The replies to a `query_channel_range`, which together cover just the blocks asked for: each says that it ends
/// where the next begins. A block's channels may be split between two, which then both cover that block.
pub(super) fn replies(
    chain: ChainHash,
    first_blocknum: u32,
    number_of_blocks: u32,
    scids: &[ShortChannelId],
) -> Vec<Vec<u8>> {
    let end = first_blocknum.saturating_add(number_of_blocks);
    let mut parts: Vec<&[ShortChannelId]> = scids.chunks(SCIDS_PER_REPLY).collect();
    if parts.is_empty() {
        parts.push(&[]);
    }
    let last = parts.len() - 1;
    let mut first = first_blocknum;
    let mut replies = Vec::with_capacity(parts.len());
    for (i, part) in parts.iter().enumerate() {
        let next = scids.get((i + 1) * SCIDS_PER_REPLY).map_or(end, |scid| scid.height());
        let same_block = part.last().is_some_and(|scid| i < last && scid.height() == next);
        let part_end = if same_block { next + 1 } else { next };
        replies.push(reply(chain, first, part_end.saturating_sub(first), i == last, part));
        first = next;
    }
    replies
}

fn reply(chain: ChainHash, first: u32, blocks: u32, sync_complete: bool, scids: &[ShortChannelId]) -> Vec<u8> {
    let mut message = REPLY_CHANNEL_RANGE.to_be_bytes().to_vec();
    message.extend(chain.as_bytes());
    message.extend(first.to_be_bytes());
    message.extend(blocks.to_be_bytes());
    message.push(sync_complete.into());
    message.extend((1 + 8 * scids.len() as u16).to_be_bytes());
    message.push(0); // uncompressed
    scids.iter().for_each(|scid| message.extend(scid.0.to_be_bytes()));
    message
}
