//! Reads what benchmark programs print.
//!
//! Our guests print `BENCH name bytes=8 n=64 usec=0.17 reps=1000` and `HIST name bytes=8 n=64 ns=170x12,171x40`
//! (value x how often); real programs print a figure after a text that is theirs, such as `Rate (MB/s): 3`.

use anyhow::{Context as _, Result, bail, ensure};
use hdrhistogram::Histogram;

/// One measurement of one run.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    /// Payload bytes of the operation.
    pub(crate) bytes: u64,
    /// Mean microseconds of one operation.
    pub(crate) usec: f64,
    /// Nanoseconds of one operation, batch by batch.
    pub(crate) latencies_ns: Histogram<u64>,
}

/// Reads every BENCH line with its HIST line from the standard output of a guest run with `np` ranks.
pub(crate) fn measurements(stdout: &str, np: u32) -> Result<Vec<Measured>> {
    let mut found = Vec::new();
    for line in stdout.lines() {
        if let Some(rest) = line.strip_prefix("BENCH ") {
            found.push(bench_line(rest, np).with_context(|| format!("in the line {line:?}"))?);
        } else if let Some(rest) = line.strip_prefix("HIST ") {
            let last: &mut Measured =
                found.last_mut().context("a HIST line before any BENCH line")?;
            add_histogram(rest, last)?;
        }
    }
    ensure!(!found.is_empty(), "the program printed no BENCH line");
    Ok(found)
}

/// The first number after `text` in `output`.
pub(crate) fn figure_after(output: &str, text: &str) -> Result<f64> {
    let rest = output
        .split_once(text)
        .with_context(|| format!("the program did not print {text:?}"))?
        .1
        .trim_start_matches([' ', '\t', '=', ':']);
    let number: String =
        rest.chars().take_while(|c| c.is_ascii_digit() || "+-.eE".contains(*c)).collect();
    number.parse().with_context(|| format!("no number follows {text:?} in the program's output"))
}

/// The lines of `output` that contain one of `texts`, for comparison with another run of the program.
pub(crate) fn lines_with(output: &str, texts: &[String]) -> Vec<String> {
    output
        .lines()
        .filter(|line| texts.iter().any(|text| line.contains(text.as_str())))
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

fn bench_line(rest: &str, np: u32) -> Result<Measured> {
    let ranks: u32 = field(rest, "n")?.parse().context("n is not a number of ranks")?;
    ensure!(ranks == np, "started with {np} ranks, but the program saw {ranks}");
    let usec: f64 = field(rest, "usec")?.parse().context("usec is not a number")?;
    ensure!(usec.is_finite() && usec > 0.0, "usec must be positive, not {usec}");
    let bytes = field(rest, "bytes")?.parse().context("bytes is not a number")?;
    Ok(Measured { bytes, usec, latencies_ns: empty_histogram()? })
}

fn add_histogram(rest: &str, target: &mut Measured) -> Result<()> {
    for pair in field(rest, "ns")?.split(',') {
        let (value, count) = pair.split_once('x').context("a HIST entry is not VALUExCOUNT")?;
        let value: u64 = value.parse().context("a HIST value is not a number")?;
        let count = count.parse().context("a HIST count is not a number")?;
        target.latencies_ns.record_n(value.max(1), count).context("a HIST value is too large")?;
    }
    Ok(())
}

/// A histogram of nanoseconds with three significant digits that grows as needed.
pub(crate) fn empty_histogram() -> Result<Histogram<u64>> {
    Histogram::new(3).context("three significant digits are valid")
}

fn field<'a>(line: &'a str, key: &str) -> Result<&'a str> {
    for word in line.split_whitespace() {
        if let Some((name, value)) = word.split_once('=')
            && name == key
        {
            return Ok(value);
        }
    }
    bail!("the field {key}= is missing")
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "hello\nBENCH ring bytes=8 n=4 usec=0.25 reps=10\nHIST ring bytes=8 n=4 ns=250x3,300x1\n\
                       BENCH ring bytes=64 n=4 usec=0.5 reps=10\nHIST ring bytes=64 n=4 ns=500x4\n";

    #[test]
    fn reads_every_size_with_its_histogram() {
        let found = measurements(RUN, 4).expect("valid output");
        assert_eq!(found.iter().map(|m| m.bytes).collect::<Vec<_>>(), [8, 64]);
        assert_eq!(found[0].usec, 0.25);
        assert_eq!(found[0].latencies_ns.len(), 4);
        assert_eq!(found[0].latencies_ns.value_at_quantile(0.5), 250);
        assert_eq!(found[1].latencies_ns.max(), 500);
    }

    #[test]
    fn refuses_output_that_cannot_be_trusted() {
        for (output, why) in [
            ("", "no BENCH line"),
            ("BENCH ring bytes=8 n=2 usec=1 reps=1", "4 ranks"),
            ("BENCH ring bytes=8 n=4 usec=0 reps=1", "positive"),
            ("BENCH ring bytes=8 n=4 reps=1", "usec= is missing"),
            ("HIST ring bytes=8 n=4 ns=1x1", "before any BENCH"),
            ("BENCH r bytes=8 n=4 usec=1\nHIST r ns=1:1", "VALUExCOUNT"),
        ] {
            let error = format!("{:#}", measurements(output, 4).expect_err(output));
            assert!(error.contains(why), "{error:?} does not say {why:?}");
        }
    }

    #[test]
    fn finds_figures_of_real_programs() {
        let text = "Solution validates\nRate (MFlops/s): 1234.5  Avg time (s): 0.1\nFOM       =  12e2 (z/s)";
        assert_eq!(figure_after(text, "Rate (MFlops/s):").expect("printed"), 1234.5);
        assert_eq!(figure_after(text, "FOM").expect("printed"), 1200.0);
        assert!(figure_after(text, "GFLOP/s").is_err());
        assert!(figure_after(text, "Solution").is_err());
        assert_eq!(lines_with(text, &["FOM".to_owned()]), ["FOM = 12e2 (z/s)"]);
    }
}
