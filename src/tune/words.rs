//! What the table and the chart both say of a report: its intervals, causes, sizes, and what was simulated.

use std::time::Duration;

use crate::staleness::Cause;
use crate::staleness::report::{GraceShare, Model, Outcome, percent};
use crate::text::{grouped, time};

/// As `10s`, `1h`.
pub(super) fn seconds(seconds: u64) -> String {
    if seconds == 0 { "0s".to_owned() } else { time(Duration::from_secs(seconds)) }
}

/// The causes of which there is at least one failure.
pub(super) fn causes<'a>(outcomes: impl Iterator<Item = &'a Outcome> + Clone) -> Vec<Cause> {
    let is_there = |cause: &Cause| outcomes.clone().any(|outcome| failed(outcome, *cause) > 0);
    Cause::ALL.into_iter().filter(is_there).collect()
}

fn failed(outcome: &Outcome, cause: Cause) -> u32 {
    outcome.failed.get(cause.name()).copied().unwrap_or(0)
}

/// The share of payments that failed for this reason; from 0 to 1.
pub(super) fn share(outcome: &Outcome, cause: Cause) -> f64 {
    f64::from(failed(outcome, cause)) / f64::from(outcome.payments.max(1))
}

/// Bytes in the unit that leaves three digits; a thousand of one is one of the next.
pub(super) fn bytes(bytes: f64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let (mut number, mut unit) = (bytes, 0);
    while number >= 999.5 && unit + 1 < UNITS.len() {
        (number, unit) = (number / 1_000.0, unit + 1);
    }
    format!("{} {}", short(number), UNITS[unit])
}

/// A number with three digits, or as many as stand before its point.
pub(super) fn short(number: f64) -> String {
    match number.abs() {
        whole if whole.fract() == 0.0 && whole < 1e6 => grouped_f64(number),
        small if small < 0.000_5 => format!("{number:.1e}"),
        small if small < 0.099_5 => format!("{number:.3}"),
        small if small < 9.995 => format!("{number:.2}"),
        small if small < 99.95 => format!("{number:.1}"),
        small if small < 1e6 => grouped_f64(number),
        _ => format!("{number:.1e}"), // also what is no number
    }
}

fn grouped_f64(number: f64) -> String {
    let sign = if number < 0.0 { "-" } else { "" };
    format!("{sign}{}", grouped(number.abs().round() as usize))
}

/// `2026-02-01T00:00:00Z to 2026-02-08T00:00:00Z (7d)`.
pub(super) fn span(model: &Model) -> String {
    let ends = [&model.from, &model.to].map(|end| humantime::parse_rfc3339(end).ok());
    let long = match ends {
        [Some(from), Some(to)] => to.duration_since(from).ok(),
        _ => None,
    };
    let long = long.map(|long| format!(" ({})", seconds(rounded(long.as_secs())))).unwrap_or_default();
    format!("{} to {}{long}", model.from, model.to)
}

/// Seconds count for less the more there are.
fn rounded(seconds: u64) -> u64 {
    let step = match seconds {
        0..600 => 1,
        600..36_000 => 60,
        36_000..864_000 => 3_600,
        _ => 86_400,
    };
    seconds.saturating_add(step / 2) / step * step
}

/// `1,000, 10,000 and 100,000 sat`.
pub(super) fn amounts(sats: &[u64]) -> String {
    let sats: Vec<String> = sats.iter().map(|sat| grouped(*sat as usize)).collect();
    format!("{} sat", list(&sats))
}

/// `90 % of nodes not at all, 10 % for 10m`.
pub(super) fn grace(model: &Model) -> String {
    let share = |(n, grace): (usize, &GraceShare)| {
        let nodes = if n == 0 { " of nodes" } else { "" };
        let long =
            if grace.seconds == 0 { "not at all".to_owned() } else { format!("for {}", seconds(grace.seconds)) };
        format!("{}{nodes} {long}", percent(grace.share))
    };
    let shares: Vec<String> = model.grace.iter().enumerate().map(share).collect();
    list(&shares)
}

/// `2m 7s on average, as recorded`.
pub(super) fn gossip(model: &Model) -> String {
    let how = if model.propagation_recorded { "as recorded" } else { "drawn at random" };
    let mean = Duration::from_secs(rounded(model.propagation_mean_s.round() as u64)); // saturates
    format!("{} on average, {how}", humantime::format_duration(mean))
}

/// `3h and 24h: the time is too short for them`.
pub(super) fn left_out(model: &Model) -> Option<String> {
    let intervals: Vec<String> = model.left_out_s.iter().map(|interval_s| seconds(*interval_s)).collect();
    (!intervals.is_empty()).then(|| format!("{}: the time is too short", list(&intervals)))
}

/// With commas, and a last "and".
fn list(words: &[String]) -> String {
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => words.concat(),
    }
}
