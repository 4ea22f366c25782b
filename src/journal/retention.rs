//! What the journal may forget: only what no view of today, nor of any epoch younger than the retention, needs.
//!
//! [`Plan`] is one ordered pass over the journal's oldest part. It follows each channel, direction and node the
//! way the history does, and notes an entry once a later one has taken its place for good. It ends at the first
//! entry younger than the retention, and counts only what was superseded by the last epoch before that: that
//! epoch is the oldest whose view stays exact (after a long pause it is the current one).

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::Duration;

use super::{Entry, Event, Reader, Seq};
use crate::gossip::{ChannelAnnouncement, ChannelUpdate, Fact, NodeAnnouncement, NodeId, ShortChannelId, UnixMs};

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
    nodes: HashMap<NodeId, Heard>,
    last_sync: Option<Seq>,
    last_epoch: Option<Seq>,
    superseded: Vec<Seq>,
    /// How many of `superseded` were so at the last epoch.
    at_last_epoch: usize,
}

/// What still stands of a channel that is announced and not closed.
#[derive(Debug)]
struct Channel {
    nodes: [NodeId; 2],
    /// Announcements since the channel came to these nodes, and proofs. The first announcement carries the updates
    /// that follow it, a later one may bring a capacity: all are kept. There is almost always one.
    standing: Vec<Seq>,
    directions: [Option<Heard>; 2],
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
            nodes: HashMap::new(),
            last_sync: None,
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
            Event::Fact(Fact::Closed { scid, .. }) => {
                self.drop_channel(*scid);
                self.superseded.push(seq);
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
        let fresh = Channel { nodes, standing: Vec::with_capacity(1), directions: [None; 2] };
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

    fn drop_channel(&mut self, scid: ShortChannelId) {
        let Some(channel) = self.channels.remove(&scid) else { return };
        self.superseded.extend(channel.standing);
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
