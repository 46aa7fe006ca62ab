//! What was measured, as a table, as JSON and as a page with plots.

pub(crate) mod json;
pub(crate) mod plots;
pub(crate) mod table;

pub(crate) mod html;

use serde::Serialize;

use crate::claims::Verdict;
use crate::machine::Machine;
use crate::results::{Point, Series};
use crate::rivals::Runner;

/// Everything a report shows.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// Where it was measured.
    pub(crate) machine: Machine,
    /// Whether it was a quick look only.
    pub(crate) quick: bool,
    /// Alternating runs of each point.
    pub(crate) rounds: u32,
    /// All points, in the order they were measured.
    pub(crate) points: Vec<Point>,
    /// What became of each claim.
    pub(crate) verdicts: Vec<Verdict>,
}

impl Report {
    /// Who took part in anything, in a fixed order.
    pub(crate) fn runners(&self) -> Vec<Runner> {
        let mut runners: Vec<Runner> =
            self.points.iter().flat_map(|point| &point.series).map(|s| s.runner).collect();
        runners.sort();
        runners.dedup();
        runners
    }

    /// What a reader must know besides the figures: each remark once, with the places it is about.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> = self.machine.warning().into_iter().collect();
        if self.quick {
            notes.push("a quick look, not a measurement: one short run of each".to_owned());
        }
        let mut remarks: Vec<(String, Vec<String>)> = Vec::new();
        for point in &self.points {
            for remark in point.series.iter().flat_map(remarks_on) {
                let known = remarks.iter().position(|(text, _)| *text == remark);
                let index = known.unwrap_or_else(|| {
                    remarks.push((remark, Vec::new()));
                    remarks.len() - 1
                });
                remarks[index].1.push(place(point));
            }
        }
        notes.extend(remarks.into_iter().map(|(text, mut places)| {
            places.dedup();
            format!("{text} [{}]", places.join(", "))
        }));
        notes
    }
}

fn remarks_on(series: &Series) -> Vec<String> {
    let who = series.runner.title();
    let settings = (!series.variant.is_empty())
        .then(|| format!("{who} was best with the settings: {}", series.variant));
    let problem = series.problem.as_ref().map(|problem| format!("{who}: {problem}"));
    problem.into_iter().chain(settings).collect()
}

/// "ring 64"; with the name of a kernel, but without a size, since one run measures all sizes.
fn place(point: &Point) -> String {
    match point.bytes {
        None if !point.label.is_empty() => format!("{} {}", point.scenario, point.label),
        _ => format!("{} {}", point.scenario, point.np),
    }
}

/// A number with three significant digits, as people write it.
pub(crate) fn short(value: f64) -> String {
    let magnitude = value.abs();
    match magnitude {
        0.0 => "0".to_owned(),
        m if !(1e-4..1e9).contains(&m) => format!("{value:.2e}"),
        m if m >= 99.95 => format!("{value:.0}"),
        m if m >= 9.995 => format!("{value:.1}"),
        m if m >= 0.9995 => format!("{value:.2}"),
        m if m >= 0.09995 => format!("{value:.3}"),
        _ => format!("{value:.5}"),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::claims::Outcome;
    use crate::results::tests::point;
    use crate::scenario::Metric;

    /// A report with one point and one claim.
    pub(crate) fn report() -> Report {
        let mut one = point(Metric::Usec, 64, &[(Runner::Faasm, 0.2), (Runner::OpenMpi, 40.0)]);
        one.series[1].variant = "yields".into();
        Report {
            machine: Machine {
                processor: "a <fast> one".into(),
                cores: 2,
                kernel: "6".into(),
                load_before: 0.0,
                versions: [("Open MPI", "4".to_owned())].into(),
            },
            quick: false,
            rounds: 5,
            points: vec![one],
            verdicts: vec![Verdict {
                id: "ring-64".into(),
                text: "ring".into(),
                target: ">= 200".into(),
                value: Some(200.0),
                range: Some((190.0, 210.0)),
                outcome: Outcome::Pass,
            }],
        }
    }

    #[test]
    fn numbers_keep_three_digits() {
        assert_eq!(
            [0.0, 0.171_23, 3.1234, 38.04, 755.4, 1234.5, 0.001_234].map(short),
            ["0", "0.171", "3.12", "38.0", "755", "1234", "0.00123"]
        );
    }

    #[test]
    fn notes_name_settings_and_problems() {
        let mut report = report();
        report.points[0].series[0].problem = Some("exit status: 3: trap".into());
        assert_eq!(
            report.notes(),
            [
                "faasm-run: exit status: 3: trap [ring 64]",
                "Open MPI was best with the settings: yields [ring 64]",
            ]
        );
    }
}
