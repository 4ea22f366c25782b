//! The bytes being read, and what is said of them when they are not as they should be.
//!
//! Owns the position. Promises that nothing is read twice or past the end, and that an error's offset is where the
//! thing that was expected begins (at most the length of the input: something that is missing altogether begins there).

use std::ops::Range;

/// Bytes that are no snapshot: where, what should have been there, and what was found instead.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("byte {at}: expected {expected}, but {found}")]
pub struct Undecodable {
    /// Offset from the snapshot's first byte.
    pub at: usize,
    pub expected: String,
    /// A clause, such as "the snapshot ends there".
    pub found: String,
}

impl Undecodable {
    pub(super) fn new(at: usize, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { at, expected: expected.into(), found: found.into() }
    }
}

pub(super) type Result<T> = std::result::Result<T, Undecodable>;

/// A cursor over the whole input. The `what`s are noun phrases for errors.
pub(super) struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Where the next byte is.
    pub fn at(&self) -> usize {
        self.at
    }

    pub fn left(&self) -> usize {
        self.bytes.len() - self.at // `at` is never beyond the end
    }

    /// What was read since `start`.
    pub fn since(&self, start: usize) -> &'a [u8] {
        &self.bytes[Range { start, end: self.at }] // `start` was an earlier `at`
    }

    pub fn take(&mut self, len: usize, what: &str) -> Result<&'a [u8]> {
        let Some((taken, _)) = self.bytes[self.at..].split_at_checked(len) else {
            let found = match self.left() {
                0 => "the snapshot ends there".to_owned(),
                1 => "the snapshot ends 1 byte later".to_owned(),
                left => format!("the snapshot ends {left} bytes later"),
            };
            let bytes = if len == 1 { "1 byte".to_owned() } else { format!("{len} bytes") };
            return Err(Undecodable::new(self.at, format!("{what} ({bytes})"), found));
        };
        self.at += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, what)?);
        Ok(array)
    }

    pub fn u8(&mut self, what: &str) -> Result<u8> {
        self.array(what).map(u8::from_be_bytes)
    }

    pub fn u16(&mut self, what: &str) -> Result<u16> {
        self.array(what).map(u16::from_be_bytes)
    }

    pub fn u32(&mut self, what: &str) -> Result<u32> {
        self.array(what).map(u32::from_be_bytes)
    }

    pub fn u64(&mut self, what: &str) -> Result<u64> {
        self.array(what).map(u64::from_be_bytes)
    }

    /// BOLT 1's BigSize, which must be as short as it can be.
    pub fn big_size(&mut self, what: &str) -> Result<u64> {
        let at = self.at;
        let (value, least) = match self.u8(what)? {
            0xfd => (u64::from(self.u16(what)?), 0xfd),
            0xfe => (u64::from(self.u32(what)?), 0x1_0000),
            0xff => (self.u64(what)?, 0x1_0000_0000),
            small => (u64::from(small), 0),
        };
        if value < least {
            let found = format!("{value} takes more bytes there than a BigSize may");
            return Err(Undecodable::new(at, what, found));
        }
        Ok(value)
    }

    /// Bytes after their u16 length, as features have it.
    pub fn with_u16_length(&mut self, what: &str) -> Result<&'a [u8]> {
        let len = self.u16(what)?;
        self.take(usize::from(len), what)
    }

    /// Bytes after their length as LDK writes it before byte vectors: a u16; if that is 0xffff, a u64 follows, which
    /// is to be added.
    pub fn with_collection_length(&mut self, what: &str) -> Result<&'a [u8]> {
        let at = self.at;
        let len = match self.u16(what)? {
            0xffff => self.u64(what)?.checked_add(0xffff),
            len => Some(u64::from(len)),
        };
        let too_long = || Undecodable::new(at, what, "its length is beyond all that can be");
        self.take(len.and_then(|len| usize::try_from(len).ok()).ok_or_else(too_long)?, what)
    }
}
