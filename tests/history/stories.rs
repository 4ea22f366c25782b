//! What becomes of one channel, told step by step.

use rgsd::gossip::{Closing, Direction, Fact, Policy, ShortChannelId, UnixMs};
use rgsd::history::{History, View, ViewChannel};
use rgsd::journal::{Draft, Entry, Epoch, Graph, Seq};

use crate::unsigned::{announcement, block, draft, epoch_of, ipv4, node, node_announcement, policy, scid, update};

const START: u32 = 1_700_000_000;
const DAY: u32 = 24 * 3600;
const ONE: Direction = Direction::OneToTwo;
const TWO: Direction = Direction::TwoToOne;

/// A history, and a clock.
struct Story {
    history: History,
    now: u32,
    seq: u64,
    graph: Graph,
}

impl Story {
    fn new() -> Self {
        Self { history: History::new(), now: START, seq: 0, graph: Graph::Routable }
    }

    /// A channel between the nodes 1 and 2, both directions heard, with fees 1 and 2.
    fn with_channel() -> Self {
        let mut story = Self::new();
        story.announce([1, 2], None);
        story.hear(ONE, story.now, policy(1));
        story.hear(TWO, story.now, policy(2));
        story
    }

    fn apply(&mut self, draft: Draft) -> Entry {
        self.seq += 1;
        let entry = draft.numbered(Seq(self.seq));
        self.history.apply(&entry);
        entry
    }

    fn tell(&mut self, fact: Fact) {
        self.apply(draft(self.now.into(), fact));
    }

    fn announce(&mut self, nodes: [u32; 2], capacity_sat: Option<u64>) {
        self.tell(Fact::Channel { announcement: announcement(scid(9), nodes, &[]), capacity_sat });
    }

    fn hear(&mut self, direction: Direction, timestamp: u32, policy: Policy) {
        self.tell(Fact::Update(update(scid(9), direction, timestamp, &policy)));
    }

    fn close(&mut self) {
        self.tell(Fact::Closed { scid: scid(9), reason: Closing::Silent });
    }

    /// Cuts an epoch a second later.
    fn cut(&mut self) -> Epoch {
        self.now += 1;
        self.apply(epoch_of(self.now, self.graph));
        *self.history.last_epoch().expect("just cut")
    }

    fn view(&self, epoch: Epoch) -> View {
        self.history.view(&epoch).expect("known")
    }

    /// Cuts an epoch and looks at the channel.
    fn look(&mut self) -> Option<ViewChannel> {
        let epoch = self.cut();
        self.view(epoch).channels.pop()
    }

    fn fees(&mut self) -> Option<[u32; 2]> {
        self.look().map(|channel| channel.policies.map(|policy| policy.fee_base_msat))
    }
}

fn disabled(fee: u32) -> Policy {
    Policy { enabled: false, ..policy(fee) }
}

#[test]
fn a_channel_shows_once_both_directions_are_heard() {
    let mut story = Story::new();
    story.announce([1, 2], Some(5_000));
    assert_eq!(story.look(), None);
    story.hear(ONE, START, policy(1));
    assert_eq!(story.look(), None);
    story.hear(TWO, START, disabled(2));
    let epoch = story.cut();
    let view = story.view(epoch);
    assert_eq!(view.epoch, epoch);
    assert_eq!(view.nodes.iter().map(|node| node.id).collect::<Vec<_>>(), [node(1), node(2)]);
    let expected = ViewChannel {
        scid: scid(9),
        features: [].into(),
        nodes: [0, 1],
        capacity_sat: Some(5_000),
        policies: [policy(1), disabled(2)],
    };
    assert_eq!(view.channels, [expected]);
}

#[test]
fn an_epoch_is_never_rewritten() {
    let mut story = Story::with_channel();
    let first = story.cut();
    story.hear(ONE, START + 10, policy(10));
    let second = story.cut();
    story.close();
    let third = story.cut();
    let fee = |epoch| story.view(epoch).channels.first().map(|channel| channel.policies[0].fee_base_msat);
    assert_eq!([fee(first), fee(second), fee(third)], [Some(1), Some(10), None]);
    assert_eq!(story.view(third).nodes, []);
}

#[test]
fn an_unknown_epoch_has_no_view() {
    let mut story = Story::with_channel();
    let epoch = story.cut();
    assert_eq!(story.history.view(&Epoch { timestamp: epoch.timestamp + 1, ..epoch }), None);
    assert_eq!(story.history.view(&Epoch { seq: Seq(1), ..epoch }), None);
}

#[test]
fn a_direction_is_forgotten_after_fourteen_days() {
    let mut story = Story::with_channel();
    story.now = START + 14 * DAY - 1;
    assert_eq!(story.fees(), Some([1, 2]), "exactly fourteen days");
    assert_eq!(story.fees(), None, "and a second more");
    story.hear(ONE, story.now, policy(1));
    assert_eq!(story.fees(), None, "the other one is silent still");
    story.hear(TWO, story.now, policy(2));
    assert_eq!(story.fees(), Some([1, 2]));
}

#[test]
fn a_return_from_silence_does_not_fill_the_gap() {
    let mut story = Story::with_channel();
    story.now = START + 13 * DAY;
    let before = story.cut();
    story.now = START + 15 * DAY;
    let silent = story.cut();
    for (direction, fee) in [(ONE, 1), (TWO, 2)] {
        story.hear(direction, story.now, policy(fee));
    }
    let after = story.cut();
    let shown = [before, silent, after].map(|epoch| story.view(epoch).channels.len());
    assert_eq!(shown, [1, 0, 1]);
}

#[test]
fn keep_alives_take_no_memory() {
    let mut story = Story::with_channel();
    for _ in 0..100 {
        story.cut();
        story.now += DAY / 20;
        story.hear(ONE, story.now, policy(1));
        story.hear(TWO, story.now, policy(2));
    }
    assert_eq!(story.history.size().versions, 0);
    assert_eq!(story.fees(), Some([1, 2]));
}

#[test]
fn what_no_known_epoch_shows_is_dropped() {
    let mut story = Story::with_channel();
    for hour in 0..1_000 {
        story.now += 3_600;
        story.hear(ONE, story.now, policy(hour));
        story.hear(TWO, story.now, policy(2));
        story.cut();
    }
    story.history.compact();
    let size = story.history.size();
    assert!(size.epochs <= 8 * 24 + 1, "{size:?}");
    assert!(size.versions <= size.epochs, "{size:?}");
    story.close();
    story.now += 9 * DAY;
    story.cut();
    story.history.compact();
    assert_eq!((story.history.size().channels, story.history.size().versions), (0, 0));
}

#[test]
fn an_older_update_changes_nothing() {
    let mut story = Story::with_channel();
    story.hear(ONE, START + 10, policy(10));
    story.hear(ONE, START + 10, policy(11));
    story.hear(ONE, START + 5, policy(12));
    assert_eq!(story.fees(), Some([10, 2]));
}

#[test]
fn a_channel_disabled_on_both_sides_is_routable_no_more() {
    let mut story = Story::with_channel();
    story.hear(ONE, START + 1, disabled(1));
    assert_eq!(story.fees(), Some([1, 2]));
    story.hear(TWO, START + 1, disabled(2));
    assert_eq!(story.fees(), None);
    story.graph = Graph::Complete;
    assert_eq!(story.fees(), Some([1, 2]));
}

#[test]
fn a_late_proof_gives_the_capacity() {
    let mut story = Story::with_channel();
    let before = story.cut();
    story.tell(Fact::Proof { scid: scid(9), capacity_sat: 1_000 });
    assert_eq!(story.look().expect("shown").capacity_sat, Some(1_000));
    assert_eq!(story.view(before).channels[0].capacity_sat, None);
}

#[test]
fn a_proof_may_show_that_a_direction_claims_too_much() {
    let mut story = Story::with_channel();
    let before = story.cut();
    story.tell(Fact::Proof { scid: scid(9), capacity_sat: 999 });
    assert_eq!(story.look(), None);
    assert_eq!(story.view(before).channels.len(), 1);
    for direction in Direction::BOTH {
        story.hear(direction, START + 20, Policy { htlc_maximum_msat: 999_000, ..policy(7) });
    }
    assert_eq!(story.fees(), Some([7, 7]));
}

#[test]
fn an_announcement_with_other_nodes_is_another_channel() {
    let mut story = Story::with_channel();
    story.tell(Fact::Proof { scid: scid(9), capacity_sat: 5_000 });
    let before = story.cut();
    story.announce([3, 4], None);
    assert_eq!(story.look(), None, "its directions are not heard yet");
    story.hear(ONE, START, policy(3));
    story.hear(TWO, START, policy(4));
    let after = story.look().expect("shown");
    assert_eq!((after.capacity_sat, after.policies.map(|policy| policy.fee_base_msat)), (None, [3, 4]));
    let epoch = story.cut();
    assert_eq!(story.view(epoch).nodes[0].id, node(3));
    assert_eq!(story.view(before).nodes[0].id, node(1));
}

#[test]
fn an_announcement_with_the_same_nodes_goes_on() {
    let mut story = Story::with_channel();
    let before = story.cut();
    story.announce([1, 2], Some(7_000));
    assert_eq!(story.look().expect("shown").capacity_sat, Some(7_000));
    let announcement = announcement(scid(9), [1, 2], &[0x10]);
    story.tell(Fact::Channel { announcement, capacity_sat: None });
    let after = story.look().expect("shown");
    assert_eq!((&*after.features, after.capacity_sat), (&[0x10][..], Some(7_000)));
    assert_eq!(story.view(before).channels[0].features.len(), 0);
    story.hear(ONE, START, policy(99));
    assert_eq!(story.fees(), Some([1, 2]), "an old update stays old");
}

#[test]
fn a_closed_channel_may_come_back() {
    let mut story = Story::with_channel();
    story.cut();
    story.close();
    assert_eq!(story.look(), None);
    story.hear(ONE, START + 10, policy(1));
    story.announce([1, 2], None);
    assert_eq!(story.look(), None, "what was heard before and in between is gone");
    story.hear(ONE, START + 10, policy(5));
    story.hear(TWO, START + 10, policy(6));
    assert_eq!(story.fees(), Some([5, 6]));
}

#[test]
fn a_spend_that_is_undone_brings_back_what_there_was() {
    let mut story = Story::with_channel();
    story.tell(Fact::Proof { scid: scid(9), capacity_sat: 5_000 });
    let before = story.look().expect("shown");
    let spent = || Fact::Closed { scid: scid(9), reason: Closing::Spent { height: 500 } };
    story.tell(spent());
    let closed = story.cut();
    story.hear(ONE, START + 10, policy(10));
    story.tell(Fact::Reopened { scid: scid(9) });
    assert_eq!(story.look(), Some(before.clone()), "what was heard in between is unheard");
    assert_eq!(story.view(closed).channels, []);

    story.tell(spent());
    story.tell(Fact::Reopened { scid: scid(9) });
    assert_eq!(story.look(), Some(before.clone()));
    story.history.compact();
    story.tell(spent());
    story.now += 9 * DAY;
    story.cut();
    story.history.compact();
    story.tell(Fact::Block(block(599)));
    story.tell(Fact::Reopened { scid: scid(9) });
    assert_eq!(story.look(), Some(before), "no block came for nine days");
    story.tell(spent());
    story.tell(Fact::Block(block(600)));
    story.tell(Fact::Reopened { scid: scid(9) });
    assert_eq!(story.look(), None, "too deep to come back");
}

#[test]
fn a_channel_in_the_place_of_a_spent_one_stays() {
    let mut story = Story::with_channel();
    story.cut();
    story.tell(Fact::Closed { scid: scid(9), reason: Closing::Spent { height: 500 } });
    story.announce([3, 4], None);
    story.tell(Fact::Reopened { scid: scid(9) });
    story.hear(ONE, START, policy(3));
    story.hear(TWO, START, policy(4));
    assert_eq!(story.fees(), Some([3, 4]));
}

#[test]
fn details_are_those_of_the_latest_announcement() {
    let mut story = Story::with_channel();
    let before = story.cut();
    let details = |story: &Story, epoch| story.view(epoch).nodes[0].details.clone();
    story.tell(Fact::Node(node_announcement(1, START + 5, &[2], &ipv4(1))));
    let first = story.cut();
    story.tell(Fact::Node(node_announcement(1, START + 5, &[3], &[])));
    story.tell(Fact::Node(node_announcement(1, START + 6, &[2], &ipv4(1))));
    let same = story.cut();
    let unknown_type = [&ipv4(2)[..], &[77, 1, 2, 3]].concat();
    story.tell(Fact::Node(node_announcement(1, START + 7, &[2], &unknown_type)));
    let second = story.cut();
    assert_eq!(details(&story, before), None);
    assert_eq!(details(&story, first).expect("told").addresses[..], ipv4(1));
    assert_eq!(details(&story, same), details(&story, first));
    assert_eq!(details(&story, second).expect("told").addresses[..], ipv4(2));
}

#[test]
fn details_wait_for_a_channel() {
    let mut story = Story::new();
    story.tell(Fact::Node(node_announcement(2, START, &[2], &ipv4(1))));
    story.tell(Fact::Node(node_announcement(7, START, &[2], &ipv4(1))));
    let epoch = story.cut();
    assert_eq!(story.view(epoch).nodes, []);
    story.announce([1, 2], None);
    story.hear(ONE, START, policy(1));
    story.hear(TWO, START, policy(1));
    let epoch = story.cut();
    let told: Vec<bool> = story.view(epoch).nodes.iter().map(|node| node.details.is_some()).collect();
    assert_eq!(told, [false, true]);
}

#[test]
fn nonsense_is_passed_over() {
    let mut story = Story::new();
    let unknown = ShortChannelId(u64::MAX);
    story.tell(Fact::Update(update(unknown, ONE, START, &policy(1))));
    story.tell(Fact::Proof { scid: unknown, capacity_sat: 1 });
    story.tell(Fact::Closed { scid: unknown, reason: Closing::Unfunded });
    story.cut();
    story.apply(epoch_of(START, Graph::Routable));
    assert_eq!(story.history.epochs().len(), 1);
    assert_eq!(story.history.size().channels, 0);
}

#[test]
fn remembers_the_last_sync() {
    let mut story = Story::new();
    assert_eq!(story.history.last_sync(), None);
    story.tell(Fact::SyncCompleted { peer: node(1) });
    assert_eq!(story.history.last_sync().expect("told").0, u64::from(START) * 1_000);
    assert_eq!(story.history.last_seq(), Seq(1));
}

#[test]
fn fee_changes_are_counted_by_the_hour_they_were_heard_in() {
    let mut story = Story::with_channel();
    let proportional = Policy { fee_proportional_millionths: 7, ..policy(3) };
    let limit = Policy { htlc_maximum_msat: 9, ..proportional };
    for (timestamp, policy) in [(1, policy(3)), (2, proportional), (3, limit), (4, limit), (4, policy(9))] {
        story.hear(ONE, START + timestamp, policy); // the third and fourth change no fee, the fifth is not newer
    }
    story.cut();
    story.now += 3600;
    story.hear(ONE, story.now, limit);
    story.hear(TWO, story.now, policy(5));
    story.announce([1, 2], Some(1_000));
    story.hear(TWO, story.now + 1, policy(5));
    story.close();
    story.hear(TWO, story.now + 2, policy(6));

    let changes = story.history.fee_changes();
    let day = changes.last_day(UnixMs(u64::from(story.now) * 1_000));
    assert_eq!(day[23..].iter().map(|hour| hour.changes).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(changes.total(), 3);
    assert_eq!(day[24].from, story.now - story.now % 3600);
}
