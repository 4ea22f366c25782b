//! What a peer knows: a log of gossip messages that only grows, in which newer messages replace older ones.
//!
//! Modelled after Core Lightning's `gossip_store`: a client is at some place in the log and reads on; what was
//! replaced before it gets there it never sees. So nobody is told of a change before the channel that it changes, a
//! slow client costs nothing, and nothing is lost on it. Several peers can share one store.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;
use lightning::routing::gossip::NodeId;
use tokio::sync::watch;

use crate::gossip::{ChannelAnnouncement, ChannelUpdate, Direction, NodeAnnouncement, ShortChannelId};

/// Heights have 24 bits (BOLT 7).
const MAX_HEIGHT: u32 = 0xff_ffff;

/// See the module's head.
pub struct Store {
    log: RwLock<Log>,
    /// The log's length: wakes those who have read it to the end.
    grown: watch::Sender<usize>,
}

#[derive(Default)]
struct Log {
    slots: Vec<Slot>,
    /// Where the current messages are.
    newest: HashMap<Subject, usize>,
    channels: BTreeSet<ShortChannelId>,
}

/// A message, or what is left of one that was replaced: no bytes.
struct Slot {
    message: Bytes,
    subject: Subject,
    /// Of updates and node announcements.
    timestamp: u32,
}

/// What a message is about. A newer one about the same replaces the older.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Subject {
    Channel(ShortChannelId),
    Direction(ShortChannelId, Direction),
    Node(NodeId),
    /// Not gossip; kept as it is.
    Other,
}

/// What a client asked for (BOLT 7, `gossip_timestamp_filter`) and where it stands in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cursor {
    pub at: usize,
    pub first_timestamp: u32,
    pub timestamp_range: u32,
}

impl Store {
    /// A store with these messages in it.
    pub fn new(messages: impl IntoIterator<Item = Bytes>) -> Arc<Self> {
        let mut log = Log::default();
        messages.into_iter().for_each(|message| log.append(message));
        Arc::new(Self { grown: watch::channel(log.slots.len()).0, log: RwLock::new(log) })
    }

    /// The peers that serve this store send the message to whoever listens, and dump it to those who come later.
    pub fn append(&self, message: Bytes) {
        let length = {
            let mut log = self.log.write().unwrap_or_else(PoisonError::into_inner);
            log.append(message);
            log.slots.len()
        };
        self.grown.send_replace(length);
    }

    /// How many messages a new client is sent.
    pub fn len(&self) -> usize {
        self.read().slots.iter().filter(|slot| !slot.message.is_empty()).count()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn watch(&self) -> watch::Receiver<usize> {
        self.grown.subscribe()
    }

    /// Moves the cursor on, past at most `limit` messages that the client wants, and gives these.
    pub(super) fn read_on(
        &self,
        cursor: &mut Cursor,
        limit: usize,
        serves: impl Fn(ShortChannelId) -> bool,
    ) -> Vec<Bytes> {
        let log = self.read();
        let mut wanted = Vec::new();
        while let Some(slot) = log.slots.get(cursor.at).filter(|_| wanted.len() < limit) {
            cursor.at += 1;
            if !slot.message.is_empty() && slot.subject.scid().is_none_or(&serves) && log.passes(slot, cursor) {
                wanted.push(slot.message.clone());
            }
        }
        wanted
    }

    /// The channels announced in blocks from `first` up to but not including `end`.
    pub(super) fn channels_in(&self, first: u32, end: u32) -> Vec<ShortChannelId> {
        if first >= end || first > MAX_HEIGHT {
            return Vec::new();
        }
        let at = |height| ShortChannelId::new(height, 0, 0);
        let end = if end > MAX_HEIGHT { Bound::Unbounded } else { Bound::Excluded(at(end)) };
        self.read().channels.range((Bound::Included(at(first)), end)).copied().collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, Log> {
        self.log.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    fn append(&mut self, message: Bytes) {
        let (subject, timestamp) = subject(&message);
        let at = self.slots.len();
        match subject {
            Subject::Other => {}
            // An announcement stays where it is, ahead of what refers to it; a different one (somebody lies) comes after.
            Subject::Channel(scid) if self.channels.contains(&scid) => {
                if self.newest.get(&subject).is_some_and(|&at| self.slots[at].message == message) {
                    return;
                }
            }
            _ => {
                if let Some(old) = self.newest.insert(subject, at) {
                    self.slots[old].message = Bytes::new();
                }
            }
        }
        if let Subject::Channel(scid) = subject {
            self.channels.insert(scid);
        }
        self.slots.push(Slot { message, subject, timestamp });
    }

    /// BOLT 7: an announcement counts as told at the time of its updates; unknown messages always pass.
    fn passes(&self, slot: &Slot, cursor: &Cursor) -> bool {
        let within = |timestamp: u32| {
            timestamp >= cursor.first_timestamp && timestamp - cursor.first_timestamp < cursor.timestamp_range
        };
        match slot.subject {
            _ if cursor.first_timestamp == 0 && cursor.timestamp_range == u32::MAX => true,
            Subject::Channel(scid) => Direction::BOTH.iter().any(|&direction| {
                let update = self.newest.get(&Subject::Direction(scid, direction));
                update.is_some_and(|&at| within(self.slots[at].timestamp))
            }),
            Subject::Other => true,
            Subject::Direction(..) | Subject::Node(_) => within(slot.timestamp),
        }
    }
}

impl Subject {
    fn scid(self) -> Option<ShortChannelId> {
        match self {
            Self::Channel(scid) | Self::Direction(scid, _) => Some(scid),
            Self::Node(_) | Self::Other => None,
        }
    }
}

fn subject(message: &Bytes) -> (Subject, u32) {
    let kind = message.first_chunk().map(|&kind| u16::from_be_bytes(kind));
    let known = match kind {
        Some(ChannelAnnouncement::TYPE) => {
            ChannelAnnouncement::from_wire(&message[..]).map(|m| (Subject::Channel(m.scid()), 0)).ok()
        }
        Some(ChannelUpdate::TYPE) => ChannelUpdate::from_wire(&message[..])
            .map(|m| (Subject::Direction(m.scid(), m.direction()), m.timestamp()))
            .ok(),
        Some(NodeAnnouncement::TYPE) => {
            NodeAnnouncement::from_wire(&message[..]).map(|m| (Subject::Node(m.node_id()), m.timestamp())).ok()
        }
        _ => None,
    };
    known.unwrap_or((Subject::Other, 0))
}
