//! Says on stderr what a first use is doing.

/// Prints one line about a step that takes seconds.
pub(crate) fn say(what: &str) {
    eprintln!("faasm-cc: {what}");
}
