//! What fails, and what it costs not to: two panels over the intervals.

use plotters::backend::DrawingBackend;
use plotters::style::RGBColor;
use plotters::style::text_anchor::{HPos, VPos};

use super::look::{self, ASIDE, PLOT, Sign, share, tick};
use super::sheet::{At, Painted, Plane, Sheet};
use crate::staleness::Cause;
use crate::staleness::report::{CostRow, Outcome, Report, Row, percent};
use crate::tune::words;

/// More intervals than these have no figures beside them, and not all of them their names.
const ROOMY: usize = 12;
/// Fewer intervals than these leave room at both sides.
const FEW: usize = 5;
/// The part of its place that a bar takes.
const BAR: (f64, f64) = (0.22, 0.78);
/// No axis goes further; in bytes.
const MOST_BYTES: f64 = 1e21;
/// From one entry of a legend to the next.
const APART: i32 = 23;

/// Bars of causes, each with what chance may make of its sum.
pub(super) fn failures<B: DrawingBackend>(report: &Report, sheet: &Sheet<B>, rows: (i32, i32)) -> Painted<B> {
    let rates = |outcome: &Outcome| [outcome.failure_rate, outcome.confidence[1]].map(share);
    let outcomes = report.intervals.iter().map(|row| &row.outcome).chain([&report.live]);
    let top = outcomes.flat_map(rates).fold(0.001, f64::max) * 1.2;
    let mut plane = sheet.plane(rows, 0.0..wide(report), 0.0..top)?;
    band(report, &mut plane, (0.0, top))?;
    plane.scale("payments that fail", 8, &|rate| tick(*rate, top))?;
    for (x, row) in places(report) {
        stack(&mut plane, x, row)?;
    }
    let live = plane.at((0.0, share(report.live.failure_rate))).1;
    look::dashes(sheet, PLOT, live, look::INK)?;
    for (x, row) in places(report) {
        let [low, high] = row.outcome.confidence.map(|rate| plane.at((x + 0.5, share(rate))));
        look::confidence(sheet, low.0, (high.1, low.1), look::INK)?;
        figure(report, sheet, (high.0, high.1 - 4), VPos::Bottom, &percent(share(row.outcome.failure_rate)))?;
    }
    if let Some((x, _)) = places(report).find(|(_, row)| is_recommended(report, row)) {
        let x = plane.at((x + 0.5, 0.0)).0.clamp(PLOT.0 + 48, PLOT.1 - 48);
        let style = look::text(15).color(&look::BAND_INK);
        sheet.text("recommended", (x, rows.0 + 3), look::at(style, HPos::Center, VPos::Top))?;
    }
    failures_aside(report, sheet, rows.0)
}

/// One interval's causes, each on top of the ones before.
fn stack<B: DrawingBackend>(plane: &mut Plane<'_, B>, x: f64, row: &Row) -> Painted<B> {
    let mut sum = 0.0;
    for cause in Cause::ALL {
        let (from, to) = (sum, share(sum + words::share(&row.outcome, cause)));
        if to > from {
            plane.block([(x + BAR.0, from), (x + BAR.1, to)], look::colour(cause))?;
        }
        sum = to;
    }
    Ok(())
}

/// The causes in the order of the bars, from top to bottom.
fn failures_aside<B: DrawingBackend>(report: &Report, sheet: &Sheet<B>, top: i32) -> Painted<B> {
    let mut y = top + 10;
    for cause in words::causes(report.intervals.iter().map(|row| &row.outcome)).into_iter().rev() {
        look::entry(sheet, y, Sign::Square(look::colour(cause)), cause.name())?;
        y += APART;
    }
    y += 8;
    look::entry(sheet, y, Sign::Bar(look::INK), "95 % confidence")?;
    let live = format!("live: {}", percent(share(report.live.failure_rate)));
    look::entry(sheet, y + APART, Sign::Dashes(look::INK), &live)?;
    let style = look::at(look::faint(15), HPos::Left, VPos::Center);
    sheet.text("if told everything at once", (ASIDE + 26, y + APART + 18), style)
}

/// What a wallet fetches in a day, in the two ways there are. The scale is of powers of ten.
pub(super) fn cost<B: DrawingBackend>(report: &Report, sheet: &Sheet<B>, rows: (i32, i32)) -> Painted<B> {
    type Of = fn(&CostRow) -> f64;
    let ways: [(Of, RGBColor, &str); 2] = [
        (|cost| cost.full_bytes_a_wallet_a_day, look::FULL, "full snapshots"),
        (|cost| cost.delta_bytes_a_wallet_a_day, look::DELTA, "with deltas"),
    ];
    let lines = ways.map(|(of, ..)| -> Vec<(f64, f64)> {
        places(report).filter_map(|(x, row)| Some((x + 0.5, decade(of(&row.cost))?))).collect()
    });
    let all = || lines.iter().flatten().map(|point| point.1);
    let (low, high) = (all().fold(f64::MAX, f64::min), all().fold(0.0, f64::max));
    // With room for the figures above and below.
    let (low, high) = ((low.min(high) - 0.5).floor(), (high + 0.4).ceil());
    let mut plane = sheet.plane(rows, 0.0..wide(report), low..high)?;
    band(report, &mut plane, (low, high))?;
    plane.scale("bytes a wallet a day", 7, &power)?;
    for (way, ((_, colour, name), line)) in (0..).zip(ways.into_iter().zip(&lines)) {
        plane.line(line, colour, 2)?;
        for point in line {
            let (x, y) = plane.at(*point);
            marker(sheet, (x, y), way, colour)?;
            let (y, v) = if way == 0 { (y - 8, VPos::Bottom) } else { (y + 10, VPos::Top) };
            figure(report, sheet, (x, y), v, &words::bytes(10_f64.powf(point.1)))?;
        }
        let y = rows.0 + 14 + APART * way;
        look::entry(sheet, y, Sign::Line(colour), name)?;
        marker(sheet, (ASIDE + 9, y), way, colour)?;
    }
    let style = look::at(look::faint(15), HPos::Left, VPos::Center);
    sheet.text("version 2, uncompressed", (ASIDE + 26, rows.0 + 14 + 2 * APART), style)?;
    names(report, sheet, &plane, rows.1)
}

/// A disc or a triangle, so that the ways are told apart without colours, too.
fn marker<B: DrawingBackend>(sheet: &Sheet<B>, at: At, way: i32, colour: RGBColor) -> Painted<B> {
    if way == 0 { sheet.disc(at, 5, colour) } else { sheet.triangle(at, 7, colour) }
}

/// The power of ten; `None` of nothing.
fn decade(bytes: f64) -> Option<f64> {
    (bytes > 0.0).then(|| bytes.clamp(1.0, MOST_BYTES).log10())
}

/// At whole powers, of which a tenth of a byte is none.
fn power(decade: &f64) -> String {
    if decade.fract() == 0.0 && *decade >= 0.0 { words::bytes(10_f64.powf(*decade)) } else { String::new() }
}

fn is_recommended(report: &Report, row: &Row) -> bool {
    row.interval_s == report.recommendation.interval_s
}

/// Each interval has a place as wide as 1.
fn wide(report: &Report) -> f64 {
    report.intervals.len().max(FEW) as f64
}

/// Where each interval's place begins; all of them are in the middle.
fn places(report: &Report) -> impl Iterator<Item = (f64, &Row)> {
    let first = (wide(report) - report.intervals.len() as f64) / 2.0;
    report.intervals.iter().enumerate().map(move |(n, row)| (first + n as f64, row))
}

/// Marks the recommended interval.
fn band<B: DrawingBackend>(report: &Report, plane: &mut Plane<'_, B>, (low, high): (f64, f64)) -> Painted<B> {
    let place = places(report).find(|(_, row)| is_recommended(report, row));
    place.map_or(Ok(()), |(x, _)| plane.block([(x + 0.04, low), (x + 0.96, high)], look::BAND))
}

/// A number beside what it is of, where there is room.
fn figure<B: DrawingBackend>(report: &Report, sheet: &Sheet<B>, at: At, v: VPos, words: &str) -> Painted<B> {
    if report.intervals.len() > ROOMY {
        return Ok(());
    }
    sheet.text(words, at, look::at(look::text(16), HPos::Center, v))
}

/// The intervals' names below their places, and the axis's.
fn names<B: DrawingBackend>(report: &Report, sheet: &Sheet<B>, plane: &Plane<'_, B>, bottom: i32) -> Painted<B> {
    sheet.path(&[(PLOT.0, bottom), (PLOT.1, bottom)], look::FAINT, 1)?;
    let apart = report.intervals.len().div_ceil(ROOMY).max(1);
    let recommended = report.intervals.iter().position(|row| is_recommended(report, row));
    for (n, (x, row)) in places(report).enumerate() {
        let is_it = is_recommended(report, row);
        let is_beside = recommended.is_some_and(|place| place.abs_diff(n) < apart);
        if !is_it && (is_beside || n % apart != 0) {
            continue;
        }
        let style = if is_it { look::bold(18).color(&look::BAND_INK) } else { look::text(18) };
        let at = (plane.at((x + 0.5, 0.0)).0, bottom + 7);
        sheet.text(&words::seconds(row.interval_s), at, look::at(style, HPos::Center, VPos::Top))?;
    }
    sheet.text("sync interval", (ASIDE, bottom + 7), look::at(look::text(17), HPos::Left, VPos::Top))
}
