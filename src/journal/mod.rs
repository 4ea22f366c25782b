//! Room 2: the journal. An ordered, append-only, durable list of entries, numbered by [`Seq`].
//!
//! Owns what was heard: live gossip, recordings and epochs become entries here before any other room knows of
//! them, and everything that is served is built from entries alone. Promises that an entry is durable once
//! [`Journal::append`] has returned, that numbers are gapless when assigned and never reused, and that whatever
//! happens to the process, the next start finds every entry that was committed. Knows nothing of snapshots.
//!
//! [`SqliteJournal`] is the journal in a local file, [`Beside`] the same for others to read, [`Writer`] the thread
//! through which the service writes it, [`retention`] decides what it may forget.
//!
//! The archive is a copy of the journal in a remote database, entry by entry under the same numbers. [`postgres`] is
//! what is said to it, [`tls`] how the connection is kept secret. [`lease`] judges who may write it, [`settle`] brings
//! journal and archive together at the start, [`ship`] copies into it, [`follow`] copies from it and takes over;
//! [`link`] keeps the connection. Promises that the archive has every entry once, in the journal's order, and that
//! nothing but a service without a journal waits for it.

use std::fmt;
use std::ops::ControlFlow;

use rand::RngExt;

use crate::gossip::{Fact, UnixMs};

pub mod codec;
pub mod follow;
pub mod lease;
pub mod link;
mod lock;
pub mod postgres;
mod read_ahead;
pub mod retention;
pub mod settle;
mod shelf;
pub mod ship;
mod sqlite;
pub mod tls;
pub mod writer;

pub use lock::DataDirLock;
pub use read_ahead::{read_ahead, read_ahead_for_two};
pub use sqlite::{Beside, Extent, Opened, SqliteJournal, Vacancy};
pub use writer::{Pace, Retainer, Writer};

/// An entry's number: 1 for the first, without gaps as they are assigned. 0 means "before the first".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, serde::Serialize)]
pub struct Seq(pub u64);

/// A cut of the journal: the state of the network after all entries up to and including `seq`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Epoch {
    /// Unix seconds; strictly increasing, never reused. Wallets name an epoch by it.
    pub timestamp: u32,
    /// The epoch's own entry.
    pub seq: Seq,
    /// Under which rules wallets were told.
    pub rules: Rules,
}

/// The version of the rules by which a snapshot is made, and the `graph` setting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    pub version: u16,
    pub graph: Graph,
}

/// Which channels a snapshot holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Graph {
    /// Those with at least one enabled direction.
    Routable,
    /// Those that are disabled in both directions, too.
    Complete,
}

/// What an entry says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Something that the gossip room found out.
    Fact(Fact),
    /// The journal was cut here.
    Epoch { timestamp: u32, rules: Rules },
}

/// One line of the journal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub seq: Seq,
    /// When this collector accepted it.
    pub seen: UnixMs,
    pub event: Event,
}

/// An entry that has no number yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Draft {
    /// When this collector accepted it.
    pub seen: UnixMs,
    pub event: Event,
}

impl Draft {
    /// The entry that this draft becomes under number `seq`.
    pub fn numbered(self, seq: Seq) -> Entry {
        Entry { seq, seen: self.seen, event: self.event }
    }
}

/// Tells one journal from every other: random, drawn when the journal is created.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct JournalId(pub [u8; 16]);

/// Tells one collector, that is one data directory, from every other: random, drawn with the data directory.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CollectorId(pub [u8; 16]);

/// Shows ids as hexadecimal digits.
macro_rules! shown_as_hex {
    ($($id:ty)*) => {$(
        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )*};
}

shown_as_hex!(JournalId CollectorId);

/// For how long one collector writes an archive: 1 for the first writer, and one more whenever another takes over.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize)]
pub struct Term(pub u64);

/// How a local journal stands to an archive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attachment {
    /// It never had one.
    Alone,
    /// Its collector became the archive's writer with this term: what the archive lacks is its own.
    Writing(Term),
    /// It is a copy: all of its entries are the archive's.
    Following,
}

/// Who a local journal is.
///
/// A collector that sets out to take over draws another id for itself first: two that were copied from one directory
/// would both find themselves to be the writer otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    pub journal: JournalId,
    pub collector: CollectorId,
    pub attachment: Attachment,
    /// How many seconds past the aligned time epochs are stamped: 1 to 59, no multiple of 10.
    pub epoch_offset_s: u32,
}

/// Draws an epoch offset: 1 to 59, no multiple of 10, so that our stamps can be told from those of servers that stamp
/// whole hours, minutes and tens of seconds. It differs from `last` also modulo 10, because first epochs and short
/// intervals are stamped modulo that.
pub fn draw_epoch_offset_s(last: Option<u32>, rng: &mut (impl rand::Rng + ?Sized)) -> u32 {
    let fits = |offset: &u32| is_epoch_offset_s(*offset) && last.is_none_or(|last| offset % 10 != last % 10);
    std::iter::repeat_with(|| rng.random_range(1..60)).find(fits).unwrap_or(1) // the iterator never ends
}

/// Whether it is 1 to 59 and no multiple of 10.
pub fn is_epoch_offset_s(seconds: u32) -> bool {
    (1..60).contains(&seconds) && !seconds.is_multiple_of(10)
}

/// Why nothing was appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The storage has no room left. Nothing was written, and the same drafts may be tried again.
    #[error("no room left for the journal: {0}")]
    Full(String),
    /// A wallet names an epoch by its timestamp, so none may repeat or go back.
    #[error("an epoch at {given} does not come after the last one, at {last}")]
    EpochNotNewer { last: u32, given: u32 },
    /// Entries are numbered in ascending order.
    #[error("entry {given} does not come after the last one, {last}", given = given.0, last = last.0)]
    SeqNotNewer { last: Seq, given: Seq },
    /// Anything else; trying again is of no use.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// Reads entries, in order. Several readers of one journal may read in several threads, while it is being written.
pub trait Reader: Send {
    /// Hands every entry after `after` to `each`, oldest first, until the last one or until `each` breaks off.
    /// Entries that are appended meanwhile may or may not be among them; what is, is whole and in order.
    fn read(&self, after: Seq, each: &mut dyn FnMut(Entry) -> ControlFlow<()>) -> anyhow::Result<()>;

    /// The numbers below `bound` of the entries that there are at one moment.
    fn numbers(&self, bound: Seq) -> anyhow::Result<Vec<Seq>>;
}

/// The journal's one writer.
pub trait Journal: Reader {
    /// Which journal this is, whose, and how it stands to an archive.
    fn identity(&self) -> Identity;

    /// The number of the last entry; `Seq(0)` in a new journal.
    fn last_seq(&self) -> Seq;

    /// The last epoch's timestamp.
    fn last_epoch(&self) -> Option<u32>;

    /// Writes all of `drafts` or nothing; on return they are durable. The first gets the returned number, each
    /// further one the next.
    fn append(&mut self, drafts: &[Draft]) -> Result<Seq, AppendError>;

    /// Writes all of `entries`, which another collector has numbered, or nothing; on return they are durable. Their
    /// numbers ascend and come after the last one; where that one's journal has forgotten entries, there are gaps.
    fn adopt(&mut self, entries: &[Entry]) -> Result<(), AppendError>;

    /// Notes who the journal is from now on; its id stays what it is.
    fn identify(&mut self, identity: Identity) -> Result<(), AppendError>;

    /// Messages that were cut off the journal and have not been offered to the archive's writer, by their ids.
    fn unoffered(&self, at_most: usize) -> anyhow::Result<Vec<(i64, Vec<u8>)>>;

    /// Forgets messages that have been offered.
    fn offered(&mut self, ids: &[i64]) -> Result<(), AppendError>;

    /// Removes the entries with these numbers; numbers that are not there are passed over, and the journal's last
    /// entry stays, because the numbering goes on from it. Returns how many were removed: all or, on error, none.
    fn forget(&mut self, seqs: &[Seq]) -> Result<usize, AppendError>;

    /// Another reader, for another thread.
    fn reader(&self) -> anyhow::Result<Box<dyn Reader>>;
}
