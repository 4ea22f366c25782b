//! The report as one picture: what fails, what that costs, and how stale fees were.
//!
//! Both formats are drawn by the same hand; only the canvas differs. Every number is made finite and brought into its
//! range before it meets an axis, so no report makes this panic.

mod by_interval;
mod look;
mod over_time;
mod sheet;

use std::ffi::OsStr;
use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use plotters::backend::{BitMapBackend, DrawingBackend, SVGBackend};
use plotters::drawing::IntoDrawingArea;
use tempfile::NamedTempFile;

use self::sheet::{Fault, Painted, Sheet};
use super::words;
use crate::staleness::report::Report;
use crate::text::grouped;

/// In points.
const SIZE: (u32, u32) = (1200, 900);
/// A PNG's pixels to a point.
const DENSITY: u16 = 2;

/// A picture's format, by its file's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Format {
    Svg,
    Png,
}

impl Format {
    pub fn of(file: &Path) -> anyhow::Result<Self> {
        match file.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase).as_deref() {
            Some("svg") => Ok(Self::Svg),
            Some("png") => Ok(Self::Png),
            _ => bail!("{}: a chart is an .svg or a .png; name it so", file.display()),
        }
    }
}

/// Draws it all, or nothing: a file of this name is replaced when the new one is whole.
pub(super) fn draw(report: &Report, file: &Path) -> anyhow::Result<()> {
    let format = Format::of(file)?;
    let dir = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let unwritten = || format!("cannot write {}", file.display());
    let mut builder = tempfile::Builder::new();
    // As any other new file; the user's umask says who may read it.
    builder.prefix(".").permissions(Permissions::from_mode(0o666));
    let mut half = match format {
        Format::Svg => builder.tempfile_in(dir),
        Format::Png => builder.suffix(".png").tempfile_in(dir), // by which the encoder is chosen
    }
    .with_context(unwritten)?;
    look::register_font()?;
    match format {
        Format::Svg => svg(report, &mut half),
        Format::Png => png(report, half.path()),
    }
    .with_context(unwritten)?;
    half.as_file().sync_all().with_context(unwritten)?;
    half.persist(file).map_err(|error| error.error).with_context(unwritten)?;
    Ok(())
}

fn svg(report: &Report, half: &mut NamedTempFile) -> anyhow::Result<()> {
    let mut text = String::new();
    let sheet = Sheet::new(SVGBackend::with_string(&mut text, SIZE).into_drawing_area(), 1);
    paint(report, &sheet).map_err(|error| anyhow!("{error}"))?;
    drop(sheet);
    Ok(half.write_all(text.as_bytes())?)
}

fn png(report: &Report, half: &Path) -> anyhow::Result<()> {
    let size = (SIZE.0 * u32::from(DENSITY), SIZE.1 * u32::from(DENSITY));
    let sheet = Sheet::new(BitMapBackend::new(half, size).into_drawing_area(), DENSITY);
    paint(report, &sheet).map_err(|error| anyhow!("{error}"))
}

/// From top to bottom.
fn paint<B: DrawingBackend>(report: &Report, sheet: &Sheet<B>) -> Painted<B> {
    sheet.fill(look::PAPER)?;
    let end = head(report, sheet)?;
    by_interval::failures(report, sheet, (end + 14, 430))?;
    by_interval::cost(report, sheet, (450, 644))?;
    over_time::stale_fees(report, sheet, (682, 864))?;
    sheet.present()
}

/// The title, the sentence, and what was simulated. Returns where it ends.
fn head<B: DrawingBackend>(report: &Report, sheet: &Sheet<B>) -> Result<i32, Fault<B>> {
    const LEFT: i32 = 24;
    let width = SIZE.0 as i32 - 2 * LEFT;
    sheet.text("Payments that fail at the first try, by sync interval", (LEFT, 16), look::bold(33))?;
    let mut y = 56;
    let sentence = format!("Recommended interval {}", report.recommendation.sentence);
    for line in look::wrap(sheet, &sentence, &look::text(20), width)?.into_iter().take(2) {
        sheet.text(&line, (LEFT, y), look::text(20))?;
        y += 22;
    }
    let model = &report.model;
    let simulated = format!(
        "{}; {} payments of {}; {} channels; gossip takes {}",
        words::span(model),
        grouped(model.payments as usize),
        words::amounts(&model.amounts_sat),
        grouped(model.channels),
        words::gossip(model)
    );
    for line in look::wrap(sheet, &simulated, &look::faint(16), width)?.into_iter().take(2) {
        sheet.text(&line, (LEFT, y + 4), look::faint(16))?;
        y += 18;
    }
    Ok(y)
}
