//! What is pending, against a model: two states of the network, the leader's and ours, and the journal between them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::gossip::{ChannelAnnouncement, ChannelUpdate, Closing, NodeAnnouncement};
use crate::synth::{Network, NetworkSpec, Topology};

const NOW: UnixMs = UnixMs(1_760_000_000_000);
const PLACES: usize = 2;
const TIMES: usize = 4;

/// Messages to choose from: two channels for each place, four updates for each direction, four words of each node.
struct Menu {
    announcements: [[ChannelAnnouncement; 2]; PLACES],
    updates: [[[ChannelUpdate; TIMES]; 2]; PLACES],
    nodes: [Vec<NodeAnnouncement>; 2],
}

static MENU: LazyLock<Menu> = LazyLock::new(|| {
    let mut network = Network::new(&Topology::generate(PLACES, 7), NetworkSpec::default(), NOW).expect("valid");
    let announcement = |bytes: &[u8]| ChannelAnnouncement::from_wire(bytes).expect("well-formed");
    let announcements = std::array::from_fn(|place| {
        [announcement(&network.channels()[place].announcement), announcement(&network.rival(place, 1)[0])]
    });
    let update = |place: usize, direction: Direction, time: usize| {
        let policy = network.channels()[place].policies[0];
        let bytes = network.sign_policy(place, direction, &policy, NOW.secs() + time as u32);
        ChannelUpdate::from_wire(&bytes[..]).expect("well-formed")
    };
    let updates = std::array::from_fn(|place| {
        Direction::BOTH.map(|direction| std::array::from_fn(|time| update(place, direction, time)))
    });
    let ids = [network.nodes()[0].id, network.nodes()[1].id];
    let mut nodes = [Vec::new(), Vec::new()];
    while nodes.iter().any(|words| words.len() < TIMES) {
        let bytes = network.next_node_announcement(NOW);
        let word = NodeAnnouncement::from_wire(&bytes[..]).expect("well-formed");
        if let Some(n) = ids.iter().position(|id| *id == word.node_id()) {
            nodes[n].push(word);
        }
    }
    Menu { announcements, updates, nodes }
});

fn channel(place: usize, rival: bool, capacity_sat: Option<u64>) -> Fact {
    Fact::Channel { announcement: MENU.announcements[place][usize::from(rival)].clone(), capacity_sat }
}

fn update(place: usize, direction: usize, time: usize) -> Fact {
    Fact::Update(MENU.updates[place][direction][time].clone())
}

fn node(n: usize, time: usize) -> Fact {
    Fact::Node(MENU.nodes[n][time].clone())
}

fn scid(place: usize) -> ShortChannelId {
    MENU.announcements[place][0].scid()
}

fn proof(place: usize) -> Fact {
    Fact::Proof { scid: scid(place), capacity_sat: 5 }
}

fn closed(place: usize) -> Fact {
    Fact::Closed { scid: scid(place), reason: Closing::Unfunded }
}

fn spent(place: usize) -> Fact {
    Fact::Closed { scid: scid(place), reason: Closing::Spent { height: 1 } }
}

fn reopened(place: usize) -> Fact {
    Fact::Reopened { scid: scid(place) }
}

/// Whether it is the leader's alone to say: it looks through the chain.
fn is_of_the_chain(fact: &Fact) -> bool {
    matches!(fact, Fact::Closed { reason: Closing::Spent { .. }, .. } | Fact::Reopened { .. })
}

fn synced() -> Fact {
    Fact::SyncCompleted { peer: MENU.nodes[0][0].node_id() }
}

fn at(second: u64) -> UnixMs {
    UnixMs(NOW.0 + second * 1000)
}

/// Adds the facts in a row, a second apart.
fn pending(facts: impl IntoIterator<Item = Fact>) -> Pending {
    let mut pending = Pending::default();
    facts.into_iter().zip(0..).for_each(|(fact, second)| pending.add(at(second), fact));
    pending
}

fn facts(pending: Pending) -> Vec<Fact> {
    pending.in_order().map(|(_, fact)| fact).collect()
}

#[test]
fn a_replaced_fact_moves_to_the_end_and_a_sync_is_always_last() {
    let channel = channel(0, false, Some(5));
    let pending = pending([channel.clone(), update(0, 0, 1), synced(), node(0, 1), update(0, 0, 2)]);
    let times: Vec<_> = pending.facts.values().map(|(seen, _)| *seen).collect();
    assert_eq!(times, [at(0), at(2), at(3), at(4)]);
    assert_eq!(facts(pending), [channel, node(0, 1), update(0, 0, 2), synced()]);
}

#[test]
fn the_journal_settles_what_is_no_newer() {
    let mut pending = pending([update(0, 0, 1), update(0, 1, 1), node(0, 1), node(1, 1), proof(1), synced()]);
    for fact in [update(0, 0, 1), update(0, 1, 0), node(0, 2), node(1, 0), proof(1)] {
        assert!(pending.told(NOW, &fact, false));
    }
    pending.told(at(4), &synced(), false);
    assert_eq!(pending.len(), 3);
    pending.told(at(5), &synced(), false);
    assert_eq!(facts(pending), [update(0, 1, 1), node(1, 1)]);
}

#[test]
fn a_channel_that_the_leader_cannot_prove_keeps_our_proof() {
    let mut pending = pending([channel(0, false, Some(5)), update(0, 0, 1)]);
    assert!(pending.told(NOW, &channel(0, false, None), false));
    assert_eq!(facts(pending), [proof(0), update(0, 0, 1)]);
}

#[test]
fn another_channel_in_its_place_takes_the_updates_along() {
    let mut pending = pending([channel(0, false, None), update(0, 0, 1), update(1, 0, 1), node(0, 1)]);
    assert!(pending.told(NOW, &channel(0, true, None), true));
    assert_eq!(facts(pending), [update(1, 0, 1), node(0, 1)]);
}

#[test]
fn what_the_leader_says_of_a_channel_that_ours_replaces_settles_nothing() {
    let ours = [channel(0, true, Some(5)), update(0, 0, 1)];
    let mut pending = pending(ours.clone());
    assert!(!pending.told(NOW, &update(0, 0, 3), false));
    assert!(!pending.told(NOW, &proof(0), false));
    assert!(!pending.told(NOW, &closed(0), false));
    assert_eq!(facts(pending), ours);
}

#[test]
fn a_closing_ends_what_is_pending_of_its_channel() {
    let mut pending = pending([update(0, 0, 1), proof(0), update(1, 0, 1), closed(0)]);
    assert_eq!(pending.len(), 2);
    assert!(pending.told(NOW, &closed(1), false));
    assert!(pending.told(NOW, &closed(0), false));
    assert_eq!(pending.len(), 0);
}

#[test]
fn a_spend_that_may_be_undone_ends_nothing() {
    let mut pending = pending([update(0, 0, 1), proof(0)]);
    assert!(pending.told(NOW, &spent(0), false));
    assert!(pending.told(NOW, &reopened(0), false));
    assert_eq!(facts(pending), [update(0, 0, 1), proof(0)]);
}

/// What a journal says of the network, by the history's rules.
#[derive(Clone, PartialEq, Debug, Default)]
struct State {
    channels: BTreeMap<ShortChannelId, Channel>,
    /// Closed by a spend.
    spent: BTreeMap<ShortChannelId, Channel>,
    nodes: BTreeMap<NodeId, u32>,
}

#[derive(Clone, PartialEq, Debug)]
struct Channel {
    nodes: [NodeId; 2],
    capacity_sat: Option<u64>,
    updates: [u32; 2],
}

impl State {
    fn apply(&mut self, fact: &Fact) {
        match fact {
            Fact::Channel { announcement, capacity_sat } => {
                self.spent.remove(&announcement.scid());
                let new = Channel { nodes: announcement.nodes(), capacity_sat: *capacity_sat, updates: [0, 0] };
                let channel = self.channels.entry(announcement.scid()).or_insert_with(|| new.clone());
                if channel.nodes != new.nodes {
                    *channel = new;
                }
                channel.capacity_sat = channel.capacity_sat.or(*capacity_sat);
            }
            Fact::Update(update) => {
                if let Some(channel) = self.channels.get_mut(&update.scid()) {
                    let last = &mut channel.updates[update.direction() as usize];
                    *last = update.timestamp().max(*last);
                }
            }
            Fact::Node(node) => {
                let last = self.nodes.entry(node.node_id()).or_default();
                *last = node.timestamp().max(*last);
            }
            Fact::Proof { scid, capacity_sat } => {
                if let Some(channel) = self.channels.get_mut(scid) {
                    channel.capacity_sat.get_or_insert(*capacity_sat);
                }
            }
            Fact::Closed { scid, reason: Closing::Spent { .. } } => {
                self.spent.extend(self.channels.remove(scid).map(|channel| (*scid, channel)));
            }
            Fact::Closed { scid, .. } => drop(self.channels.remove(scid)),
            Fact::Reopened { scid } => self.channels.extend(self.spent.remove(scid).map(|channel| (*scid, channel))),
            Fact::PossibleSplice { .. } | Fact::Block(_) | Fact::SyncCompleted { .. } => {}
        }
    }

    /// Whether a collector in this state can accept the fact.
    fn accepts(&self, fact: &Fact) -> bool {
        let channel = |scid: &ShortChannelId| self.channels.get(scid);
        match fact {
            Fact::Channel { announcement, .. } => {
                let of = |known: Option<&Channel>| known.is_none_or(|known| known.nodes != announcement.nodes());
                of(channel(&announcement.scid())) && of(self.spent.get(&announcement.scid()))
            }
            Fact::Update(update) => channel(&update.scid())
                .is_some_and(|known| known.updates[update.direction() as usize] < update.timestamp()),
            Fact::Node(node) => self.nodes.get(&node.node_id()).is_none_or(|last| *last < node.timestamp()),
            Fact::Proof { scid, .. } => channel(scid).is_some_and(|known| known.capacity_sat.is_none()),
            Fact::Closed { scid, .. } => channel(scid).is_some(),
            Fact::Reopened { scid } => self.spent.contains_key(scid),
            Fact::PossibleSplice { .. } | Fact::Block(_) | Fact::SyncCompleted { .. } => true,
        }
    }
}

fn place_of(fact: &Fact) -> Option<ShortChannelId> {
    match Key::of(fact) {
        Key::Channel(scid) | Key::Update(scid, _) | Key::Proof(scid) | Key::Closing(scid) => Some(scid),
        Key::Node(_) | Key::Block | Key::Sync => None,
    }
}

/// Both collectors, and what the standing-by one knows of which channels.
#[derive(Default)]
struct Pair {
    journal: Vec<Fact>,
    leader: State,
    ours: State,
    /// Channels that we announced, and the leader did not.
    our_own: Vec<ShortChannelId>,
    pending: Pending,
    now: u64,
}

impl Pair {
    fn accept(&mut self, fact: Fact) {
        if let (true, Some(scid)) = (matches!(fact, Fact::Channel { .. } | Fact::Closed { .. }), place_of(&fact)) {
            self.our_own.retain(|own| *own != scid);
            self.our_own.extend(matches!(fact, Fact::Channel { .. }).then_some(scid));
        }
        self.ours.apply(&fact);
        self.pending.add(at(self.now), fact);
    }

    /// Whether the fact announces the very channel that the leader has, which we had replaced by another: that takes
    /// two deep reorganisations, and would tell the journal an announcement that it has.
    fn goes_back_to(&self, fact: &Fact) -> bool {
        let Fact::Channel { announcement, .. } = fact else { return false };
        let scid = announcement.scid();
        let of_leader = self.leader.channels.get(&scid).or(self.leader.spent.get(&scid));
        self.pending.has_channel(scid) && of_leader.is_some_and(|channel| channel.nodes == announcement.nodes())
    }

    /// The leader journals a fact, and we are told.
    fn journal(&mut self, fact: Fact) -> bool {
        let own = place_of(&fact).is_some_and(|scid| self.our_own.contains(&scid));
        let announces = matches!(fact, Fact::Channel { .. });
        let replaces = place_of(&fact).is_some_and(|scid| {
            let Fact::Channel { announcement, .. } = &fact else { return false };
            let ours = self.ours.channels.get(&scid).or(self.ours.spent.get(&scid));
            ours.is_some_and(|known| known.nodes != announcement.nodes())
        });
        let holds = self.pending.told(at(self.now), &fact, replaces);
        if holds {
            self.ours.apply(&fact);
        }
        if announces {
            self.our_own.retain(|scid| Some(*scid) != place_of(&fact));
        }
        self.leader.apply(&fact);
        self.journal.push(fact);
        holds == (announces || !own)
    }
}

/// Whether no message stands in the journal twice, but for what followed a channel's end.
fn nothing_twice(journal: &[Fact]) -> bool {
    (0..journal.len()).all(|later| {
        let fact = &journal[later];
        let Some(earlier) = journal[..later].iter().rposition(|other| other == fact) else { return true };
        let ends = |other: &Fact| {
            matches!(other, Fact::Channel { .. } | Fact::Closed { .. }) && place_of(other) == place_of(fact)
        };
        !fact.is_message() || (place_of(fact).is_some() && journal[earlier + 1..later].iter().any(ends))
    })
}

fn any_fact() -> impl Strategy<Value = Fact> {
    let place = 0..PLACES;
    let capacity = || prop_oneof![Just(None), Just(Some(5))];
    prop_oneof![
        3 => (place.clone(), any::<bool>(), capacity()).prop_map(|(place, rival, sat)| channel(place, rival, sat)),
        8 => (place.clone(), 0..2usize, 0..TIMES).prop_map(|(place, direction, time)| update(place, direction, time)),
        2 => (0..2usize, 0..TIMES).prop_map(|(n, time)| node(n, time)),
        2 => place.clone().prop_map(proof),
        1 => place.clone().prop_map(closed),
        1 => place.clone().prop_map(spent),
        1 => place.prop_map(reopened),
        1 => Just(()).prop_map(|()| synced()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_journal_with_what_is_pending_says_what_we_know(
        steps in proptest::collection::vec((any::<bool>(), any_fact()), 0..60)
    ) {
        let mut pair = Pair::default();
        for (ours, fact) in steps {
            pair.now += 1;
            let ours = ours && !is_of_the_chain(&fact);
            if ours && pair.ours.accepts(&fact) && !pair.goes_back_to(&fact) {
                pair.accept(fact);
            } else if !ours && pair.leader.accepts(&fact) {
                prop_assert!(pair.journal(fact));
            }
            prop_assert!(pair.pending.len() <= 5 * PLACES + 2 + 1, "one for each thing");
            prop_assert_eq!(pair.pending.facts.len(), pair.pending.places.len());
        }
        pair.journal.extend(facts(pair.pending));
        let mut told = State::default();
        pair.journal.iter().for_each(|fact| told.apply(fact));
        prop_assert_eq!((told.channels, told.nodes), (pair.ours.channels, pair.ours.nodes));
        prop_assert!(nothing_twice(&pair.journal), "{:?}", pair.journal);
    }
}
