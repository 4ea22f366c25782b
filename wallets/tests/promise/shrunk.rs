//! What random wallets ran into, shrunk to the least that shows it.

use rgsd::journal::Graph;
use rgsd_wallets::life::Lived;
use rgsd_wallets::patterns::{Act, Forgets, Habits, Pruning, Request, USUAL};
use rgsd_wallets::script::{Setup, What};
use rgsd_wallets::world::Host;
use rgsd_wallets::{DAY, HOUR, node};

use crate::tale::{ONE, TWO, Tale, charge};

const FROM_A_MOODY_REPLICA: Request = Request { host: Host::Moody, ..USUAL };

fn wait(for_s: u32) -> Act {
    Act::Wait { for_s }
}

/// Whole after every sync, and in the end without the first channel.
fn ends_without(tale: &Tale, acts: &[Act]) {
    let [lived] = tale.lived_by([Habits::new(acts.to_vec())]);
    assert_eq!(Tale::fees(&lived, 0), None);
}

#[test]
fn a_wallet_that_is_up_to_date_with_a_stuck_server_gets_again_what_it_has_forgotten() {
    // Reminded of some channels days before the server got stuck, it forgets them days before a fresh wallet would.
    let tale = Tale::of_live_channels(20).at(5 * DAY, What::Stall { for_s: 8 * DAY });
    let habits = Habits::every(12 * HOUR, 11 * DAY);
    let [Lived { tally, .. }] = tale.lived_by([habits]);
    assert_eq!((tally.judged, tally.fewest), (22, 21));
}

#[test]
fn a_channel_that_closes_while_another_setting_takes_hold() {
    let graph = |graph| What::Restart(Setup { interval_s: HOUR, graph });
    for (before, after) in [(Graph::Complete, Graph::Routable), (Graph::Routable, Graph::Complete)] {
        let tale = Tale::of_live_channels(2).at(HOUR, graph(before)).at(3 * HOUR, graph(after));
        let tale = tale.then(What::Close { channel: 0 });
        ends_without(&tale, &[wait(2 * HOUR), Act::Sync(USUAL), wait(2 * HOUR), Act::Sync(USUAL)]);
    }
}

#[test]
fn what_a_first_sync_left_that_was_cut_short_is_gone_after_seven_days() {
    let tale = Tale::of_live_channels(2).at(DAY, What::Close { channel: 0 });
    let cut = Act::CutShort { request: USUAL, per_mille: 990 };
    ends_without(&tale, &[wait(HOUR), cut, wait(DAY), Act::Sync(USUAL), wait(6 * DAY + HOUR), Act::Sync(USUAL)]);
}

#[test]
fn what_a_lagging_replica_left_with_a_wallet_that_was_further_is_gone_after_seven_days() {
    // The replica is stuck from the fourth day to the eighth.
    let tale = Tale::of_live_channels(2).at(5 * DAY, What::Close { channel: 0 });
    let cut = Act::CutShort { request: FROM_A_MOODY_REPLICA, per_mille: 990 };
    let first = [wait(6 * DAY), Act::Sync(USUAL)];
    let last = [Act::Sync(USUAL), wait(5 * DAY), Act::Sync(USUAL)];
    ends_without(&tale, &[&first[..], &[cut], &last[..]].concat());
    let forgotten = [Act::Sync(FROM_A_MOODY_REPLICA), Act::Crash { ago: 0, forgets: Forgets::Time }];
    ends_without(&tale, &[&first[..], &forgotten[..], &last[..]].concat());
}

#[test]
fn a_wallet_that_only_runs_to_sync_keeps_what_is_gone_disabled_through_empty_deltas() {
    // With an epoch every ten seconds, some tell nothing; such a one lets the client prune nothing.
    let tale = Tale::of_live_channels(2).with_interval(10).at(DAY, What::Close { channel: 0 });
    let acts = [wait(HOUR), Act::Sync(USUAL), wait(DAY), Act::Syncs { every_s: 600, times: 1_500, request: USUAL }];
    let [lived] = tale.lived_by([Habits { pruning: Pruning::AfterSyncs, ..Habits::new(acts.to_vec()) }]);
    assert_eq!(Tale::fees(&lived, 0), None);
}

#[test]
fn a_capacity_that_was_looked_up_between_two_announcements() {
    // The client passes over the second one: it never learns the capacity, but all the rest.
    let tale = Tale::new(1)
        .then(What::Announce { channel: 0, proven: false })
        .then(charge(0, ONE, 100))
        .then(charge(0, TWO, 100))
        .at(DAY, What::Close { channel: 0 })
        .at(DAY + HOUR, What::Announce { channel: 0, proven: true })
        .then(charge(0, ONE, 200))
        .then(charge(0, TWO, 300));
    let [lived] = tale.lived_by([Habits::every(HOUR, 2 * DAY)]);
    assert_eq!(Tale::fees(&lived, 0), Some([200, 300]));
}

#[test]
fn details_that_went_with_a_deleted_channel_that_then_closed() {
    // The node's other channel comes back while the deleted one still is in the view of the wallet's last sync.
    let tale = Tale::of_live_channels(2)
        .then(What::Node { node: 1, feature: 1, address: 1 })
        .at(DAY, What::Close { channel: 1 })
        .at(10 * DAY, What::Reopen { channel: 1 })
        .then(What::Close { channel: 0 });
    let lose = [wait(9 * DAY + 23 * HOUR), Act::Sync(USUAL), Act::Lose { channel: 0 }];
    let days = |times| Act::Syncs { every_s: DAY, times, request: USUAL };
    let [soon, later] = [2, 31].map(|times| Habits::new([&lose[..], &[days(times)]].concat()));
    let [soon, later] = tale.lived_by([soon, later]).map(|lived| lived.picture.details(&node(1)).is_some());
    assert_eq!((soon, later), (false, true));
}
