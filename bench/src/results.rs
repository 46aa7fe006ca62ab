//! What was measured: points (scenario, ranks, label), each with one series of values per runner.

use hdrhistogram::Histogram;
use serde::{Serialize, Serializer};

use crate::rivals::Runner;
use crate::scenario::Metric;
use crate::stats::{Summary, paired_ratio};

/// One row of the report.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Point {
    /// Name of the scenario.
    pub(crate) scenario: String,
    /// Title of the scenario.
    pub(crate) title: String,
    /// Number of ranks.
    pub(crate) np: u32,
    /// Size or kernel; empty where a scenario has only one.
    pub(crate) label: String,
    /// Payload bytes, where that is what the label says.
    pub(crate) bytes: Option<u64>,
    /// What the values are.
    pub(crate) metric: Metric,
    /// Their unit.
    pub(crate) unit: String,
    /// One series per runner.
    pub(crate) series: Vec<Series>,
}

/// The values of one runner at one point, one per round.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Series {
    /// Who ran.
    pub(crate) runner: Runner,
    /// The settings that were best for it here; empty for its defaults.
    pub(crate) variant: String,
    /// The value of each round; none where the run failed or was left out.
    pub(crate) values: Vec<Option<f64>>,
    /// Why values are missing, in one line.
    pub(crate) problem: Option<String>,
    /// Latencies of all rounds together, where the program reports them.
    #[serde(serialize_with = "quantiles")]
    pub(crate) latencies_ns: Option<Histogram<u64>>,
}

impl Series {
    /// Median and range of the values there are.
    pub(crate) fn summary(&self) -> Option<Summary> {
        Summary::of(self.values.iter().copied().flatten())
    }
}

impl Point {
    /// The series of one runner.
    pub(crate) fn series_of(&self, runner: Runner) -> Option<&Series> {
        self.series.iter().find(|series| series.runner == runner)
    }

    /// Our series.
    pub(crate) fn ours(&self) -> Option<&Series> {
        self.series_of(Runner::Faasm)
    }

    /// The native series with the best median.
    pub(crate) fn best_native(&self) -> Option<&Series> {
        let native = self.series.iter().filter(|series| series.runner != Runner::Faasm);
        let with_median = native.filter_map(|series| Some((series.summary()?.median, series)));
        let better = |a: &f64, b: &f64| {
            if self.metric.more_is_better() { b.total_cmp(a) } else { a.total_cmp(b) }
        };
        with_median.min_by(|(a, _), (b, _)| better(a, b)).map(|(_, series)| series)
    }

    /// How many times better ours is than the best native, round by round.
    pub(crate) fn advantage(&self) -> Option<Summary> {
        let (ours, native) = (&self.ours()?.values, &self.best_native()?.values);
        if self.metric.more_is_better() {
            paired_ratio(ours, native)
        } else {
            paired_ratio(native, ours)
        }
    }
}

/// "8 B", "4 KiB", "1 MiB"; empty for 0, which stands for an operation without payload.
pub(crate) fn size_label(bytes: u64) -> String {
    match bytes {
        0 => String::new(),
        b if b >= 1 << 20 && b % (1 << 20) == 0 => format!("{} MiB", b >> 20),
        b if b >= 1 << 10 && b % (1 << 10) == 0 => format!("{} KiB", b >> 10),
        b => format!("{b} B"),
    }
}

/// The quantiles that reports give of a distribution of latencies.
pub(crate) const QUANTILES: [(&str, f64); 6] =
    [("min", 0.0), ("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

fn quantiles<S: Serializer>(
    latencies: &Option<Histogram<u64>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let Some(latencies) = latencies else {
        return serializer.serialize_none();
    };
    serializer.collect_map(QUANTILES.map(|(name, q)| (name, latencies.value_at_quantile(q))))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A point with one value per runner.
    pub(crate) fn point(metric: Metric, np: u32, values: &[(Runner, f64)]) -> Point {
        let series = values.iter().map(|&(runner, value)| Series {
            runner,
            variant: String::new(),
            values: vec![Some(value)],
            problem: None,
            latencies_ns: None,
        });
        Point {
            scenario: "ring".into(),
            title: "Ring".into(),
            np,
            label: "8 B".into(),
            bytes: Some(8),
            metric,
            unit: metric.unit().into(),
            series: series.collect(),
        }
    }

    #[test]
    fn advantage_is_over_the_best_native_in_either_direction() {
        let values = [(Runner::Faasm, 2.0), (Runner::OpenMpi, 10.0), (Runner::Mpich, 4.0)];
        let time = point(Metric::Usec, 2, &values);
        assert_eq!(time.best_native().map(|s| s.runner), Some(Runner::Mpich));
        assert_eq!(time.advantage().map(|a| a.median), Some(2.0));
        let rate = point(Metric::Mbps, 2, &values);
        assert_eq!(rate.best_native().map(|s| s.runner), Some(Runner::OpenMpi));
        assert_eq!(rate.advantage().map(|a| a.median), Some(0.2));
    }

    #[test]
    fn no_advantage_without_both_sides() {
        assert!(point(Metric::Usec, 2, &[(Runner::Faasm, 2.0)]).advantage().is_none());
        assert!(point(Metric::Usec, 2, &[(Runner::Mpich, 2.0)]).advantage().is_none());
    }

    #[test]
    fn sizes_read_well() {
        assert_eq!(
            [0, 8, 1000, 4096, 4 << 20].map(size_label),
            ["", "8 B", "1000 B", "4 KiB", "4 MiB"]
        );
    }
}
