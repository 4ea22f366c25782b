//! Core Lightning's `gossip_store`, versions 9 to 16: read with all its ways of being damaged, written as version 16.
//!
//! Integers are big-endian. The file is a version byte (the upper three bits, the major version, are 0), then
//! records:
//!
//! | bytes | what |
//! |---|---|
//! | 2 | flags, below |
//! | 2 | length of the message |
//! | 4 | CRC-32C of the message, starting from the timestamp |
//! | 4 | timestamp, unix seconds |
//! | length | the message: u16 type, then what the type says |
//!
//! | flag | versions | meaning |
//! |---|---|---|
//! | `0x8000` | all | deleted |
//! | `0x4000` | all | push: the recorder's own gossip |
//! | `0x2000` | to 14 | ratelimit: came too fast |
//! | `0x2000` | from 15 | completed: written whole |
//! | `0x1000` | 12, 13 | zombie: not heard for two weeks |
//! | `0x0800` | all | dying: its funding output is spent |
//!
//! | type | message after the type |
//! |---|---|
//! | 256, 257, 258 | BOLT 7's `channel_announcement`, `node_announcement`, `channel_update` |
//! | 4101 | channel amount, of the announcement just before: u64 sat |
//! | 4102, 4104 | the recorder's unannounced channels: opaque |
//! | 4103 | channel closed: u64 scid |
//! | 4105 | the file goes on elsewhere: u64 offset; from version 16 on, mostly, 32 bytes of that file's id |
//! | 4106 | channel dying: u64 scid, u32 height of its closing |
//! | 4107 | the file's own id: 32 bytes |
//! | 54007 | ours, time: u64 unix ms at which all that follows was accepted |
//! | 54009 | ours, proof: u64 scid, u64 sat, of a channel that was announced with amount 0 |
//!
//! Ours are odd numbers of BOLT 1's custom range: a reader that does not know them passes them over.
//!
//! A record that was read and is written again is the same record, with two exceptions: *ratelimit* and *zombie* are
//! what older recorders thought of a message, cannot be said in version 16, and are dropped. A file of version 16
//! without damage and without flags that are not in the table is, read and written again, the same bytes.

mod body;
mod read;
mod write;

pub use read::{Reader, UnknownVersion};
pub use write::Writer;

/// The versions that can be read.
pub const VERSIONS: std::ops::RangeInclusive<u8> = 9..=16;

/// The version that is written.
const VERSION: u8 = 16;

/// The first version in which a record is marked when it has been written whole.
const COMPLETED_FROM: u8 = 15;

const HEADER: usize = 12;

const DELETED: u16 = 0x8000;
const PUSH: u16 = 0x4000;
const RATELIMIT: u16 = 0x2000;
const COMPLETED: u16 = 0x2000;
const ZOMBIE: u16 = 0x1000;
const DYING: u16 = 0x0800;

/// The versions in which [`ZOMBIE`] has its meaning.
const ZOMBIE_IN: std::ops::RangeInclusive<u8> = 12..=13;

/// What a record's header holds against its message.
fn checksum(timestamp: u32, message: &[u8]) -> u32 {
    crc32c::crc32c_append(timestamp, message)
}

#[cfg(test)]
mod tests;
