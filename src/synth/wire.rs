//! Writes signed gossip messages (BOLT 7), byte by byte: what a real node would have sent.
//!
//! Written by hand rather than with LDK's types, so that LDK can be the judge of them in tests.

use bitcoin::constants::ChainHash;
use bitcoin::secp256k1::{PublicKey, SecretKey};
use bytes::Bytes;
use lightning::routing::gossip::NodeId;
use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;

use super::keys;
use crate::gossip::{ChannelAnnouncement, ChannelUpdate, Direction, NodeAnnouncement, Policy, ShortChannelId};

const SIGNATURE: usize = 64;
/// Where the signed part of a `channel_announcement` begins.
const ANNOUNCEMENT_SIGNED: usize = 2 + 4 * SIGNATURE;
/// Where the signed part of the two others begins.
const SIGNED: usize = 2 + SIGNATURE;

/// The keys of one end of a channel.
pub(super) struct End<'a> {
    pub node: &'a SecretKey,
    pub id: NodeId,
    pub funding: &'a SecretKey,
    /// Of `funding`.
    pub funding_key: PublicKey,
}

/// `ends` in the order of their node ids.
pub(super) fn channel_announcement(chain: ChainHash, scid: ShortChannelId, ends: [End<'_>; 2]) -> Bytes {
    let mut message = start(ChannelAnnouncement::TYPE, ANNOUNCEMENT_SIGNED);
    message.extend([0, 0]); // no features
    message.extend(chain.as_bytes());
    message.extend(scid.0.to_be_bytes());
    for end in &ends {
        message.extend(end.id.as_slice());
    }
    for end in &ends {
        message.extend(end.funding_key.serialize());
    }
    let signers = [ends[0].node, ends[1].node, ends[0].funding, ends[1].funding];
    for (i, signer) in signers.into_iter().enumerate() {
        sign(&mut message, signer, i, ANNOUNCEMENT_SIGNED);
    }
    message.into_boxed_slice().into()
}

pub(super) fn channel_update(
    chain: ChainHash,
    scid: ShortChannelId,
    direction: Direction,
    policy: &Policy,
    timestamp: u32,
    node: &SecretKey,
) -> Bytes {
    let mut message = start(ChannelUpdate::TYPE, SIGNED);
    message.extend(chain.as_bytes());
    message.extend(scid.0.to_be_bytes());
    message.extend(timestamp.to_be_bytes());
    let disabled = if policy.enabled { 0 } else { 2 };
    message.extend([1, direction as u8 | disabled]); // 1: htlc_maximum_msat is there
    message.extend(policy.cltv_expiry_delta.to_be_bytes());
    message.extend(policy.htlc_minimum_msat.to_be_bytes());
    message.extend(policy.fee_base_msat.to_be_bytes());
    message.extend(policy.fee_proportional_millionths.to_be_bytes());
    message.extend(policy.htlc_maximum_msat.to_be_bytes());
    sign(&mut message, node, 0, SIGNED);
    message.into_boxed_slice().into()
}

/// What a node tells of itself, beside its name.
pub(super) struct Details {
    pub features: Vec<u8>,
    pub colour: [u8; 3],
    /// Address descriptors, one after the other.
    pub addresses: Vec<u8>,
}

impl Details {
    /// Something plausible.
    pub fn draw(rng: &mut ChaCha8Rng) -> Self {
        Self { features: features(rng), colour: random(rng), addresses: addresses(rng) }
    }
}

pub(super) fn node_announcement(details: &Details, node: &SecretKey, id: NodeId, timestamp: u32) -> Bytes {
    let mut message = start(NodeAnnouncement::TYPE, SIGNED);
    with_length(&mut message, &details.features);
    message.extend(timestamp.to_be_bytes());
    message.extend(id.as_slice());
    message.extend(details.colour);
    message.extend(alias(id));
    with_length(&mut message, &details.addresses);
    sign(&mut message, node, 0, SIGNED);
    message.into_boxed_slice().into()
}

fn start(kind: u16, signed_from: usize) -> Vec<u8> {
    let mut message = Vec::with_capacity(512);
    message.extend(kind.to_be_bytes());
    message.resize(signed_from, 0);
    message
}

/// Puts the signature of everything from `signed_from` on at its place, the `slot`-th after the type.
fn sign(message: &mut [u8], signer: &SecretKey, slot: usize, signed_from: usize) {
    let signature = keys::sign(signer, &message[signed_from..]);
    let at = 2 + slot * SIGNATURE;
    message[at..at + SIGNATURE].copy_from_slice(&signature);
}

fn with_length(message: &mut Vec<u8>, field: &[u8]) {
    message.extend((field.len() as u16).to_be_bytes());
    message.extend(field);
}

fn random<const N: usize>(rng: &mut ChaCha8Rng) -> [u8; N] {
    let mut bytes = [0; N];
    rng.fill_bytes(&mut bytes);
    bytes
}

/// Few combinations, as on the real network where most nodes run one of a few releases; the odd bit now and then.
fn features(rng: &mut ChaCha8Rng) -> Vec<u8> {
    /// BOLT 9: data_loss_protect, gossip_queries, var_onion_optin, static_remotekey, payment_secret, basic_mpp, …
    const RELEASES: [&[u32]; 4] = [
        &[0, 5, 7, 8, 11, 13, 14, 17, 19, 23, 27, 31, 45, 47, 51],
        &[1, 5, 7, 8, 11, 12, 14, 17, 19, 25, 27, 35, 39, 45, 47, 51],
        &[0, 7, 8, 12, 14, 17, 27, 31, 45],
        &[1, 5, 7, 9, 13, 15, 17],
    ];
    let release = RELEASES[rng.random_range(0..RELEASES.len())];
    let own = rng.random_ratio(1, 8).then(|| 101 + 2 * rng.random_range(0..70));
    let last = release.iter().copied().chain(own).max().unwrap_or(0);
    let mut bits = vec![0u8; last as usize / 8 + 1];
    for bit in release.iter().copied().chain(own) {
        let from_end = bit as usize / 8;
        let at = bits.len() - 1 - from_end;
        bits[at] |= 1 << (bit % 8);
    }
    bits
}

/// Every type of address, the common ones more often, in ascending order of their types (BOLT 7).
fn addresses(rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut addresses = Vec::new();
    let port = 9735u16.to_be_bytes();
    if rng.random_ratio(2, 5) {
        addresses.push(1);
        addresses.extend(random::<4>(rng));
        addresses.extend(port);
    }
    if rng.random_ratio(1, 8) {
        addresses.push(2);
        addresses.extend(random::<16>(rng));
        addresses.extend(port);
    }
    if rng.random_ratio(3, 5) {
        addresses.push(4);
        addresses.extend(random::<35>(rng));
        addresses.extend(port);
    }
    if rng.random_ratio(1, 16) {
        let host = format!("node-{}.example.com", rng.random_range(0..100_000));
        addresses.extend([5, host.len() as u8]);
        addresses.extend(host.bytes());
        addresses.extend(port);
    }
    addresses
}

fn alias(id: NodeId) -> [u8; 32] {
    let mut alias = [0; 32];
    let name = format!("synth-{}", &id.to_string()[2..14]);
    alias[..name.len()].copy_from_slice(name.as_bytes());
    alias
}
