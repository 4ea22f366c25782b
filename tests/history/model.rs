//! The view as the design's words have it, computed the slow way: from all entries up to the epoch, every time.
//! And random entries, over few channels and nodes, so that they meet.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use rgsd::gossip::{
    ChannelAnnouncement, ChannelUpdate, Closing, Direction, Fact, NodeAnnouncement, NodeId, Policy, REORG_DEPTH,
    ShortChannelId,
};
use rgsd::history::{View, ViewChannel, ViewNode};
use rgsd::journal::{Draft, Entry, Epoch, Event, Graph, Seq};

use crate::unsigned::{announcement, block, draft, epoch_of, ipv4, node, node_announcement, policy, scid, update};

const START: u32 = 1_700_000_000;
const HOUR: u32 = 3_600;
const DAY: u32 = 24 * HOUR;

#[derive(Default)]
struct Channel<'a> {
    announcement: Option<&'a ChannelAnnouncement>,
    capacity_sat: Option<u64>,
    updates: [Option<&'a ChannelUpdate>; 2],
}

/// What entries have told: the channels that are open, and the nodes.
type Told<'a> = (BTreeMap<ShortChannelId, Channel<'a>>, BTreeMap<NodeId, &'a NodeAnnouncement>);

/// All that was told by the entry `until`, heard lately or not.
fn told(entries: &[Entry], until: Seq) -> Told<'_> {
    let mut channels: BTreeMap<ShortChannelId, Channel> = BTreeMap::new();
    // Closed by a spend at that height, and not for good.
    let mut spent: BTreeMap<ShortChannelId, (u32, Channel)> = BTreeMap::new();
    let mut nodes: BTreeMap<NodeId, &NodeAnnouncement> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.seq <= until) {
        let Event::Fact(fact) = &entry.event else { continue };
        match fact {
            Fact::Channel { announcement, capacity_sat } => {
                spent.remove(&announcement.scid());
                let channel = channels.entry(announcement.scid()).or_default();
                if channel.announcement.is_some_and(|before| before.nodes() != announcement.nodes()) {
                    *channel = Channel::default();
                }
                channel.announcement = Some(announcement);
                channel.capacity_sat = channel.capacity_sat.or(*capacity_sat);
            }
            Fact::Proof { scid, capacity_sat } => {
                if let Some(channel) = channels.get_mut(scid) {
                    channel.capacity_sat = channel.capacity_sat.or(Some(*capacity_sat));
                }
            }
            Fact::Closed { scid, reason: Closing::Spent { height } } => {
                spent.extend(channels.remove(scid).map(|channel| (*scid, (*height, channel))));
            }
            Fact::Closed { scid, .. } => drop(channels.remove(scid)),
            Fact::Reopened { scid } => channels.extend(spent.remove(scid).map(|(_, channel)| (*scid, channel))),
            Fact::Block(block) => spent.retain(|_, (height, _)| *height + REORG_DEPTH > block.height),
            Fact::PossibleSplice { .. } => {}
            Fact::Update(update) => {
                let Some(channel) = channels.get_mut(&update.scid()) else { continue };
                let last = &mut channel.updates[update.direction() as usize];
                if last.is_none_or(|last| last.timestamp() < update.timestamp()) {
                    *last = Some(update);
                }
            }
            Fact::Node(node) => {
                if nodes.get(&node.node_id()).is_none_or(|last| last.timestamp() < node.timestamp()) {
                    nodes.insert(node.node_id(), node);
                }
            }
            Fact::SyncCompleted { .. } => {}
        }
    }
    (channels, nodes)
}

/// A channel that is open.
pub struct Open {
    pub nodes: [NodeId; 2],
    pub capacity_sat: Option<u64>,
    /// Each direction's newest policy.
    pub newest: [Option<Policy>; 2],
}

/// The channels that are open after all entries.
pub fn open(entries: &[Entry]) -> BTreeMap<ShortChannelId, Open> {
    let (channels, _) = told(entries, Seq(u64::MAX));
    let open = |(scid, channel): (_, Channel)| {
        let newest = channel.updates.map(|update| update.map(ChannelUpdate::policy));
        Some((scid, Open { nodes: channel.announcement?.nodes(), capacity_sat: channel.capacity_sat, newest }))
    };
    channels.into_iter().filter_map(open).collect()
}

/// The view of `epoch`, whose entry is among `entries`.
pub fn view(entries: &[Entry], epoch: Epoch) -> View {
    let (channels, nodes) = told(entries, epoch.seq);
    let shown: Vec<_> = channels
        .iter()
        .filter_map(|(scid, channel)| Some((*scid, channel, channel.announcement?, policies(channel, epoch)?)))
        .collect();
    let mut named: Vec<NodeId> = shown.iter().flat_map(|(_, _, announcement, _)| announcement.nodes()).collect();
    named.sort_unstable();
    named.dedup();
    let place = |id: NodeId| named.binary_search(&id).expect("named") as u32;
    let view_channels = shown.into_iter().map(|(scid, channel, announcement, policies)| ViewChannel {
        scid,
        features: announcement.features().into(),
        nodes: announcement.nodes().map(place),
        capacity_sat: channel.capacity_sat,
        policies,
    });
    let details = |id: &NodeId| nodes.get(id).map(|node| Arc::new(node.details()));
    View {
        epoch,
        nodes: named.iter().map(|id| ViewNode { id: *id, details: details(id) }).collect(),
        channels: view_channels.collect(),
    }
}

fn policies(channel: &Channel, epoch: Epoch) -> Option<[Policy; 2]> {
    let heard = |update: Option<&ChannelUpdate>| {
        let update = update.filter(|update| update.timestamp() + 14 * DAY >= epoch.timestamp)?;
        let fits = |sat: u64| update.policy().htlc_maximum_msat <= sat * 1_000;
        channel.capacity_sat.is_none_or(fits).then(|| update.policy())
    };
    let policies = [heard(channel.updates[0])?, heard(channel.updates[1])?];
    (epoch.rules.graph == Graph::Complete || policies.iter().any(|policy| policy.enabled)).then_some(policies)
}

/// What happens next, and how many seconds after the last.
#[derive(Clone, Debug)]
enum Step {
    Announce {
        scid: u64,
        nodes: u32,
        feature: u8,
        capacity_sat: Option<u64>,
    },
    /// `age_s` is how far behind the clock the sender's timestamp is; it may be ahead.
    Update {
        scid: u64,
        second: bool,
        age_s: i64,
        policy: u32,
    },
    Node {
        node: u32,
        age_s: i64,
        details: u8,
    },
    Prove {
        scid: u64,
        capacity_sat: u64,
    },
    /// At the height that goes with it, by a spend.
    Close {
        scid: u64,
        spent_at: Option<u32>,
    },
    MaySplice {
        scid: u64,
    },
    Reopen {
        scid: u64,
    },
    Block {
        height: u32,
    },
    Sync,
    Epoch {
        complete: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let capacity_sat = || prop_oneof![Just(1_000), Just(1_500), Just(2_000)];
    let ago = || {
        prop_oneof![3 => -2i64..3, 1 => Just(i64::from(DAY)), 1 => Just(i64::from(13 * DAY)),
        1 => i64::from(14 * DAY) - 2..i64::from(14 * DAY) + 2, 1 => -i64::from(DAY)..0]
    };
    prop_oneof![
        2 => (1..4u64, 0..2u32, prop_oneof![8 => Just(0u8), 1 => Just(1)], proptest::option::of(capacity_sat()))
            .prop_map(|(scid, nodes, feature, capacity_sat)| Step::Announce { scid, nodes, feature, capacity_sat }),
        12 => (1..4u64, any::<bool>(), ago(), 0..5u32)
            .prop_map(|(scid, second, age_s, policy)| Step::Update { scid, second, age_s, policy }),
        3 => (1..5u32, ago(), 0..3u8).prop_map(|(node, age_s, details)| Step::Node { node, age_s, details }),
        1 => (1..4u64, capacity_sat()).prop_map(|(scid, capacity_sat)| Step::Prove { scid, capacity_sat }),
        2 => (1..4u64, proptest::option::weighted(0.7, 0..REORG_DEPTH))
            .prop_map(|(scid, spent_at)| Step::Close { scid, spent_at }),
        1 => (1..4u64).prop_map(|scid| Step::MaySplice { scid }),
        2 => (1..4u64).prop_map(|scid| Step::Reopen { scid }),
        1 => (0..2 * REORG_DEPTH).prop_map(|height| Step::Block { height }),
        1 => Just(Step::Sync),
        6 => any::<bool>().prop_map(|complete| Step::Epoch { complete }),
    ]
}

/// Between two steps: mostly hours, now and then days.
fn pause() -> impl Strategy<Value = u32> {
    prop_oneof![4 => Just(1), 4 => 1..6 * HOUR, 2 => Just(DAY), 1 => Just(3 * DAY), 1 => 6 * DAY..15 * DAY]
}

/// A random journal.
pub fn journal() -> impl Strategy<Value = Vec<Entry>> {
    let announce_all = (1..4u64).map(|scid| Step::Announce { scid, nodes: 0, feature: 0, capacity_sat: None });
    let first: Vec<(Step, u32)> = announce_all.map(|step| (step, 1)).collect();
    proptest::collection::vec((step(), pause()), 1..120).prop_map(move |steps| {
        let mut now = START;
        let drafts = first.iter().cloned().chain(steps).map(|(step, pause)| {
            now += pause;
            draft_of(step, now)
        });
        (1..).map(Seq).zip(drafts).map(|(seq, draft)| draft.numbered(seq)).collect()
    })
}

fn draft_of(step: Step, now: u32) -> Draft {
    let behind = |age_s: i64| u32::try_from(i64::from(now) - age_s).expect("in this century");
    let fact = match step {
        Step::Announce { scid: n, nodes, feature, capacity_sat } => {
            let features = [feature];
            let features = if feature == 0 { &[][..] } else { &features };
            let nodes = [1 + nodes, 3 + nodes];
            Fact::Channel { announcement: announcement(scid(n), nodes, features), capacity_sat }
        }
        Step::Update { scid: n, second, age_s, policy } => {
            let direction = if second { Direction::TwoToOne } else { Direction::OneToTwo };
            Fact::Update(update(scid(n), direction, behind(age_s), &nth_policy(policy)))
        }
        Step::Node { node, age_s, details } => {
            Fact::Node(node_announcement(node, behind(age_s), &[details], &ipv4(details)))
        }
        Step::Prove { scid: n, capacity_sat } => Fact::Proof { scid: scid(n), capacity_sat },
        Step::Close { scid: n, spent_at } => {
            let reason = spent_at.map_or(Closing::Silent, |height| Closing::Spent { height });
            Fact::Closed { scid: scid(n), reason }
        }
        Step::MaySplice { scid: n } => Fact::PossibleSplice { scid: scid(n), height: 1 },
        Step::Reopen { scid: n } => Fact::Reopened { scid: scid(n) },
        Step::Block { height } => Fact::Block(block(height)),
        Step::Sync => Fact::SyncCompleted { peer: node(1) },
        Step::Epoch { complete } => {
            return epoch_of(now, if complete { Graph::Complete } else { Graph::Routable });
        }
    };
    draft(now.into(), fact)
}

/// Few policies, so that one comes back; one is disabled, one fits into the largest capacity only.
fn nth_policy(n: u32) -> Policy {
    match n {
        3 => Policy { enabled: false, ..policy(0) },
        4 => Policy { htlc_maximum_msat: 1_700_000, ..policy(0) },
        n => policy(n),
    }
}
