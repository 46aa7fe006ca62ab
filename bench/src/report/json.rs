//! The report for programs: everything, including the value of each round.

use anyhow::Result;

use super::Report;

/// The report as JSON.
pub(crate) fn render(report: &Report) -> Result<String> {
    Ok(serde_json::to_string_pretty(report)? + "\n")
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;

    #[test]
    fn values_of_all_rounds_are_there() {
        let text = super::render(&report()).expect("serialisable");
        let value: serde_json::Value = serde_json::from_str(&text).expect("valid");
        assert_eq!(value["points"][0]["series"][1]["values"][0], 40.0);
        assert_eq!(value["points"][0]["series"][1]["runner"], "openmpi");
        assert_eq!(value["verdicts"][0]["outcome"], "pass");
    }
}
