//! `rgsd tune`: what is asked, and how it is written.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::TermOptions;
use crate::recording;
use crate::replay::times;

pub(super) const HELP: &str = "\
Without a recording and --journal, it reads the journal of the configured service (rgsd.toml, RGSD_DATA_DIR), which may be
running.

At an interval, the server cuts an epoch that often, and wallets fetch it that often, each in a rhythm of its own: what a
wallet goes by is one interval old on average, and what the server knows is as old as gossip's way to it. Wallets find
routes with LDK's router and its default scorer, without memory: one path, or parts where no path takes the whole amount.
A payment is tried once, and each hop is held against what its node charged then. Channels' balances are not known to
gossip, and no payment fails for them. docs/tuning.md has all that is assumed, and why.

Stale fees: the share of directions, by capacity, whose fee as a wallet knows it is below the one in force.

--json: sources, model, live, intervals (interval_s, payments, succeeded, failed by cause, failure_rate, confidence,
by_amount, stale_fees, cost) and recommendation (interval_s, benefit, full_bytes_share, delta_bytes_share, sentence).

The same journal, flags and seed give the same figures, but for the server's time of work, which is measured.";

/// `rgsd tune`.
#[derive(Args, Clone, Debug)]
pub struct TuneOptions {
    /// gossip_store, GSP and GOSSMAP_COMPRESSv1 files, compressed or not; - is standard input
    #[arg(value_name = "RECORDING")]
    pub recordings: Vec<recording::Source>,
    /// The data_dir of a service, whose journal is read beside it
    #[arg(long, value_name = "DIR", conflicts_with = "recordings")]
    pub journal: Option<PathBuf>,
    /// How often wallets sync
    #[arg(long, value_name = "TIMES", value_delimiter = ',', value_parser = parse_interval,
          default_value = "10s,1m,5m,10m,30m,1h,3h,6h,24h")]
    pub intervals: Vec<Duration>,
    /// How many payments to simulate, the same at each interval
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub payments: u32,
    /// What is paid, by turns: 10k and 1M are thousands and millions, and "sat" may follow
    #[arg(long, value_name = "SAT", value_delimiter = ',', value_parser = parse_amount, default_value = "10k,100k,1M")]
    pub amounts: Vec<u64>,
    /// For how long nodes honour the fee before a change: a time for all, or times with the weights of the nodes that
    /// have them, such as 0s:9,10m:1
    #[arg(long, value_name = "TIMES", value_delimiter = ',', value_parser = parse_grace, default_value = "0s:9,10m:1")]
    pub grace: Vec<(Duration, u32)>,
    /// How long gossip takes to reach the server on average, where that is not recorded, or cannot be right (over 1h)
    #[arg(long, value_name = "TIME", value_parser = parse_propagation, default_value = "2m")]
    pub propagation: Duration,
    /// What chance begins with
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Look at what was from this time on: unix seconds or 2026-02-03T12:00:00Z [default: the last seven days]
    #[arg(long, value_name = "TIME", value_parser = times::parse)]
    pub from: Option<u32>,
    /// Look at what was up to this time [default: the end]
    #[arg(long, value_name = "TIME", value_parser = times::parse)]
    pub to: Option<u32>,
    /// Where the charts go: tune.svg and tune.png
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub terms: TermOptions,
}

/// Reads how often. After two weeks, a wallet has forgotten everything.
fn parse_interval(text: &str) -> Result<Duration, String> {
    let interval = times::parse_every(text.trim())?;
    if interval > Duration::from_secs(14 * 24 * 3600) { Err("expected at most 14d".to_owned()) } else { Ok(interval) }
}

/// Reads an amount in sat. The most is what there will ever be.
fn parse_amount(text: &str) -> Result<u64, String> {
    const MOST_SAT: u64 = 21_000_000 * 100_000_000;
    let expected = "expected an amount in sat, such as 10k, 250000 or 1M";
    let bare = text.trim().trim_end_matches("sat").trim_end();
    let (number, factor) = match bare.as_bytes().last() {
        Some(b'k' | b'K') => (&bare[..bare.len() - 1], 1_000),
        Some(b'm' | b'M') => (&bare[..bare.len() - 1], 1_000_000),
        _ => (bare, 1),
    };
    let amount = number.trim().parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    amount.filter(|amount| (1..=MOST_SAT).contains(amount)).ok_or_else(|| expected.to_owned())
}

/// Reads a time that nodes grant, and how many of them.
fn parse_grace(text: &str) -> Result<(Duration, u32), String> {
    let expected = "expected a time such as 10m, none, or one with a weight such as 10m:1";
    let (time, weight) = text.split_once(':').unwrap_or((text, "1"));
    let time = match time.trim() {
        "none" | "0" => Duration::ZERO,
        time => humantime::parse_duration(time).map_err(|error| format!("{expected} ({error})"))?,
    };
    let weight = weight.trim().parse().map_err(|_| format!("{expected}: a weight is a whole number"))?;
    Ok((time, weight))
}

fn parse_propagation(text: &str) -> Result<Duration, String> {
    let expected = "expected a time of at most 1h, such as 2m";
    let time = humantime::parse_duration(text).map_err(|error| format!("{expected} ({error})"))?;
    if time > Duration::from_secs(3600) { Err(expected.to_owned()) } else { Ok(time) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_people_write_them() {
        for (text, sat) in [("10k", 10_000), ("1M sat", 1_000_000), ("250000", 250_000), (" 2 k sat", 2_000)] {
            assert_eq!(parse_amount(text), Ok(sat), "{text}");
        }
        for text in ["", "0", "-1", "1.5k", "k", "sat", "21000001M00", "99999999999999M", "1BTC", "1µ"] {
            assert!(parse_amount(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_grace_has_a_time_and_may_have_a_weight() {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        for (text, read) in [("10m", (minutes(10), 1)), ("none:9", (minutes(0), 9)), ("0s:0", (minutes(0), 0))] {
            assert_eq!(parse_grace(text), Ok(read), "{text}");
        }
        for text in ["", "10", "10m:", "10m:x", "soon", "10m:-1"] {
            assert!(parse_grace(text).is_err(), "{text}");
        }
        assert!(parse_propagation("61m").is_err());
        assert!(parse_interval("15d").is_err() && parse_interval("100000000000y").is_err());
    }
}
