//! Creating, resetting and restoring Faaslets, beside wasmtime's own allocators and other ways to reset memory.
//!
//! Layers: figures (what is reported), contender (who makes instances), calls, live, restore, faults (what is
//! measured), page (the report).

mod calls;
mod contender;
mod faults;
mod figures;
mod live;
mod page;
mod restore;

use anyhow::{Context as _, Result};

use crate::Args;
use figures::Figures;

/// Measures, prints tables, writes the reports.
///
/// # Errors
/// When something cannot be measured or a report cannot be written.
pub(crate) fn run(args: &Args) -> Result<()> {
    if let Some(part) = &args.snapshot_part {
        return calls::part(part).unwrap_or_else(|| live::part(part));
    }
    let plan = Plan { seconds: args.seconds_each(), rounds: args.rounds(), quick: args.quick };
    let mut figures = Figures::default();
    let parts: [(&str, Part); 4] = [
        ("calls", calls::measure),
        ("restore", restore::measure),
        ("faults", faults::measure),
        ("live", live::measure),
    ];
    for (name, measure) in parts {
        if args.selects(name) {
            eprintln!("{name} ...");
            let before = figures.tables.len();
            measure(&plan, &mut figures).with_context(|| format!("cannot measure {name}"))?;
            figures.tables[before..].iter().for_each(|table| print!("{}", table.text()));
        }
    }
    anyhow::ensure!(
        !figures.tables.is_empty(),
        "--only selects none of calls, restore, faults, live"
    );
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&figures)?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(path) = &args.html {
        let page = page::render(&figures)?;
        std::fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// What adds tables.
type Part = fn(&Plan, &mut Figures) -> Result<()>;

/// How long and how often is measured.
#[derive(Clone, Copy, Debug)]
struct Plan {
    seconds: f64,
    rounds: u32,
    quick: bool,
}

/// Seconds of all threads of this process.
fn processor_time() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}
