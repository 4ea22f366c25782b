//! What is drawn on, in points: a picture of pixels has two of them to a point, so that dense screens and projectors show
//! it sharp, and letters, which plotters puts at whole pixels, stand evenly.

use std::ops::Range;

use plotters::backend::DrawingBackend;
use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::Shift;
use plotters::coord::cartesian::Cartesian2d;
use plotters::coord::types::RangedCoordf64;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind};
use plotters::element::{Circle, PathElement, Rectangle, Text, TriangleMarker};
use plotters::series::LineSeries;
use plotters::style::{Color, RGBColor, ShapeStyle, TRANSPARENT, TextStyle};

use super::look::{self, PLOT};

/// Where a scale's title stands.
const LEFT: i32 = 18;

/// A place: to the right, and down.
pub(super) type At = (i32, i32);
pub(super) type Fault<B> = DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>;
pub(super) type Painted<B> = Result<(), Fault<B>>;

/// See the module's head.
pub(super) struct Sheet<B: DrawingBackend> {
    area: DrawingArea<B, Shift>,
    /// Pixels to a point.
    unit: i32,
}

impl<B: DrawingBackend> Sheet<B> {
    pub fn new(area: DrawingArea<B, Shift>, unit: u16) -> Self {
        Self { area, unit: unit.into() }
    }

    pub fn fill(&self, colour: RGBColor) -> Painted<B> {
        self.area.fill(&colour)
    }

    pub fn present(&self) -> Painted<B> {
        self.area.present()
    }

    pub fn text(&self, words: &str, at: At, style: TextStyle<'static>) -> Painted<B> {
        self.area.draw(&Text::new(words, self.pixel(at), self.letters(style)))
    }

    pub fn path(&self, points: &[At], colour: RGBColor, width: u32) -> Painted<B> {
        let points: Vec<At> = points.iter().map(|point| self.pixel(*point)).collect();
        self.area.draw(&PathElement::new(points, self.stroke(colour, width)))
    }

    pub fn block(&self, corners: [At; 2], colour: RGBColor) -> Painted<B> {
        self.area.draw(&Rectangle::new(corners.map(|corner| self.pixel(corner)), colour.filled()))
    }

    pub fn disc(&self, at: At, radius: i32, colour: RGBColor) -> Painted<B> {
        self.area.draw(&Circle::new(self.pixel(at), radius * self.unit, colour.filled()))
    }

    pub fn triangle(&self, at: At, radius: i32, colour: RGBColor) -> Painted<B> {
        self.area.draw(&TriangleMarker::new(self.pixel(at), radius * self.unit, colour.filled()))
    }

    /// How wide a line of letters is.
    pub fn width(&self, words: &str, style: TextStyle<'static>) -> Result<f64, Fault<B>> {
        let (width, _) = self.area.estimate_text_size(words, &self.letters(style))?;
        Ok(f64::from(width) / f64::from(self.unit))
    }

    /// A plane between two heights, over all of the plots' width.
    pub fn plane(&self, (top, bottom): (i32, i32), x: Range<f64>, y: Range<f64>) -> Result<Plane<'_, B>, Fault<B>> {
        let area = self.area.clone().shrink(self.pixel((LEFT, top)), self.pixel((PLOT.1 - LEFT, bottom - top)));
        let mut builder = ChartBuilder::on(&area);
        let chart = builder.y_label_area_size((PLOT.0 - LEFT) * self.unit).build_cartesian_2d(x, y)?;
        Ok(Plane { sheet: self, chart })
    }

    fn pixel(&self, (x, y): At) -> At {
        (x * self.unit, y * self.unit)
    }

    fn stroke(&self, colour: RGBColor, width: u32) -> ShapeStyle {
        colour.stroke_width(width * self.unit.unsigned_abs())
    }

    fn letters(&self, style: TextStyle<'static>) -> TextStyle<'static> {
        let size = style.font.get_size() * f64::from(self.unit);
        TextStyle { font: style.font.resize(size), ..style }
    }
}

/// A part of a sheet on which values have their places.
pub(super) struct Plane<'a, B: DrawingBackend> {
    sheet: &'a Sheet<B>,
    chart: ChartContext<'a, B, Cartesian2d<RangedCoordf64, RangedCoordf64>>,
}

impl<B: DrawingBackend> Plane<'_, B> {
    /// Draws a scale of about so many values at the left, with a thin line at each.
    pub fn scale(&mut self, title: &str, values: usize, say: &dyn Fn(&f64) -> String) -> Painted<B> {
        let sheet = self.sheet;
        self.chart
            .configure_mesh()
            .disable_x_mesh()
            .disable_x_axis()
            .y_labels(values)
            .y_label_formatter(say)
            .y_desc(title)
            .axis_desc_style(sheet.letters(look::text(17)))
            .label_style(sheet.letters(look::text(16)))
            .bold_line_style(sheet.stroke(look::GRID, 1))
            .light_line_style(TRANSPARENT)
            .axis_style(sheet.stroke(look::FAINT, 1))
            .set_all_tick_mark_size(5 * sheet.unit)
            .draw()
    }

    /// Where a value lies on the sheet.
    pub fn at(&self, value: (f64, f64)) -> At {
        let (x, y) = self.chart.backend_coord(&value);
        (x / self.sheet.unit, y / self.sheet.unit)
    }

    pub fn block(&mut self, corners: [(f64, f64); 2], colour: RGBColor) -> Painted<B> {
        self.chart.draw_series([Rectangle::new(corners, colour.filled())]).map(|_| ())
    }

    pub fn line(&mut self, points: &[(f64, f64)], colour: RGBColor, width: u32) -> Painted<B> {
        let series = LineSeries::new(points.iter().copied(), self.sheet.stroke(colour, width));
        self.chart.draw_series(series).map(|_| ())
    }
}
