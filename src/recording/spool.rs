//! What recordings tell, held until it is told in order: the bytes in one place, and where each piece lies.

use std::io::{self, Read, Seek, SeekFrom, Write};

use bitcoin::hashes::{Hash, HashEngine, sha256};
use tempfile::SpooledTempFile;

use crate::gossip::{ShortChannelId, UnixMs};

/// Bytes, one piece after another, in memory or (beyond a bound) in an unnamed temporary file.
pub(super) struct Spool {
    bytes: SpooledTempFile,
    len: u64,
    digest: sha256::HashEngine,
}

/// Where a piece lies.
#[derive(Clone, Copy)]
pub(super) struct Stored {
    at: u64,
    len: u32,
}

impl Spool {
    pub fn new(in_memory: usize) -> Self {
        Self { bytes: SpooledTempFile::new(in_memory), len: 0, digest: sha256::HashEngine::default() }
    }

    pub fn push(&mut self, parts: &[&[u8]]) -> io::Result<Stored> {
        let at = self.len;
        for part in parts {
            self.bytes.write_all(part)?;
            self.digest.input(part);
            self.len += part.len() as u64;
        }
        Ok(Stored { at, len: u32::try_from(self.len - at).map_err(io::Error::other)? })
    }
}

/// What a piece is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A capacity in sat (u64, 0 for none), and a message.
    Message,
    /// The same, of a recorder that says when it accepted it.
    Accepted,
    /// A short channel id.
    Closed,
    /// A short channel id, and a capacity in sat.
    Proof,
}

/// Which of what has the same time comes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Turn {
    /// An announcement that stands behind what was said of its channel.
    First,
    /// Wherever it stands.
    AsRead,
    /// A node that speaks before its first channel does.
    Last,
}

/// One piece, its time and its origin.
pub(super) struct Item {
    pub seen_ms: u64,
    pub file: u16,
    pub turn: Turn,
    kind: Kind,
    stored: Stored,
    offset: u64,
}

impl Item {
    pub fn new(seen_ms: u64, stored: Stored, kind: Kind, file: u16, offset: u64) -> Self {
        Self { seen_ms, file, turn: Turn::AsRead, kind, stored, offset }
    }
}

/// Something that a recording tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    /// When its recorder learned of it.
    pub seen: UnixMs,
    pub news: News,
    /// Which recording, in the order in which they were added, and where in it.
    pub file: usize,
    pub offset: u64,
}

/// See [`Told`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum News {
    /// A gossip message, type included; for a channel's announcement, its capacity where the recorder looked it up.
    /// `accepted`: its recorder says when it accepted it, and has met it with the limits on who may speak how often.
    Message { wire: Vec<u8>, capacity_sat: Option<u64>, accepted: bool },
    /// A channel is no more.
    Closed(ShortChannelId),
    /// A channel that was announced unproven has been looked up.
    Proof { scid: ShortChannelId, capacity_sat: u64 },
}

/// All that some recordings tell, in the order of time.
pub struct Script {
    spool: Spool,
    items: std::vec::IntoIter<Item>,
}

impl Script {
    pub(super) fn new(spool: Spool, items: Vec<Item>) -> Self {
        Self { spool, items: items.into_iter() }
    }

    /// Tells what is told here from all else; the times are no part of it.
    pub fn digest(&self) -> [u8; 32] {
        sha256::Hash::from_engine(self.spool.digest.clone()).to_byte_array()
    }

    fn read(&mut self, item: &Item) -> io::Result<Told> {
        let mut bytes = vec![0; item.stored.len as usize];
        self.spool.bytes.seek(SeekFrom::Start(item.stored.at))?;
        self.spool.bytes.read_exact(&mut bytes)?;
        let number =
            |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("8 bytes, as they were stored"));
        let news = match item.kind {
            Kind::Closed => News::Closed(ShortChannelId(number(0))),
            Kind::Proof => News::Proof { scid: ShortChannelId(number(0)), capacity_sat: number(8) },
            Kind::Message | Kind::Accepted => {
                let capacity_sat = Some(number(0)).filter(|sat| *sat > 0);
                let accepted = item.kind == Kind::Accepted;
                News::Message { wire: bytes.split_off(8), capacity_sat, accepted }
            }
        };
        Ok(Told { seen: UnixMs(item.seen_ms), news, file: item.file.into(), offset: item.offset })
    }
}

impl Iterator for Script {
    type Item = io::Result<Told>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.items.next()?;
        Some(self.read(&item))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.items.size_hint()
    }
}

impl ExactSizeIterator for Script {}
