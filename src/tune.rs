//! `rgsd tune`: which sync interval stops `fee_insufficient`, and what it costs; from a journal, beside its running
//! service, or from recordings. The figures are [`staleness`](crate::staleness)'s; this reads what they are made from, and
//! shows them.

mod chart;
mod print;
mod source;
#[cfg(test)]
mod tests;
mod words;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bitcoin::Network;
use tokio_util::sync::CancellationToken;

use self::source::Told;
use crate::cli;
use crate::cli::TuneOptions;
use crate::config;
use crate::gossip::{Clock, SystemClock, UnixMs};
use crate::replay::{INTERRUPTED, Progress, patience};
use crate::serve::stop_on_signals;
use crate::staleness::report::{Findings, Report};
use crate::staleness::{Drift, Grace, Meter, Question, Watcher, simulate};
use crate::text::{self, rfc_3339};

/// Without `--from`, so much of the end is looked at: a week has every day of the week once.
const LOOKED_AT: Duration = Duration::from_secs(7 * 24 * 3600);
/// An interval needs a time to look at that is so many times as long: a wallet's knowledge is up to two intervals old, and
/// payments are made in the rest.
const TIMES_AN_INTERVAL: u32 = 4;

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    pub network: Network,
    /// Ascending, each once; at least one.
    pub intervals: Vec<Duration>,
    pub payments: u32,
    /// At least one.
    pub amounts_sat: Vec<u64>,
    pub grace: Grace,
    /// What gossip's way takes on average, where that is not recorded.
    pub propagation: Duration,
    pub seed: u64,
    /// In unix seconds.
    pub from: Option<u32>,
    pub to: Option<u32>,
    /// The directory for the charts.
    pub out: PathBuf,
}

/// Answers, on standard output and in two charts.
pub async fn run(options: TuneOptions) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    stop_on_signals(stop.clone())?;
    let json = options.json;
    let asked = options.asked()?;
    let charts = ["svg", "png"].map(|kind| asked.out.join(format!("tune.{kind}")));
    ensure_writable(&asked.out)?;
    let stopped = stop.clone();
    let work = tokio::task::spawn_blocking(move || answer(&options, &asked, stopped));
    let report = tokio::select! {
        report = work => report.context("the simulation failed")??,
        // Standard input may be silent for ever.
        () = patience(stop) => bail!(INTERRUPTED),
    };
    for chart in &charts {
        chart::draw(&report, chart)?;
    }
    if json {
        return cli::print(&(serde_json::to_string_pretty(&report)? + "\n"));
    }
    let drawn = charts.map(|chart| chart.display().to_string()).join(" and ");
    cli::print(&format!("{}\nDrawn in {drawn}.\n", print::table(&report)))
}

/// Whoever waits for minutes should not hear only then that there is no room for the charts.
fn ensure_writable(out: &Path) -> anyhow::Result<()> {
    let tried = tempfile::tempfile_in(out);
    tried.with_context(|| format!("cannot write charts to {}: name another directory with --out", out.display()))?;
    Ok(())
}

fn answer(options: &TuneOptions, asked: &Asked, stop: CancellationToken) -> anyhow::Result<Report> {
    let progress = Progress::new(stop);
    let now_s = SystemClock.now().secs();
    let opened = source::open(options, asked, &progress)?;
    let (begin, end) = opened.span();
    let mut meter = Meter::new((begin, asked.until(end)), &asked.intervals, options.terms.graph);
    let Told { names, past, propagation, span } = opened.read(asked, &mut meter, &progress)?;
    let Fitting { span, intervals, left_out } = fit(asked, past.complete_from(), span)?;
    let question = Question {
        network: asked.network,
        span,
        intervals,
        payments: asked.payments,
        amounts_sat: asked.amounts_sat.clone(),
        grace: asked.grace.clone(),
        seed: asked.seed,
    };
    let costs = meter.finish(asked.network, now_s, source::cpu_time)?;
    let simulated = simulate(&past, &question, now_s, &progress)?;
    progress.end();
    ensure!(
        simulated.given_up < question.payments,
        "no payment of {} finds a route in {}: name others with --amounts",
        words::amounts(&question.amounts_sat),
        names.join(", ")
    );
    let drift = Drift::of(&past, question.span, &question.intervals);
    let (past, question, simulated, drift) = (&past, &question, &simulated, &drift);
    let findings = Findings {
        sources: names,
        past,
        propagation,
        question,
        left_out: &left_out,
        simulated,
        drift,
        costs: &costs,
    };
    Report::of(findings).context("there is no interval")
}

/// The time to look at, the intervals that fit in it, and those that are too long.
struct Fitting {
    span: (UnixMs, UnixMs),
    intervals: Vec<Duration>,
    left_out: Vec<Duration>,
}

fn fit(asked: &Asked, complete_from: Option<UnixMs>, told: (UnixMs, UnixMs)) -> anyhow::Result<Fitting> {
    let complete =
        complete_from.context("no channel is known in both directions: there is nothing to pay through")?;
    let to = asked.until(told.1);
    let from = asked.since(told.1).max(complete);
    let known = format!("the network is known from {} to {}", rfc_3339(complete.secs()), rfc_3339(told.1.secs()));
    ensure!(from < to, "{known}: there is nothing to look at with these --from and --to");
    let whole = to.since(from);
    let (intervals, left_out): (Vec<_>, Vec<_>) =
        asked.intervals.iter().partition(|interval| **interval * TIMES_AN_INTERVAL <= whole);
    ensure!(
        !intervals.is_empty(),
        "what is known and looked at is from {} to {}, and the shortest interval, {}, needs {}",
        rfc_3339(from.secs()),
        rfc_3339(to.secs()),
        text::time(asked.intervals[0]), // there is one
        text::time(asked.intervals[0] * TIMES_AN_INTERVAL)
    );
    Ok(Fitting { span: (from, to), intervals, left_out })
}

fn ms(seconds: u32) -> UnixMs {
    UnixMs(u64::from(seconds) * 1_000)
}

impl Asked {
    /// From when on it is looked at, of what was told until `end`.
    fn since(&self, end: UnixMs) -> UnixMs {
        let week = UnixMs(self.until(end).0.saturating_sub(LOOKED_AT.as_millis() as u64));
        self.from.map_or(week, ms)
    }

    /// Up to when to look at what ends at `end`.
    fn until(&self, end: UnixMs) -> UnixMs {
        self.to.map_or(end, |to| ms(to).min(end))
    }
}

impl Watcher for Progress {
    fn begins(&self, steps: usize) {
        self.working("simulating", steps);
    }

    fn step(&self) -> bool {
        self.told(1);
        !self.is_interrupted()
    }
}

impl TuneOptions {
    /// What the flags mean.
    fn asked(&self) -> anyhow::Result<Asked> {
        let mut intervals = self.intervals.clone();
        intervals.sort_unstable();
        intervals.dedup();
        let grace = Grace::new(self.grace.clone()).context("--grace: no node would have any of these times")?;
        if let (Some(from), Some(to)) = (self.from, self.to) {
            ensure!(from < to, "--to {} is not after --from {}", rfc_3339(to), rfc_3339(from));
        }
        Ok(Asked {
            network: self.terms.network,
            intervals,
            payments: self.payments,
            amounts_sat: self.amounts.clone(),
            grace,
            propagation: self.propagation,
            seed: self.seed,
            from: self.from,
            to: self.to,
            out: self.out.clone(),
        })
    }

    /// The journal to read: the named one or, where nothing is named, that of the configured service.
    fn journal(&self) -> anyhow::Result<Option<PathBuf>> {
        match (&self.journal, self.recordings.is_empty()) {
            (Some(data_dir), _) => Ok(Some(data_dir.clone())),
            (None, true) => Ok(Some(config::load(&config::Flags::default())?.config.data_dir)),
            (None, false) => Ok(None),
        }
    }
}
