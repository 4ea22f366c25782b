//! The files of the lnresearch topology dataset: gossip messages, one after the other.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | `GSP`, version byte 1 |
//! | 1, 3, 5 or 9 | length of the message: BOLT 1's BigSize |
//! | length | the message: u16 type, then what BOLT 7 says |
//!
//! A length that takes more bytes than it needs is read all the same: what it says is clear. One above the 65,535
//! bytes that a message may have (BOLT 1) cannot be right, and nothing tells where the next message begins: the rest
//! is lost. There are no checksums; that a message is whole, its signature says.

use std::io::{self, ErrorKind, Read};

use super::window::Window;
use super::{Body, Damage, Flags, Found, Located, Record};

/// How a file begins.
pub const MAGIC: &[u8; 4] = b"GSP\x01";

const LENGTH_AT_MOST: u64 = 65_535;

/// Reads such a file. Ends after the first error of the disk.
pub struct Reader<R> {
    window: Window<R>,
    over: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the magic. It needs no buffering around `source`.
    ///
    /// # Errors
    /// `InvalidData` for a stream that does not begin with [`MAGIC`]; those of the disk.
    pub fn new(source: R) -> io::Result<Self> {
        let mut window = Window::new(source);
        window.look(MAGIC.len())?;
        if !window.bytes().starts_with(MAGIC) {
            return Err(io::Error::new(ErrorKind::InvalidData, "it is not a GSP file of version 1"));
        }
        window.pass(MAGIC.len());
        Ok(Self { window, over: false })
    }

    /// `None`: it is over.
    fn step(&mut self) -> io::Result<Option<Located>> {
        let offset = self.window.offset();
        let found = match self.length()? {
            Some((prefix, len)) if len <= LENGTH_AT_MOST => self.message(prefix, len as usize)?,
            Some(_) => {
                let bytes = self.window.pass_all()?;
                Some(Found::Damage(Damage::Lost { bytes }))
            }
            None => self.tail()?,
        };
        Ok(found.map(|found| Located { offset, found }))
    }

    /// How many bytes the next length takes, and what it says; `None` at the end.
    fn length(&mut self) -> io::Result<Option<(usize, u64)>> {
        self.window.look(9)?;
        Ok(match self.window.bytes() {
            [0xff, rest @ ..] => rest.first_chunk().map(|&bytes| (9, u64::from_be_bytes(bytes))),
            [0xfe, rest @ ..] => rest.first_chunk().map(|&bytes| (5, u32::from_be_bytes(bytes).into())),
            [0xfd, rest @ ..] => rest.first_chunk().map(|&bytes| (3, u16::from_be_bytes(bytes).into())),
            [small, ..] => Some((1, (*small).into())),
            [] => None,
        })
    }

    fn message(&mut self, prefix: usize, len: usize) -> io::Result<Option<Found>> {
        let size = prefix + len;
        if self.window.look(size)? < size {
            return self.tail();
        }
        let found = match &self.window.bytes()[prefix..size] {
            message @ [_, _, ..] => Found::Record(record(message)),
            _ => Found::Damage(Damage::NoType { len }),
        };
        self.window.pass(size);
        Ok(Some(found))
    }

    /// Less than a message is left.
    fn tail(&mut self) -> io::Result<Option<Found>> {
        self.over = true;
        let bytes = self.window.pass_all()?;
        Ok(self.window.damage(bytes).map(Found::Damage))
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

fn record(message: &[u8]) -> Record {
    let body = match message {
        [1, 0..=2, ..] => Body::Message(message.into()),
        _ => Body::Unknown(message.into()),
    };
    Record { flags: Flags::default(), timestamp: own_timestamp(message).unwrap_or(0), body }
}

/// When a message says that it was made (BOLT 7); a `channel_announcement` does not say.
fn own_timestamp(message: &[u8]) -> Option<u32> {
    const SIGNATURE: usize = 64;
    const CHAIN_AND_SCID: usize = 32 + 8;
    let (kind, rest) = message.split_first_chunk::<2>()?;
    let rest = rest.get(SIGNATURE..)?;
    let at = match kind {
        [1, 1] => 2 + usize::from(u16::from_be_bytes(*rest.first_chunk()?)),
        [1, 2] => CHAIN_AND_SCID,
        _ => return None,
    };
    rest.get(at..)?.first_chunk().map(|&bytes| u32::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests;
