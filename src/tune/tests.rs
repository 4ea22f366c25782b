//! What is shown of a report: every figure in the table, all of it in one picture, whatever the numbers.

use std::fs;
use std::io::Read;

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
            left_out_s: Vec::new(),
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

/// All seven causes, the more the longer.
fn all_causes() -> Report {
    with(week(), |row| {
        let count = 100 + row.interval_s as u32 / 60;
        row.outcome = outcome(PAYMENTS, &Cause::ALL.map(|cause| (cause, count)));
    })
}

fn nothing_fails() -> Report {
    let quiet = with(week(), |row| {
        row.outcome = Outcome { confidence: [0.0, 0.000_192], ..outcome(PAYMENTS, &[]) };
        row.stale_fees = StaleFees { mean: 0.0, over_time: vec![(FROM_S, 0.0), (FROM_S + DAY_S, 0.0)] };
    });
    Report { live: outcome(PAYMENTS, &[]), ..quiet }
}

fn everything_fails() -> Report {
    with(week(), |row| row.outcome = outcome(PAYMENTS, &[(Cause::FeeInsufficient, 15_000), (Cause::NoRoute, 5_000)]))
}

/// So many intervals of ten minutes more each.
fn many(intervals: u64) -> Report {
    let fails = |n: u64| outcome(PAYMENTS, &[(Cause::FeeInsufficient, n as u32 * 40)]);
    report(fails(1), (1..=intervals).map(|n| row(n * 600, fails(n))).collect())
}

fn drawn(report: &Report, name: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(name);
    chart::draw(report, &file).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
    fs::read(file).unwrap()
}

fn svg(report: &Report) -> String {
    String::from_utf8(drawn(report, "chart.svg")).unwrap()
}

/// A text of an SVG, and where it is.
#[derive(Debug)]
struct Label {
    words: String,
    /// From left to right, and from top to bottom.
    x: [f64; 2],
    y: [f64; 2],
}

/// Those that are not turned. A letter is taken to be as wide as those of the widest usual font (DejaVu Sans).
fn labels(svg: &str) -> Vec<Label> {
    let label = |element: &str| {
        let (head, words) = element.split_once('>')?;
        let words = words.split_once("</text>")?.0.trim().to_owned();
        let value = |name: &str| head.split_once(&format!(" {name}=\""))?.1.split_once('"').map(|value| value.0);
        let number = |name: &str| value(name)?.trim_end_matches("em").parse::<f64>().ok();
        let (x, y, size) = (number("x")?, number("y")?, number("font-size")?);
        let wide = words.chars().count() as f64 * size * 0.55;
        let left = match value("text-anchor")? {
            "middle" => x - wide / 2.0,
            "end" => x - wide,
            _ => x,
        };
        let base = y + number("dy").map_or(size * 0.27, |em| em * size);
        (value("transform").is_none()).then_some(Label {
            words,
            x: [left, left + wide],
            y: [base - size * 0.75, base],
        })
    };
    svg.split("<text").skip(1).filter_map(label).collect()
}

#[test]
fn the_table_has_a_line_for_each_interval() {
    let report = week();
    let text = print::table(&report);
    let line = |name: &str| -> Vec<String> {
        let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
        line.split("  ").map(|cell| cell.trim().to_owned()).filter(|cell| !cell.is_empty()).collect()
    };
    let header = "sync, fails, 95 % sure, fee, cltv, max, off, closed, none, stale, full, deltas, requests, CPU s";
    assert_eq!(line("sync").join(", "), header);
    let five = "5m, 1.9, 1.7–2.1, 1.2, 0.045, 0.21, 0.36, 0.090, 0.005, 0.64, 695 MB, 2.23 MB, 288, 7.32";
    assert_eq!(line("5m").join(", "), five);
    assert_eq!(line("live"), ["live", "0.92", "0.79–1.1", "0.55", "0.020", "0.11", "0.20", "0.040", "0"]);
    for interval_s in INTERVALS_S {
        line(&super::words::seconds(interval_s));
    }
    assert_eq!(text.trim_end().split("\n\n").last(), Some(report.recommendation.sentence.as_str()));
}

#[test]
fn the_table_says_what_was_simulated() {
    let text = print::table(&week());
    let said = [
        "source    /var/lib/rgsd\n",
        "time      2026-02-01T00:00:00Z to 2026-02-08T00:00:00Z (7d)\n",
        "network   12,345 nodes, 50,808 channels, 1,234,567 policies\n",
        "payments  20,000 at each interval, of 1,000, 10,000, 100,000 and 1,000,000 sat; 12 more had no route\n",
        "grace     an older fee is honoured by 90 % of nodes not at all and 10 % for 10m\n",
        "gossip    takes 2m 7s on average, as recorded (seed 1)\n",
    ];
    said.into_iter().for_each(|line| assert!(text.contains(line), "{line}{text}"));
}

#[test]
fn causes_that_never_happened_have_no_column() {
    let text = print::table(&week());
    assert!(text.contains("incorrect_cltv_expiry") && !text.contains("amount_below_minimum"), "{text}");
    let text = print::table(&all_causes());
    Cause::ALL.into_iter().for_each(|cause| assert!(text.contains(cause.name()), "{text}"));
    let widest = text.split("\n\n").nth(1).unwrap().lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(118), "{text}");
}

#[test]
fn the_chart_tells_all_of_it() {
    let report = week();
    let labels: Vec<String> = labels(&svg(&report)).into_iter().map(|label| label.words).collect();
    let intervals = INTERVALS_S.map(super::words::seconds);
    let others = ["fee_insufficient", "no_route", "95 % confidence", "live: 0.92 %", "full snapshots", "with deltas"];
    let axes = ["recommended", "sync interval", "time (UTC)", "5m: 0.64 % on average", "695 MB", "2026-02-04"];
    for words in intervals.iter().map(String::as_str).chain(others).chain(axes) {
        assert!(labels.iter().any(|label| label == words), "{words}: {labels:?}");
    }
    assert!(labels.join(" ").contains(&report.recommendation.sentence), "{labels:?}");
    assert!(!labels.iter().any(|label| label == "amount_below_minimum"), "{labels:?}");
}

#[test]
fn no_words_of_a_chart_lie_over_others() {
    let one = Report { intervals: week().intervals.into_iter().take(1).collect(), ..week() };
    for report in [week(), all_causes(), nothing_fails(), everything_fails(), one, many(2), many(12), many(40)] {
        let labels = labels(&svg(&report));
        for (n, a) in labels.iter().enumerate() {
            assert!(a.x[0] >= 0.0 && a.x[1] <= 1200.0 && a.y[0] >= 0.0 && a.y[1] <= 900.0, "{a:?}");
            let apart = |a: [f64; 2], b: [f64; 2]| a[1] <= b[0] || b[1] <= a[0];
            let over = labels.iter().skip(n + 1).find(|b| !apart(a.x, b.x) && !apart(a.y, b.y));
            assert!(over.is_none(), "{a:?} and {over:?}");
        }
    }
}

#[test]
fn a_png_is_a_picture_twice_as_dense() {
    let png = drawn(&week(), "chart.PNG");
    assert_eq!(png.get(..8), Some(b"\x89PNG\r\n\x1a\n".as_slice()));
    assert_eq!(png.get(16..24), Some([2400_u32, 1800].map(u32::to_be_bytes).concat().as_slice()));
    // Rows are told as differences: a blank picture would be zeros.
    let (mut packed, mut rest) = (Vec::new(), &png[8..]);
    while let Some((size, after)) = rest.split_first_chunk::<4>() {
        let (kind, body) = after.split_at(4);
        let (body, next) = body.split_at(u32::from_be_bytes(*size) as usize);
        if kind == b"IDAT" {
            packed.extend_from_slice(body);
        }
        rest = &next[4..];
    }
    let mut rows = Vec::new();
    flate2::read::ZlibDecoder::new(packed.as_slice()).read_to_end(&mut rows).unwrap();
    assert_eq!(rows.len(), (2400 * 3 + 1) * 1800);
    let differences = rows.iter().filter(|byte| **byte != 0).count();
    assert!(differences > 100_000, "{differences}");
}

#[test]
fn the_same_report_gives_the_same_bytes() {
    for name in ["chart.svg", "chart.png"] {
        assert!(drawn(&week(), name) == drawn(&week(), name), "{name}");
        assert!(drawn(&week(), name) != drawn(&all_causes(), name), "{name}");
    }
}

#[test]
fn a_chart_replaces_the_one_before_or_leaves_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("chart.svg");
    fs::write(&file, "before").unwrap();
    chart::draw(&week(), &file).unwrap();
    assert!(fs::read_to_string(&file).unwrap().starts_with("<svg"));
    for (name, why) in [("chart.jpg", "an .svg or a .png"), ("chart", "an .svg"), ("none/chart.png", "cannot write")]
    {
        let file = dir.path().join(name);
        let said = format!("{:#}", chart::draw(&week(), &file).unwrap_err());
        assert!(said.contains(&*file.to_string_lossy()) && said.contains(why), "{said}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

/// What no simulation should come to, among what it may.
fn any_number() -> impl Strategy<Value = f64> {
    let odd =
        select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, -0.0, 0.0, 1e-300, 0.5, 1.0, 1e21, 1e300]);
    prop_oneof![odd, 0.0..1.0_f64, 0.0..1e10_f64]
}

fn any_outcome() -> impl Strategy<Value = Outcome> {
    let count = || prop_oneof![select(vec![0, 1, u32::MAX]), 0..30_000_u32];
    let counts = prop::collection::vec(count(), Cause::ALL.len());
    (count(), counts, any_number(), any_number(), any_number()).prop_map(|(payments, counts, rate, low, high)| {
        Outcome {
            payments,
            succeeded: 0,
            failed: Cause::ALL.into_iter().map(Cause::name).zip(counts).collect(),
            failure_rate: rate,
            confidence: [low, high],
            by_amount: Vec::new(),
        }
    })
}

fn any_row() -> impl Strategy<Value = Row> {
    let interval = prop_oneof![select(vec![0, 1, 3_600, u64::MAX]), 1..100_000_u64];
    let at = prop_oneof![select(vec![0, FROM_S, u32::MAX]), any::<u32>()];
    let over_time = prop::collection::vec((at, any_number()), 0..4);
    let costs = [any_number(), any_number(), any_number(), any_number()];
    (interval, any_outcome(), any_number(), over_time, costs).prop_map(
        |(interval_s, outcome, mean, over_time, costs)| Row {
            interval_s,
            outcome,
            stale_fees: StaleFees { mean, over_time },
            cost: CostRow {
                requests_a_wallet_a_day: costs[0],
                full_bytes_a_wallet_a_day: costs[1],
                delta_bytes_a_wallet_a_day: costs[2],
                server_cpu_s_an_hour: costs[3],
            },
        },
    )
}

fn any_report() -> impl Strategy<Value = Report> {
    let rows = prop::collection::vec(any_row(), 0..16);
    (rows, any_outcome(), any_number(), ".{0,300}", any::<prop::sample::Index>()).prop_map(
        |(intervals, live, propagation_mean_s, sentence, chosen)| {
            let mut report = week();
            let interval_s = intervals.get(chosen.index(16)).map_or(0, |row| row.interval_s);
            report.recommendation = Recommendation { interval_s, sentence, ..report.recommendation };
            report.model.propagation_mean_s = propagation_mean_s;
            Report { live, intervals, ..report }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_numbers_are_a_report_is_shown(report in any_report()) {
        prop_assert!(print::table(&report).contains(&report.recommendation.sentence));
        prop_assert!(svg(&report).ends_with("</svg>\n"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_numbers_are_a_picture_is_drawn(report in any_report()) {
        let png = drawn(&report, "chart.png");
        prop_assert_eq!(png.get(1..4), Some(b"PNG".as_slice()));
    }
}
