//! What the journal may forget: only what no view of today, nor of any epoch younger than the retention, needs.
//!
//! [`Plan`] is one ordered pass over the journal's oldest part. It follows each channel, direction and node the
//! way the history does, and notes an entry once a later one has taken its place for good. It ends at the first
//! entry younger than the retention, and counts only what was superseded by the last epoch before that: that
//! epoch is the oldest whose view stays exact (after a long pause it is the current one).
//!
//! A channel that was closed by a spend may be reopened until the chain is deep enough: until then all of it stays.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::Duration;

use super::{Entry, Event, Reader, Seq};
use crate::gossip::{
    ChannelAnnouncement, ChannelUpdate, Closing, Fact, NodeAnnouncement, NodeId, ShortChannelId, UnixMs, is_final,
};

/// The numbers of the entries that may go, in ascending order. Removing any first part of them is safe as well.
///
/// `go_on` is asked now and then; the plan is given up (and empty) when it says no.
pub fn plan(
    reader: &dyn Reader,
    now: UnixMs,
    retention: Duration,
    go_on: impl Fn() -> bool,
) -> anyhow::Result<Vec<Seq>> {
    let mut plan = Plan::new(now, retention);
    let mut gave_up = false;
    reader.read(Seq(0), &mut |entry| {
        gave_up = entry.seq.0 % 1024 == 0 && !go_on();
        if gave_up { ControlFlow::Break(()) } else { plan.take(&entry) }
    })?;
    Ok(if gave_up { Vec::new() } else { plan.finish() })
}

/// One pass over the entries, oldest first.
#[derive(Debug)]
pub struct Plan {
    now: UnixMs,
    cutoff: UnixMs,
    channels: HashMap<ShortChannelId, Channel>,
    /// Channels that were closed by a spend and may come back.
    spent: HashMap<ShortChannelId, Spent>,
    nodes: HashMap<NodeId, Heard>,
    last_sync: Option<Seq>,
    last_block: Option<Seq>,
    last_epoch: Option<Seq>,
    superseded: Vec<Seq>,
    /// How many of `superseded` were so at the last epoch.
    at_last_epoch: usize,
}

/// What still stands of a channel that is announced and not closed.
#[derive(Debug)]
struct Channel {
    nodes: [NodeId; 2],
    /// Announcements since the channel came to these nodes, proofs, and closings that were undone with what undid them.
    /// The first announcement carries the updates that follow it, a later one may bring a capacity, and what was said
    /// of a closed channel must not count after all: all are kept. There is almost always one.
    standing: Vec<Seq>,
    /// Of the spend that may be a splice.
    possible_splice: Option<Seq>,
    directions: [Option<Heard>; 2],
}

/// A channel that was closed by a spend.
#[derive(Debug)]
struct Spent {
    height: u32,
    closing: Seq,
    channel: Channel,
}

/// The newest message of its kind, by the sender's clock.
#[derive(Clone, Copy, Debug)]
struct Heard {
    timestamp: u32,
    seq: Seq,
}

impl Plan {
    /// A plan as of `now`.
    pub fn new(now: UnixMs, retention: Duration) -> Self {
        let retention_ms = u64::try_from(retention.as_millis()).unwrap_or(u64::MAX);
        Self {
            now,
            cutoff: UnixMs(now.0.saturating_sub(retention_ms)),
            channels: HashMap::new(),
            spent: HashMap::new(),
            nodes: HashMap::new(),
            last_sync: None,
            last_block: None,
            last_epoch: None,
            superseded: Vec::new(),
            at_last_epoch: 0,
        }
    }

    /// Takes the next entry; breaks off at the first that is too young. (One from the future tells that the clock
    /// was wrong then, and nothing of its age: it is taken for as old as its neighbours.)
    pub fn take(&mut self, entry: &Entry) -> ControlFlow<()> {
        if entry.seen >= self.cutoff && entry.seen <= self.now {
            return ControlFlow::Break(());
        }
        let seq = entry.seq;
        match &entry.event {
            Event::Fact(Fact::Channel { announcement, .. }) => self.announced(seq, announcement),
            Event::Fact(Fact::Update(update)) => self.updated(seq, update),
            Event::Fact(Fact::Node(node)) => self.node(seq, node),
            Event::Fact(Fact::Proof { scid, .. }) => match self.channels.get_mut(scid) {
                Some(channel) => channel.standing.push(seq),
                None => self.superseded.push(seq),
            },
            Event::Fact(Fact::Closed { scid, reason }) => self.closed(seq, *scid, *reason),
            Event::Fact(Fact::PossibleSplice { scid, .. }) => match self.channels.get_mut(scid) {
                Some(channel) => self.superseded.extend(channel.possible_splice.replace(seq)),
                None => self.superseded.push(seq),
            },
            Event::Fact(Fact::Reopened { scid }) => self.reopened(seq, *scid),
            Event::Fact(Fact::Block(block)) => {
                self.superseded.extend(self.last_block.replace(seq));
                self.settle(block.height);
            }
            Event::Fact(Fact::SyncCompleted { .. }) => self.superseded.extend(self.last_sync.replace(seq)),
            Event::Epoch { .. } => {
                self.superseded.extend(self.last_epoch.replace(seq));
                self.at_last_epoch = self.superseded.len();
            }
        }
        ControlFlow::Continue(())
    }

    /// The numbers of the entries that may go, in ascending order.
    pub fn finish(mut self) -> Vec<Seq> {
        if self.last_epoch.is_some() {
            self.superseded.truncate(self.at_last_epoch);
        }
        self.superseded.sort_unstable();
        self.superseded
    }

    /// An announcement with other nodes is another channel in the same place; one with the same nodes keeps what
    /// was heard of it.
    fn announced(&mut self, seq: Seq, announcement: &ChannelAnnouncement) {
        let (scid, nodes) = (announcement.scid(), announcement.nodes());
        if self.channels.get(&scid).is_some_and(|channel| channel.nodes != nodes) {
            self.drop_channel(scid);
        }
        if let Some(spent) = self.spent.remove(&scid) {
            self.drop_spent(spent);
        }
        let fresh = Channel { nodes, standing: Vec::with_capacity(1), possible_splice: None, directions: [None; 2] };
        self.channels.entry(scid).or_insert(fresh).standing.push(seq);
    }

    /// An update of a channel that is not there was passed over by the history, and so was one that was not newer.
    fn updated(&mut self, seq: Seq, update: &ChannelUpdate) {
        let heard = Heard { timestamp: update.timestamp(), seq };
        match self.channels.get_mut(&update.scid()) {
            Some(channel) => {
                let direction = &mut channel.directions[update.direction() as usize];
                self.superseded.extend(supersede(direction, heard));
            }
            None => self.superseded.push(seq),
        }
    }

    fn node(&mut self, seq: Seq, node: &NodeAnnouncement) {
        let heard = Heard { timestamp: node.timestamp(), seq };
        let mut newest = self.nodes.get(&node.node_id()).copied();
        self.superseded.extend(supersede(&mut newest, heard));
        self.nodes.extend(newest.map(|newest| (node.node_id(), newest)));
    }

    fn closed(&mut self, closing: Seq, scid: ShortChannelId, reason: Closing) {
        if let Closing::Spent { height } = reason
            && let Some(channel) = self.channels.remove(&scid)
        {
            self.spent.insert(scid, Spent { height, closing, channel });
            return;
        }
        self.drop_channel(scid);
        self.superseded.push(closing);
    }

    fn reopened(&mut self, seq: Seq, scid: ShortChannelId) {
        if let Some(Spent { closing, mut channel, .. }) = self.spent.remove(&scid) {
            channel.standing.extend([closing, seq]);
            self.superseded.extend(channel.possible_splice.take());
            self.channels.insert(scid, channel);
            return;
        }
        if let Some(channel) = self.channels.get_mut(&scid) {
            self.superseded.extend(channel.possible_splice.take());
        }
        self.superseded.push(seq);
    }

    /// Drops what can no longer be reopened, once the chain has come to this height.
    fn settle(&mut self, tip: u32) {
        let settled: Vec<Spent> =
            self.spent.extract_if(|_, spent| is_final(spent.height, tip)).map(|(_, spent)| spent).collect();
        settled.into_iter().for_each(|spent| self.drop_spent(spent));
    }

    fn drop_spent(&mut self, spent: Spent) {
        self.drop(spent.channel);
        self.superseded.push(spent.closing);
    }

    fn drop_channel(&mut self, scid: ShortChannelId) {
        if let Some(channel) = self.channels.remove(&scid) {
            self.drop(channel);
        }
    }

    fn drop(&mut self, channel: Channel) {
        self.superseded.extend(channel.standing);
        self.superseded.extend(channel.possible_splice);
        self.superseded.extend(channel.directions.iter().flatten().map(|heard| heard.seq));
    }
}

/// Puts the newer of the two into `newest`, and returns the other one's number.
fn supersede(newest: &mut Option<Heard>, heard: Heard) -> Option<Seq> {
    match newest {
        Some(newest) if heard.timestamp <= newest.timestamp => Some(heard.seq),
        _ => newest.replace(heard).map(|older| older.seq),
    }
}
