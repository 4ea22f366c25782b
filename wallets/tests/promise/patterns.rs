//! The patterns in which wallets sync, each once by name, through 75 days of a network in which something always happens.

use rgsd::gossip::Direction;
use rgsd::journal::Graph;
use rgsd::snapshot::Version;
use rgsd_wallets::life::Tally;
use rgsd_wallets::patterns::{Act, Forgets, Habits, Pruning, Request, USUAL};
use rgsd_wallets::script::{Setup, What};
use rgsd_wallets::wallet::LastSync;
use rgsd_wallets::world::Host;
use rgsd_wallets::{DAY, HOUR, MINUTE};

use crate::tale::{ONE, TWO, Tale, charge};

const CHANNELS: usize = 12;
const DAYS: u32 = 75;

/// Fees change every hour; a channel closes every third day, and most come back; directions fall silent; nodes move; the
/// server restarts now and then.
fn lively() -> Tale {
    let tale = (0..=CHANNELS as u32).fold(Tale::of_live_channels(CHANNELS as u32), |tale, node| {
        tale.then(What::Node { node, feature: 1, address: 1 })
    });
    let mut days: Vec<(u32, What)> = (1..DAYS).flat_map(a_day).chain(restarts()).collect();
    days.sort_by_key(|(at_s, _)| *at_s);
    days.into_iter().fold(tale, |tale, (at_s, what)| tale.at(at_s, what))
}

fn a_day(day: u32) -> Vec<(u32, What)> {
    let at = |hour: u32| day * DAY + hour * HOUR;
    let channel = |shift: u32| (day * 5 + shift) as usize % CHANNELS;
    let mut what: Vec<(u32, What)> = (0..24)
        .map(|hour| {
            (at(hour) + 7 * MINUTE, charge(channel(hour * 7), Direction::BOTH[hour as usize % 2], (day + hour) % 9))
        })
        .collect();
    what.push((
        at(3),
        What::Node { node: day % (CHANNELS as u32 + 1), feature: (day % 4) as u8 + 1, address: (day % 7) as u8 },
    ));
    match day % 6 {
        0 => what.extend([
            (at(5), What::Close { channel: channel(1) }),
            (at(5 + 24 * (day % 11)), What::Reopen { channel: channel(1) }),
        ]),
        2 => what.push((at(9), What::Silence { channel: channel(2), direction: TWO, for_s: (13 + day % 9) * DAY })),
        3 => what.extend([
            (at(11), What::Close { channel: channel(3) }),
            (at(40), What::Announce { channel: channel(3), proven: true }),
            (at(41), charge(channel(3), ONE, 5)),
            (at(90), charge(channel(3), TWO, 6)),
        ]),
        _ => {}
    }
    what
}

fn restarts() -> [(u32, What); 5] {
    let setup = |interval_s, graph| What::Restart(Setup { interval_s, graph });
    [
        (18 * DAY + 5, setup(6 * HOUR, Graph::Routable)),
        (26 * DAY + 5, What::Takeover { offset_s: 28 }),
        (33 * DAY + 5, setup(10 * MINUTE, Graph::Routable)),
        (48 * DAY + 5, setup(HOUR, Graph::Complete)),
        (60 * DAY + 5, setup(HOUR, Graph::Routable)),
    ]
}

fn syncs(every_s: u32, times: u32) -> Act {
    Act::Syncs { every_s, times, request: USUAL }
}

fn from(host: Host) -> Act {
    Act::Sync(Request { host, ..USUAL })
}

fn version(version: Version) -> Act {
    Act::Sync(Request { version, ..USUAL })
}

/// Whole after each sync, whether it prunes hourly or not, and wherever it keeps its time. How often they were judged, of
/// how many syncs.
fn whole(tale: &Tale, acts: &[Act]) -> [Tally; 4] {
    let kinds = [
        (LastSync::InGraph, Pruning::Hourly),
        (LastSync::InGraph, Pruning::AfterSyncs),
        (LastSync::Returned, Pruning::Hourly),
        (LastSync::Returned, Pruning::AfterSyncs),
    ];
    let habits = kinds.map(|(last_sync, pruning)| Habits { last_sync, pruning, acts: acts.to_vec() });
    tale.lived_by(habits).map(|lived| lived.tally)
}

/// The same, and the promise makes no exception for any of the syncs.
fn always_whole(tale: &Tale, acts: &[Act]) {
    for tally in whole(tale, acts) {
        assert!(tally.judged > 0 && tally.judged == tally.syncs, "{tally:?}");
    }
}

/// A round of acts, again and again, for the whole time.
fn again(acts: &[Act], rounds: usize) -> Vec<Act> {
    acts.repeat(rounds)
}

#[test]
fn every_epoch() {
    always_whole(&lively(), &[syncs(HOUR, 24 * DAYS)]);
}

#[test]
fn daily_at_noon() {
    let Habits { acts, .. } = Habits::at_noon(DAYS);
    always_whole(&lively(), &acts);
}

#[test]
fn once_in_five_days() {
    for first in 0..5 {
        always_whole(&lively(), &[Act::Wait { for_s: first * DAY + HOUR }, syncs(5 * DAY, DAYS / 5)]);
    }
}

#[test]
fn daily_and_then_away_for_some_days() {
    // Away for longer than since the last reminder, but not for so long that the server knows the epoch no more.
    for away_s in [3 * DAY, 4 * DAY, 5 * DAY, 6 * DAY - 2 * HOUR] {
        for often in [5 * HOUR, DAY] {
            let round = [syncs(often, 4), Act::Wait { for_s: away_s }, Act::Sync(USUAL)];
            always_whole(&lively(), &again(&round, 12));
        }
    }
}

#[test]
fn away_for_thirteen_days() {
    let round = [syncs(DAY, 3), Act::Wait { for_s: 13 * DAY }, Act::Sync(USUAL), syncs(6 * HOUR, 8)];
    always_whole(&lively(), &again(&round, 4));
}

#[test]
fn gone_for_a_month() {
    let round = [syncs(HOUR, 30), Act::Wait { for_s: 30 * DAY }, Act::Sync(USUAL), syncs(DAY, 2)];
    always_whole(&lively(), &again(&round, 2));
}

#[test]
fn switching_between_versions() {
    let round =
        [version(Version::V1), Act::Wait { for_s: 17 * HOUR }, version(Version::V2), Act::Wait { for_s: 2 * DAY }];
    always_whole(&lively(), &again(&round, 25));
    // Capacities and details come with the next full announcement, within 30 days.
    let settled = [version(Version::V1), syncs(DAY, DAYS - 1)];
    always_whole(&lively(), &settled);
}

#[test]
fn a_crash_that_loses_the_last_syncs() {
    for ago in 0..3 {
        let crash = Act::Crash { ago, forgets: Forgets::Everything };
        always_whole(&lively(), &again(&[syncs(11 * HOUR, 5), crash], 30));
        // The graph was written in time.
        let crash = Act::Crash { ago, forgets: Forgets::Time };
        always_whole(&lively(), &again(&[syncs(11 * HOUR, 5), crash], 30));
    }
}

#[test]
fn a_crash_that_keeps_the_time_is_healed_within_thirty_days() {
    let crash = Act::Crash { ago: 2, forgets: Forgets::Graph };
    for tally in whole(&lively(), &[syncs(9 * HOUR, 40), crash, syncs(19 * HOUR, 70)]) {
        assert_eq!(tally.syncs, 110);
        // 30 days are 38 syncs; some of the 110 are of an epoch more.
        assert!((70..=73).contains(&tally.judged), "{tally:?}");
    }
}

#[test]
fn another_servers_timestamps() {
    for name in [Version::V1, Version::V2] {
        let round = [syncs(7 * HOUR, 4), Act::Elsewhere { version: name }, syncs(5 * HOUR, 6)];
        whole(&lively(), &again(&round, 30));
    }
}

#[test]
fn bodies_cut_short() {
    for per_mille in [0, 100, 300, 500, 700, 850, 950, 999] {
        let cut = Act::CutShort { request: USUAL, per_mille };
        always_whole(&lively(), &again(&[syncs(3 * HOUR, 4), cut, Act::Wait { for_s: DAY }], 40));
    }
}

#[test]
fn replicas_that_lag() {
    for host in [Host::OneBehind, Host::TwoBehind, Host::Moody] {
        always_whole(&lively(), &[Act::Syncs { every_s: 5 * HOUR, times: 350, request: Request { host, ..USUAL } }]);
        let round = [syncs(5 * HOUR, 2), from(host), Act::Wait { for_s: 90 * MINUTE }, from(host)];
        let round = [&round[..], &[Act::CutShort { request: USUAL, per_mille: 800 }, from(host)]].concat();
        whole(&lively(), &again(&round, 100));
    }
}

#[test]
fn a_server_stuck_for_three_days() {
    let tale = stuck_every_nine_days(3);
    for every_s in [HOUR, 13 * HOUR, DAY, 5 * DAY] {
        always_whole(&tale, &[syncs(every_s, DAYS * DAY / every_s)]);
    }
}

#[test]
fn away_while_the_server_is_stuck() {
    for days in 2..=7 {
        let tale = stuck_every_nine_days(days);
        for first in 0..4 {
            let round = [syncs(8 * HOUR, 6), Act::Wait { for_s: 6 * DAY }, syncs(8 * HOUR, 3)];
            always_whole(&tale, &[&[Act::Wait { for_s: first * DAY + HOUR }], &again(&round, 8)[..]].concat());
        }
    }
}

/// Fees change every hour, but the server cuts no epoch for so many days.
fn stuck_every_nine_days(days: u32) -> Tale {
    (1..DAYS).fold(Tale::of_live_channels(CHANNELS as u32), |tale, day| {
        let tale = a_day(day).into_iter().take(24).fold(tale, |tale, (at_s, what)| tale.at(at_s, what));
        if day % 9 == 5 { tale.then(What::Stall { for_s: days * DAY }) } else { tale }
    })
}

#[test]
fn channels_that_the_wallet_deleted_come_back_within_thirty_days() {
    let tale = Tale::of_live_channels(CHANNELS as u32);
    let lose: Vec<Act> = (0..5).map(|channel| Act::Lose { channel }).collect();
    for every_s in [HOUR, DAY, 3 * DAY] {
        let acts =
            [&[Act::Wait { for_s: HOUR }, Act::Sync(USUAL), syncs(every_s, 4 * DAY / every_s)], &lose[..]].concat();
        let at_once = [&acts[..], &[syncs(every_s, 1)]].concat();
        let later = [&acts[..], &[syncs(every_s, 30 * DAY / every_s)]].concat();
        let [at_once, later] = tale.lived_by([Habits::new(at_once), Habits::new(later)]);
        assert!(at_once.picture.routable() < CHANNELS + 1);
        assert_eq!(later.picture.routable(), CHANNELS + 1);
    }
    whole(&lively(), &again(&[&[syncs(10 * HOUR, 50)], &lose[..2]].concat(), 3));
}
