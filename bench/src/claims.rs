//! The numbers this project promises (`bench/claims.toml`) against what was measured.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::results::Point;
use crate::stats::geometric_mean;

/// One promised number.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Claim {
    /// Short name.
    pub(crate) id: String,
    /// The promise in words.
    pub(crate) text: String,
    /// The scenarios that measure it, with commas between them; one that ends with `*` stands for all that begin so.
    pub(crate) scenario: String,
    /// At this number of ranks.
    pub(crate) np: u32,
    /// Only the point with this label; all points of the scenario if absent.
    pub(crate) label: Option<String>,
    /// What is compared with the bound.
    pub(crate) measure: Measure,
    /// The smallest value that keeps the promise.
    pub(crate) at_least: Option<f64>,
    /// The largest value that keeps the promise.
    pub(crate) at_most: Option<f64>,
}

/// What a claim compares with its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Measure {
    /// How many times better ours is than the best native.
    Advantage,
    /// Ours / native, geometric mean over the points.
    Cost,
    /// Our own median.
    Value,
    /// There is a result at all.
    Completes,
}

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// Measured and kept.
    Pass,
    /// Measured and not kept, or our run failed.
    Miss,
    /// Its scenario did not run, or had no native side to compare with.
    NotMeasured,
}

/// A claim with what was measured for it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Verdict {
    /// Short name of the claim.
    pub(crate) id: String,
    /// The promise in words.
    pub(crate) text: String,
    /// The bound in words: ">= 200".
    pub(crate) target: String,
    /// What was measured.
    pub(crate) value: Option<f64>,
    /// Smallest and largest of the rounds, for ratios of one point.
    pub(crate) range: Option<(f64, f64)>,
    /// What became of it.
    pub(crate) outcome: Outcome,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    claim: Vec<Claim>,
}

/// Reads the promises.
pub(crate) fn load(path: &Path) -> Result<Vec<Claim>> {
    let text = std::fs::read_to_string(path).with_context(|| {
        format!("cannot read {}: start in the repository's root or pass --root", path.display())
    })?;
    parse(&text).with_context(|| format!("in {}", path.display()))
}

fn parse(text: &str) -> Result<Vec<Claim>> {
    let file: File = toml::from_str(text)?;
    for claim in &file.claim {
        let bounds = usize::from(claim.at_least.is_some()) + usize::from(claim.at_most.is_some());
        let wanted = usize::from(claim.measure != Measure::Completes);
        ensure!(bounds == wanted, "claim {:?} must have {wanted} bound", claim.id);
    }
    Ok(file.claim)
}

impl Claim {
    /// Compares the promise with what was measured.
    pub(crate) fn judge(&self, points: &[Point]) -> Verdict {
        let points: Vec<&Point> = points.iter().filter(|point| self.concerns(point)).collect();
        let (value, range) = self.measured(&points);
        let outcome = match value {
            Some(value) if self.holds(value) => Outcome::Pass,
            Some(_) => Outcome::Miss,
            None if points.iter().any(|point| ours_failed(point)) => Outcome::Miss,
            None => Outcome::NotMeasured,
        };
        let (id, text) = (self.id.clone(), self.text.clone());
        Verdict { id, text, target: self.target(), value, range, outcome }
    }

    fn concerns(&self, point: &Point) -> bool {
        self.is_measured_by(&point.scenario)
            && point.np == self.np
            && self.label.as_ref().is_none_or(|label| *label == point.label)
    }

    /// Whether the scenario of this name measures it.
    pub(crate) fn is_measured_by(&self, scenario: &str) -> bool {
        self.scenario.split(',').any(|name| names(name, scenario))
    }

    fn measured(&self, points: &[&Point]) -> (Option<f64>, Option<(f64, f64)>) {
        let summaries: Vec<_> = match self.measure {
            Measure::Advantage | Measure::Cost => {
                points.iter().map(|point| point.advantage()).collect()
            }
            Measure::Value | Measure::Completes => {
                points.iter().map(|point| point.ours()?.summary()).collect()
            }
        };
        let Some(summaries) = summaries.into_iter().collect::<Option<Vec<_>>>() else {
            return (None, None);
        };
        if self.measure == Measure::Cost {
            let costs: Vec<f64> = summaries.iter().map(|ratio| 1.0 / ratio.median).collect();
            return (geometric_mean(&costs), None);
        }
        let first = summaries.first();
        (first.map(|s| s.median), first.map(|s| (s.min, s.max)))
    }

    fn holds(&self, value: f64) -> bool {
        self.at_least.is_none_or(|bound| value >= bound)
            && self.at_most.is_none_or(|bound| value <= bound)
    }

    fn target(&self) -> String {
        match (self.at_least, self.at_most) {
            (Some(bound), _) => format!(">= {bound}"),
            (_, Some(bound)) => format!("<= {bound}"),
            _ => "completes".to_owned(),
        }
    }
}

fn ours_failed(point: &Point) -> bool {
    point.ours().is_some_and(|series| series.problem.is_some())
}

/// Whether a name in a claim stands for a scenario.
fn names(name: &str, scenario: &str) -> bool {
    match name.strip_suffix('*') {
        Some(beginning) => scenario.starts_with(beginning),
        None => scenario == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::tests::point;
    use crate::rivals::Runner;
    use crate::scenario::Metric;

    const RING: &str = "[[claim]]\nid = \"r\"\ntext = \"ring\"\nscenario = \"ring\"\nnp = 64\nlabel = \"8 B\"\n\
                        measure = \"advantage\"\nat_least = 200.0\n";

    fn judge(claim: &str, points: &[Point]) -> Verdict {
        parse(claim).expect("valid claim")[0].judge(points)
    }

    #[test]
    fn advantage_passes_at_its_bound_and_misses_below() {
        let at = |ours| point(Metric::Usec, 64, &[(Runner::Faasm, ours), (Runner::OpenMpi, 40.0)]);
        assert_eq!(judge(RING, &[at(0.2)]).outcome, Outcome::Pass);
        let miss = judge(RING, &[at(0.4)]);
        assert_eq!((miss.outcome, miss.value), (Outcome::Miss, Some(100.0)));
    }

    #[test]
    fn other_points_do_not_count() {
        let values = [(Runner::Faasm, 0.1), (Runner::OpenMpi, 40.0)];
        let verdict = judge(RING, &[point(Metric::Usec, 2, &values)]);
        assert_eq!(verdict.outcome, Outcome::NotMeasured);
    }

    #[test]
    fn a_failed_run_of_ours_is_a_miss() {
        let mut failed = point(Metric::Usec, 64, &[(Runner::Faasm, 1.0), (Runner::Mpich, 1.0)]);
        failed.series[0].values = vec![None];
        failed.series[0].problem = Some("trapped".into());
        assert_eq!(judge(RING, &[failed]).outcome, Outcome::Miss);
    }

    #[test]
    fn cost_is_the_geometric_mean_of_all_points() {
        let text = RING
            .replace("label = \"8 B\"\n", "")
            .replace("advantage", "cost")
            .replace("at_least = 200.0", "at_most = 1.35");
        let kernel =
            |cost| point(Metric::Seconds, 64, &[(Runner::Faasm, cost), (Runner::Serial, 1.0)]);
        let verdict = judge(&text, &[kernel(0.5), kernel(2.0)]);
        assert!((verdict.value.expect("measured") - 1.0).abs() < 1e-12);
        assert_eq!(verdict.outcome, Outcome::Pass);
        assert_eq!(judge(&text, &[kernel(2.0)]).outcome, Outcome::Miss);
    }

    #[test]
    fn a_claim_needs_exactly_the_bound_it_is_about() {
        assert!(parse(&RING.replace("at_least = 200.0", "")).is_err());
        assert!(parse(&RING.replace("advantage", "completes")).is_err());
        assert!(parse(&format!("{RING}at_most = 1.0\n")).is_err());
    }

    #[test]
    fn each_claim_of_this_repository_has_a_scenario_that_measures_it() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let scenarios = crate::scenario::load(&root.join("scenarios")).expect("valid scenarios");
        for claim in load(&root.join("claims.toml")).expect("valid claims") {
            for name in claim.scenario.split(',') {
                let exists = scenarios.iter().any(|scenario| names(name, &scenario.name));
                assert!(exists, "{}: there is no {name}", claim.id);
            }
            let measuring = scenarios.iter().filter(|one| claim.is_measured_by(&one.name));
            let case = measuring.flat_map(|scenario| &scenario.cases).find(|case| {
                let labels: Vec<_> =
                    case.sizes.iter().map(|&bytes| crate::results::size_label(bytes)).collect();
                let labelled = |label: &String| labels.is_empty() || labels.contains(label);
                case.np.contains(&claim.np) && claim.label.as_ref().is_none_or(labelled)
            });
            assert!(case.is_some(), "{}: the scenario has no such case", claim.id);
        }
    }
}
