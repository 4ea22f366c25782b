//! Room 3: the history. What the network looked like at any recent epoch, built from journal entries alone.
//!
//! Owns the channels, policies and nodes through time, and what a [`View`] is (design 4.4). Promises that the view
//! of an epoch never changes, whatever comes after it, and that the same entries give the same views on every
//! machine. Pure: it does no I/O, reads no clock, and cannot fail on what a journal accepted; what makes no sense
//! (an update of an unknown channel, say) it passes over, as a wallet would.

mod channels;
mod fees;
mod nodes;
mod now;
mod span;
mod timeline;
mod view;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::gossip::{Fact, NodeDetails, NodeId, Policy, ShortChannelId, UnixMs};
use crate::journal::{Entry, Epoch, Event, Graph, Seq};

use channels::Channels;
pub use fees::{FeeChanges, HourOfFees};
use nodes::Nodes;
pub use now::Held;
pub use span::{Changed, NodeChanged, Passage, Span};
use timeline::Ordinal;

/// A direction that was last heard longer ago than this is unknown: the official client forgets it then.
pub const HEARD_FOR_S: u32 = 14 * 24 * 3600;

/// How far back epochs are known. Seven days are promised; the eighth is for those who were told just in time.
const KEEP_EPOCHS_S: u32 = 8 * 24 * 3600;

/// How much superseded data may gather before it is swept out: so many items, and this share of what there is.
const SWEEP_AFTER: usize = 32_768;
const SWEEP_SHARE: usize = 8;

/// The network at one epoch: every channel that a wallet starting there is told of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    pub epoch: Epoch,
    /// The nodes of `channels`, and no others, in ascending order of their ids.
    pub nodes: Vec<ViewNode>,
    /// In ascending order of their short channel ids.
    pub channels: Vec<ViewChannel>,
}

/// A node that has at least one channel in the view.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ViewNode {
    pub id: NodeId,
    /// What it announced of itself; `None` while it announced nothing.
    pub details: Option<Arc<NodeDetails>>,
}

/// A channel, both of whose directions have been heard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ViewChannel {
    pub scid: ShortChannelId,
    /// The channel's feature bits, big-endian; almost always empty.
    pub features: Box<[u8]>,
    /// Indexes of `node_id_1` and `node_id_2` in [`View::nodes`].
    pub nodes: [u32; 2],
    /// The funding output's value, where it is proven.
    pub capacity_sat: Option<u64>,
    /// By [`Direction`](crate::gossip::Direction): what each end charges.
    pub policies: [Policy; 2],
}

/// The network through time, up to the last applied entry.
#[derive(Debug, Default)]
pub struct History {
    channels: Channels,
    nodes: Nodes,
    epochs: VecDeque<Epoch>,
    /// The number of the first in `epochs`.
    first_epoch: Ordinal,
    last_seq: Seq,
    last_sync: Option<UnixMs>,
    fee_changes: FeeChanges,
    /// What was left after the last sweep.
    swept_size: usize,
}

/// How much a history holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct Size {
    /// Channels that are announced and not closed, heard or not.
    pub channels: usize,
    /// Nodes that are named by a channel or by themselves.
    pub nodes: usize,
    /// Values that have since been superseded: policies and node details.
    pub versions: usize,
    pub epochs: usize,
}

/// Where in time the next entry stands.
#[derive(Clone, Copy, Debug)]
struct Moment {
    /// The epoch that will be the first to contain it.
    next: Ordinal,
    /// The last epoch's timestamp; 0 before the first.
    last_epoch: u32,
}

impl History {
    pub fn new() -> Self {
        Self::default()
    }

    /// Learns one entry. Entries come in the journal's order, each once.
    pub fn apply(&mut self, entry: &Entry) {
        self.last_seq = entry.seq;
        let moment = self.moment();
        match &entry.event {
            Event::Fact(Fact::Update(update)) => {
                if self.channels.update(moment, update) {
                    self.fee_changes.count(entry.seen);
                }
            }
            Event::Fact(Fact::Node(node)) => self.nodes.announce(moment.next, node),
            Event::Fact(Fact::Channel { announcement, capacity_sat }) => {
                let nodes = announcement.nodes().map(|id| self.nodes.index(id));
                self.channels.announce(moment.next, announcement, nodes, *capacity_sat);
            }
            Event::Fact(Fact::Proof { scid, capacity_sat }) => self.channels.prove(moment.next, *scid, *capacity_sat),
            Event::Fact(Fact::Closed { scid, reason }) => self.channels.close(moment.next, *scid, *reason),
            Event::Fact(Fact::Reopened { scid }) => self.channels.reopen(moment.next, *scid),
            Event::Fact(Fact::Block(block)) => self.channels.settle(block.height),
            Event::Fact(Fact::PossibleSplice { .. }) => {} // the channel stays as it is
            Event::Fact(Fact::SyncCompleted { .. }) => self.last_sync = Some(entry.seen),
            Event::Epoch { timestamp, rules } => {
                self.cut(Epoch { timestamp: *timestamp, seq: entry.seq, rules: *rules });
            }
        }
    }

    /// The network at a known epoch; `None` when it is not among [`History::epochs`].
    pub fn view(&self, epoch: &Epoch) -> Option<View> {
        Some(view::cut(&self.channels, &self.nodes, *epoch, self.ordinal(epoch)?))
    }

    /// What happened from one known epoch to a later one (or the same).
    pub fn span(&self, from: &Epoch, to: &Epoch) -> Option<Span<'_>> {
        let (from, to) = (self.ordinal(from)?, self.ordinal(to)?);
        (from <= to).then(|| Span::new(self, from, to))
    }

    /// The channels that wallets may hold which were told of any epoch in the `back_s` seconds up to a known one, and
    /// which its view does not show. In ascending order.
    pub fn departed(&self, epoch: &Epoch, back_s: u32) -> Option<Vec<ShortChannelId>> {
        let oldest = epoch.timestamp.saturating_sub(back_s);
        let first = self.epochs.get(self.epochs.partition_point(|known| known.timestamp < oldest))?;
        let mut departed = Vec::new();
        self.span(first, epoch)?.visit(|passage| {
            if passage.now.is_none() {
                departed.push(passage.scid);
            }
        });
        departed.sort_unstable();
        Some(departed)
    }

    /// The known epochs: those of the last eight days, newest last.
    pub fn epochs(&self) -> impl DoubleEndedIterator<Item = &Epoch> + ExactSizeIterator {
        self.epochs.iter()
    }

    /// The known epoch of this time.
    pub fn epoch_at(&self, timestamp: u32) -> Option<Epoch> {
        let place = self.epochs.binary_search_by_key(&timestamp, |known| known.timestamp).ok()?;
        self.epochs.get(place).copied()
    }

    /// The newest epoch.
    pub fn last_epoch(&self) -> Option<&Epoch> {
        self.epochs.back()
    }

    /// The last entry that was applied.
    pub fn last_seq(&self) -> Seq {
        self.last_seq
    }

    /// When a peer had last told everything it knew.
    pub fn last_sync(&self) -> Option<UnixMs> {
        self.last_sync
    }

    /// How often fees changed of late.
    pub fn fee_changes(&self) -> &FeeChanges {
        &self.fee_changes
    }

    pub fn size(&self) -> Size {
        Size {
            channels: self.channels.open(),
            nodes: self.nodes.len(),
            versions: self.channels.versions() + self.nodes.versions(),
            epochs: self.epochs.len(),
        }
    }

    /// Drops what no known epoch shows. Changes no view, and happens by itself now and then.
    pub fn compact(&mut self) {
        self.channels.sweep(self.first_epoch);
        self.nodes.sweep(self.first_epoch);
        self.swept_size = self.held();
    }

    /// The number of a known epoch.
    fn ordinal(&self, epoch: &Epoch) -> Option<Ordinal> {
        let place = self.epochs.binary_search_by_key(&epoch.timestamp, |known| known.timestamp).ok()?;
        (self.epochs.get(place)? == epoch).then_some(self.first_epoch + place as Ordinal)
    }

    fn moment(&self) -> Moment {
        let next = self.first_epoch + self.epochs.len() as Ordinal;
        Moment { next, last_epoch: self.epochs.back().map_or(0, |epoch| epoch.timestamp) }
    }

    fn cut(&mut self, epoch: Epoch) {
        if self.epochs.back().is_some_and(|last| last.timestamp >= epoch.timestamp) {
            return; // No journal accepts that.
        }
        self.epochs.push_back(epoch);
        let oldest = epoch.timestamp.saturating_sub(KEEP_EPOCHS_S);
        while self.epochs.front().is_some_and(|first| first.timestamp < oldest) {
            self.epochs.pop_front();
            self.first_epoch += 1;
        }
        self.sweep();
    }

    /// Compacts once enough may have gathered: a sweep visits everything, so this keeps its cost a small constant an
    /// entry.
    fn sweep(&mut self) {
        if self.held() >= self.swept_size + self.swept_size / SWEEP_SHARE + SWEEP_AFTER {
            self.compact();
        }
    }

    fn held(&self) -> usize {
        self.channels.held() + self.nodes.versions()
    }
}

/// Whether a view shows a channel, both of whose directions are known.
fn is_shown(policies: &[Policy; 2], graph: Graph) -> bool {
    graph == Graph::Complete || policies.iter().any(|policy| policy.enabled)
}
