//! The measure of whatever checks signatures: the same checks alone, in the same run.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bitcoin::hashes::{Hash, sha256d};
use bitcoin::secp256k1::{Message, PublicKey, Secp256k1, VerifyOnly};
use lightning::routing::gossip::{verify_channel_announcement, verify_node_announcement};
use lightning::util::ser::Writeable;
use rayon::prelude::*;
use rgsd::gossip::NodeId;
use rgsd::gossip::check::Gossip;
use rgsd::synth::Network;

/// The signature checks of a network's messages, and nothing else.
pub struct Checks {
    secp: Secp256k1<VerifyOnly>,
    /// Each message, and who signs it where it does not say.
    messages: Vec<(Gossip, Option<NodeId>)>,
}

impl Checks {
    /// Of these messages, which the network's nodes have signed.
    pub fn of(network: &Network, messages: Vec<bytes::Bytes>) -> Self {
        let ends: HashMap<u64, [NodeId; 2]> =
            network.channels().iter().map(|channel| (channel.scid.0, channel.node_ids)).collect();
        let read = |bytes: bytes::Bytes| {
            let message = Gossip::from_wire(&bytes).expect("well-formed");
            let signer = match &message {
                Gossip::Update(m) => {
                    let direction = usize::from(m.contents.channel_flags & 1);
                    Some(ends[&m.contents.short_channel_id][direction])
                }
                _ => None,
            };
            (message, signer)
        };
        Self { secp: Secp256k1::verification_only(), messages: messages.into_iter().map(read).collect() }
    }

    /// How long they take, on all cores.
    pub fn run(&self) -> Duration {
        let started = Instant::now();
        let all_good = self.messages.par_iter().all(|(message, signer)| self.is_good(message, signer.as_ref()));
        assert!(all_good, "the network signs what it says");
        started.elapsed()
    }

    fn is_good(&self, message: &Gossip, signer: Option<&NodeId>) -> bool {
        match message {
            Gossip::Channel(m) => verify_channel_announcement(m, &self.secp).is_ok(),
            Gossip::Node(m) => verify_node_announcement(m, &self.secp).is_ok(),
            Gossip::Update(m) => signer.is_some_and(|signer| {
                let digest = Message::from_digest(sha256d::Hash::hash(&m.contents.encode()).to_byte_array());
                let key = PublicKey::from_slice(signer.as_slice());
                key.is_ok_and(|key| self.secp.verify_ecdsa(&digest, &m.signature, &key).is_ok())
            }),
        }
    }
}
