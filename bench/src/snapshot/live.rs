//! How many instances live at a time, and what ends that. Each contender has a process of its own, for the
//! last one may take it down.

use std::process::Command;

use anyhow::{Context as _, Result, bail};
use wasmtime::Store;

use super::Plan;
use super::contender::{Contender, said};
use super::figures::{Cell, Figures, Row, Table};
use crate::stats::Summary;

/// An instance with a memory of one page, of which it writes one word.
const MODULE: &str = r#"(module (memory (export "memory") 1 16) (table 4 funcref)
    (func (export "run") (result i32) (i32.store (i32.const 64) (i32.const 7)) (i32.const 1)))"#;

/// Nobody is asked for more.
const LIVE_MAX: u32 = 120_000;

/// Of their own accord both of wasmtime's allocators stop far below.
const CONTENDERS: [(&str, Contender); 4] = [
    ("ours", Contender::Ours),
    ("small", Contender::OursSmall),
    ("on-demand", Contender::OnDemand),
    ("pooling", Contender::Pooling { keep: 0, scan: false }),
];

pub(super) fn measure(plan: &Plan, figures: &mut Figures) -> Result<()> {
    let most = if plan.quick { 5_000 } else { LIVE_MAX };
    let mut rows = Vec::new();
    let mut notes =
        vec![format!("nobody is asked for more than {most}; each wrote to its memory once")];
    for (word, contender) in CONTENDERS {
        let program = std::env::current_exe().context("cannot find this program")?;
        let run = Command::new(program)
            .args(["--snapshot", "--snapshot-part", &format!("{word}:{most}")])
            .output()
            .context("cannot run this program again")?;
        let text = String::from_utf8_lossy(&run.stdout).into_owned();
        // What was reached before the process was taken down, and why.
        let (count, kib, end) =
            text.lines().rev().find_map(parse).unwrap_or((0, 0.0, String::new()));
        let end =
            if run.status.success() { end } else { format!("the process ended: {}", run.status) };
        let cell = Cell { x: f64::from(most), summary: Summary::of([f64::from(count)]) };
        notes.push(format!("{}: {kib:.1} KiB each; {end}", contender.name()));
        rows.push(Row { name: contender.name(), cells: vec![cell] });
    }
    let (x, unit) = ("instances asked for".to_owned(), "instances".to_owned());
    figures.tables.push(Table {
        title: "live instances in a process".to_owned(),
        x,
        unit,
        rows,
        notes,
        plotted: false,
    });
    Ok(())
}

fn parse(line: &str) -> Option<(u32, f64, String)> {
    let mut words = line.strip_prefix("LIVE ")?.splitn(3, ' ');
    let (count, kib) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some((count, kib, words.next().unwrap_or_default().to_owned()))
}

/// One contender's process: says now and then how many there are, and at the end why not more.
pub(super) fn part(part: &str) -> Result<()> {
    let (word, most) = part.split_once(':').context("a part is a word and a number")?;
    let most: u32 = most.parse().context("a part ends with a number")?;
    let Some((_, contender)) = CONTENDERS.iter().find(|(name, _)| *name == word) else {
        bail!("there is no part {word}");
    };
    // Where it has a limit of its own, a pool is as large as it can be made.
    let (made, limit) = [most, 30_000, 20_000, 15_000, 10_000, 5_000, 2_000, 1_000]
        .into_iter()
        .filter(|count| *count <= most)
        .find_map(|count| Some((contender.make(count).ok()?, count)))
        .context("no engine can be made")?;
    let ready = said(made.ready(MODULE))?;
    let before = resident_kib();
    let mut stores = Vec::with_capacity(most as usize);
    let mut end = format!("as many as were asked for; {} mappings", mappings());
    while stores.len() < most as usize {
        let mut store = Store::new(made.engine(), ());
        let made = ready.instantiate(&mut store).and_then(|instance| {
            instance.get_typed_func::<(), i32>(&mut store, "run")?.call(&mut store, ())
        });
        if let Err(error) = made {
            let cause = format!("{error:#}").replace('\n', " ");
            end = format!("{cause} (engine made for {limit}; {} mappings)", mappings());
            break;
        }
        stores.push(store);
        if stores.len().is_multiple_of(1000) {
            end = format!("as many as were asked for; {} mappings", mappings());
            report(stores.len(), before, "so far");
        }
    }
    report(stores.len(), before, &end);
    Ok(())
}

fn report(count: usize, before: f64, end: &str) {
    let each = (resident_kib() - before) / count.max(1) as f64;
    println!("LIVE {count} {each:.2} {end}");
}

fn mappings() -> usize {
    std::fs::read_to_string("/proc/self/maps").map_or(0, |text| text.lines().count())
}

fn resident_kib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|text| text.trim().split(' ').next()?.parse().ok()).unwrap_or(0.0)
}
