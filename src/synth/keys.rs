//! Secret keys and other numbers that follow from the seed alone, and signatures by them.
//!
//! Anybody who knows the seed knows every key: these are for play networks only.

use std::sync::LazyLock;

use bitcoin::hashes::{Hash, HashEngine, sha256, sha256d};
use bitcoin::secp256k1::{Message, PublicKey, Secp256k1, SecretKey, SignOnly};
use lightning::routing::gossip::NodeId;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

static SECP: LazyLock<Secp256k1<SignOnly>> = LazyLock::new(Secp256k1::signing_only);

/// What a derived number is for: equal indexes under different purposes have nothing in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    Node,
    Funding,
    Transaction,
    RivalNode = 4, // these numbers are part of every digest
    RivalFunding,
}

/// 32 bytes that look random.
pub(super) fn digest(seed: u64, purpose: Purpose, index: u64) -> [u8; 32] {
    let mut engine = sha256::Hash::engine();
    engine.input(b"rgsd synth");
    engine.input(&[purpose as u8]);
    engine.input(&seed.to_be_bytes());
    engine.input(&index.to_be_bytes());
    sha256::Hash::from_engine(engine).to_byte_array()
}

pub(super) fn secret(seed: u64, purpose: Purpose, index: u64) -> SecretKey {
    SecretKey::from_slice(&digest(seed, purpose, index)).expect("one digest in 2^127 is no key, and none is known")
}

/// A stream of random numbers of its own for each index, so that work can be shared out between cores.
pub(super) fn rng(seed: u64, index: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(index);
    rng
}

pub(super) fn public(secret: &SecretKey) -> PublicKey {
    PublicKey::from_secret_key(&SECP, secret)
}

pub(super) fn id(secret: &SecretKey) -> NodeId {
    NodeId::from_pubkey(&public(secret))
}

/// A signature over the double SHA-256 of `signed` (BOLT 7), in compact form.
pub(super) fn sign(secret: &SecretKey, signed: &[u8]) -> [u8; 64] {
    let digest = Message::from_digest(sha256d::Hash::hash(signed).to_byte_array());
    SECP.sign_ecdsa(&digest, secret).serialize_compact()
}
