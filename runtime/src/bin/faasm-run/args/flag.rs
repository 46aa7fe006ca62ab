//! What an option is: one row of the table from which parsing, help and the suggestion for a
//! misspelt one come.

use super::{Draft, Problem, UsageError};

/// One option; parsing it changes a `T`.
#[derive(Debug)]
pub(super) struct Flag<T: 'static = Draft> {
    /// Spellings without dashes, the one shown first in the help first. mpirun accepts long names
    /// behind one dash as well as behind two, so the number of dashes tells nothing.
    pub(super) names: &'static [&'static str],
    /// What the values are called in the help text; as many as the option takes.
    pub(super) values: &'static [&'static str],
    /// Where the option stands in the help text.
    pub(super) section: Section,
    /// What it does, in one or two sentences.
    pub(super) help: &'static str,
    /// What parsing it does.
    pub(super) action: Action<T>,
}

/// What parsing an option does.
#[derive(Debug)]
pub(super) enum Action<T: 'static = Draft> {
    /// Changes the job or the current program.
    Set(fn(&mut T, &[&str]) -> Result<(), Problem>),
    /// The same for an option whose value, an address, may be left out.
    SetOptional(fn(&mut T, Option<&str>) -> Result<(), Problem>),
    /// Nothing but a note that says why nothing is needed.
    Note(&'static str),
    /// Ends with an error: ignoring the option would run something else than what was asked for.
    Refuse {
        /// Why it cannot be done.
        cause: &'static str,
        /// What to type instead.
        remedy: &'static str,
    },
    /// Prints the help text.
    Help,
    /// Prints the version.
    Version,
}

/// The parts of the help text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Section {
    /// How many ranks of what.
    Ranks,
    /// On which machines they run.
    Nodes,
    /// Environment variables and directories.
    Environment,
    /// Standard input and output.
    Streams,
    /// How the job runs.
    Job,
    /// Options of mpirun that need nothing done here, or cannot be honoured yet.
    Mpirun,
}

impl<T> Flag<T> {
    /// The option with its dashes and values, as in the help text.
    pub(super) fn usage(&self) -> String {
        let names: Vec<String> = self.names.iter().map(|name| dashed(name)).collect();
        let names = names.join(", ");
        if matches!(self.action, Action::SetOptional(_)) {
            return format!("{names}[=<{}>]", self.values.concat());
        }
        let values: Vec<String> = self.values.iter().map(|v| format!("<{v}>")).collect();
        [&[names], &*values].concat().join(" ")
    }
}

/// A name as one types it: one dash before a letter or one of mpirun's two-letter names, two before
/// a word.
pub(super) fn dashed(name: &str) -> String {
    let dashes = if name.len() <= 2 || name.starts_with("genv") { "-" } else { "--" };
    format!("{dashes}{name}")
}

/// The error for an option that is not in the table, with the nearest one that is.
pub(super) fn unknown<T>(word: &str, table: &'static [Flag<T>]) -> UsageError {
    let cause = "There is no such option.";
    let name = word.trim_start_matches('-').split('=').next().unwrap_or_default();
    let remedy = match attached_number(name).or_else(|| nearest(name, table).map(dashed)) {
        Some(nearest) => format!("Did you mean `{nearest}`? `--help` lists all options."),
        None => {
            "`--help` lists all options. Those of the program come after the program.".to_owned()
        }
    };
    Problem::new(cause, remedy).at(word)
}

/// `-n4` for `-n 4` is the commonest slip of all.
fn attached_number(name: &str) -> Option<String> {
    let digits = name.find(|c: char| c.is_ascii_digit())?;
    let (letters, number) = name.split_at(digits);
    let is_ranks = matches!(letters, "n" | "np" | "c");
    (is_ranks && number.bytes().all(|b| b.is_ascii_digit())).then(|| format!("-{letters} {number}"))
}

fn nearest<T>(name: &str, table: &'static [Flag<T>]) -> Option<&'static str> {
    let edits_max = 1 + name.len() / 4;
    table
        .iter()
        .flat_map(|flag| flag.names)
        .filter(|known| known.len() > 2)
        .map(|known| (edits(name, known), *known))
        .filter(|(edits, _)| *edits <= edits_max)
        .min()
        .map(|(_, known)| known)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
/// Costs `a.len() * b.len()` steps.
fn edits(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                if swapped { best.min(rows[i - 2][j - 2] + 1) } else { best }
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::{super::table::FLAGS, *};

    #[test]
    fn counts_edits() {
        for (a, b, expected) in
            [("", "abc", 3), ("timeout", "timeuot", 1), ("wdir", "wdri", 1), ("a", "b", 1)]
        {
            assert_eq!(edits(a, b), expected, "{a} -> {b}");
        }
    }

    #[test]
    fn suggests_the_nearest_option() {
        for (typed, expected) in [
            ("--timeuot", "`--timeout`"),
            ("--tag-outptu=1", "`--tag-output`"),
            ("-n4", "`-n 4`"),
            ("-np16", "`-np 16`"),
        ] {
            let error = unknown(typed, FLAGS).to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(!unknown("--frobnicate", FLAGS).to_string().contains("Did you mean"));
    }
}
