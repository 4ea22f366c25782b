//! What `rgsd tune` answers, in one value: for each interval how many payments fail and why, how stale fees are, and what it
//! costs; and which interval to take.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::cost::Cost;
use super::drift::Drift;
use super::past::{Past, Propagation};
use super::simulate::{Fates, Question, Simulated};
use super::trial::Cause;
use crate::text::{self, rfc_3339};

/// The interval that is recommended keeps at least this much of what the shortest one brings.
const ENOUGH: f64 = 0.95;
/// Two-sided 95 %, in standard deviations.
const Z: f64 = 1.959_964;

/// See the module's head.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Report {
    /// What was read.
    pub sources: Vec<String>,
    pub model: Model,
    /// Of wallets that know all that the server knows: what gossip's own way alone fails.
    pub live: Outcome,
    /// The shortest first.
    pub intervals: Vec<Row>,
    pub recommendation: Recommendation,
}

/// What was simulated, and from what.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Model {
    /// RFC 3339.
    pub from: String,
    pub to: String,
    pub nodes: usize,
    pub channels: usize,
    /// Policies that were other than the ones before; keep-alives are none.
    pub policies: usize,
    /// At each interval.
    pub payments: u32,
    /// Payments for which no route was found whatever their ends, and which are not among those.
    pub given_up: u32,
    pub amounts_sat: Vec<u64>,
    /// For how long nodes honour the fee before: how many seconds, and which share of the nodes.
    pub grace: Vec<GraceShare>,
    /// Whether it is known when updates came to the server; else their way is drawn, so many seconds long on average.
    pub propagation_recorded: bool,
    pub propagation_mean_s: f64,
    pub seed: u64,
    /// Intervals that are too long for so short a time.
    pub left_out_s: Vec<u64>,
}

#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct GraceShare {
    pub seconds: u64,
    pub share: f64,
}

/// One interval.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Row {
    pub interval_s: u64,
    #[serde(flatten)]
    pub outcome: Outcome,
    pub stale_fees: StaleFees,
    pub cost: CostRow,
}

/// What became of payments at the first try.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Outcome {
    pub payments: u32,
    pub succeeded: u32,
    /// By cause; all causes are there.
    pub failed: BTreeMap<&'static str, u32>,
    /// The share of all that failed, and its 95 % confidence interval (Wilson's); from 0 to 1.
    pub failure_rate: f64,
    pub confidence: [f64; 2],
    /// The share that failed of each amount.
    pub by_amount: Vec<AmountOutcome>,
}

#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct AmountOutcome {
    pub amount_sat: u64,
    pub payments: u32,
    pub failure_rate: f64,
}

/// The capacity-weighted share of directions whose fee as it was told is below the one in force; from 0 to 1.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct StaleFees {
    pub mean: f64,
    /// By time (unix seconds), in order.
    pub over_time: Vec<(u32, f64)>,
}

/// See [`Cost`].
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct CostRow {
    pub requests_a_wallet_a_day: f64,
    pub full_bytes_a_wallet_a_day: f64,
    pub delta_bytes_a_wallet_a_day: f64,
    pub server_cpu_s_an_hour: f64,
}

/// Which interval to take.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Recommendation {
    pub interval_s: u64,
    /// How much of what the shortest interval saves, beside the longest, this one saves; `None` where neither is told from
    /// the other by so many payments.
    pub benefit: Option<f64>,
    /// Of what the shortest one costs in bytes.
    pub full_bytes_share: f64,
    pub delta_bytes_share: f64,
    pub sentence: String,
}

/// What a report is made of.
pub struct Findings<'a> {
    pub sources: Vec<String>,
    pub past: &'a Past,
    pub propagation: Propagation,
    /// Its intervals ascend.
    pub question: &'a Question,
    /// Intervals that are too long for the question's time.
    pub left_out: &'a [Duration],
    pub simulated: &'a Simulated,
    pub drift: &'a Drift,
    pub costs: &'a [Cost],
}

impl Report {
    /// Of at least one interval.
    pub fn of(findings: Findings<'_>) -> Option<Self> {
        let Findings { question, simulated, drift, costs, .. } = &findings;
        let rows = question.intervals.iter().zip(&simulated.intervals).zip(costs.iter()).enumerate();
        let row = |(n, ((interval, fates), cost)): (usize, ((&Duration, &Vec<Fates>), &Cost))| Row {
            interval_s: interval.as_secs(),
            outcome: Outcome::of(fates, &question.amounts_sat),
            stale_fees: StaleFees::of(drift, n),
            cost: CostRow::of(cost),
        };
        let intervals: Vec<Row> = rows.map(row).collect();
        Some(Self {
            recommendation: Recommendation::of(&intervals)?,
            live: Outcome::of(&simulated.live, &question.amounts_sat),
            intervals,
            model: Model::of(&findings),
            sources: findings.sources,
        })
    }
}

impl Model {
    fn of(findings: &Findings<'_>) -> Self {
        let Findings { past, propagation, question, left_out, simulated, .. } = findings;
        let grace = question.grace.choices();
        let total: f64 = grace.iter().map(|(_, weight)| f64::from(*weight)).sum();
        let share = |(time, weight): &(Duration, u32)| GraceShare {
            seconds: time.as_secs(),
            share: f64::from(*weight) / total,
        };
        Self {
            from: rfc_3339(question.span.0.secs()),
            to: rfc_3339(question.span.1.secs()),
            nodes: past.nodes().len(),
            channels: past.channels().len(),
            policies: past.versions(),
            payments: question.payments - simulated.given_up,
            given_up: simulated.given_up,
            amounts_sat: question.amounts_sat.clone(),
            grace: grace.iter().map(share).collect(),
            propagation_recorded: propagation.recorded,
            propagation_mean_s: past.mean_way(question.span).unwrap_or(propagation.mean).as_secs_f64(),
            seed: question.seed,
            left_out_s: left_out.iter().map(Duration::as_secs).collect(),
        }
    }
}

impl Outcome {
    fn of(by_amount: &[Fates], amounts_sat: &[u64]) -> Self {
        let sum = |of: &dyn Fn(&Fates) -> u32| by_amount.iter().map(of).sum::<u32>();
        let (payments, failed) = (sum(&Fates::all), sum(&Fates::failed));
        let by_amount = amounts_sat.iter().zip(by_amount).map(|(amount_sat, fates)| AmountOutcome {
            amount_sat: *amount_sat,
            payments: fates.all(),
            failure_rate: rate(fates.failed(), fates.all()),
        });
        Self {
            payments,
            succeeded: payments - failed,
            failed: Cause::ALL.iter().map(|cause| (cause.name(), sum(&|fates| fates.of(*cause)))).collect(),
            failure_rate: rate(failed, payments),
            confidence: wilson(failed, payments),
            by_amount: by_amount.collect(),
        }
    }
}

impl StaleFees {
    fn of(drift: &Drift, interval: usize) -> Self {
        let shares = drift.shares.get(interval).into_iter().flatten();
        let over_time = drift.looks.iter().zip(shares).map(|(at, share)| (at.secs(), share.value()));
        Self { mean: drift.mean(interval), over_time: over_time.collect() }
    }
}

impl CostRow {
    fn of(cost: &Cost) -> Self {
        Self {
            requests_a_wallet_a_day: cost.requests_a_day,
            full_bytes_a_wallet_a_day: cost.full_bytes_a_day,
            delta_bytes_a_wallet_a_day: cost.delta_bytes_a_day,
            server_cpu_s_an_hour: cost.cpu_s_an_hour,
        }
    }
}

impl Recommendation {
    /// The longest interval that keeps most of the benefit of the shortest one. `None` if there are no rows.
    pub fn of(rows: &[Row]) -> Option<Self> {
        let (shortest, longest) = (rows.first()?, rows.last()?);
        let saved = longest.outcome.failure_rate - shortest.outcome.failure_rate;
        let is_told = shortest.outcome.confidence[1] < longest.outcome.confidence[0];
        let benefit = |row: &Row| (longest.outcome.failure_rate - row.outcome.failure_rate) / saved;
        let row = if is_told { rows.iter().rev().find(|row| benefit(row) >= ENOUGH)? } else { longest };
        let share = |of: &dyn Fn(&CostRow) -> f64| of(&row.cost) / of(&shortest.cost);
        let mut this = Self {
            interval_s: row.interval_s,
            benefit: is_told.then(|| benefit(row)),
            full_bytes_share: share(&|cost| cost.full_bytes_a_wallet_a_day),
            delta_bytes_share: share(&|cost| cost.delta_bytes_a_wallet_a_day),
            sentence: String::new(),
        };
        this.sentence = this.say(shortest, longest, row);
        Some(this)
    }

    fn say(&self, shortest: &Row, longest: &Row, row: &Row) -> String {
        let [short, long, this] = [shortest, longest, row].map(|row| text::time(Duration::from_secs(row.interval_s)));
        let [short_fails, long_fails, this_fails] =
            [shortest, longest, row].map(|row| percent(row.outcome.failure_rate));
        if shortest.interval_s == longest.interval_s {
            return format!("{this}: {this_fails} of payments fail; name more --intervals to compare it with");
        }
        let payments = text::grouped(row.outcome.payments as usize);
        if longest.outcome.succeeded == longest.outcome.payments {
            return format!(
                "{long}: none of {payments} payments fails even there; take more --payments or, if what was read is of one \
                 moment, what changed after it"
            );
        }
        let Some(benefit) = self.benefit else {
            return format!(
                "{long}: {payments} payments do not tell it from {short} ({long_fails} of them fail; {short_fails} at {short}); \
                 with more --payments it may be another"
            );
        };
        if row.interval_s == shortest.interval_s {
            return format!(
                "{this}: every longer interval loses over 5 % of its benefit ({this_fails} of payments fail; {long_fails} at {long})"
            );
        }
        format!(
            "{this}: {} of the benefit of {short} at {} of its bytes and requests, with deltas {} of its bytes ({this_fails} of \
             payments fail; {short_fails} at {short}, {long_fails} at {long})",
            percent(benefit.min(1.0)), // beyond that is chance
            percent(self.full_bytes_share),
            percent(self.delta_bytes_share)
        )
    }
}

/// A share as people read it: with as many digits as it needs.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let digits = match percent.abs() {
        0.0 => 0,
        small if small < 0.1 => 3,
        small if small < 1.0 => 2,
        small if small < 9.95 => 1,
        _ => 0,
    };
    format!("{percent:.digits$} %")
}

fn rate(of: u32, all: u32) -> f64 {
    if all == 0 { 0.0 } else { f64::from(of) / f64::from(all) }
}

/// Wilson's score interval: it also holds for rates near 0 and 1, where others leave the range.
fn wilson(of: u32, all: u32) -> [f64; 2] {
    if all == 0 {
        return [0.0, 1.0];
    }
    let (n, p) = (f64::from(all), rate(of, all));
    let centre = p + Z * Z / (2.0 * n);
    let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let whole = 1.0 + Z * Z / n;
    [((centre - half) / whole).max(0.0), ((centre + half) / whole).min(1.0)]
}

#[cfg(test)]
mod tests;
