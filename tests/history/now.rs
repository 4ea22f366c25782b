//! What is told of a known epoch, held against what is charged now; and the figures of stale fees that come of it.

use proptest::prelude::*;
use rgsd::gossip::{Closing, Direction, Fact, Policy, ShortChannelId};
use rgsd::history::{Held, History};
use rgsd::journal::{Draft, Entry, Epoch, Seq};
use rgsd::staleness::live::{AGES, Figure, Live};
use rgsd::staleness::share::Share;

use crate::model;
use crate::unsigned::{announcement, draft, epoch, policy, scid, update};

const START: u32 = 1_700_000_000;
const HOUR: u32 = 3_600;
const DAY: u32 = 24 * HOUR;
const ONE: Direction = Direction::OneToTwo;
const TWO: Direction = Direction::TwoToOne;

/// A network of two channels, and a clock.
struct Story {
    history: History,
    now: u32,
    seq: u64,
}

impl Story {
    /// Of 1,000 and 3,000 sat; all four directions charge the fee 5.
    fn new() -> Self {
        let mut story = Self { history: History::new(), now: START, seq: 0 };
        for (n, capacity_sat) in [(1, 1_000), (2, 3_000)] {
            story.announce(n, [1, 2], Some(capacity_sat));
            story.hear(n, ONE, policy(5));
            story.hear(n, TWO, policy(5));
        }
        story
    }

    fn apply(&mut self, draft: Draft) {
        self.now += 1;
        self.seq += 1;
        self.history.apply(&draft.numbered(Seq(self.seq)));
    }

    fn tell(&mut self, fact: Fact) {
        self.apply(draft(self.now.into(), fact));
    }

    fn announce(&mut self, n: u64, nodes: [u32; 2], capacity_sat: Option<u64>) {
        self.tell(Fact::Channel { announcement: announcement(scid(n), nodes, &[]), capacity_sat });
    }

    fn hear(&mut self, n: u64, direction: Direction, policy: Policy) {
        self.tell(Fact::Update(update(scid(n), direction, self.now, &policy)));
    }

    fn close(&mut self, n: u64, reason: Closing) {
        self.tell(Fact::Closed { scid: scid(n), reason });
    }

    fn cut(&mut self) -> Epoch {
        self.apply(epoch(self.now));
        *self.history.last_epoch().expect("just cut")
    }

    /// Cuts an epoch every so many seconds, `count` of them.
    fn cut_every(&mut self, seconds: u32, count: u32) {
        for _ in 0..count {
            self.now += seconds - 1;
            self.cut();
        }
    }

    fn live(&self, served: Option<Epoch>) -> Live {
        Live::of(&self.history, served, self.now, HOUR)
    }

    /// Of a wallet that has this epoch, in sat: stale, and all.
    #[track_caller]
    fn stale(&self, served: Epoch) -> (u64, u64) {
        let Figure { epoch, share: Share { stale_sat, all_sat } } = self.live(Some(served)).served.expect("known");
        assert_eq!(epoch, served);
        (stale_sat, all_sat)
    }

    fn ages(&self) -> [Option<u32>; AGES.len()] {
        self.live(None).ages.map(|figure| Some(figure?.epoch.timestamp))
    }
}

#[test]
fn only_fees_that_rose_are_stale() {
    let mut story = Story::new();
    let then = story.cut();
    assert_eq!(story.stale(then), (0, 8_000));
    story.hear(1, ONE, policy(5)); // a keep-alive
    story.hear(1, TWO, policy(4)); // a cut
    story.hear(2, TWO, Policy { cltv_expiry_delta: 99, ..policy(5) });
    assert_eq!(story.stale(then), (0, 8_000));
    story.hear(2, ONE, policy(6));
    assert_eq!(story.stale(then), (3_000, 8_000));
    story.hear(1, ONE, Policy { fee_proportional_millionths: 101, ..policy(5) });
    assert_eq!(story.stale(then), (4_000, 8_000));
    story.hear(2, ONE, policy(5)); // back again
    assert_eq!(story.stale(then), (1_000, 8_000));
    let now = story.cut();
    assert_eq!((story.stale(then), story.stale(now)), ((1_000, 8_000), (0, 8_000)));
}

#[test]
fn what_the_wallet_would_not_use_does_not_count() {
    let mut story = Story::new();
    story.hear(1, ONE, Policy { enabled: false, ..policy(5) });
    story.announce(3, [1, 2], Some(9_000));
    story.hear(3, ONE, policy(5)); // the other direction was never heard: no view shows it
    let then = story.cut();
    story.hear(1, ONE, policy(6));
    story.hear(3, ONE, policy(6));
    assert_eq!(story.stale(then), (0, 7_000));
    // Told as enabled, and disabled since: there is still a fee in force.
    story.hear(1, TWO, Policy { enabled: false, ..policy(6) });
    assert_eq!(story.stale(then), (1_000, 7_000));
}

#[test]
fn a_closed_channel_does_not_count_unless_it_is_back() {
    let mut story = Story::new();
    let then = story.cut();
    story.hear(2, ONE, policy(6));
    story.close(2, Closing::Spent { height: 10 });
    assert_eq!(story.stale(then), (0, 2_000));
    story.cut();
    story.tell(Fact::Reopened { scid: scid(2) });
    assert_eq!(story.stale(then), (3_000, 8_000), "it goes on with what it had");
    story.cut();
    // Announced with other features, it is the same one; by others, another.
    story.tell(Fact::Channel { announcement: announcement(scid(2), [1, 2], &[1]), capacity_sat: None });
    assert_eq!(story.stale(then), (3_000, 8_000));
    story.cut();
    story.announce(2, [1, 3], Some(3_000));
    assert_eq!(story.stale(then), (0, 2_000));
}

#[test]
fn where_nothing_has_been_heard_since_it_came_back_there_is_no_fee() {
    let mut story = Story::new();
    let then = story.cut();
    story.close(2, Closing::Silent);
    story.cut();
    story.announce(2, [1, 2], None);
    story.hear(2, ONE, policy(6));
    // Its weight is the most that was told of, 1,000 sat, because the new one is not proven.
    assert_eq!(story.stale(then), (1_000, 3_000));
}

#[test]
fn a_wallet_has_the_newest_epoch_of_its_age() {
    let mut story = Story::new();
    story.cut_every(HOUR, 24 * 5);
    let now = story.now;
    let last = *story.history.last_epoch().expect("many");
    let of = |seconds_ago| last.timestamp - seconds_ago;
    assert_eq!(story.ages(), [of(HOUR), of(6 * HOUR), of(DAY), of(3 * DAY)].map(Some));
    story.now = now + HOUR / 2;
    assert_eq!(story.ages(), [of(HOUR), of(6 * HOUR), of(DAY), of(3 * DAY)].map(Some));
    story.now = now + 10 * HOUR;
    // None was cut for ten hours: what wallets got that synced six hours ago is not known.
    assert_eq!(story.ages(), [None, None, Some(of(14 * HOUR)), Some(of(62 * HOUR))]);
}

#[test]
fn where_no_epoch_is_that_old_nothing_is_told() {
    let mut story = Story::new();
    assert_eq!(story.live(None), Live::default());
    let first = story.cut();
    assert_eq!(story.ages(), [None; 4]);
    story.cut_every(HOUR, 7);
    assert_eq!(story.ages().map(|age| age.is_some()), [true, true, false, false]);
    let unknown = Epoch { timestamp: first.timestamp + 1, ..first };
    assert_eq!(story.live(Some(unknown)).served, None, "absent, not zero");
    story.hear(1, ONE, policy(6));
    let live = story.live(Some(first));
    let stale = Share { stale_sat: 1_000, all_sat: 8_000 };
    assert_eq!(live.served, Some(Figure { epoch: first, share: stale }));
    assert_eq!(live.ages[0].map(|figure| figure.share), Some(stale));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever happened, the slow way finds the same.
    #[test]
    fn now_is_what_all_entries_say(entries in model::journal()) {
        let mut history = History::new();
        entries.iter().for_each(|entry: &Entry| history.apply(entry));
        let open = model::open(&entries);
        for then in history.epochs() {
            let view = model::view(&entries, *then);
            let drift = |scid: ShortChannelId, told: [Policy; 2], nodes| {
                let now = open.get(&scid).filter(|now| now.nodes == nodes)?;
                Some(Held { capacity_sat: now.capacity_sat, told, in_force: now.newest })
            };
            let ids = |nodes: [u32; 2]| nodes.map(|node| view.nodes[node as usize].id);
            let expected = view.channels.iter().filter_map(|of| drift(of.scid, of.policies, ids(of.nodes)));
            let mut expected: Vec<String> = expected.map(|drift| format!("{drift:?}")).collect();
            let found = history.against_now(then).expect("known");
            let mut found: Vec<String> = found.map(|drift| format!("{drift:?}")).collect();
            expected.sort_unstable();
            found.sort_unstable();
            prop_assert_eq!(found, expected);
        }
    }
}
