//! What is known from the field: each tells of messages in an unlucky order, and of wallets that sync around it.

use lightning::ln::msgs::SocketAddress;
use rgsd::gossip::Direction;
use rgsd_wallets::patterns::{Act, Forgets, Habits, USUAL};
use rgsd_wallets::script::What;
use rgsd_wallets::{DAY, HOUR, MINUTE, node};

use crate::tale::{CAPACITY_SAT, ONE, TWO, Tale, charge, fee};

/// Says what a direction charged some time ago.
fn charged(direction: Direction, base_msat: u32, ago_s: u32) -> What {
    What::Update { channel: 0, direction, policy: fee(base_msat), age_s: ago_s as i32 }
}

/// Syncs at these times, in seconds since the start.
fn syncs_at(times: &[u32]) -> Habits {
    let pauses = times.iter().zip([0].iter().chain(times)).map(|(time, before)| time - before);
    Habits::new(pauses.flat_map(|for_s| [Act::Wait { for_s }, Act::Sync(USUAL)]).collect())
}

/// Of every hour's snapshot one, of the first and the last only, and only the last.
fn three_wallets(hours: u32) -> [Habits; 3] {
    [Habits::every(HOUR, hours * HOUR), syncs_at(&[HOUR, hours * HOUR]), syncs_at(&[hours * HOUR])]
}

#[test]
fn updates_seen_out_of_order() {
    let tale = Tale::of_live_channels(1)
        .at(HOUR + MINUTE, charged(ONE, 300, 10))
        .then(charged(ONE, 200, 20))
        .then(charged(TWO, 200, 20))
        .then(charged(TWO, 300, 10));
    for wallet in tale.lived_by(three_wallets(3)) {
        assert_eq!(Tale::fees(&wallet, 0), Some([300, 300]));
    }
}

#[test]
fn an_old_update_that_arrives_after_a_newer_one() {
    let tale = Tale::of_live_channels(1)
        .at(HOUR + MINUTE, charged(ONE, 300, 0))
        .at(3 * HOUR, charged(ONE, 200, 2 * HOUR))
        .at(5 * HOUR, charged(ONE, 100, 5 * HOUR - 30));
    for wallet in tale.lived_by(three_wallets(6)) {
        assert_eq!(Tale::fees(&wallet, 0), Some([300, 100]));
    }
}

#[test]
fn two_updates_of_a_channel_interleaved_across_an_epoch() {
    // Epochs are cut 17 seconds past the hour.
    let tale = Tale::of_live_channels(1)
        .at(HOUR + 10, charge(0, ONE, 200))
        .at(HOUR + 20, charge(0, TWO, 200))
        .at(2 * HOUR + 10, charge(0, TWO, 300))
        .at(2 * HOUR + 16, charge(0, TWO, 200))
        .at(2 * HOUR + 18, charge(0, ONE, 100));
    let between = [syncs_at(&[HOUR + 18]), syncs_at(&[HOUR, HOUR + 18]), syncs_at(&[2 * HOUR + 17])];
    let fees = tale.lived_by(between).map(|wallet| Tale::fees(&wallet, 0));
    assert_eq!(fees, [Some([200, 100]), Some([200, 100]), Some([200, 200])]);
    for wallet in tale.lived_by(three_wallets(4)) {
        assert_eq!(Tale::fees(&wallet, 0), Some([100, 200]));
    }
}

#[test]
fn one_direction_falls_silent() {
    let silence = |for_s| What::Silence { channel: 0, direction: TWO, for_s };
    let tale = Tale::of_live_channels(2).then(silence(30 * DAY - MINUTE)).at(30 * DAY, charge(0, TWO, 500));
    let until = |day: u32| Habits::every(12 * HOUR, day * DAY);
    let fees = tale.lived_by([until(13), until(15), until(29), until(31)]).map(|wallet| Tale::fees(&wallet, 0));
    assert_eq!(fees, [Some([100, 100]), None, None, Some([100, 500])]);
    let rare = Habits::every(5 * DAY, 35 * DAY);
    assert_eq!(tale.lived_by([rare]).map(|wallet| Tale::fees(&wallet, 0)), [Some([100, 500])]);
}

#[test]
fn a_channel_announced_long_before_its_second_direction_is_heard() {
    let tale = Tale::of_live_channels(2)
        .then(What::Close { channel: 1 })
        .at(DAY, What::Announce { channel: 1, proven: true })
        .at(DAY + MINUTE, charge(1, TWO, 700))
        .at(20 * DAY, charge(1, ONE, 600));
    let until = |day: u32, every_s: u32| Habits::every(every_s, day * DAY);
    let lived = tale.lived_by([until(19, DAY), until(21, DAY), until(22, HOUR), until(25, 5 * DAY)]);
    let known = Some([600, 700]);
    assert_eq!(lived.map(|wallet| Tale::fees(&wallet, 1)), [None, known, known, known]);
}

#[test]
fn a_full_snapshot_taken_while_updates_arrive() {
    // A first sync in every second around an epoch, and another one an hour later, while fees change every second.
    let changes = |tale: Tale, second: u32| {
        let (direction, fee) = (Direction::BOTH[second as usize % 2], 200 + second);
        tale.at(HOUR + second, charge((second % 3) as usize, direction, fee))
    };
    let tale = (0..40).fold(Tale::of_live_channels(3).with_interval(10), changes);
    for second in 0..40 {
        let [wallet] = tale.lived_by([syncs_at(&[HOUR + second, HOUR + second + 10, 2 * HOUR])]);
        assert_eq!(Tale::fees(&wallet, 0), Some([236, 239]));
    }
}

#[test]
fn fees_change_many_times_an_epoch_and_come_back() {
    let change = |tale: Tale, minute: u32| tale.at(minute * 10 * MINUTE, charge(0, ONE, 100 + minute % 4));
    let tale = (1..600).fold(Tale::of_live_channels(2), change);
    for wallet in tale.lived_by(three_wallets(101)) {
        assert_eq!(Tale::fees(&wallet, 0), Some([103, 100]));
    }
}

#[test]
fn a_channel_that_may_forward_more_than_it_holds_is_not_told() {
    let mut greedy = fee(900);
    greedy.htlc_maximum_msat = CAPACITY_SAT * 1_000 + 1;
    let update = |policy| What::Update { channel: 0, direction: ONE, policy, age_s: 0 };
    let tale = Tale::of_live_channels(2).at(DAY, update(greedy)).at(2 * DAY, update(fee(800)));
    let until = |hours: u32| Habits::every(HOUR, hours * HOUR);
    let fees = tale.lived_by([until(24), until(26), until(50)]).map(|wallet| Tale::fees(&wallet, 0));
    assert_eq!(fees, [Some([100, 100]), None, Some([800, 100])]);
}

#[test]
fn a_channel_closes_and_a_reorganisation_brings_it_back() {
    let close_and_reopen = |tale: Tale, day: u32| {
        let tale = tale.at(day * DAY, What::Close { channel: 0 });
        // Sometimes before an epoch sees it closed, sometimes long after.
        tale.at(day * DAY + [10, 2 * HOUR, 9 * DAY][day as usize / 10 % 3], What::Reopen { channel: 0 })
    };
    let tale = [1, 12, 23].into_iter().fold(Tale::of_live_channels(2), close_and_reopen);
    let until = |hours: u32| Habits::every(HOUR, hours * HOUR);
    let closed = [until(24 * 12 + 1), until(24 * 23 + 1), until(24 * 31)];
    assert_eq!(tale.lived_by(closed).map(|wallet| Tale::fees(&wallet, 0)), [None; 3]);
    let open =
        [until(24 + 1), until(24 * 12 + 3), until(24 * 33), Habits::every(5 * DAY, 40 * DAY), syncs_at(&[33 * DAY])];
    assert_eq!(tale.lived_by(open).map(|wallet| Tale::fees(&wallet, 0)), [Some([100, 100]); 5]);
}

#[test]
fn a_fee_that_is_back_is_told_to_whoever_saw_the_other() {
    let tale =
        Tale::of_live_channels(1).at(HOUR + MINUTE, charge(0, ONE, 200)).at(2 * HOUR + MINUTE, charge(0, ONE, 100));
    let seen = [Act::Wait { for_s: HOUR }, Act::Sync(USUAL), Act::Wait { for_s: HOUR + MINUTE }, Act::Sync(USUAL)];
    // It keeps the graph, and asks with the time of the sync before.
    let forgets = Act::Crash { ago: 0, forgets: Forgets::Time };
    let later = [&seen[..], &[forgets, Act::Wait { for_s: HOUR }, Act::Sync(USUAL)]].concat();
    let fees = tale.lived_by([Habits::new(seen.to_vec()), Habits::new(later)]).map(|wallet| Tale::fees(&wallet, 0));
    assert_eq!(fees, [Some([200, 100]), Some([100, 100])]);
}

#[test]
fn a_node_moves_and_learns() {
    let told = |feature, address| What::Node { node: 1, feature, address };
    let tale = Tale::of_live_channels(2)
        .then(told(1, 1))
        .at(DAY, told(4, 1))
        .at(2 * DAY, told(4, 2))
        .at(3 * DAY, told(2, 2));
    let until = |hours: u32| Habits::every(HOUR, hours * HOUR);
    let twice = syncs_at(&[DAY - HOUR, 4 * DAY]);
    for (habits, feature, last) in [(until(24), 1, 1), (until(26), 4, 1), (until(50), 4, 2), (twice, 2, 2)] {
        let [lived] = tale.lived_by([habits]);
        let address = SocketAddress::TcpIpV4 { addr: [10, 0, 0, last], port: 9735 };
        assert_eq!(lived.picture.details(&node(1)), Some((&[feature][..], &[address][..])));
    }
}
