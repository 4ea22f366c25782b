//! The simulator against what can be worked out by hand, on networks so small that all of it is known.
//!
//! A wallet's knowledge is as old as two even draws from nothing to the interval; in intervals, the age's density is a
//! triangle from 0 to 2 about 1. Whatever changes once a day fails those payments between which and their wallet's
//! knowledge the change lies: as many as the age's mean is of a day, as long as no age is over a day.

use std::time::Duration;

use bitcoin::Network;
use proptest::prelude::*;
use rgsd::gossip::{Closing, Direction, Fact, Policy, UnixMs};
use rgsd::staleness::past::{Chronicle, Past, Propagation};
use rgsd::staleness::{Cause, Drift, Fates, Grace, Question, Simulated, Watcher, simulate};

use super::unsigned::{announcement, node, scid, update};

const START_S: u32 = 1_700_000_000;
const HOUR_S: u32 = 3_600;
const DAY_S: u32 = 24 * HOUR_S;
const DAYS: u32 = 20;
const PAYMENTS: u32 = 3_000;
const AMOUNTS_SAT: [u64; 2] = [10_000, 100_000];

/// The first numbers whose nodes have ids that are points of the curve.
fn nodes() -> [u32; 3] {
    let mut numbers = (1..).filter(|n| node(*n).as_pubkey().is_ok());
    [(); 3].map(|()| numbers.next().expect("every other one is"))
}

fn policy(fee_base_msat: u32) -> Policy {
    Policy {
        htlc_minimum_msat: 1,
        htlc_maximum_msat: 990_000_000,
        fee_base_msat,
        fee_proportional_millionths: 0,
        cltv_expiry_delta: 40,
        enabled: true,
    }
}

/// What happens to a network of a few nodes.
struct Toy(Chronicle);

impl Toy {
    /// What was before this second is of no interest.
    fn since(way: Duration, second: u32) -> Self {
        let from = UnixMs(u64::from(START_S + second) * 1_000);
        Self(Chronicle::new(Propagation { recorded: false, mean: way, seed: 1 }, from))
    }

    /// Gossip takes so long on average.
    fn new(way: Duration) -> Self {
        Self::since(way, 0)
    }

    fn at(&mut self, second: u32, fact: &Fact) {
        self.0.take(UnixMs(u64::from(START_S + second) * 1_000), fact);
    }

    /// A channel between two of the nodes.
    fn open(&mut self, n: u64, ends: [usize; 2], at: u32) {
        let mut ends = ends.map(|end| nodes()[end]);
        ends.sort_unstable();
        let announcement = announcement(scid(n << 40), ends, &[]);
        self.at(at, &Fact::Channel { announcement, capacity_sat: Some(1_000_000) });
    }

    /// Both directions of a channel charge this from now on.
    fn charge(&mut self, n: u64, at: u32, policy: &Policy) {
        for direction in Direction::BOTH {
            self.at(at, &Fact::Update(update(scid(n << 40), direction, START_S + at, policy)));
        }
    }

    /// One channel, with another policy every day; the days' phase is odd.
    fn daily(policy: impl Fn(u32) -> Policy, way: Duration) -> Past {
        let mut toy = Self::new(way);
        toy.open(1, [0, 1], 0);
        for day in 0..DAYS {
            toy.charge(1, day * DAY_S + 12_345 * u32::from(day > 0), &policy(day));
        }
        toy.0.finish()
    }
}

struct Nobody;

impl Watcher for Nobody {
    fn begins(&self, _steps: usize) {}

    fn step(&self) -> bool {
        true
    }
}

fn hours(hours: &[f64]) -> Vec<Duration> {
    hours.iter().map(|hours| Duration::from_secs_f64(hours * f64::from(HOUR_S))).collect()
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

fn question(intervals: Vec<Duration>, grace: Duration) -> Question {
    let ms = |day: u32| UnixMs(u64::from(START_S + day * DAY_S) * 1_000);
    Question {
        network: Network::Bitcoin,
        span: (ms(1), ms(DAYS)),
        intervals,
        payments: PAYMENTS,
        amounts_sat: AMOUNTS_SAT.to_vec(),
        grace: Grace::new(vec![(grace, 1)]).expect("a weight"),
        seed: 7,
    }
}

fn simulated(past: &Past, question: &Question) -> Simulated {
    let now_s = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs() as u32;
    let simulated = simulate(past, question, now_s, &Nobody).expect("nobody interrupts");
    assert_eq!(simulated.given_up, 0);
    simulated
}

/// All amounts together.
fn all(by_amount: &[Fates]) -> Fates {
    let mut all = Fates::default();
    for fates in by_amount {
        all.succeeded += fates.succeeded;
        all.failed.iter_mut().zip(fates.failed).for_each(|(sum, more)| *sum += more);
    }
    all
}

/// Each interval's share of payments that failed, which they did for this cause alone, is what theory says, as exactly as
/// so many payments can tell: within four standard deviations.
fn expect(past: &Past, question: &Question, cause: Cause, theory: impl Fn(f64) -> f64) {
    let simulated = simulated(past, question);
    for (interval, by_amount) in question.intervals.iter().zip(&simulated.intervals) {
        let fates = all(by_amount);
        assert_eq!((fates.all(), fates.failed()), (PAYMENTS, fates.of(cause)), "{interval:?}: {fates:?}");
        let (rate, theory) =
            (f64::from(fates.of(cause)) / f64::from(PAYMENTS), theory(interval.as_secs_f64() / 3_600.0));
        let error = (theory * (1.0 - theory) / f64::from(PAYMENTS)).sqrt();
        assert!((rate - theory).abs() <= 4.0 * error, "{interval:?}: {rate} failed, and {theory} should have");
    }
}

fn rising(day: u32) -> Policy {
    policy(1_000 + day * 100)
}

#[test]
fn a_fee_that_rises_once_a_day_fails_the_intervals_share_of_the_day() {
    let past = Toy::daily(rising, Duration::ZERO);
    let intervals = hours(&[10.0 / 3600.0, 1.0 / 60.0, 0.5, 1.0, 3.0, 6.0, 12.0]);
    expect(&past, &question(intervals, Duration::ZERO), Cause::FeeInsufficient, |hours| hours / 24.0);
}

#[test]
fn beyond_half_a_day_some_ages_hold_more_than_one_rise_and_fail_all_the_same() {
    let past = Toy::daily(rising, Duration::ZERO);
    // Half of the ages are over a day; of the others, the age's share of the day: the integral of a * a from 0 to 1.
    let question = question(hours(&[24.0]), Duration::ZERO);
    expect(&past, &question, Cause::FeeInsufficient, |_| 0.5 + 1.0 / 3.0);
}

#[test]
fn keep_alives_change_nothing_and_a_cut_never_fails() {
    let intervals = || hours(&[1.0, 6.0, 24.0]);
    for policy in [|_| policy(1_000), |day: u32| policy(5_000 - day * 100)] {
        let past = Toy::daily(policy, Duration::ZERO);
        let simulated = simulated(&past, &question(intervals(), Duration::ZERO));
        let failed = simulated.intervals.iter().chain([&simulated.live]).map(|fates| all(fates).failed());
        assert_eq!(failed.collect::<Vec<_>>(), [0; 4]);
        let drift = Drift::of(&past, question(intervals(), Duration::ZERO).span, &intervals());
        assert_eq!([0, 1, 2].map(|interval| drift.mean(interval)), [0.0; 3]);
    }
}

#[test]
fn grace_removes_what_was_paid_soon_after_a_rise_and_nothing_else() {
    let past = Toy::daily(rising, Duration::ZERO);
    // In hours: the mean of what the age has beyond the grace. In intervals, with g the grace, that is 1 - g + g³/6.
    let beyond = |grace: f64| {
        move |hours: f64| {
            let g = grace / hours;
            hours * (1.0 - g + g.powi(3) / 6.0) / 24.0
        }
    };
    let question = |grace| question(hours(&[1.0, 3.0, 6.0]), grace);
    expect(&past, &question(minutes(10)), Cause::FeeInsufficient, beyond(1.0 / 6.0));
    expect(&past, &question(minutes(60)), Cause::FeeInsufficient, beyond(1.0));

    // Nobody's knowledge is older than two hours: a grace of as long saves all. And it is only for the fee.
    let hourly = || super::staleness::question(hours(&[1.0]), minutes(120));
    expect(&past, &hourly(), Cause::FeeInsufficient, |_| 0.0);
    let slower = |day: u32| Policy { cltv_expiry_delta: 40 + day as u16, ..policy(1_000) };
    let past = Toy::daily(slower, Duration::ZERO);
    expect(&past, &hourly(), Cause::IncorrectCltvExpiry, |hours| hours / 24.0);
}

#[test]
fn grace_is_for_the_fee_before_the_last_change_and_not_for_older_ones() {
    // Two rises a day, the second soon after the first; in between or not, the direction is disabled for a moment.
    let failed = |apart_s: u32, blinks: bool| {
        let mut toy = Toy::new(Duration::ZERO);
        toy.open(1, [0, 1], 0);
        toy.charge(1, 0, &policy(1_000));
        for (day, fee) in (0..DAYS).zip((1_000..).step_by(100)) {
            let noon_s = day * DAY_S + 12 * HOUR_S;
            toy.charge(1, noon_s, &policy(fee + 50));
            toy.charge(1, noon_s + apart_s, &policy(fee + 100));
            if blinks {
                toy.charge(1, noon_s + apart_s + 1, &Policy { enabled: false, ..policy(fee + 100) });
                toy.charge(1, noon_s + apart_s + 2, &policy(fee + 100));
            }
        }
        let fates = all(&simulated(&toy.0.finish(), &question(hours(&[1.0]), minutes(600))).intervals[0]);
        (fates.of(Cause::FeeInsufficient), fates.failed())
    };
    // Four hours apart, no wallet's knowledge lies before both: all is honoured, and a blink is no change of the fee.
    assert_eq!(failed(4 * HOUR_S, false).0, 0);
    assert_eq!(failed(4 * HOUR_S, true).0, 0);
    // Half an hour apart, some knows the fee before both.
    let (fees, all) = failed(HOUR_S / 2, false);
    assert!(fees > 0 && fees == all, "{fees} of {all}");
}

#[test]
fn every_refusal_has_its_own_cause() {
    let hourly = || question(hours(&[1.0, 6.0]), Duration::ZERO);
    let share = |hours: f64| hours / 24.0;
    let better = policy(0);
    let slower = |day: u32| Policy { cltv_expiry_delta: 40 + day as u16, ..policy(1_000) };
    expect(&Toy::daily(slower, Duration::ZERO), &hourly(), Cause::IncorrectCltvExpiry, share);

    // Two ways. Every other day, the least or the most that the cheaper one forwards leaves out one of the two amounts: a
    // half of the payments, and of the changes.
    let amount_msat = |index: usize| AMOUNTS_SAT[index] * 1_000;
    let least = Policy { htlc_minimum_msat: amount_msat(0) + 1, ..policy(0) };
    let most = Policy { htlc_maximum_msat: amount_msat(1) - 1, ..policy(0) };
    for (worse, cause) in [(least, Cause::AmountBelowMinimum), (most, Cause::TemporaryChannelFailure)] {
        let mut toy = Toy::new(Duration::ZERO);
        [1, 2].iter().for_each(|n| toy.open(*n, [0, 1], 0));
        for day in 0..DAYS {
            toy.charge(1, day * DAY_S, if day % 2 == 0 { &worse } else { &better });
            toy.charge(2, day * DAY_S, &policy(20_000));
        }
        expect(&toy.0.finish(), &hourly(), cause, |hours| hours / 24.0 / 4.0);
    }
}

fn now_s() -> u32 {
    std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs() as u32
}

#[test]
fn a_channel_that_goes_is_missed_until_wallets_hear_of_it() {
    // Two ways, the cheaper of which is closed, or disabled, in the middle: whoever does not know that fails.
    let past = |end: &dyn Fn(&mut Toy)| {
        let mut toy = Toy::new(Duration::ZERO);
        for (n, fee) in [(1, 1_000), (2, 20_000)] {
            toy.open(n, [0, 1], 0);
            (0..2).for_each(|half| toy.charge(n, half * 12 * DAY_S, &policy(fee)));
        }
        toy.charge(2, 19 * DAY_S, &policy(20_000));
        end(&mut toy);
        toy.0.finish()
    };
    // Payments are made from a day and 24 hours after the start on, and end 18 or so days later.
    let made_in_days = f64::from(DAYS - 1) - 1.0;
    let half_a_day = || question(hours(&[12.0]), Duration::ZERO);
    let closing = Fact::Closed { scid: scid(1 << 40), reason: Closing::Recorded };
    let closed = past(&|toy| toy.at(13 * DAY_S, &closing));
    expect(&closed, &half_a_day(), Cause::UnknownNextPeer, |hours| hours / 24.0 / made_in_days);
    let disabled = Policy { enabled: false, ..policy(1_000) };
    let disabled = past(&|toy| toy.charge(1, 13 * DAY_S, &disabled));
    expect(&disabled, &half_a_day(), Cause::ChannelDisabled, |hours| hours / 24.0 / made_in_days);
}

#[test]
fn a_network_whose_channels_come_and_go_is_complete_when_most_of_it_is_known() {
    let mut toy = Toy::new(Duration::ZERO);
    for n in 0..10 {
        toy.open(n, [0, 1], 10 * n as u32);
        toy.charge(n, 10 * n as u32, &policy(1_000));
    }
    for (day, n) in (1..DAYS).zip(10..) {
        toy.at(day * DAY_S, &Fact::Closed { scid: scid((n - 10) << 40), reason: Closing::Recorded });
        toy.open(n, [0, 1], day * DAY_S);
        toy.charge(n, day * DAY_S, &policy(1_000));
    }
    let ninth = UnixMs(u64::from(START_S + 80) * 1_000);
    assert_eq!(toy.0.finish().complete_from(), Some(ninth));
    assert_eq!(Toy::new(Duration::ZERO).0.finish().complete_from(), None);
}

#[test]
fn the_way_of_gossip_fails_even_a_wallet_that_hears_everything() {
    let past = Toy::daily(rising, minutes(60));
    let question = question(hours(&[1.0]), Duration::ZERO);
    let simulated = simulated(&past, &question);
    // An hour on average, in which nobody can know; and with the interval, two.
    for (fates, theory) in [(&simulated.live, 1.0 / 24.0), (&simulated.intervals[0], 2.0 / 24.0)] {
        let rate = f64::from(all(fates).of(Cause::FeeInsufficient)) / f64::from(PAYMENTS);
        // One rise's way is one draw for all payments: with 19 rises, the error is larger.
        assert!((rate - theory).abs() < 0.3 * theory + 0.01, "{rate} failed, and {theory} should have");
    }
}

#[test]
fn what_is_stale_by_direction_is_the_intervals_share_of_the_day_too() {
    // The reference amount is far above the base fee; the looks hit the phases of a day evenly enough.
    let past = Toy::daily(rising, Duration::ZERO);
    let intervals = hours(&[1.0, 6.0]);
    let drift = Drift::of(&past, question(intervals.clone(), Duration::ZERO).span, &intervals);
    for (n, theory) in [(0, 1.0 / 24.0), (1, 6.0 / 24.0)] {
        assert!(
            (drift.mean(n) - theory).abs() < 0.03,
            "{} at {:?}, and {theory} should be",
            drift.mean(n),
            intervals[n]
        );
    }
}

#[test]
fn what_was_long_before_is_forgotten_and_changes_no_figure() {
    let daily = |from: u32| {
        let mut toy = Toy::since(minutes(2), from);
        toy.open(1, [0, 1], 0);
        (0..DAYS).for_each(|day| toy.charge(1, day * DAY_S + 12_345 * u32::from(day > 0), &rising(day)));
        toy.0.finish()
    };
    let later = |past: &Past| {
        let asked = question(hours(&[0.5, 6.0]), minutes(10));
        let from = UnixMs(u64::from(START_S + 15 * DAY_S) * 1_000);
        simulated(past, &Question { span: (from, asked.span.1), payments: 500, ..asked })
    };
    let (whole, short) = (daily(0), daily(15 * DAY_S));
    assert!(short.versions() < whole.versions() - 20, "{} of {}", short.versions(), whole.versions());
    assert_eq!(later(&whole), later(&short));
}

#[test]
fn the_same_seed_gives_the_same_figures_on_any_number_of_cores() {
    let past = Toy::daily(rising, minutes(2));
    let question = question(hours(&[0.5, 6.0]), minutes(10));
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| simulated(&past, &question))
    };
    let once = on(1);
    assert_eq!(once, on(3));
    assert_ne!(once, simulated(&past, &Question { seed: 8, ..question.clone() }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever happens: a wallet that knows less never fails less often but by chance, and no payment is lost.
    #[test]
    fn all_payments_come_to_some_end(
        changes in proptest::collection::vec((0..DAYS * DAY_S, 0_u64..4, 0_u32..40_000, any::<bool>()), 0..60),
        closed in proptest::option::of((0..DAYS * DAY_S, 0_u64..4)),
    ) {
        let mut toy = Toy::new(minutes(2));
        let ends = [[0, 1], [1, 2], [0, 2], [0, 1]];
        for (n, ends) in (0..).zip(ends) {
            toy.open(n + 1, ends, 0);
            toy.charge(n + 1, 0, &policy(1_000));
        }
        let mut changes = changes;
        changes.sort_unstable();
        for (at, n, fee, enabled) in changes {
            toy.charge(n + 1, at, &Policy { enabled, ..policy(fee) });
        }
        if let Some((at, n)) = closed {
            toy.at(at, &Fact::Closed { scid: scid((n + 1) << 40), reason: Closing::Spent { height: 5 } });
        }
        let asked = Question { payments: 100, ..question(hours(&[0.1, 24.0]), minutes(10)) };
        let simulated = simulate(&toy.0.finish(), &asked, now_s(), &Nobody).expect("nobody interrupts");
        for fates in simulated.intervals.iter().chain([&simulated.live]) {
            prop_assert_eq!(all(fates).all(), 100 - simulated.given_up);
        }
        let live = all(&simulated.live);
        prop_assert_eq!(live.of(Cause::NoRoute), 0);
    }
}
