//! Plots as SVG text.

use anyhow::{Result, anyhow};
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

use crate::rivals::Runner;

/// A named line of a plot.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// Whose line it is.
    pub(crate) runner: Runner,
    /// Its points, both coordinates positive.
    pub(crate) points: Vec<(f64, f64)>,
}

/// Title and axes of a plot.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// Above the plot.
    pub(crate) title: String,
    /// Below the horizontal axis.
    pub(crate) x: String,
    /// Beside the vertical axis.
    pub(crate) y: String,
}

const SIZE: (u32, u32) = (560, 340);
const FONT: (&str, u32) = ("sans-serif", 15);

/// Lines over two logarithmic axes.
pub(crate) fn lines(frame: &Frame, lines: &[Line]) -> Result<String> {
    let points = || lines.iter().flat_map(|line| line.points.iter().copied());
    let x = bounds(points().map(|(x, _)| x), 1.2);
    let y = bounds(points().map(|(_, y)| y), 1.6);
    draw(SIZE, |area| {
        let mut chart = ChartBuilder::on(area)
            .caption(&frame.title, FONT)
            .margin(12)
            .x_label_area_size(38)
            .y_label_area_size(64)
            .build_cartesian_2d((x.0..x.1).log_scale(), (y.0..y.1).log_scale())?;
        chart
            .configure_mesh()
            .x_desc(&frame.x)
            .y_desc(&frame.y)
            .x_label_formatter(&|value| super::short(*value))
            .y_label_formatter(&|value| super::short(*value))
            .light_line_style(WHITE)
            .draw()?;
        for line in lines {
            draw_line(&mut chart, line)?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()?;
        Ok(())
    })
}

/// Horizontal bars with their values, and a line at one.
pub(crate) fn bars(frame: &Frame, bars: &[(String, f64)]) -> Result<String> {
    let rows = u32::try_from(bars.len())?;
    let longest = bars.iter().map(|bar| bar.1).fold(1.0, f64::max) * 1.15;
    draw((SIZE.0, 70 + 18 * rows), |area| {
        let mut chart = ChartBuilder::on(area)
            .caption(&frame.title, FONT)
            .margin(12)
            .x_label_area_size(34)
            .y_label_area_size(110)
            .build_cartesian_2d(0.0..longest, (0..rows).into_segmented())?;
        let name = |at: &SegmentValue<u32>| match at {
            SegmentValue::CenterOf(row) => {
                usize::try_from(*row).ok().and_then(|row| bars.get(row)).map(|bar| bar.0.clone())
            }
            _ => None,
        };
        chart
            .configure_mesh()
            .x_desc(&frame.x)
            .light_line_style(WHITE)
            .y_labels(bars.len())
            .y_label_formatter(&|at| name(at).unwrap_or_default())
            .disable_y_mesh()
            .draw()?;
        for (row, (_, value)) in (0..rows).zip(bars) {
            let corners = [(0.0, SegmentValue::Exact(row)), (*value, SegmentValue::Exact(row + 1))];
            let mut bar = Rectangle::new(corners, color(Runner::Faasm).mix(0.7).filled());
            bar.set_margin(2, 2, 0, 0);
            chart.draw_series([bar])?;
        }
        let one = [(1.0, SegmentValue::Exact(0)), (1.0, SegmentValue::Exact(rows))];
        chart.draw_series([PathElement::new(one.to_vec(), BLACK)])?;
        Ok(())
    })
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

fn draw(size: (u32, u32), paint: impl FnOnce(&Area<'_>) -> Outcome) -> Result<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let outcome = paint(&area);
        outcome.map_err(|error| anyhow!("cannot draw a plot: {error}"))?;
        area.present().map_err(|error| anyhow!("cannot draw a plot: {error}"))?;
    }
    Ok(svg)
}

fn draw_line<'a, X, Y>(
    chart: &mut ChartContext<'_, SVGBackend<'a>, Cartesian2d<X, Y>>,
    line: &Line,
) -> Outcome
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64> + AsRangedCoord,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64> + AsRangedCoord,
{
    let style = color(line.runner).stroke_width(2);
    chart
        .draw_series(LineSeries::new(line.points.iter().copied(), style))?
        .label(line.runner.title())
        .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    chart.draw_series(
        line.points.iter().map(|&at| Circle::new(at, 3, color(line.runner).filled())),
    )?;
    Ok(())
}

fn color(runner: Runner) -> RGBColor {
    match runner {
        Runner::Faasm => RGBColor(200, 40, 40),
        Runner::OpenMpi => RGBColor(30, 90, 180),
        Runner::Mpich => RGBColor(40, 140, 70),
        Runner::Libgomp => RGBColor(30, 90, 180),
        Runner::Libomp => RGBColor(40, 140, 70),
        Runner::Serial => RGBColor(90, 90, 90),
    }
}

/// The range of positive values, wider by `factor` on each side so that no axis is empty.
fn bounds(values: impl Iterator<Item = f64>, factor: f64) -> (f64, f64) {
    let (min, max) =
        values.fold((f64::INFINITY, 0.0_f64), |(min, max), value| (min.min(value), max.max(value)));
    if min.is_finite() && min > 0.0 { (min / factor, max * factor) } else { (1.0, 10.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> Frame {
        Frame { title: "Ring".into(), x: "ranks".into(), y: "µs".into() }
    }

    #[test]
    fn a_plot_names_each_line() {
        let line = |runner, y| Line { runner, points: vec![(2.0, y), (64.0, y * 2.0)] };
        let svg = lines(&frame(), &[line(Runner::Faasm, 0.2), line(Runner::OpenMpi, 38.0)]);
        let svg = svg.expect("drawable");
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        for word in ["Ring", "ranks", "faasm-run", "Open MPI"] {
            assert!(svg.contains(word), "{word} is missing");
        }
    }

    #[test]
    fn a_single_point_is_drawable() {
        let line = Line { runner: Runner::Faasm, points: vec![(2.0, 1.0)] };
        assert!(lines(&frame(), &[line]).is_ok());
    }

    #[test]
    fn bars_carry_their_names() {
        let svg = bars(&frame(), &[("gemm".into(), 2.0), ("lu".into(), 0.9)]).expect("drawable");
        assert!(svg.contains("gemm") && svg.contains("lu"));
    }
}
