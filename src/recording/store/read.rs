//! Reads every version, and finds the way back after damage.
//!
//! A record is *good* if its checksum fits and it has a type. Where a record is not, its length may be wrong, too:
//! the next good one is searched for byte by byte. For a place to be taken for a record's, its type must be one of
//! the table, its length one that the type may have, and its flags the version's; but where the bad record says that
//! it ends, the checksum will do.
//!
//! What is inside a record that is bad may be searched, too, and anybody can put what looks like a good record into a
//! `node_announcement`. So a record says no more than that its bytes are whole: what to believe, signatures decide.
//!
//! Checksums are the only work that is more than a step a byte, and hostile bytes could ask for one of 64 KiB at
//! every byte. So each byte that is passed pays for [`CHECKED_PER_BYTE`] to be checksummed, beside
//! [`CHECKED_AT_FIRST`]; what is not paid for is no record. Good files use a fraction of that, and damage by chance
//! does, too.

use std::io::{self, ErrorKind, Read};

use super::{COMPLETED, COMPLETED_FROM, DELETED, DYING, HEADER, PUSH, RATELIMIT, VERSIONS, ZOMBIE, ZOMBIE_IN};
use super::{body, checksum};
use crate::recording::window::Window;
use crate::recording::{Damage, Flags, Found, Located, Record};

const CHECKED_PER_BYTE: u64 = 8;
const CHECKED_AT_FIRST: u64 = 4 << 20;

/// The smallest good record: a header and a type.
const SMALLEST: usize = HEADER + 2;

/// Comes inside the [`io::Error`] of [`Reader::new`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "gossip_store version {}.{} is not known; known are {} to {}",
    .0 >> 5, .0 & 0x1f, VERSIONS.start(), VERSIONS.end()
)]
pub struct UnknownVersion(pub u8);

/// Reads a `gossip_store`. Ends after the first error of the disk.
pub struct Reader<R> {
    window: Window<R>,
    version: u8,
    /// How many bytes may be checksummed.
    credit: u64,
    checksummed: u64,
    over: bool,
}

/// What precedes a message.
#[derive(Clone, Copy)]
struct Header {
    flags: u16,
    len: usize,
    crc: u32,
    timestamp: u32,
}

impl<R: Read> Reader<R> {
    /// Reads the version. It needs no buffering around `source`.
    ///
    /// # Errors
    /// `InvalidData` with [`UnknownVersion`]; the same for a stream without a byte; those of the disk.
    pub fn new(source: R) -> io::Result<Self> {
        let mut window = Window::new(source);
        if window.look(1)? == 0 {
            let reason = window.damage(0).map_or("it is empty".to_owned(), |damage| damage.to_string());
            return Err(io::Error::new(ErrorKind::InvalidData, reason));
        }
        let version = window.bytes()[0];
        if !VERSIONS.contains(&version) {
            return Err(io::Error::new(ErrorKind::InvalidData, UnknownVersion(version)));
        }
        window.pass(1);
        Ok(Self { window, version, credit: CHECKED_AT_FIRST, checksummed: 0, over: false })
    }

    pub fn version(&self) -> u8 {
        self.version
    }

    /// How far it has come, in bytes from the start.
    pub fn place(&self) -> u64 {
        self.window.offset()
    }

    /// How many bytes were checksummed so far, those of what is no record included.
    pub fn checksummed(&self) -> u64 {
        self.checksummed
    }

    /// `None`: it is over.
    fn step(&mut self) -> io::Result<Option<Located>> {
        let offset = self.window.offset();
        let found = match self.header()? {
            None => self.tail()?,
            Some(header) if self.is_good(&header)? => Some(self.take(&header)?),
            Some(header) => self.pass_damage(&header)?.map(Found::Damage),
        };
        Ok(found.map(|found| Located { offset, found }))
    }

    fn header(&mut self) -> io::Result<Option<Header>> {
        let whole = self.window.look(HEADER)? == HEADER;
        Ok(self.window.bytes().first_chunk().filter(|_| whole).map(Header::parse))
    }

    fn is_good(&mut self, header: &Header) -> io::Result<bool> {
        let size = header.size();
        if size < SMALLEST || self.credit < size as u64 || self.window.look(size)? < size {
            return Ok(false);
        }
        self.credit -= size as u64;
        self.checksummed += size as u64;
        Ok(checksum(header.timestamp, &self.window.bytes()[HEADER..size]) == header.crc)
    }

    /// The good record that begins here.
    fn take(&mut self, header: &Header) -> io::Result<Found> {
        let size = header.size();
        let found = if self.is_complete(header) {
            match body::decode(&self.window.bytes()[HEADER..size]) {
                Ok(body) => {
                    let flags = header.flags(self.version);
                    Found::Record(Record { flags, timestamp: header.timestamp, body })
                }
                Err(damage) => Found::Damage(damage),
            }
        } else if self.window.look(size + 1)? > size {
            Found::Damage(Damage::Incomplete)
        } else {
            Found::Damage(Damage::TornTail { bytes: size as u64 })
        };
        self.pass(size);
        Ok(found)
    }

    /// Less than a header is left.
    fn tail(&mut self) -> io::Result<Option<Found>> {
        self.over = true;
        let bytes = self.window.pass_all()?;
        Ok(self.window.damage(bytes).map(Found::Damage))
    }

    /// No good record begins here: goes to the next that is found, or to the end.
    fn pass_damage(&mut self, header: &Header) -> io::Result<Option<Damage>> {
        let (size, begin) = (header.size() as u64, self.window.offset());
        let found = self.search(header.size())?;
        let bytes = self.window.offset() - begin;
        Ok(match bytes.cmp(&size) {
            // The message would go on beyond the end.
            std::cmp::Ordering::Less if !found => {
                self.over = true;
                self.window.damage(bytes)
            }
            std::cmp::Ordering::Equal if !found && !self.is_complete(header) => Some(Damage::TornTail { bytes }),
            std::cmp::Ordering::Equal if header.len < 2 => Some(Damage::NoType { len: header.len }),
            std::cmp::Ordering::Equal => Some(Damage::Checksum),
            _ => Some(Damage::Lost { bytes }),
        })
    }

    /// Goes forward to the next good record, or to the end if there is none, and says which. `expected` bytes from
    /// here, its type does not matter.
    fn search(&mut self, expected: usize) -> io::Result<bool> {
        let begin = self.window.offset();
        loop {
            self.pass(1);
            if self.window.look(SMALLEST)? < SMALLEST {
                let rest = self.window.bytes().len();
                self.pass(rest);
                return Ok(false);
            }
            let Some((header, message)) = self.window.bytes().split_first_chunk() else { continue };
            let (header, message) = (Header::parse(header), message.first_chunk().copied());
            let kind = message.map_or(0, u16::from_be_bytes);
            let here = self.window.offset() - begin == expected as u64;
            if (here || self.is_plausible(&header, kind)) && self.is_good(&header)? {
                return Ok(true);
            }
        }
    }

    fn is_plausible(&self, header: &Header, kind: u16) -> bool {
        body::plausible(kind, header.len) && header.flags & !self.known_flags() == 0 && self.is_complete(header)
    }

    fn known_flags(&self) -> u16 {
        let zombie = if ZOMBIE_IN.contains(&self.version) { ZOMBIE } else { 0 };
        DELETED | PUSH | COMPLETED | DYING | zombie
    }

    fn is_complete(&self, header: &Header) -> bool {
        self.version < COMPLETED_FROM || header.flags & COMPLETED != 0
    }

    fn pass(&mut self, count: usize) {
        self.window.pass(count);
        self.credit = self.credit.saturating_add(count as u64 * CHECKED_PER_BYTE);
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = io::Result<Located>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let found = self.step().transpose();
        self.over |= !matches!(found, Some(Ok(_)));
        found
    }
}

impl Header {
    fn parse(bytes: &[u8; HEADER]) -> Self {
        let [f1, f2, l1, l2, c1, c2, c3, c4, t1, t2, t3, t4] = *bytes;
        Self {
            flags: u16::from_be_bytes([f1, f2]),
            len: u16::from_be_bytes([l1, l2]).into(),
            crc: u32::from_be_bytes([c1, c2, c3, c4]),
            timestamp: u32::from_be_bytes([t1, t2, t3, t4]),
        }
    }

    /// Of the whole record.
    fn size(&self) -> usize {
        HEADER + self.len
    }

    fn flags(&self, version: u8) -> Flags {
        let has = |bit| self.flags & bit != 0;
        Flags {
            deleted: has(DELETED),
            push: has(PUSH),
            dying: has(DYING),
            ratelimit: has(RATELIMIT) && version < COMPLETED_FROM,
            zombie: has(ZOMBIE) && ZOMBIE_IN.contains(&version),
        }
    }
}
