//! The report for people who read it in a terminal.

use super::words;
use crate::staleness::Cause;
use crate::staleness::report::{Outcome, Report, Row, percent};
use crate::text::{columns, grouped};

/// All of it: what was simulated, a table with a line for each interval, and which one to take. Its lines are at most 118
/// characters long, but for the sources' names and the last.
pub(super) fn table(report: &Report) -> String {
    let outcomes = report.intervals.iter().map(|row| &row.outcome).chain([&report.live]);
    let causes = words::causes(outcomes);
    let mut text = String::new();
    for (what, said) in facts(report) {
        text += &format!("{what:<10}{said}\n");
    }
    let mut rows = vec![header(&causes), line("live", &report.live, &causes, None)];
    let interval = |row: &Row| line(&words::seconds(row.interval_s), &row.outcome, &causes, Some(row));
    rows.extend(report.intervals.iter().map(interval));
    text += &format!("\n{}\n\n", columns(rows));
    text += &columns(notes(&causes).map(|(what, said)| vec![format!("{what:<9} {said}")]));
    text += &format!("\n\n{}\n", report.recommendation.sentence);
    text
}

fn facts(report: &Report) -> Vec<(&'static str, String)> {
    let model = &report.model;
    let given_up = match model.given_up {
        0 => String::new(),
        some => format!("; {} more had no route", grouped(some as usize)),
    };
    let facts = [
        ("source", report.sources.join(", ")),
        ("time", words::span(model)),
        (
            "network",
            format!(
                "{} nodes, {} channels, {} policies",
                grouped(model.nodes),
                grouped(model.channels),
                grouped(model.policies)
            ),
        ),
        (
            "payments",
            format!(
                "{} at each interval, of {}{given_up}",
                grouped(model.payments as usize),
                words::amounts(&model.amounts_sat)
            ),
        ),
        ("grace", format!("an older fee is honoured by {}", words::grace(model))),
        ("gossip", format!("takes {} (seed {})", words::gossip(model), model.seed)),
    ];
    facts.into_iter().chain(words::left_out(model).map(|said| ("left out", said))).collect()
}

fn header(causes: &[Cause]) -> Vec<String> {
    let first = ["sync\nevery", "fails\n%", "95 % sure\n%"];
    let last = ["stale\nfees %", "full\na day", "deltas\na day", "requests\na day", "CPU s\nan hour"];
    let causes = causes.iter().map(|cause| format!("{}\n%", told(*cause).0));
    first.map(str::to_owned).into_iter().chain(causes).chain(last.map(str::to_owned)).collect()
}

fn line(name: &str, outcome: &Outcome, causes: &[Cause], row: Option<&Row>) -> Vec<String> {
    let [low, high] = outcome.confidence.map(number);
    let mut line = vec![name.to_owned(), number(outcome.failure_rate), format!("{low}–{high}")];
    line.extend(causes.iter().map(|cause| number(words::share(outcome, *cause))));
    if let Some(Row { stale_fees, cost, .. }) = row {
        line.extend([
            number(stale_fees.mean),
            words::bytes(cost.full_bytes_a_wallet_a_day),
            words::bytes(cost.delta_bytes_a_wallet_a_day),
            words::short(cost.requests_a_wallet_a_day),
            words::short(cost.server_cpu_s_an_hour),
        ]);
    }
    line
}

/// In hundredths, without the sign.
fn number(share: f64) -> String {
    percent(share).trim_end_matches(" %").to_owned()
}

/// What the columns mean that do not say so themselves.
fn notes(causes: &[Cause]) -> impl Iterator<Item = (&'static str, String)> {
    let causes = causes.iter().map(|cause| {
        let (what, why) = told(*cause);
        (what, format!("{}: {why}", cause.name()))
    });
    let live = ("live", "wallets that know all that the server knows: only gossip's own way is left".to_owned());
    let stale = ("stale", "the share of capacity whose fee as told is below the one in force, on average".to_owned());
    let cost = ("full …", "what a wallet fetches, and how long the server computes".to_owned());
    [live].into_iter().chain(causes).chain([stale, cost])
}

/// A cause in a word, for a narrow column, and what happened.
fn told(cause: Cause) -> (&'static str, &'static str) {
    match cause {
        Cause::FeeInsufficient => ("fee", "a node asks for more than the wallet was told"),
        Cause::IncorrectCltvExpiry => ("cltv", "a node asks for more blocks"),
        Cause::AmountBelowMinimum => ("min", "a node forwards no amount as small"),
        Cause::TemporaryChannelFailure => ("max", "a node forwards no amount as large"),
        Cause::ChannelDisabled => ("off", "a node has disabled the direction"),
        Cause::UnknownNextPeer => ("closed", "the channel is closed"),
        Cause::NoRoute => ("none", "the wallet knows no way to the payee"),
    }
}
