//! What a wallet is told that was here before: all that it cannot know, and as little else as keeps its graph whole.
//!
//! A wallet "at `s`" may hold anything from the epoch `s` on: its last answer may have been cut short, or have come
//! from a replica that was further. And a client forgets a direction seven days after it was last told of it
//! (`remove_stale_channels_and_tracking_with_time`, at snapshots' times less seven days). So each channel is mentioned
//! once in a cycle, on its own day; what a wallet may have forgotten all the same is announced again.

use crate::gossip::{Direction, ShortChannelId};
use crate::history::{NodeChanged, Passage, Span};

use super::LeftOut;
use super::contents::{Contents, ToldChannel, ToldNode, ToldUpdate, What};

const DAY_S: u32 = 24 * 3600;

/// Each channel is mentioned at least this often. Longer cycles make short deltas smaller, and longer ones larger: after
/// [`REACH_S`] less a cycle, some channels must be announced again. Three days take fewest bytes for deltas over one, two
/// and three days together (ARCHITECTURE has the figures).
const REMIND_EVERY_S: u32 = 3 * DAY_S;
/// How often it is announced anew, for wallets that have lost it by themselves: a multiple of the cycle.
const RENEW_EVERY_S: u32 = 30 * DAY_S;

/// A delta spans less than this.
pub const REACH_S: u32 = 6 * DAY_S;
/// A delta is served until this long after its epoch: whoever was reminded of a channel within [`REACH_S`] before that
/// still has it then.
pub const SERVED_FOR_S: u32 = DAY_S;

/// For so long after an epoch a wallet that was told of it has forgotten nothing: every channel was mentioned within the
/// cycle before, and the client forgets what was mentioned more than seven days ago.
pub const WHOLE_FOR_S: u32 = 7 * DAY_S - REMIND_EVERY_S;

/// What to tell a wallet that was last told of the span's first epoch, so that it has the last one's view. The two are
/// less than [`REACH_S`] apart. `left_out` is what the last one's snapshot lacks, or earlier ones did.
pub fn delta(span: &Span<'_>, left_out: &LeftOut) -> Contents {
    let mut delta = Delta::new(span, left_out);
    span.visit(|passage| delta.channel(passage));
    delta.finish()
}

struct Delta<'a> {
    span: &'a Span<'a>,
    left_out: &'a LeftOut,
    /// The first epoch's time, and the last one's.
    since: u32,
    until: u32,
    /// By number.
    nodes: Vec<Node>,
    channels: Vec<ToldChannel>,
    updates: Vec<ToldUpdate>,
}

/// What is known of a node while the channels are gone through.
#[derive(Clone, Copy, Default)]
struct Node {
    /// The last view shows a channel of it.
    shown: bool,
    /// Some channel of it is sure to be at every wallet, and so are its details.
    sure: bool,
    /// A channel of it is announced …
    announced: bool,
    /// … to wallets that may have lost it, with all details.
    renewed: bool,
}

impl<'a> Delta<'a> {
    fn new(span: &'a Span<'a>, left_out: &'a LeftOut) -> Self {
        let (since, until) = (span.from().timestamp, span.to().timestamp);
        let nodes = vec![Node::default(); span.nodes()];
        Self { span, left_out, since, until, nodes, channels: Vec::new(), updates: Vec::new() }
    }

    fn channel(&mut self, mut passage: Passage<'_>) {
        if let Some(last) = self.left_out.channel(passage.scid) {
            passage.before &= last < self.since;
            passage.throughout = false;
            passage.now = passage.now.filter(|_| last < self.until);
        }
        // The only mention of both directions that every wallet at `since` has had for certain.
        let phase = Phase::of(passage.scid);
        let reminded = phase.last(REMIND_EVERY_S, self.since);
        let sure = passage.before && reminded > i64::from(self.until) - i64::from(REACH_S);
        self.note(passage.nodes, |node| node.sure |= sure);
        let Some(policies) = passage.now else {
            return self.updates.extend(ToldUpdate::gone(passage.scid));
        };
        let due = reminded + i64::from(REMIND_EVERY_S) <= i64::from(self.until);
        let renewed = due && phase.last(RENEW_EVERY_S, self.until) > i64::from(self.since);
        self.note(passage.nodes, |node| {
            node.shown = true;
            node.renewed |= renewed;
        });
        if !sure || renewed {
            self.announce(&passage);
        }
        let whole = !sure || renewed || !passage.throughout;
        for (direction, policy) in Direction::BOTH.into_iter().zip(policies) {
            let changed = passage.changed[direction as usize];
            let what = match () {
                () if whole => What::Whole(policy),
                () if changed.any() => What::Parts(policy, changed),
                () if due => What::Reminder { enabled: policy.enabled },
                () => continue,
            };
            self.updates.push(ToldUpdate { scid: passage.scid, direction, what });
        }
    }

    fn announce(&mut self, passage: &Passage<'_>) {
        self.note(passage.nodes, |node| node.announced = true);
        self.channels.push(ToldChannel {
            scid: passage.scid,
            features: passage.features.into(),
            nodes: passage.nodes,
            capacity_sat: passage.capacity_sat,
        });
    }

    fn note(&mut self, nodes: [u32; 2], note: impl Fn(&mut Node)) {
        nodes.iter().for_each(|node| note(&mut self.nodes[*node as usize]));
    }

    /// What is told of a node, if anything is or an announcement names it.
    fn node(&self, number: u32, node: Node) -> Option<ToldNode> {
        let (id, details) = self.span.node(number);
        let left_out = self.left_out.node(&id);
        let details = details.filter(|_| left_out.is_none_or(|last| last < self.until));
        let all = !node.sure || node.renewed || left_out.is_some_and(|last| last >= self.since);
        // Looking back at what a node told takes long: only where something depends on it.
        let changed = match details {
            Some(_) if !all => self.span.node_changed(number),
            _ => NodeChanged { features: true, addresses: true },
        };
        let features = details.clone().filter(|_| changed.features);
        let addresses = details.filter(|_| changed.addresses);
        let told = node.announced || features.is_some() || addresses.is_some();
        told.then_some(ToldNode { id, features, addresses })
    }

    fn finish(mut self) -> Contents {
        let shown = (0..).zip(&self.nodes).filter(|(_, node)| node.shown);
        let mut told: Vec<(u32, ToldNode)> =
            shown.filter_map(|(number, node)| Some((number, self.node(number, *node)?))).collect();
        told.sort_unstable_by_key(|(_, node)| node.id);
        let mut places = vec![0; self.nodes.len()];
        for (place, (number, _)) in (0..).zip(&told) {
            places[*number as usize] = place;
        }
        for node in self.channels.iter_mut().flat_map(|channel| &mut channel.nodes) {
            *node = places[*node as usize];
        }
        self.channels.sort_unstable_by_key(|channel| channel.scid);
        self.updates.sort_unstable_by_key(ToldUpdate::place);
        let nodes = told.into_iter().map(|(_, node)| node).collect();
        Contents { timestamp: self.until, nodes, channels: self.channels, updates: self.updates }
    }
}

/// When a channel's turn comes: so many seconds into the longest cycle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Phase(u32);

impl Phase {
    /// Spread evenly by its number (the finalizer of MurmurHash3), so that every hour has its share.
    fn of(scid: ShortChannelId) -> Self {
        let mut mixed = scid.0;
        mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        mixed ^= mixed >> 33;
        Self((mixed % u64::from(RENEW_EVERY_S)) as u32) // the remainder of a u32
    }

    /// The last time at or before `at` that was its turn in a cycle of `every_s`, in unix seconds.
    fn last(self, every_s: u32, at: u32) -> i64 {
        let (at, every_s) = (i64::from(at), i64::from(every_s));
        at - (at - i64::from(self.0)).rem_euclid(every_s)
    }
}
