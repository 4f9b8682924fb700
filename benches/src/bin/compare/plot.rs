//! Draws bars and lines as SVG.
//!
//! Called by `charts`. A contestant has the same colour everywhere, and `runtime` is drawn strongest.

use std::error::Error;
use std::ops::Range;
use std::path::Path;

use plotters::chart::ChartContext;
use plotters::coord::Shift;
use plotters::coord::combinators::LogCoord;
use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::{
    Cartesian2d, ChartBuilder, Circle, DrawingArea, IntoDrawingArea, IntoFont, IntoLogRange,
    LineSeries, PathElement, RGBColor, Ranged, Rectangle, SVGBackend, Text, WHITE,
};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, TextStyle};

/// Why a chart cannot be drawn.
pub(crate) type PlotError = Box<dyn Error + Send + Sync>;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, X, Y> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, Y>>;

/// One contestant's figures: the place on the horizontal axis, and the figure.
pub(crate) struct Series {
    pub(crate) contestant: String,
    pub(crate) figures: Vec<(f64, f64)>,
}

const SIZE: (u32, u32) = (1000, 500);
const LEGEND_WIDTH: i32 = 160;
const LINE_HEIGHT: i32 = 20;
const FONT: &str = "Helvetica, Arial, sans-serif";
/// plotters divides by 1.24 what it is told.
const TEXT: f64 = 18.0;
const TITLE: f64 = 24.0;
const INK: RGBColor = RGBColor(0x1f, 0x23, 0x28);
const GRID: RGBColor = RGBColor(0xd8, 0xde, 0xe4);

/// Draws a bar for each contestant in each of `groups`, on a logarithmic axis or from 0.
pub(crate) fn bars(
    path: &Path,
    title: &str,
    is_logarithmic: bool,
    groups: &[&str],
    series: &[Series],
) -> Result<(), PlotError> {
    let area = sheet(path, title)?;
    let width = 0.84 / series.len() as f64;
    let figures = figures(series);
    let x = 0.0..groups.len() as f64;
    if is_logarithmic {
        let y = figures.start / 2.0..figures.end * 2.0;
        let mut chart = builder(&area).build_cartesian_2d(x, logarithmic(y.clone()))?;
        frame(&mut chart, 0, "", "")?;
        draw_bars(&mut chart, y.start, width, series)?;
        label_groups(&area, &chart, y.start, groups, series)?;
    } else {
        let y = 0.0..figures.end * 1.08;
        let mut chart = builder(&area).build_cartesian_2d(x.clone(), y)?;
        frame(&mut chart, 0, "", "")?;
        draw_bars(&mut chart, 0.0, width, series)?;
        let one = PathElement::new([(0.0, 1.0), (x.end, 1.0)], INK.stroke_width(1));
        chart.draw_series([one])?;
        label_groups(&area, &chart, 0.0, groups, series)?;
    }
    legend(&area, series.iter())?;
    Ok(area.present()?)
}

/// Draws a line for each contestant, on two logarithmic axes.
pub(crate) fn lines(
    path: &Path,
    title: &str,
    x_title: &str,
    y_title: &str,
    series: &[Series],
) -> Result<(), PlotError> {
    let area = sheet(path, title)?;
    let places = series.iter().flat_map(|series| &series.figures);
    let x = extent(places.map(|figure| figure.0));
    let y = figures(series);
    let mut chart = builder(&area).build_cartesian_2d(
        logarithmic(x.start / 1.2..x.end * 1.2),
        logarithmic(y.start / 1.5..y.end * 1.5),
    )?;
    frame(&mut chart, 8, x_title, y_title)?;
    for series in strongest_last(series) {
        let colour = colour(&series.contestant);
        let (width, radius) = if series.contestant == "runtime" {
            (4, 6)
        } else {
            (2, 3)
        };
        let points = series.figures.iter().copied();
        chart.draw_series(LineSeries::new(points.clone(), colour.stroke_width(width)))?;
        chart.draw_series(points.map(|point| Circle::new(point, radius, colour.filled())))?;
    }
    // In the order in which the lines end, so that the eye finds them.
    let mut in_order: Vec<_> = series.iter().collect();
    let end = |series: &Series| series.figures.last().map_or(0.0, |figure| figure.1);
    in_order.sort_by(|one, other| end(other).total_cmp(&end(one)));
    legend(&area, in_order.into_iter())?;
    Ok(area.present()?)
}

/// A logarithmic axis whose lines are near enough to each other to read figures between them.
fn logarithmic(range: Range<f64>) -> LogCoord<f64> {
    let base = if range.end / range.start < 300.0 {
        2.0
    } else {
        10.0
    };
    range.log_scale().base(base).into()
}

/// A white sheet, which is legible on dark pages too, with a title.
fn sheet<'a>(path: &'a Path, title: &str) -> Result<Area<'a>, PlotError> {
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let style = text(TITLE).pos(Pos::new(HPos::Left, VPos::Top));
    area.draw(&Text::new(title.to_owned(), (16, 12), style))?;
    Ok(area)
}

fn builder<'a, 'b>(area: &'b Area<'a>) -> ChartBuilder<'b, 'b, SVGBackend<'a>>
where
    'a: 'b,
{
    let mut builder = ChartBuilder::on(area);
    builder
        .margin_top(56)
        .margin_right(LEGEND_WIDTH)
        .margin_left(8)
        .margin_bottom(8)
        .x_label_area_size(74)
        .y_label_area_size(84);
    builder
}

/// Draws the axes and the grid; with no `x_labels` the horizontal axis stays bare.
fn frame<X, Y>(
    chart: &mut Chart<'_, X, Y>,
    x_labels: usize,
    x_title: &str,
    y_title: &str,
) -> Result<(), PlotError>
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let mut mesh = chart.configure_mesh();
    if x_labels == 0 {
        mesh.disable_x_mesh();
    }
    mesh.bold_line_style(GRID)
        .light_line_style(WHITE)
        .axis_style(INK)
        .x_labels(x_labels)
        .y_labels(8)
        .x_label_formatter(&|value| axis_number(*value))
        .y_label_formatter(&|value| axis_number(*value))
        .x_desc(x_title)
        .y_desc(y_title)
        .label_style(text(TEXT))
        .axis_desc_style(text(TEXT))
        .draw()?;
    Ok(())
}

fn draw_bars<X, Y>(
    chart: &mut Chart<'_, X, Y>,
    floor: f64,
    width: f64,
    series: &[Series],
) -> Result<(), PlotError>
where
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
{
    for (place, series) in series.iter().enumerate() {
        let colour = colour(&series.contestant);
        let left = |group: f64| group + 0.08 + place as f64 * width;
        let bar = |&(group, figure): &(f64, f64)| {
            let corners = [(left(group), floor), (left(group) + width * 0.9, figure)];
            Rectangle::new(corners, colour.filled())
        };
        chart.draw_series(series.figures.iter().map(bar))?;
    }
    Ok(())
}

/// Writes below each group what it is, and the figure of `runtime`: beside its bar there is no room.
fn label_groups<X, Y>(
    area: &Area<'_>,
    chart: &Chart<'_, X, Y>,
    floor: f64,
    groups: &[&str],
    series: &[Series],
) -> Result<(), PlotError>
where
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
{
    let style = text(TEXT).pos(Pos::new(HPos::Center, VPos::Top));
    for (place, group) in groups.iter().enumerate() {
        let (x, mut y) = chart.backend_coord(&(place as f64 + 0.5, floor));
        y += 8;
        for line in group.lines() {
            area.draw(&Text::new(line.to_owned(), (x, y), style.clone()))?;
            y += LINE_HEIGHT;
        }
    }
    let runtime = series.iter().find(|series| series.contestant == "runtime");
    for &(place, figure) in runtime.iter().flat_map(|series| &series.figures) {
        let (x, y) = chart.backend_coord(&(place + 0.5, floor));
        let colour = colour("runtime");
        let style = style.color(&colour);
        let below = y + 12 + 2 * LINE_HEIGHT;
        area.draw(&Text::new(axis_number(figure), (x, below), style))?;
    }
    Ok(())
}

/// Names the colours, in a column at the right.
fn legend<'a>(area: &Area<'_>, series: impl Iterator<Item = &'a Series>) -> Result<(), PlotError> {
    let left = i32::try_from(SIZE.0)? - LEGEND_WIDTH + 16;
    let mut top = 64;
    for series in series {
        let colour = colour(&series.contestant).filled();
        area.draw(&Rectangle::new(
            [(left, top), (left + 14, top + 14)],
            colour,
        ))?;
        let mut style = text(TEXT).pos(Pos::new(HPos::Left, VPos::Top));
        if series.contestant == "runtime" {
            style.font = style.font.style(plotters::style::FontStyle::Bold);
        }
        area.draw(&Text::new(
            series.contestant.clone(),
            (left + 22, top),
            style,
        ))?;
        top += LINE_HEIGHT + 4;
    }
    Ok(())
}

fn text(size: f64) -> TextStyle<'static> {
    (FONT, size).into_font().color(&INK)
}

fn strongest_last(series: &[Series]) -> impl Iterator<Item = &Series> {
    let is_strongest = |series: &&Series| series.contestant == "runtime";
    let others = series.iter().filter(move |series| !is_strongest(series));
    others.chain(series.iter().filter(is_strongest))
}

fn colour(contestant: &str) -> RGBColor {
    match contestant {
        "runtime" => RGBColor(0xd1, 0x1a, 0x2a),
        "raw" => RGBColor(0x24, 0x29, 0x2f),
        "tokio" => RGBColor(0x09, 0x69, 0xda),
        "tokio-local" => RGBColor(0x7c, 0xb7, 0xf5),
        "smol" => RGBColor(0x2d, 0x9a, 0x4b),
        "monoio-epoll" => RGBColor(0x7b, 0x4f, 0xc9),
        "monoio-uring" => RGBColor(0xc4, 0xa3, 0xf0),
        "compio-poll" => RGBColor(0xc2, 0x7a, 0x00),
        "compio-uring" => RGBColor(0xf0, 0xc0, 0x50),
        _ => RGBColor(0x8c, 0x95, 0x9f),
    }
}

/// The least and the greatest figure of all.
fn figures(series: &[Series]) -> Range<f64> {
    let figures = series.iter().flat_map(|series| &series.figures);
    extent(figures.map(|figure| figure.1))
}

fn extent(values: impl Iterator<Item = f64>) -> Range<f64> {
    values.fold(f64::INFINITY..0.0, |extent, value| {
        extent.start.min(value)..extent.end.max(value)
    })
}

/// Writes a number as an axis has it: short.
fn axis_number(value: f64) -> String {
    match value {
        1e6.. => format!("{} M", value / 1e6),
        1e4.. => format!("{:.0} k", value / 1e3),
        1e3.. => format!("{:.0},{:03.0}", (value / 1e3).floor(), value % 1e3),
        100.0.. => format!("{value:.0}"),
        10.0.. => trim(&format!("{value:.1}")),
        _ => trim(&format!("{value:.2}")),
    }
}

fn trim(number: &str) -> String {
    number
        .trim_end_matches('0')
        .trim_end_matches('.')
        .to_owned()
}
