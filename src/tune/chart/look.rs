//! Colours, letters, and the places that panels share.

use std::sync::OnceLock;

use anyhow::anyhow;
use epaint_default_fonts::UBUNTU_LIGHT;
use plotters::backend::DrawingBackend;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontStyle, IntoFont, RGBColor, TextStyle};

use super::sheet::{Fault, Painted, Sheet};
use crate::staleness::Cause;

pub(super) const PAPER: RGBColor = RGBColor(255, 255, 255);
pub(super) const INK: RGBColor = RGBColor(34, 34, 34);
pub(super) const FAINT: RGBColor = RGBColor(95, 95, 95);
pub(super) const GRID: RGBColor = RGBColor(224, 224, 224);
/// Behind the recommended interval.
pub(super) const BAND: RGBColor = RGBColor(226, 240, 217);
pub(super) const BAND_INK: RGBColor = RGBColor(56, 105, 20);
/// Of the two ways to sync; Okabe and Ito's blue and orange.
pub(super) const FULL: RGBColor = RGBColor(0, 114, 178);
pub(super) const DELTA: RGBColor = RGBColor(213, 94, 0);

/// Where plots begin and end from left to right, and where what explains them stands; in pixels.
pub(super) const PLOT: (i32, i32) = (106, 948);
pub(super) const ASIDE: i32 = 968;

/// Okabe and Ito's palette, which people see apart whatever colours they see.
pub(super) fn colour(cause: Cause) -> RGBColor {
    match cause {
        Cause::FeeInsufficient => RGBColor(213, 94, 0),
        Cause::IncorrectCltvExpiry => RGBColor(86, 180, 233),
        Cause::AmountBelowMinimum => RGBColor(240, 228, 66),
        Cause::TemporaryChannelFailure => RGBColor(0, 158, 115),
        Cause::ChannelDisabled => RGBColor(0, 114, 178),
        Cause::UnknownNextPeer => RGBColor(230, 159, 0),
        Cause::NoRoute => RGBColor(204, 121, 167),
    }
}

/// A colour of the order from dark to light (viridis, without its yellow end); `place` is from 0 to 1.
pub(super) fn ramp(place: f64) -> RGBColor {
    const STOPS: [[f64; 3]; 5] =
        [[68.0, 1.0, 84.0], [59.0, 82.0, 139.0], [33.0, 145.0, 140.0], [94.0, 201.0, 98.0], [190.0, 200.0, 40.0]];
    let along = place.clamp(0.0, 1.0) * (STOPS.len() - 1) as f64;
    let from = (along as usize).min(STOPS.len() - 2);
    let part = along - from as f64;
    let mix = |channel: usize| STOPS[from][channel] * (1.0 - part) + STOPS[from + 1][channel] * part;
    RGBColor(mix(0) as u8, mix(1) as u8, mix(2) as u8)
}

/// The letters of pixel pictures, and the measure of all; an SVG's viewer takes its own.
pub(super) fn register_font() -> anyhow::Result<()> {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    let register = || plotters::style::register_font("sans-serif", FontStyle::Normal, UBUNTU_LIGHT).is_ok();
    REGISTERED.get_or_init(register).then_some(()).ok_or_else(|| anyhow!("the built-in font cannot be read"))
}

/// `size` is the height of a line's letters with their tails, in points.
pub(super) fn text(size: u32) -> TextStyle<'static> {
    TextStyle::from(("sans-serif", size).into_font()).color(&INK)
}

pub(super) fn faint(size: u32) -> TextStyle<'static> {
    text(size).color(&FAINT)
}

pub(super) fn bold(size: u32) -> TextStyle<'static> {
    TextStyle::from(("sans-serif", size).into_font().style(FontStyle::Bold)).color(&INK)
}

pub(super) fn at(style: TextStyle<'static>, h: HPos, v: VPos) -> TextStyle<'static> {
    style.pos(Pos::new(h, v))
}

/// Lines that are at most so wide, or one word.
pub(super) fn wrap<B: DrawingBackend>(
    sheet: &Sheet<B>,
    words: &str,
    style: &TextStyle<'static>,
    width: i32,
) -> Result<Vec<String>, Fault<B>> {
    /// Browsers' letters are this much wider at most.
    const SLACK: f64 = 1.12;
    let mut lines: Vec<String> = Vec::new();
    for word in words.split_whitespace() {
        if let Some(last) = lines.last_mut() {
            let longer = format!("{last} {word}");
            if sheet.width(&longer, style.clone())? * SLACK <= f64::from(width) {
                *last = longer;
                continue;
            }
        }
        lines.push(word.to_owned());
    }
    Ok(lines)
}

/// What stands for something in a legend.
#[derive(Clone, Copy)]
pub(super) enum Sign {
    Square(RGBColor),
    Dashes(RGBColor),
    Line(RGBColor),
    /// A confidence interval.
    Bar(RGBColor),
}

/// A legend's entry.
pub(super) fn entry<B: DrawingBackend>(sheet: &Sheet<B>, y: i32, sign: Sign, words: &str) -> Painted<B> {
    let (left, right) = (ASIDE, ASIDE + 18);
    match sign {
        Sign::Square(colour) => sheet.block([(left + 2, y - 7), (right - 2, y + 7)], colour)?,
        Sign::Dashes(colour) => dashes(sheet, (left, right), y, colour)?,
        Sign::Line(colour) => sheet.path(&[(left, y), (right, y)], colour, 2)?,
        Sign::Bar(colour) => confidence(sheet, left + 9, (y - 8, y + 8), colour)?,
    }
    sheet.text(words, (right + 8, y), at(text(16), HPos::Left, VPos::Center))
}

/// A dashed line from left to right.
pub(super) fn dashes<B: DrawingBackend>(
    sheet: &Sheet<B>,
    (left, right): (i32, i32),
    y: i32,
    colour: RGBColor,
) -> Painted<B> {
    (left..right).step_by(12).try_for_each(|x| sheet.path(&[(x, y), ((x + 7).min(right), y)], colour, 2))
}

/// From high to low, with a cap at both ends.
pub(super) fn confidence<B: DrawingBackend>(
    sheet: &Sheet<B>,
    x: i32,
    (high, low): (i32, i32),
    colour: RGBColor,
) -> Painted<B> {
    sheet.path(&[(x, high), (x, low)], colour, 2)?;
    [high, low].into_iter().try_for_each(|y| sheet.path(&[(x - 5, y), (x + 5, y)], colour, 2))
}

/// A value as an axis can take it: from 0 to 1, whatever it was.
pub(super) fn share(value: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) }
}

/// A share as a scale that ends at `top` says it: all with as many digits, and none over all.
pub(super) fn tick(value: f64, top: f64) -> String {
    let digits = match top {
        0.05.. => 0,
        0.005.. => 1,
        0.0005.. => 2,
        _ => 3,
    };
    if value > 1.000_001 { String::new() } else { format!("{:.digits$} %", value * 100.0) }
}
