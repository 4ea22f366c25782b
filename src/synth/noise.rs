//! BOLT 8: the encrypted transport between Lightning nodes, from the responder's side.
//!
//! Noise_XK_secp256k1_ChaChaPoly_SHA256: three acts that prove both static keys, then frames of a sealed two-byte
//! length and a sealed message, with a key for each way that changes after every 1,000 seals. Knows bytes and keys
//! only; whoever uses it does the reading and writing.

use bitcoin::hashes::{Hash, HashEngine, Hmac, HmacEngine, sha256};
use bitcoin::secp256k1::ecdh::SharedSecret;
use bitcoin::secp256k1::{PublicKey, SecretKey};
use chacha20poly1305::aead::{AeadInPlace, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce, Tag};

use super::keys;

/// Bytes of the initiator's first message.
pub const ACT_ONE: usize = 50;
/// Bytes of our answer.
pub const ACT_TWO: usize = 50;
/// Bytes of the initiator's second message.
pub const ACT_THREE: usize = 66;
/// Bytes of a frame's sealed length.
pub const LENGTH: usize = 2 + TAG;
/// Bytes that sealing adds.
pub const TAG: usize = 16;

/// Seals by one key (BOLT 8, "Lightning Message Key Rotation").
const ROTATION: u64 = 1000;

/// Why a connection cannot go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoiseError {
    #[error("the peer speaks handshake version {0}, not 0")]
    Version(u8),
    #[error("the peer sent something that is no public key")]
    Key,
    #[error("what the peer sent was not sealed with the key agreed on")]
    Seal,
}

/// A responder that has not heard anything yet.
pub struct Responder {
    state: Symmetric,
    secret: SecretKey,
}

/// A responder that has sent its answer.
pub struct AwaitingActThree {
    state: Symmetric,
    ephemeral: SecretKey,
    key: [u8; 32],
}

/// A connection: whom with, and both ways of it.
pub struct Transport {
    pub remote: PublicKey,
    pub sealer: Sealer,
    pub opener: Opener,
}

impl Responder {
    /// `secret` is the node's own key.
    pub fn new(secret: SecretKey) -> Self {
        let name = sha256::Hash::hash(b"Noise_XK_secp256k1_ChaChaPoly_SHA256").to_byte_array();
        let mut state = Symmetric { hash: name, chaining: name };
        state.mix(b"lightning");
        state.mix(&keys::public(&secret).serialize());
        Self { state, secret }
    }

    /// Takes act one and gives act two. `ephemeral` must be new for each connection.
    pub fn act_two(
        mut self,
        act_one: &[u8; ACT_ONE],
        ephemeral: SecretKey,
    ) -> Result<([u8; ACT_TWO], AwaitingActThree), NoiseError> {
        let theirs = version_zero(act_one).and_then(|rest| public(&rest[..33]))?;
        self.state.mix(&theirs.serialize());
        let key = self.state.agree(&theirs, &self.secret);
        self.state.open(&key, 0, &act_one[34..])?;

        let ours = keys::public(&ephemeral).serialize();
        self.state.mix(&ours);
        let key = self.state.agree(&theirs, &ephemeral);
        let mut act_two = [0; ACT_TWO];
        act_two[1..34].copy_from_slice(&ours);
        act_two[34..].copy_from_slice(&self.state.seal_nothing(&key));
        Ok((act_two, AwaitingActThree { state: self.state, ephemeral, key }))
    }
}

impl AwaitingActThree {
    /// Takes act three: now both know each other.
    pub fn finish(mut self, act_three: &[u8; ACT_THREE]) -> Result<Transport, NoiseError> {
        let rest = version_zero(act_three)?;
        let (sealed_key, tag) = rest.split_at(33 + TAG);
        let remote = public(&self.state.open(&self.key, 1, sealed_key)?)?;
        let key = self.state.agree(&remote, &self.ephemeral);
        self.state.open(&key, 0, tag)?;
        let [receiving, sending] = expand(&self.state.chaining, &[]);
        let way = |key| Way { key, chaining: self.state.chaining, used: 0 };
        Ok(Transport { remote, sealer: Sealer(way(sending)), opener: Opener(way(receiving)) })
    }
}

/// Writes frames.
pub struct Sealer(Way);

impl Sealer {
    /// Appends `message` as a frame to `out`. A message has at most 65,535 bytes (BOLT 8); what is longer is cut.
    pub fn seal(&mut self, message: &[u8], out: &mut Vec<u8>) {
        let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
        self.0.seal(&length.to_be_bytes(), out);
        self.0.seal(&message[..length.into()], out);
    }
}

/// Reads frames: first the length, then the message.
pub struct Opener(Way);

impl Opener {
    /// How long the message is that follows, without its tag.
    pub fn length(&mut self, mut sealed: [u8; LENGTH]) -> Result<usize, NoiseError> {
        let opened = self.0.open(&mut sealed)?;
        Ok(usize::from(u16::from_be_bytes([opened[0], opened[1]])))
    }

    /// The message in `sealed`, opened in its place.
    pub fn message<'a>(&mut self, sealed: &'a mut [u8]) -> Result<&'a [u8], NoiseError> {
        self.0.open(sealed)
    }
}

/// One way of a connection.
struct Way {
    key: [u8; 32],
    chaining: [u8; 32],
    used: u64,
}

impl Way {
    fn next(&mut self) -> (ChaCha20Poly1305, Nonce) {
        if self.used == ROTATION {
            [self.chaining, self.key] = expand(&self.chaining, &self.key);
            self.used = 0;
        }
        let nonce = nonce(self.used);
        self.used += 1;
        (cipher(&self.key), nonce)
    }

    fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        let (cipher, nonce) = self.next();
        let at = out.len();
        out.extend_from_slice(plain);
        let tag = cipher.encrypt_in_place_detached(&nonce, &[], &mut out[at..]).expect("far below 256 GiB");
        out.extend_from_slice(&tag);
    }

    fn open<'a>(&mut self, sealed: &'a mut [u8]) -> Result<&'a [u8], NoiseError> {
        let (cipher, nonce) = self.next();
        let (text, tag) = sealed.split_last_chunk_mut::<TAG>().ok_or(NoiseError::Seal)?;
        cipher.decrypt_in_place_detached(&nonce, &[], text, Tag::from_slice(tag)).map_err(|_| NoiseError::Seal)?;
        Ok(text)
    }
}

/// What both sides have agreed on so far.
struct Symmetric {
    hash: [u8; 32],
    chaining: [u8; 32],
}

impl Symmetric {
    fn mix(&mut self, heard: &[u8]) {
        let mut engine = sha256::Hash::engine();
        engine.input(&self.hash);
        engine.input(heard);
        self.hash = sha256::Hash::from_engine(engine).to_byte_array();
    }

    fn agree(&mut self, theirs: &PublicKey, ours: &SecretKey) -> [u8; 32] {
        let shared = SharedSecret::new(theirs, ours);
        let [chaining, key] = expand(&self.chaining, shared.as_ref());
        self.chaining = chaining;
        key
    }

    fn open(&mut self, key: &[u8; 32], used: u64, sealed: &[u8]) -> Result<Vec<u8>, NoiseError> {
        let (text, tag) = sealed.split_last_chunk::<TAG>().ok_or(NoiseError::Seal)?;
        let mut text = text.to_vec();
        cipher(key)
            .decrypt_in_place_detached(&nonce(used), &self.hash, &mut text, Tag::from_slice(tag))
            .map_err(|_| NoiseError::Seal)?;
        self.mix(sealed);
        Ok(text)
    }

    fn seal_nothing(&mut self, key: &[u8; 32]) -> [u8; TAG] {
        let sealed = cipher(key).encrypt_in_place_detached(&nonce(0), &self.hash, &mut []);
        let tag = sealed.expect("nothing is not too long").into();
        self.mix(<[u8; TAG]>::as_slice(&tag));
        tag
    }
}

fn version_zero(act: &[u8]) -> Result<&[u8], NoiseError> {
    match act {
        [0, rest @ ..] => Ok(rest),
        [version, ..] => Err(NoiseError::Version(*version)),
        [] => Err(NoiseError::Seal),
    }
}

fn public(bytes: &[u8]) -> Result<PublicKey, NoiseError> {
    PublicKey::from_slice(bytes).map_err(|_| NoiseError::Key)
}

fn cipher(key: &[u8; 32]) -> ChaCha20Poly1305 {
    ChaCha20Poly1305::new(Key::from_slice(key))
}

/// 32 zero bits, then the count, little-endian.
fn nonce(used: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&used.to_le_bytes());
    nonce.into()
}

/// HKDF-SHA256 (RFC 5869) without info, to two keys.
fn expand(salt: &[u8; 32], material: &[u8]) -> [[u8; 32]; 2] {
    let pseudorandom = hmac(salt, &[material]);
    let one = hmac(&pseudorandom, &[&[1]]);
    let two = hmac(&pseudorandom, &[&one, &[2]]);
    [one, two]
}

fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut engine = HmacEngine::<sha256::Hash>::new(key);
    parts.iter().for_each(|part| engine.input(part));
    Hmac::from_engine(engine).to_byte_array()
}

#[cfg(test)]
pub(in crate::synth) mod tests;
