//! What may be forgotten, case by case.

use std::time::Duration;

use rgsd::gossip::{Closing, Direction, Fact, UnixMs};
use rgsd::journal::retention::Plan;
use rgsd::journal::{Draft, Seq};

use crate::unsigned::{announcement, block, draft, epoch, node, node_announcement, policy, scid, update};

const DAY: u64 = 24 * 3600;

/// The numbers of those that may go on day 100 with a retention of 30 days.
const NONE: [u64; 0] = [];

fn plan(drafts: Vec<Draft>) -> Vec<u64> {
    let mut plan = Plan::new(UnixMs(100 * DAY * 1_000), Duration::from_secs(30 * DAY));
    let mut entries = (1..).map(Seq).zip(drafts).map(|(seq, draft)| draft.numbered(seq));
    let _ = entries.try_for_each(|entry| plan.take(&entry));
    plan.finish().into_iter().map(|seq| seq.0).collect()
}

fn announce(day: u64, nodes: [u32; 2]) -> Draft {
    draft(day * DAY, Fact::Channel { announcement: announcement(scid(1), nodes, &[]), capacity_sat: None })
}

fn hear(day: u64, direction: Direction, timestamp: u32) -> Draft {
    draft(day * DAY, Fact::Update(update(scid(1), direction, timestamp, &policy(timestamp))))
}

fn close(day: u64) -> Draft {
    draft(day * DAY, Fact::Closed { scid: scid(1), reason: Closing::Silent })
}

fn prove(day: u64) -> Draft {
    draft(day * DAY, Fact::Proof { scid: scid(1), capacity_sat: 1 })
}

fn cut(day: u64) -> Draft {
    epoch((day * DAY) as u32)
}

const ONE: Direction = Direction::OneToTwo;
const TWO: Direction = Direction::TwoToOne;

#[test]
fn what_a_newer_one_superseded_long_ago_goes() {
    let channel = vec![announce(1, [1, 2]), hear(1, ONE, 1), hear(1, TWO, 1), hear(2, ONE, 2), cut(3)];
    assert_eq!(plan(channel), [2]);
    let announced = |day, timestamp| draft(day * DAY, Fact::Node(node_announcement(1, timestamp, &[], &[])));
    assert_eq!(plan(vec![announced(1, 1), announced(2, 2), announced(3, 3), cut(4)]), [1, 2]);
    let sync = |day| draft(day * DAY, Fact::SyncCompleted { peer: node(1) });
    assert_eq!(plan(vec![sync(1), cut(2), sync(3), cut(4)]), [1, 2]);
}

#[test]
fn what_was_superseded_lately_stays() {
    let updates = |day| vec![announce(1, [1, 2]), hear(1, ONE, 1), cut(2), hear(day, ONE, 2), cut(day), cut(99)];
    assert_eq!(plan(updates(69)), [2, 3]);
    assert_eq!(plan(updates(71)), NONE);
}

#[test]
fn what_the_last_old_epoch_shows_stays() {
    assert_eq!(plan(vec![announce(1, [1, 2]), hear(1, ONE, 1), cut(2), hear(3, ONE, 2)]), NONE);
    assert_eq!(plan(vec![announce(1, [1, 2]), hear(1, ONE, 1), hear(3, ONE, 2)]), [2], "no epoch shows anything");
}

#[test]
fn what_took_no_effect_goes() {
    let late = vec![announce(1, [1, 2]), hear(1, ONE, 7), hear(2, ONE, 6), hear(2, ONE, 7), cut(3)];
    assert_eq!(plan(late), [3, 4]);
    assert_eq!(plan(vec![hear(1, ONE, 1), prove(1), close(1), cut(2)]), [1, 2, 3], "no such channel");
}

#[test]
fn a_closed_channel_goes_with_its_closing() {
    let closed = vec![announce(1, [1, 2]), prove(1), hear(1, ONE, 1), hear(1, TWO, 1), close(2), cut(3)];
    assert_eq!(plan(closed), [1, 2, 3, 4, 5]);
    assert_eq!(plan(vec![announce(1, [1, 2]), close(2), announce(3, [1, 2]), hear(3, ONE, 1), cut(4)]), [1, 2]);
    assert_eq!(plan(vec![announce(1, [1, 2]), hear(1, ONE, 1), close(71), cut(72)]), NONE);
}

#[test]
fn what_a_spend_closed_goes_when_no_reorganisation_can_bring_it_back() {
    let spend = |day| draft(day * DAY, Fact::Closed { scid: scid(1), reason: Closing::Spent { height: 500 } });
    let reach = |day, height| draft(day * DAY, Fact::Block(block(height)));
    let channel = || vec![announce(1, [1, 2]), hear(1, ONE, 1), spend(2), reach(2, 500)];
    let and = |more: Vec<Draft>| plan([channel(), more].concat());
    assert_eq!(and(vec![reach(3, 599), cut(3)]), [4]);
    assert_eq!(and(vec![reach(3, 600), cut(3)]), [1, 2, 3, 4]);
    assert_eq!(and(vec![cut(3), reach(71, 600)]), NONE);
    let undone = |day| draft(day * DAY, Fact::Reopened { scid: scid(1) });
    assert_eq!(
        and(vec![undone(3), reach(4, 700), cut(4)]),
        [4],
        "what was said of it while it was closed stays unsaid"
    );
    assert_eq!(and(vec![announce(3, [1, 2]), cut(4)]), [1, 2, 3], "it cannot come back to a place that is taken");
}

#[test]
fn a_possible_splice_stays_until_it_is_decided() {
    let spliced = || draft(2 * DAY, Fact::PossibleSplice { scid: scid(1), height: 500 });
    let channel = || vec![announce(1, [1, 2]), spliced()];
    let and = |more: Vec<Draft>| plan([channel(), more].concat());
    assert_eq!(and(vec![cut(3)]), NONE);
    assert_eq!(and(vec![draft(3 * DAY, Fact::Reopened { scid: scid(1) }), cut(4)]), [2, 3]);
    assert_eq!(and(vec![close(3), cut(4)]), [1, 2, 3]);
}

#[test]
fn another_channel_in_the_same_place_takes_over() {
    assert_eq!(
        plan(vec![announce(1, [1, 2]), hear(1, ONE, 9), announce(2, [3, 4]), hear(2, ONE, 1), cut(3)]),
        [1, 2]
    );
}

#[test]
fn the_first_announcement_carries_the_updates_that_follow_it() {
    // Without it, the update would come before the channel, and be passed over at the next start.
    assert_eq!(plan(vec![announce(1, [1, 2]), hear(1, ONE, 1), announce(2, [1, 2]), cut(3)]), NONE);
}

#[test]
fn a_clock_that_was_wrong_does_not_stop_it() {
    let ahead = vec![announce(1, [1, 2]), hear(40_000, ONE, 1), hear(2, ONE, 2), cut(3)];
    assert_eq!(plan(ahead), [2]);
}
