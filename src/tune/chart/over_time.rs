//! How stale fees were over the time that was simulated: a line for each interval.

use plotters::backend::DrawingBackend;
use plotters::style::RGBColor;
use plotters::style::text_anchor::{HPos, VPos};

use super::look::{self, ASIDE, PLOT, share, tick};
use super::sheet::{Painted, Plane, Sheet};
use crate::staleness::report::{Report, Row, percent};
use crate::text::rfc_3339;
use crate::tune::words;

/// As many lines as can be told apart.
const MOST_LINES: usize = 9;
/// From one name to the next.
const APART: i32 = 19;
/// As many times as find room below.
const MOST_TIMES: f64 = 8.0;

/// An interval's line.
struct Line<'a> {
    row: &'a Row,
    colour: RGBColor,
    is_recommended: bool,
    points: Vec<(f64, f64)>,
}

impl Line<'_> {
    fn width(&self) -> u32 {
        if self.is_recommended { 4 } else { 2 }
    }
}

pub(super) fn stale_fees<B: DrawingBackend>(
    report: &Report,
    sheet: &Sheet<B>,
    (top, bottom): (i32, i32),
) -> Painted<B> {
    let lines = lines(report);
    let points = || lines.iter().flat_map(|line| &line.points);
    let highest = points().map(|point| point.1).fold(0.0001, f64::max) * 1.1;
    let (from, to) = points().fold((f64::MAX, f64::MIN), |(from, to), (at, _)| (from.min(*at), to.max(*at)));
    let (from, to) = match () {
        () if from > to => (0.0, 3_600.0),
        () if from == to => (from - 1_800.0, to + 1_800.0),
        () => (from, to),
    };
    let mut plane = sheet.plane((top, bottom), from..to, 0.0..highest)?;
    plane.scale("capacity with stale fees", 6, &|value| tick(*value, highest))?;
    for line in &lines {
        plane.line(&line.points, line.colour, line.width())?;
        if let [alone] = line.points.as_slice() {
            sheet.disc(plane.at(*alone), 4, line.colour)?;
        }
    }
    times(sheet, &plane, (from, to), bottom)?;
    aside(sheet, &plane, &lines, (top, bottom))
}

/// The recommended one last, over the others. Of very many intervals some, evenly chosen.
fn lines(report: &Report) -> Vec<Line<'_>> {
    let all = report.intervals.len();
    let is_recommended = |row: &Row| row.interval_s == report.recommendation.interval_s;
    let apart = all.saturating_sub(1).max(1) as f64;
    let step = apart / (MOST_LINES.min(all).saturating_sub(1).max(1)) as f64;
    let is_chosen = |n: usize| all <= MOST_LINES || (0..MOST_LINES).any(|k| (k as f64 * step).round() as usize == n);
    let line = |(n, row)| Line {
        row,
        colour: look::ramp(n as f64 / apart),
        is_recommended: is_recommended(row),
        points: row.stale_fees.over_time.iter().map(|(at, value)| (f64::from(*at), share(*value))).collect(),
    };
    let chosen = report.intervals.iter().enumerate().filter(|(n, row)| is_chosen(*n) || is_recommended(row));
    let mut lines: Vec<Line<'_>> = chosen.map(line).collect();
    lines.sort_by_key(|line| line.is_recommended);
    lines
}

/// The lines' names beside their ends, the highest first, as far apart as letters need, each with its mean.
fn aside<B: DrawingBackend>(
    sheet: &Sheet<B>,
    plane: &Plane<'_, B>,
    lines: &[Line<'_>],
    (top, bottom): (i32, i32),
) -> Painted<B> {
    let end = |line: &&Line<'_>| line.points.last().map(|point| plane.at(*point).1);
    let mut ends: Vec<(i32, &Line<'_>)> = lines.iter().filter_map(|line| Some((end(&line)?, line))).collect();
    ends.sort_by_key(|(y, line)| (*y, std::cmp::Reverse(line.row.interval_s)));
    let ys = spread(ends.iter().map(|(y, _)| *y), (top + 2, bottom - 5));
    for ((end, line), y) in ends.into_iter().zip(ys) {
        sheet.path(&[(PLOT.1 + 2, end), (ASIDE, y), (ASIDE + 18, y)], line.colour, line.width())?;
        let name = words::seconds(line.row.interval_s);
        let said = format!("{name}: {} on average", percent(share(line.row.stale_fees.mean)));
        let style = if line.is_recommended { look::bold(16).color(&look::BAND_INK) } else { look::text(16) };
        sheet.text(&said, (ASIDE + 26, y), look::at(style, HPos::Left, VPos::Center))?;
    }
    Ok(())
}

/// Rows that were in order, moved as little as it takes to be apart, if that is possible between the two.
fn spread(rows: impl Iterator<Item = i32>, (top, bottom): (i32, i32)) -> Vec<i32> {
    let mut ys: Vec<i32> = rows.collect();
    let mut next = top;
    for y in &mut ys {
        *y = (*y).max(next);
        next = *y + APART;
    }
    let mut last = bottom;
    for y in ys.iter_mut().rev() {
        *y = (*y).min(last);
        last = *y - APART;
    }
    ys
}

/// Times of day or days below the plane.
fn times<B: DrawingBackend>(
    sheet: &Sheet<B>,
    plane: &Plane<'_, B>,
    (from, to): (f64, f64),
    bottom: i32,
) -> Painted<B> {
    const STEPS_MIN: [u32; 16] =
        [1, 5, 15, 30, 60, 180, 360, 720, 1_440, 2_880, 5_760, 11_520, 23_040, 46_080, 175_200, 525_600];
    let steps = STEPS_MIN.map(|minutes| f64::from(minutes) * 60.0);
    let step = steps.into_iter().find(|step| (to - from) / step <= MOST_TIMES).unwrap_or((to - from) / MOST_TIMES);
    sheet.path(&[(PLOT.0, bottom), (PLOT.1, bottom)], look::FAINT, 1)?;
    let mut at = (from / step).ceil() * step;
    while at <= to {
        let (x, _) = plane.at((at, 0.0));
        sheet.path(&[(x, bottom), (x, bottom + 5)], look::FAINT, 1)?;
        if x < PLOT.1 - 50 {
            sheet.text(&moment(at, step), (x, bottom + 8), look::at(look::text(16), HPos::Center, VPos::Top))?;
        }
        at += step;
    }
    sheet.text("time (UTC)", (ASIDE, bottom + 9), look::at(look::text(17), HPos::Left, VPos::Top))
}

/// The day, with the time of day where that matters.
fn moment(at: f64, step: f64) -> String {
    let said = rfc_3339(at as u32); // saturates
    let day = if step >= 86_400.0 { said.get(..10) } else { said.get(5..16) };
    day.unwrap_or_default().replace('T', " ")
}
