//! What is shown of a report: every figure in the table, all of it in one picture, whatever the numbers.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::select;

use super::{chart, print};
use crate::staleness::Cause;
use crate::staleness::report::{
    AmountOutcome, CostRow, GraceShare, Model, Outcome, Recommendation, Report, Row, StaleFees,
};

const DAY_S: u32 = 86_400;
const FROM_S: u32 = 1_769_904_000; // 2026-02-01T00:00:00Z
const PAYMENTS: u32 = 20_000;
const INTERVALS_S: [u64; 9] = [10, 60, 300, 600, 1_800, 3_600, 10_800, 21_600, 86_400];

/// As many failures as given, by cause.
fn outcome(payments: u32, failures: &[(Cause, u32)]) -> Outcome {
    let count = |of: Cause| failures.iter().filter(|(cause, _)| *cause == of).map(|(_, count)| count).sum::<u32>();
    let failed: u32 = Cause::ALL.into_iter().map(count).sum();
    let rate = f64::from(failed) / f64::from(payments);
    let half = 1.96 * (rate * (1.0 - rate) / f64::from(payments)).max(0.0).sqrt();
    Outcome {
        payments,
        succeeded: payments.saturating_sub(failed),
        failed: Cause::ALL.into_iter().map(|cause| (cause.name(), count(cause))).collect(),
        failure_rate: rate,
        confidence: [rate - half, rate + half],
        by_amount: vec![AmountOutcome { amount_sat: 100_000, payments, failure_rate: rate }],
    }
}

/// A week: fees grow stale with the root of time, and at night less than by day.
fn row(interval_s: u64, outcome: Outcome) -> Row {
    let mean = 0.0012 + 0.0004 * (interval_s as f64).powf(0.45);
    let by_time = |n: u32| {
        let wave = (f64::from(n) / 12.0 * std::f64::consts::TAU).sin() + 0.4 * (f64::from(n) * 1.7).sin();
        (FROM_S + n * DAY_S / 12, mean * (1.0 + 0.2 * wave))
    };
    let times_a_day = 86_400.0 / interval_s as f64;
    let cost = CostRow {
        requests_a_wallet_a_day: times_a_day,
        full_bytes_a_wallet_a_day: 2_412_000.0 * times_a_day,
        delta_bytes_a_wallet_a_day: (90.0 * (interval_s as f64).powf(0.78) + 60.0) * times_a_day,
        server_cpu_s_an_hour: 0.61 * times_a_day / 24.0,
    };
    Row { interval_s, outcome, stale_fees: StaleFees { mean, over_time: (0..=84).map(by_time).collect() }, cost }
}

fn report(live: Outcome, intervals: Vec<Row>) -> Report {
    Report {
        sources: vec!["/var/lib/rgsd".to_owned()],
        model: Model {
            from: "2026-02-01T00:00:00Z".to_owned(),
            to: "2026-02-08T00:00:00Z".to_owned(),
            nodes: 12_345,
            channels: 50_808,
            policies: 1_234_567,
            payments: PAYMENTS,
            given_up: 12,
            amounts_sat: vec![1_000, 10_000, 100_000, 1_000_000],
            grace: vec![GraceShare { seconds: 0, share: 0.9 }, GraceShare { seconds: 600, share: 0.1 }],
            propagation_recorded: true,
            propagation_mean_s: 127.4,
            seed: 1,
        },
        live,
        recommendation: Recommendation::of(&intervals).unwrap(),
        intervals,
    }
}

/// Nine intervals, with all causes that a week of mainnet has.
fn week() -> Report {
    let fails = |interval_s: u64| {
        let part = (interval_s as f64).powf(0.5);
        let count = |base: f64, slope: f64| (base + slope * part) as u32;
        let causes = [
            (Cause::FeeInsufficient, count(110.0, 7.4)),
            (Cause::IncorrectCltvExpiry, count(4.0, 0.3)),
            (Cause::TemporaryChannelFailure, count(22.0, 1.1)),
            (Cause::ChannelDisabled, count(40.0, 1.9)),
            (Cause::UnknownNextPeer, count(8.0, 0.6)),
            (Cause::NoRoute, count(0.0, 0.09)),
        ];
        outcome(PAYMENTS, &causes)
    };
    report(fails(0), INTERVALS_S.map(|interval_s| row(interval_s, fails(interval_s))).to_vec())
}

fn with(week: Report, change: impl Fn(&mut Row)) -> Report {
    let mut intervals = week.intervals;
    intervals.iter_mut().for_each(change);
    report(week.live, intervals)
}

#[test]
fn looks() {
    let all = |n: u32| outcome(PAYMENTS, &[(Cause::FeeInsufficient, n), (Cause::NoRoute, PAYMENTS - n)]);
    let many = |k: u64| {
        (1..=k).map(|n| row(n * 600, outcome(PAYMENTS, &[(Cause::FeeInsufficient, n as u32 * 40)]))).collect()
    };
    let mut lone = week();
    lone.intervals.truncate(1);
    let nothing = |row: &mut Row| {
        row.outcome = outcome(PAYMENTS, &[]);
        row.outcome.confidence = [0.0, 0.000192];
        row.stale_fees = StaleFees { mean: 0.0, over_time: vec![(FROM_S, 0.0), (FROM_S + 7200, 0.0)] };
    };
    let mut none = with(week(), nothing);
    none.live = outcome(PAYMENTS, &[]);
    let seven = with(week(), |row| {
        row.outcome = outcome(PAYMENTS, &Cause::ALL.map(|c| (c, 100 + row.interval_s as u32 / 60)));
    });
    let pictures = [
        ("week", week()),
        ("one", report(lone.live, lone.intervals)),
        ("none", none),
        ("all", with(week(), |row| row.outcome = all(15_000))),
        ("many", report(week().live, many(40))),
        ("two", report(week().live, many(2))),
        ("seven", seven),
    ];
    for (name, report) in pictures {
        println!("{}", print::table(&report));
        chart::draw(&report, Path::new(&format!("/tmp/tune-{name}.png"))).unwrap();
        chart::draw(&report, Path::new(&format!("/tmp/tune-{name}.svg"))).unwrap();
    }
}
