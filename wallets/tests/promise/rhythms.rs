//! A wallet that syncs at any steady rhythm, from a minute to two weeks, keeps every live channel for 90 days.

use rgsd_wallets::life::Tally;
use rgsd_wallets::patterns::{Act, Habits, Request, USUAL};
use rgsd_wallets::world::Host;
use rgsd_wallets::{DAY, HOUR, MINUTE};

use crate::tale::{ONE, TWO, Tale, charge};

const CHANNELS: u32 = 20;
const SPAN_S: u32 = 90 * DAY;

/// Channels that live for 90 days. Most only ever say again what they charge; some change it every day.
fn tale(interval_s: u32) -> Tale {
    let change = |tale: Tale, day: u32| {
        let tale = tale.at(day * DAY + 5 * HOUR, charge((day % 3) as usize, ONE, day));
        tale.then(charge((day % 4) as usize, TWO, day % 2))
    };
    (0..90).fold(Tale::of_live_channels(CHANNELS).with_interval(interval_s), change)
}

/// Everything is there after each sync.
fn keeps_everything(interval_s: u32, every_s: u32, host: Host) {
    let times = SPAN_S / every_s;
    let syncs = Act::Syncs { every_s, times, request: Request { host, ..USUAL } };
    // The replicas, too, have an epoch by then.
    let habits = Habits::new(vec![Act::Wait { for_s: 2 * HOUR }, syncs]);
    let [lived] = tale(interval_s).lived_by([habits]);
    // And the world's own channel.
    let expected = Tally { syncs: times, judged: times, fewest: CHANNELS as usize + 1 };
    assert_eq!(lived.tally, expected, "every {every_s} s of {interval_s} s");
}

macro_rules! rhythms {
    ($($name:ident: $every_s:expr, of $interval_s:expr;)*) => {$(
        #[test]
        fn $name() {
            keeps_everything($interval_s, $every_s, Host::Writer);
        }
    )*};
}

rhythms! {
    every_minute: MINUTE, of 10 * MINUTE;
    every_ten_minutes: 10 * MINUTE, of 10;
    every_hour: HOUR, of HOUR;
    every_hour_of_a_server_with_six: HOUR, of 6 * HOUR;
    every_seven_hours: 7 * HOUR, of HOUR;
    every_twelve_hours: 12 * HOUR, of 10 * MINUTE;
    every_day: DAY, of HOUR;
    every_day_of_a_daily_server: DAY, of DAY;
    every_two_days: 2 * DAY, of 6 * HOUR;
    every_three_days: 3 * DAY, of DAY;
    every_four_days_and_a_half: 4 * DAY + 12 * HOUR, of HOUR;
    every_five_days: 5 * DAY, of HOUR;
    just_less_than_six_days: 6 * DAY - HOUR, of HOUR;
    every_six_days: 6 * DAY, of HOUR;
    every_seven_days: 7 * DAY, of DAY;
    every_ten_days: 10 * DAY, of HOUR;
    every_thirteen_days: 13 * DAY, of HOUR;
    every_two_weeks: 14 * DAY, of HOUR;
}

#[test]
fn with_a_replica_that_lags() {
    for every_s in [6 * HOUR, DAY, 5 * DAY] {
        keeps_everything(HOUR, every_s, Host::OneBehind);
        keeps_everything(HOUR, every_s, Host::TwoBehind);
    }
}
