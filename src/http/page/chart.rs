//! Small charts, as the numbers that SVG takes. What they show stands beside them in words.

use super::words::percent;
use crate::history::HourOfFees;
use crate::http::{RecentSnapshot, StaleFeeStatus};
use crate::text::{grouped, rfc_3339};

/// How high a chart is, in its own units; it is drawn as high as the page likes.
const HEIGHT: f64 = 100.0;
/// What is there at all is seen.
const LEAST: f64 = 2.0;

/// Fee changes by the hour.
pub(super) struct Bars {
    pub bars: Vec<Bar>,
    /// Of all of them.
    pub sum: String,
    /// The busiest hour.
    pub most: String,
    /// What the line in the middle stands for.
    pub half: String,
}

/// One hour.
pub(super) struct Bar {
    pub place: usize,
    pub top: String,
    pub height: String,
    /// `20:00`, in UTC.
    pub hour: String,
    pub machine: String,
    pub count: String,
    pub running: bool,
}

impl Bars {
    pub fn of(hours: &[HourOfFees]) -> Self {
        let most = hours.iter().map(|hour| hour.changes).max().unwrap_or(0);
        let last = hours.len().saturating_sub(1);
        let bar = |(place, hour): (usize, &HourOfFees)| {
            let height = match hour.changes {
                0 => 0.0,
                changes => (HEIGHT * f64::from(changes) / f64::from(most)).max(LEAST),
            };
            let machine = rfc_3339(hour.from);
            Bar {
                place,
                top: format!("{:.1}", HEIGHT - height),
                height: format!("{height:.1}"),
                hour: machine.get(11..16).unwrap_or_default().to_owned(),
                machine,
                count: grouped(hour.changes as usize),
                running: place == last,
            }
        };
        let sum: usize = hours.iter().map(|hour| hour.changes as usize).sum();
        Self {
            bars: hours.iter().enumerate().map(bar).collect(),
            sum: grouped(sum),
            most: grouped(most as usize),
            half: if most > 1 { grouped(most as usize / 2) } else { String::new() },
        }
    }
}

/// A change by less than this part of the whole looks as small as it is.
const PLAIN: usize = 25;

/// How the full snapshot grew.
pub(super) struct Line {
    /// `points` of a polyline, in a box of 100 by 100.
    pub points: String,
    pub least: String,
    pub most: String,
    pub count: usize,
}

impl Line {
    /// Nothing where there is no line yet.
    pub fn of(recent: &[RecentSnapshot]) -> Option<Self> {
        let sizes = || recent.iter().map(|snapshot| snapshot.v2_bytes);
        let (least, most) = (sizes().min()?, sizes().max()?);
        let steps = recent.len().checked_sub(1).filter(|steps| *steps > 0)?;
        let height = (most - least).max(most / PLAIN).max(1) as f64;
        let middle = (least + most) as f64 / 2.0;
        let point = |(place, size): (usize, usize)| {
            let x = 100.0 * place as f64 / steps as f64;
            let y = HEIGHT * (0.5 - 0.84 * (size as f64 - middle) / height);
            format!("{x:.1},{y:.1}")
        };
        let points: Vec<String> = sizes().enumerate().map(point).collect();
        Some(Self { points: points.join(" "), least: grouped(least), most: grouped(most), count: recent.len() })
    }
}

/// Less than this much of the network fills no bar.
const FULL_AT_LEAST: f64 = 0.05;
/// What is there at all is seen, in bars that are longer than high.
const LEAST_BAR: f64 = 0.5;

/// What wallets get wrong, by when they last synced.
pub(super) struct StaleFees {
    /// In a sentence.
    pub sentence: String,
    /// The freshest wallet's first.
    pub rows: Vec<StaleRow>,
    pub reference: String,
}

/// Of one wallet.
pub(super) struct StaleRow {
    pub wallet: &'static str,
    /// Nothing where that is not known.
    pub share: Option<String>,
    /// In per cent.
    pub width: String,
}

impl StaleFees {
    /// Nothing until something is known.
    pub fn of(status: &StaleFeeStatus) -> Option<Self> {
        let wallets = [
            ("of this server, now", "from this server", status.share),
            ("synced 1 h ago", "that synced an hour ago", status.of_age("1h")),
            ("synced 6 h ago", "that synced six hours ago", status.of_age("6h")),
            ("synced 24 h ago", "that synced yesterday", status.of_age("24h")),
            ("synced 3 days ago", "that synced three days ago", status.of_age("3d")),
        ];
        let shares = || wallets.iter().filter_map(|(_, _, share)| *share);
        let full = shares().fold(FULL_AT_LEAST, f64::max);
        let row = |(wallet, _, share): (&'static str, &str, Option<f64>)| {
            let width = share.map_or(0.0, |share| 100.0 * share / full);
            let width = if width > 0.0 { width.max(LEAST_BAR) } else { 0.0 };
            StaleRow { wallet, share: share.map(percent), width: format!("{width:.1}") }
        };
        shares().next()?;
        Some(Self {
            sentence: sentence(wallets.map(|(_, wallet, share)| (wallet, share))),
            rows: wallets.into_iter().map(row).collect(),
            reference: grouped(status.reference_sat as usize),
        })
    }
}

/// Of the freshest wallet, and yesterday's or, where that is not known, the oldest.
fn sentence(wallets: [(&str, Option<f64>); 5]) -> String {
    let [served, hour, six_hours, day, three_days] = wallets.map(|(wallet, share)| Some((wallet, percent(share?))));
    let older = day.or(three_days).or(six_hours).or(hour);
    match (served, older) {
        (Some((one, share)), Some((other, more))) => format!("A wallet {one}: {share}; one {other}: {more}"),
        (Some((one, share)), None) | (None, Some((one, share))) => format!("A wallet {one}: {share}"),
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::StaleFeesByAge;

    fn hours(changes: &[u32]) -> Vec<HourOfFees> {
        (0..).zip(changes).map(|(hour, changes)| HourOfFees { from: hour * 3_600, changes: *changes }).collect()
    }

    #[test]
    fn bars_are_as_high_as_their_share() {
        let bars = Bars::of(&hours(&[1_000, 0, 1, 500, 250]));
        let heights: Vec<&str> = bars.bars.iter().map(|bar| bar.height.as_str()).collect();
        assert_eq!(heights, ["100.0", "0.0", "2.0", "50.0", "25.0"]);
        assert_eq!((bars.sum.as_str(), bars.most.as_str()), ("1,751", "1,000"));
        assert_eq!(bars.bars.iter().position(|bar| bar.running), Some(4));
        assert!(Bars::of(&hours(&[0, 0])).bars.iter().all(|bar| bar.height == "0.0"));
        assert!(Bars::of(&[]).bars.is_empty());
    }

    fn stale(share: Option<f64>, ages: &[(&'static str, f64)]) -> Option<StaleFees> {
        let ages = ages.iter().map(|(age, share)| StaleFeesByAge { age, epoch: 1, share: *share }).collect();
        StaleFees::of(&StaleFeeStatus { epoch: Some(1), share, ages, reference_sat: 100_000 })
    }

    #[test]
    fn stale_fees_are_bars_of_the_worst_one() {
        let chart = stale(Some(0.0002), &[("1h", 0.0), ("24h", 0.11), ("3d", 0.22)]).expect("known");
        let rows: Vec<_> = chart.rows.iter().map(|row| (row.wallet, row.share.as_deref(), &*row.width)).collect();
        let expected = [
            ("of this server, now", Some("0.02 %"), "0.5"),
            ("synced 1 h ago", Some("0 %"), "0.0"),
            ("synced 6 h ago", None, "0.0"),
            ("synced 24 h ago", Some("11 %"), "50.0"),
            ("synced 3 days ago", Some("22 %"), "100.0"),
        ];
        assert_eq!(rows, expected);
        assert_eq!(chart.sentence, "A wallet from this server: 0.02 %; one that synced yesterday: 11 %");
        assert_eq!(stale(Some(0.01), &[]).map(|chart| chart.rows[0].width.clone()).as_deref(), Some("20.0"));
    }

    #[test]
    fn the_sentence_is_of_what_is_known() {
        let sentence = |share, ages: &[_]| stale(share, ages).map(|chart| chart.sentence);
        assert_eq!(sentence(None, &[]), None);
        assert_eq!(sentence(Some(0.0), &[]).as_deref(), Some("A wallet from this server: 0 %"));
        let young = sentence(Some(0.0), &[("1h", 0.01), ("6h", 0.02)]);
        assert_eq!(young.as_deref(), Some("A wallet from this server: 0 %; one that synced six hours ago: 2.0 %"));
        assert_eq!(sentence(None, &[("24h", 0.1)]).as_deref(), Some("A wallet that synced yesterday: 10 %"));
    }

    #[test]
    fn a_line_needs_two_points() {
        let snapshot = |v2_bytes| RecentSnapshot { v2_bytes, ..RecentSnapshot::default() };
        assert!(Line::of(&[]).is_none() && Line::of(&[snapshot(1)]).is_none());
        assert_eq!(
            Line::of(&[snapshot(5), snapshot(5)]).map(|line| line.points).as_deref(),
            Some("0.0,50.0 100.0,50.0")
        );
        let line = Line::of(&[snapshot(5), snapshot(9), snapshot(7)]).map(|line| line.points);
        assert_eq!(line.as_deref(), Some("0.0,92.0 50.0,8.0 100.0,50.0"));
        let little = Line::of(&[snapshot(9_990), snapshot(10_010)]).map(|line| line.points);
        assert_eq!(little.as_deref(), Some("0.0,52.1 100.0,47.9"), "twenty bytes of four hundred");
    }
}
