//! What a recording consists of: records in the words of the format that has most of them, Core Lightning's
//! `gossip_store`.

use crate::gossip::{ShortChannelId, UnixMs};

/// One record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    pub flags: Flags,
    /// In unix seconds: a message's own timestamp; for a `channel_announcement`, that of its channel's first update.
    /// 0 where there is none.
    pub timestamp: u32,
    pub body: Body,
}

/// What a record's header says of it, beside its length and time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flags {
    /// It was superseded, or its channel closed, after it was written.
    pub deleted: bool,
    /// Our own node's gossip, to be sent to every peer.
    pub push: bool,
    /// The channel's funding output is spent: its closing follows some blocks later.
    pub dying: bool,
    /// It came faster than its direction may speak (up to version 14).
    pub ratelimit: bool,
    /// The channel had not been heard for two weeks (versions 12 and 13).
    pub zombie: bool,
}

/// What a record says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// A gossip message of the types 256 to 258, as on the wire, type included. It may be anything beyond its type.
    Message(Box<[u8]>),
    /// What the funding output of the channel announced just before is worth; 0 where nobody looked.
    Amount { capacity_sat: u64 },
    /// A channel is no more.
    Closed(ShortChannelId),
    /// A channel's funding output is spent, and the channel will be closed at this height.
    Dying { scid: ShortChannelId, deadline_height: u32 },
    /// The recording goes on at this offset of the file that took this one's place (up to version 15, it has no id).
    Ended { offset: u64, uuid: Option<[u8; 32]> },
    /// The file's own id.
    Uuid([u8; 32]),
    /// An unannounced channel of the recorder's own, or an update of one: no gossip (up to version 12).
    Private(Box<[u8]>),
    /// Ours: all that follows was accepted at this time, until the next of these.
    Time(UnixMs),
    /// Ours: a channel that had been announced unproven was looked up.
    Proof { scid: ShortChannelId, capacity_sat: u64 },
    /// Of a type that we do not know, type included.
    Unknown(Box<[u8]>),
}

/// What a reader came upon, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Located {
    /// In bytes from the start of the (unpacked) recording.
    pub offset: u64,
    pub found: Found,
}

/// See [`Located`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    Record(Record),
    /// Something that is no record, and was passed over.
    Damage(Damage),
}

/// Why a part of a recording could not be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Damage {
    /// The recording ends within a record, as one does that is being written.
    #[error("it ends within a record, {bytes} bytes after its start")]
    TornTail { bytes: u64 },
    #[error("the record's checksum does not fit")]
    Checksum,
    /// Written, but never marked as complete (from version 15).
    #[error("the record is not marked as complete")]
    Incomplete,
    #[error("a record of type {kind} has {len} bytes, which does not fit it")]
    Length { kind: u16, len: usize },
    #[error("a record of {len} bytes has no type")]
    NoType { len: usize },
    /// Nothing in these bytes is a record; the next one was found by its checksum.
    #[error("{bytes} bytes hold no record")]
    Lost { bytes: u64 },
    /// The compressed stream around the recording is broken here; nothing beyond can be read.
    #[error("the compressed data is damaged: {0}")]
    Packing(String),
}

impl Damage {
    /// The reason as a word for counters.
    pub fn name(&self) -> &'static str {
        match self {
            Damage::TornTail { .. } => "torn_tail",
            Damage::Checksum => "checksum",
            Damage::Incomplete => "incomplete",
            Damage::Length { .. } => "length",
            Damage::NoType { .. } => "no_type",
            Damage::Lost { .. } => "lost",
            Damage::Packing(_) => "packing",
        }
    }
}
