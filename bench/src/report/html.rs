//! The report for people: one file with tables and plots, without anything to load.

use std::fmt::Write as _;

use anyhow::Result;

use super::plots::{self, Frame, Line};
use super::{Report, table};
use crate::results::{Point, Series};
use crate::rivals::Runner;
use crate::scenario::Metric;

/// The report as a page.
pub(crate) fn render(report: &Report) -> Result<String> {
    let machine = &report.machine;
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>faasm-run beside native MPI</title>\n\
         <style>{STYLE}</style>\n<h1>faasm-run beside native MPI</h1>\n\
         <p>{}, {} cores, Linux {}. Medians (min-max) of {} alternating runs.</p>\n",
        escaped(&machine.processor),
        machine.cores,
        escaped(&machine.kernel),
        report.rounds
    );
    let versions = machine.versions.iter().map(|(name, version)| format!("{name}: {version}"));
    list(&mut page, versions);
    page.push_str("<h2>Claims</h2>\n");
    html_table(&mut page, &table::claims(&report.verdicts));
    page.push_str("<h2>Plots</h2>\n<div class=\"plots\">\n");
    for plot in all_plots(report)? {
        writeln!(page, "<figure>{plot}</figure>")?;
    }
    page.push_str("</div>\n<h2>All points</h2>\n");
    html_table(&mut page, &table::points(report));
    page.push_str("<h2>Notes</h2>\n");
    list(&mut page, report.notes().into_iter());
    page.push_str("</html>\n");
    Ok(page)
}

const STYLE: &str = "body{font:15px/1.4 sans-serif;margin:2em auto;max-width:1180px;padding:0 1em}\
table{border-collapse:collapse}td,th{padding:.2em .7em;border-bottom:1px solid #ddd;text-align:left}\
.plots{display:flex;flex-wrap:wrap}figure{margin:.5em}.pass{color:#177a2b}.MISS{color:#b00020;font-weight:bold}";

fn all_plots(report: &Report) -> Result<Vec<String>> {
    let mut scenarios: Vec<&str> = report.points.iter().map(|point| &*point.scenario).collect();
    scenarios.dedup();
    let mut drawn = Vec::new();
    for scenario in scenarios {
        let points: Vec<&Point> =
            report.points.iter().filter(|point| point.scenario == scenario).collect();
        let Some(first) = points.first() else { continue };
        if first.metric == Metric::Seconds {
            drawn.extend(costs(&points)?);
            continue;
        }
        drawn.extend(over_ranks(&points)?);
        drawn.extend(over_sizes(&points)?);
        drawn.extend(distribution(&points)?);
    }
    Ok(drawn)
}

/// Values over the number of ranks, at the first size.
fn over_ranks(points: &[&Point]) -> Result<Option<String>> {
    let first = points[0];
    let same: Vec<&Point> =
        points.iter().copied().filter(|point| point.label == first.label).collect();
    let frame = Frame {
        title: [first.title.as_str(), first.label.as_str()].join(" ").trim().to_owned(),
        x: "ranks".to_owned(),
        y: first.unit.clone(),
    };
    drawn(&frame, &same, |point| Some(f64::from(point.np)))
}

/// Values over payload sizes, at the first number of ranks.
fn over_sizes(points: &[&Point]) -> Result<Option<String>> {
    let first = points[0];
    let same: Vec<&Point> = points.iter().copied().filter(|point| point.np == first.np).collect();
    let frame = Frame {
        title: format!("{}, {} ranks", first.title, first.np),
        x: "bytes".to_owned(),
        y: first.unit.clone(),
    };
    drawn(&frame, &same, |point| {
        let bytes = u32::try_from(point.bytes?).ok().filter(|bytes| *bytes > 0)?;
        Some(f64::from(bytes))
    })
}

fn drawn(
    frame: &Frame,
    points: &[&Point],
    x: impl Fn(&Point) -> Option<f64>,
) -> Result<Option<String>> {
    let at = |point: &Point, runner| {
        let median = point.series_of(runner)?.summary()?.median;
        (median > 0.0).then_some((x(point)?, median))
    };
    let line = |runner| Line {
        runner,
        points: points.iter().filter_map(|point| at(point, runner)).collect(),
    };
    let lines: Vec<Line> =
        ALL.into_iter().map(line).filter(|line| !line.points.is_empty()).collect();
    let long_enough = lines.iter().any(|line| line.points.len() > 1);
    long_enough.then(|| plots::lines(frame, &lines)).transpose()
}

const ALL: [Runner; 6] = [
    Runner::Faasm,
    Runner::OpenMpi,
    Runner::Mpich,
    Runner::Libgomp,
    Runner::Libomp,
    Runner::Serial,
];

/// Latencies over their rank in the distribution, at the largest number of ranks with a native rival.
fn distribution(points: &[&Point]) -> Result<Option<String>> {
    let compared = points.iter().rev().find(|point| {
        point.series.iter().filter(|series| series.latencies_ns.is_some()).count() > 1
    });
    let Some(np) = compared.map(|point| point.np) else {
        return Ok(None);
    };
    let Some(point) = points.iter().find(|point| point.np == np) else {
        return Ok(None);
    };
    let frame = Frame {
        title: format!("{} {}, {np} ranks: distribution", point.title, point.label),
        x: "1 of so many takes at least".to_owned(),
        y: "µs".to_owned(),
    };
    let lines: Vec<Line> = point.series.iter().filter_map(quantile_line).collect();
    plots::lines(&frame, &lines).map(Some)
}

fn quantile_line(series: &Series) -> Option<Line> {
    let latencies = series.latencies_ns.as_ref()?;
    let samples = u32::try_from(latencies.len()).map_or(f64::INFINITY, f64::from);
    let steps = (0..14).map(|step| 2.0_f64.powi(step)).filter(|one_of| *one_of <= samples);
    let point = |one_of: f64| {
        let nanoseconds = latencies.value_at_quantile(1.0 - 1.0 / one_of);
        (one_of, u32::try_from(nanoseconds).map_or(f64::from(u32::MAX), f64::from) / 1000.0)
    };
    Some(Line { runner: series.runner, points: steps.map(point).collect() })
}

/// How much longer ours takes than the native, point by point.
fn costs(points: &[&Point]) -> Result<Option<String>> {
    let bar = |point: &&Point| Some((point.label.clone(), 1.0 / point.advantage()?.median));
    let bars: Vec<(String, f64)> = points.iter().filter_map(bar).collect();
    let frame = Frame {
        title: format!("{}: time of ours / native", points[0].title),
        x: "ratio (1 = native speed)".to_owned(),
        y: String::new(),
    };
    (!bars.is_empty()).then(|| plots::bars(&frame, &bars)).transpose()
}

fn list(page: &mut String, items: impl Iterator<Item = String>) {
    page.push_str("<ul>\n");
    for item in items {
        writeln!(page, "<li>{}</li>", escaped(&item)).ok();
    }
    page.push_str("</ul>\n");
}

fn html_table(page: &mut String, rows: &[Vec<String>]) {
    page.push_str("<table>\n");
    for (index, row) in rows.iter().enumerate() {
        let tag = if index == 0 { "th" } else { "td" };
        page.push_str("<tr>");
        for cell in row {
            let class = match cell.as_str() {
                "pass" | "MISS" => format!(" class=\"{cell}\""),
                _ => String::new(),
            };
            write!(page, "<{tag}{class}>{}</{tag}>", escaped(cell)).ok();
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table>\n");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::*;

    #[test]
    fn the_page_is_complete_and_escaped() {
        let page = render(&report()).expect("renderable");
        assert!(page.contains("a &lt;fast&gt; one"));
        assert!(page.contains("<td class=\"pass\">pass</td>"));
        assert!(!page.contains("src=") && !page.contains("<link"), "it loads something");
    }

    #[test]
    fn two_numbers_of_ranks_make_a_plot() {
        let mut report = report();
        let mut second = report.points[0].clone();
        second.np = 2;
        report.points.push(second);
        assert_eq!(render(&report).expect("renderable").matches("<figure>").count(), 1);
    }

    #[test]
    fn kernels_become_bars() {
        let mut report = report();
        report.points[0].metric = Metric::Seconds;
        report.points[0].label = "gemm".into();
        let page = render(&report).expect("renderable");
        assert!(page.contains("time of ours / native") && page.contains("gemm"));
    }
}
