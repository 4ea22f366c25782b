//! The bytes that wallets fetch, in every content coding that is ready.
//!
//! A body begins as it is (identity), and gains codings as they are made; none of them ever changes or goes. Each has an
//! entity tag of its own: its body's name, its coding, and the checksum of its bytes, because the same coding at another
//! level gives others.

use std::sync::OnceLock;

use bytes::Bytes;

/// A content coding (RFC 9110, 8.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Coding {
    /// RFC 8878.
    Zstd,
    Gzip,
    /// RFC 7932.
    Brotli,
}

impl Coding {
    pub const ALL: [Self; 3] = [Self::Zstd, Self::Gzip, Self::Brotli];

    /// As HTTP has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
            Self::Brotli => "br",
        }
    }
}

/// A body in one coding.
#[derive(Clone, Debug)]
pub struct Variant {
    pub bytes: Bytes,
    /// Its strong entity tag, with its quotes (RFC 9110, 8.8.3): visible ASCII.
    pub tag: Bytes,
}

/// See the module's words.
#[derive(Debug)]
pub struct Body {
    /// Of what it is: letters, digits and hyphens.
    name: String,
    identity: Variant,
    /// Once it was tried; nothing where the coding makes it no shorter, or there was no time for it.
    coded: [OnceLock<Option<Variant>>; Coding::ALL.len()],
}

impl Body {
    /// A body that is ready as it is. No two bodies of different bytes have the same `name`, which consists of letters,
    /// digits and hyphens.
    pub fn new(name: String, bytes: Bytes) -> Self {
        let identity = Variant { tag: tag(&name, "id", &bytes), bytes };
        Self { name, identity, coded: Default::default() }
    }

    /// The bytes as they are.
    pub fn identity(&self) -> &Variant {
        &self.identity
    }

    /// The bytes in a coding, where that is ready, and shorter.
    pub fn coded(&self, coding: Coding) -> Option<&Variant> {
        self.coded[coding as usize].get()?.as_ref()
    }

    /// Whether a coding was tried, or given up.
    pub fn has_tried(&self, coding: Coding) -> bool {
        self.coded[coding as usize].get().is_some()
    }

    /// Keeps the bytes in a coding, unless they are no shorter, or others were kept before.
    pub fn keep(&self, coding: Coding, bytes: Bytes) {
        let shorter = bytes.len() < self.identity.bytes.len();
        let variant = shorter.then(|| Variant { tag: tag(&self.name, coding.name(), &bytes), bytes });
        let _ = self.coded[coding as usize].set(variant); // others were kept before
    }

    /// There will be none in that coding, unless there is one.
    pub fn give_up(&self, coding: Coding) {
        let _ = self.coded[coding as usize].set(None); // one was kept before
    }
}

fn tag(name: &str, coding: &str, bytes: &[u8]) -> Bytes {
    format!("\"{name}-{coding}-{:08x}\"", crc32c::crc32c(bytes)).into()
}
