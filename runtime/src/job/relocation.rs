//! Orders to place ranks of a running job elsewhere, and what came of them.

use std::fmt;
use std::time::Duration;

/// Ranks that are to go elsewhere.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct MoveOrder {
    /// Which; none for all that are on the node `from`.
    pub ranks: Vec<u32>,
    /// The node that they leave: its number in the job, from 0 on, or its host.
    pub from: Option<String>,
    /// The node that they go to; without one they are spread over the job's other nodes.
    pub to: Option<String>,
}

/// Ranks that went elsewhere.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct MoveReport {
    /// Which, each with the host that it runs on now.
    pub moved: Vec<(u32, String)>,
    /// How long no rank of the job could go on.
    pub stopped: Duration,
    /// How long it took until the job stood still.
    pub stopping: Duration,
    /// How long their memory was sent before, while they ran; none if that could not be.
    pub copying: Option<Duration>,
    /// Bytes of memory that were left to be sent while no rank could go on.
    pub bytes: u64,
}

impl fmt::Display for MoveReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((rank, host)) = self.moved.first() else {
            return f.write_str("every rank is there already");
        };
        match self.moved.len() {
            1 => write!(f, "rank {rank} runs on {host}")?,
            count if self.moved.iter().all(|(_, other)| other == host) => {
                write!(f, "{count} ranks run on {host}")?;
            }
            count => write!(f, "{count} ranks run on other nodes")?,
        }
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        write!(f, " (stopped for {:.1} ms", ms(self.stopped))?;
        write!(f, ", after {:.1} ms until all ranks waited", ms(self.stopping))?;
        match self.copying {
            Some(time) => write!(f, " and {:.1} ms of copying)", ms(time)),
            None => f.write_str(", and copied only then)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_one_line() {
        let mut report = MoveReport::default();
        assert_eq!(report.to_string(), "every rank is there already");
        report.moved = vec![(3, "a".to_owned())];
        assert!(report.to_string().starts_with("rank 3 runs on a (stopped for 0.0 ms"));
        report.moved.push((4, "a".to_owned()));
        assert!(report.to_string().starts_with("2 ranks run on a ("));
        report.moved.push((5, "b".to_owned()));
        assert!(report.to_string().starts_with("3 ranks run on other nodes ("));
    }
}
