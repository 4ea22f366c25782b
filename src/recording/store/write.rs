//! Writes version 16.

use std::io::{self, ErrorKind, Write};

use super::{COMPLETED, DELETED, DYING, HEADER, PUSH, VERSION, body, checksum};
use crate::recording::{Flags, Record};

/// Writes a `gossip_store`, each record with one call of [`Write::write_all`]. It does not buffer and does not flush.
pub struct Writer<W> {
    out: W,
    record: Vec<u8>,
    bytes: u64,
}

impl<W: Write> Writer<W> {
    /// Begins a file: writes the version.
    pub fn new(mut out: W) -> io::Result<Self> {
        out.write_all(&[VERSION])?;
        Ok(Self { out, record: Vec::new(), bytes: 1 })
    }

    /// Writes one record, marked as completed. The flags `ratelimit` and `zombie`, which this version does not have,
    /// are dropped.
    ///
    /// # Errors
    /// `InvalidInput`, and nothing is written: a message of more than 65,535 bytes, or one that would be read as
    /// something else, for its type is not what its [`Body`](crate::recording::Body) is for. Those of the disk: a
    /// part of the record may have been written, which a reader passes over.
    pub fn write(&mut self, record: &Record) -> io::Result<()> {
        self.record.clear();
        self.record.resize(HEADER, 0);
        body::encode(&record.body, &mut self.record)
            .ok_or_else(|| invalid("the record's body has not the type that it should have"))?;
        let message = &self.record[HEADER..];
        let len = u16::try_from(message.len()).map_err(|_| {
            invalid(&format!("a message of {} bytes is more than a record can hold (65535)", message.len()))
        })?;
        let crc = checksum(record.timestamp, message);
        self.record[..2].copy_from_slice(&bits(record.flags).to_be_bytes());
        self.record[2..4].copy_from_slice(&len.to_be_bytes());
        self.record[4..8].copy_from_slice(&crc.to_be_bytes());
        self.record[8..HEADER].copy_from_slice(&record.timestamp.to_be_bytes());
        self.out.write_all(&self.record)?;
        self.bytes += self.record.len() as u64;
        Ok(())
    }

    /// How many bytes were written, the version included.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn get_ref(&self) -> &W {
        &self.out
    }

    pub fn get_mut(&mut self) -> &mut W {
        &mut self.out
    }

    pub fn into_inner(self) -> W {
        self.out
    }
}

fn bits(flags: Flags) -> u16 {
    let bit = |set: bool, bit: u16| if set { bit } else { 0 };
    COMPLETED | bit(flags.deleted, DELETED) | bit(flags.push, PUSH) | bit(flags.dying, DYING)
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, reason)
}
