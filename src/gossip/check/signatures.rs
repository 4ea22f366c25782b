//! Signature checks, on all cores. LDK's own, where it has them.

use bitcoin::hashes::{Hash, sha256d};
use bitcoin::secp256k1::{Message, PublicKey, Secp256k1, VerifyOnly};
use lightning::ln::msgs;
use lightning::routing::gossip::{NodeId, verify_channel_announcement, verify_node_announcement};
use lightning::util::ser::Writeable;
use rayon::prelude::*;

use super::{Gossip, Heard};

/// One message to check, with the keys that may have signed it (a `channel_update` alone needs telling).
pub(super) struct Job {
    pub index: usize,
    pub signers: Vec<NodeId>,
}

/// Who signed it, of those who may have: all that a good announcement names, and the one that an update fits.
pub(super) enum Signed {
    ByItsOwn,
    By(NodeId),
}

/// Checks every job's message; the answers stand in the jobs' order, `None` where no signature fits.
pub(super) fn check_all(secp: &Secp256k1<VerifyOnly>, batch: &[Heard], jobs: &[Job]) -> Vec<Option<Signed>> {
    jobs.par_iter().with_min_len(8).map(|job| check(secp, &batch[job.index].message, &job.signers)).collect()
}

/// Takes every job's message for well signed, an update by the first of those who may have: that of the known channel,
/// where there is one.
pub(super) fn trust_all(batch: &[Heard], jobs: &[Job]) -> Vec<Option<Signed>> {
    let trust = |job: &Job| match &batch[job.index].message {
        Gossip::Channel(_) | Gossip::Node(_) => Some(Signed::ByItsOwn),
        Gossip::Update(_) => job.signers.first().copied().map(Signed::By),
    };
    jobs.iter().map(trust).collect()
}

fn check(secp: &Secp256k1<VerifyOnly>, message: &Gossip, signers: &[NodeId]) -> Option<Signed> {
    match message {
        Gossip::Channel(m) => verify_channel_announcement(m, secp).ok().map(|()| Signed::ByItsOwn),
        Gossip::Node(m) => verify_node_announcement(m, secp).ok().map(|()| Signed::ByItsOwn),
        Gossip::Update(m) => {
            let digest = update_digest(&m.contents);
            signers.iter().find(|signer| signed_by(secp, m, &digest, signer)).map(|signer| Signed::By(*signer))
        }
    }
}

fn signed_by(secp: &Secp256k1<VerifyOnly>, m: &msgs::ChannelUpdate, digest: &Message, signer: &NodeId) -> bool {
    PublicKey::from_slice(signer.as_slice()).is_ok_and(|key| secp.verify_ecdsa(digest, &m.signature, &key).is_ok())
}

/// What a `channel_update` signs: the double SHA-256 of everything after the signature (BOLT 7).
fn update_digest(contents: &msgs::UnsignedChannelUpdate) -> Message {
    Message::from_digest(sha256d::Hash::hash(&contents.encode()).to_byte_array())
}
