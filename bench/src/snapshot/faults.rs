//! The page-fault study: what the ways to reset a memory cost, with more and more threads at it.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use faasm_vm::MemorySnapshot;
use faasm_vm::lab::{Arena, Mechanism};

use super::figures::{Cell, Figures, Row, Table};
use super::restore::image;
use super::{Plan, processor_time};
use crate::stats::Summary;

const THREADS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];

/// Bytes of each memory.
const BYTES: usize = 1 << 20;

/// Pages of it that are written between resets.
const WRITTEN: usize = 16;

pub(super) fn measure(plan: &Plan, figures: &mut Figures) -> Result<()> {
    let image = image(BYTES)?;
    let row = |one: &Mechanism| Row { name: one.name().to_owned(), cells: Vec::new() };
    let mut rates: Vec<Row> = Mechanism::ALL.iter().map(row).collect();
    let mut costs: Vec<Row> = Mechanism::ALL.iter().map(row).collect();
    let mut resets: Vec<Row> = Mechanism::ALL.iter().map(row).collect();
    let threads: &[usize] = if plan.quick { &THREADS[..3] } else { &THREADS };
    for threads in threads.iter().copied() {
        for (index, mechanism) in Mechanism::ALL.into_iter().enumerate() {
            let runs: Vec<Run> = (0..plan.rounds)
                .map(|_| run(mechanism, &image, threads, plan.seconds / 2.0))
                .collect::<Result<_>>()
                .with_context(|| format!("{} with {threads} threads", mechanism.name()))?;
            let cell = |of: fn(&Run) -> f64| Cell {
                x: threads as f64,
                summary: Summary::of(runs.iter().map(of)),
            };
            rates[index].cells.push(cell(|run| run.rate));
            costs[index].cells.push(cell(|run| run.cpu_us));
            resets[index].cells.push(cell(|run| run.reset_us));
        }
    }
    let subject = "1 MiB, 16 pages written";
    for (title, unit, rows) in [
        ("cycles of write and reset", "cycles/s", rates),
        ("processor time of a cycle", "µs", costs),
        ("time of a reset alone", "µs", resets),
    ] {
        figures.tables.push(Table {
            title: format!("{subject}: {title}"),
            x: "threads".to_owned(),
            unit: unit.to_owned(),
            rows,
            notes: Vec::new(),
            plotted: true,
        });
    }
    Ok(())
}

/// What all threads together did.
#[derive(Clone, Copy, Debug)]
struct Run {
    rate: f64,
    cpu_us: f64,
    reset_us: f64,
}

fn run(mechanism: Mechanism, image: &MemorySnapshot, threads: usize, seconds: f64) -> Result<Run> {
    let start = Barrier::new(threads + 1);
    let end = Duration::from_secs_f64(seconds);
    let work = || {
        let arena = Arena::new(mechanism, image);
        start.wait();
        let mut arena = arena?;
        let begun = Instant::now();
        let (mut cycles, mut resetting) = (0_u64, Duration::ZERO);
        let pages: Vec<usize> = (0..WRITTEN).map(|page| page * (BYTES / WRITTEN)).collect();
        while begun.elapsed() < end {
            arena.write(&pages);
            let reset = Instant::now();
            arena.reset()?;
            resetting += reset.elapsed();
            cycles += 1;
        }
        Ok::<_, std::io::Error>((cycles, resetting))
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        start.wait();
        let (begun, before) = (Instant::now(), processor_time());
        let (mut cycles, mut resetting) = (0, Duration::ZERO);
        for worker in workers {
            let done = worker.join().map_err(|_| anyhow!("a thread panicked"))??;
            cycles += done.0;
            resetting += done.1;
        }
        let (wall, cpu) = (begun.elapsed(), processor_time() - before);
        let each = |time: f64| time * 1e6 / cycles.max(1) as f64;
        let rate = cycles as f64 / wall.as_secs_f64();
        Ok(Run { rate, cpu_us: each(cpu), reset_us: each(resetting.as_secs_f64()) })
    })
}
