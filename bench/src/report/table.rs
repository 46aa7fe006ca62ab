//! The report for terminals.

use std::fmt::Write as _;

use super::{Report, short};
use crate::claims::{Outcome, Verdict};
use crate::results::{Point, Series};
use crate::rivals::Runner;
use crate::scenario::Scenario;
use crate::stats::Summary;

/// All points, the claims and the notes.
pub(crate) fn render(report: &Report) -> String {
    let machine = &report.machine;
    let mut text = format!(
        "\n{}, {} cores, Linux {}; medians (min-max) of {} alternating runs\n",
        machine.processor, machine.cores, machine.kernel, report.rounds
    );
    for (name, version) in &machine.versions {
        writeln!(text, "  {name}: {version}").ok();
    }
    text.push('\n');
    text.push_str(&aligned(&points(report)));
    text.push('\n');
    text.push_str(&aligned(&claims(&report.verdicts)));
    for note in report.notes() {
        write!(text, "\nnote: {note}").ok();
    }
    text.push('\n');
    text
}

/// The scenarios there are, for `--list`.
pub(crate) fn scenarios(scenarios: &[Scenario]) -> String {
    let row = |scenario: &Scenario| {
        let program = scenario.program.as_ref();
        let option = program.map_or(String::new(), |p| format!("--{:?}", p.suite).to_lowercase());
        vec![scenario.name.clone(), scenario.title.clone(), option]
    };
    aligned(&scenarios.iter().map(row).collect::<Vec<_>>())
}

/// The heading and one row per point.
pub(crate) fn points(report: &Report) -> Vec<Vec<String>> {
    let runners = report.runners();
    let mut heading: Vec<String> =
        ["scenario", "ranks", "size", "unit"].map(str::to_owned).to_vec();
    heading.extend(runners.iter().map(|runner| runner.title().to_owned()));
    heading.push("ours is x times better".to_owned());
    let rows = report.points.iter().map(|point| row(point, &runners));
    std::iter::once(heading).chain(rows).collect()
}

/// The heading and one row per claim that was measured.
pub(crate) fn claims(verdicts: &[Verdict]) -> Vec<Vec<String>> {
    let heading = ["claim", "target", "measured", ""].map(str::to_owned).to_vec();
    let row = |verdict: &Verdict| {
        let measured = match (verdict.value, verdict.range) {
            (Some(value), Some((min, max))) if min < max => range(value, min, max),
            (Some(value), _) => short(value),
            (None, _) => "-".to_owned(),
        };
        let outcome = match verdict.outcome {
            Outcome::Pass => "pass",
            Outcome::Miss => "MISS",
            Outcome::NotMeasured => "not measured",
        };
        vec![verdict.text.clone(), verdict.target.clone(), measured, outcome.to_owned()]
    };
    std::iter::once(heading).chain(verdicts.iter().map(row)).collect()
}

fn row(point: &Point, runners: &[Runner]) -> Vec<String> {
    let (np, unit) = (point.np.to_string(), point.unit.clone());
    let mut cells = vec![point.scenario.clone(), np, point.label.clone(), unit];
    cells.extend(runners.iter().map(|&runner| value(point.series_of(runner))));
    cells.push(point.advantage().map_or("-".to_owned(), summary));
    cells
}

fn value(series: Option<&Series>) -> String {
    match series.map(|series| (series.summary(), &series.problem)) {
        Some((Some(values), _)) => summary(values),
        Some((None, Some(_))) => "failed".to_owned(),
        _ => "-".to_owned(),
    }
}

fn summary(values: Summary) -> String {
    if values.count < 2 {
        return short(values.median);
    }
    range(values.median, values.min, values.max)
}

fn range(median: f64, min: f64, max: f64) -> String {
    format!("{} ({}-{})", short(median), short(min), short(max))
}

fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let gap = width - cell.chars().count() + 2;
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', gap));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::*;

    #[test]
    fn a_row_shows_both_values_and_their_ratio() {
        let text = render(&report());
        let row = text.lines().find(|line| line.starts_with("ring ")).expect("a row");
        let cells: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(cells, ["ring", "64", "8", "B", "µs", "0.200", "40.0", "200"]);
        assert!(text.contains("200 (190-210)  pass"), "{text}");
        assert!(text.contains("note: Open MPI was best with the settings: yields [ring 64]"));
    }

    #[test]
    fn a_failed_run_is_not_a_dash() {
        let mut report = report();
        report.points[0].series[0].values.clear();
        report.points[0].series[0].problem = Some("trap".into());
        let rows = points(&report);
        assert_eq!(rows[1][4..], ["failed", "40.0", "-"]);
    }

    #[test]
    fn columns_align_by_characters() {
        let rows = [vec!["µ".to_owned(), "x".to_owned()], vec!["ab".to_owned(), "y".to_owned()]];
        assert_eq!(aligned(&rows), "µ   x\nab  y\n");
    }
}
