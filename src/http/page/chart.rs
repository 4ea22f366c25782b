//! Small charts, as the numbers that SVG takes. What they show stands beside them in words.

use crate::history::HourOfFees;
use crate::http::RecentSnapshot;
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

#[cfg(test)]
mod tests {
    use super::*;

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
