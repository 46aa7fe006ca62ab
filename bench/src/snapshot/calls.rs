//! "return 1": create, call, reset, on several threads.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::contender::{Contender, POOLS, Ready, said};
use super::figures::{Cell, Figures, Row, Table};
use super::{Plan, processor_time};
use crate::stats::Summary;

/// Returns 1 and touches nothing.
const RETURN_ONE: &str = r#"(module (memory (export "memory") 1) (table 4 funcref)
    (func (export "run") (result i32) (i32.const 1)))"#;

/// Writes to each of 16 pages.
const WRITES: &str = r#"(module (memory (export "memory") 1) (table 4 funcref)
    (func (export "run") (result i32) (local i32)
        (loop (i32.store (local.get 0) (i32.const 7))
            (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 4096))) (i32.const 65536))))
        (i32.const 1)))"#;

const THREADS: [usize; 4] = [1, 2, 4, 8];

pub(super) fn measure(plan: &Plan, figures: &mut Figures) -> Result<()> {
    for (title, text) in [("\"return 1\"", RETURN_ONE), ("16 pages written", WRITES)] {
        figures.tables.extend(tables(plan, title, text)?);
    }
    Ok(())
}

fn tables(plan: &Plan, title: &str, text: &str) -> Result<[Table; 2]> {
    let ours = [Contender::Warm, Contender::Ours, Contender::OursSmall, Contender::OnDemand];
    let contenders: Vec<Contender> = ours.into_iter().chain(POOLS).collect();
    let made: Vec<_> = contenders.iter().map(|one| said(one.make(1000))).collect::<Result<_>>()?;
    let ready = contenders.iter().zip(&made);
    let ready = ready.map(|(contender, made)| said(Ready::new(*contender, made, text)));
    let ready: Vec<_> = ready.collect::<Result<_>>()?;
    let rows = || -> Vec<Row> {
        contenders.iter().map(|one| Row { name: one.name(), cells: Vec::new() }).collect()
    };
    let (mut rates, mut costs) = (rows(), rows());
    for threads in THREADS {
        let mut runs = vec![Vec::new(); contenders.len()];
        for _ in 0..plan.rounds {
            for (ready, runs) in ready.iter().zip(&mut runs) {
                runs.push(rate(&|| said(ready.call()), threads, plan.seconds)?);
            }
        }
        for (index, runs) in runs.iter().enumerate() {
            let cell = |of: fn(&Run) -> f64| Cell {
                x: threads as f64,
                summary: Summary::of(runs.iter().map(of)),
            };
            rates[index].cells.push(cell(|run| run.rate));
            costs[index].cells.push(cell(|run| run.cpu_us));
        }
    }
    let [mut rate_notes, cost_notes] =
        [notes(&contenders, &rates, false), notes(&contenders, &costs, true)];
    rate_notes.push(machine(plan)?);
    let table = |what: &str, unit: &str, rows, notes| Table {
        title: format!("{title}: {what}"),
        x: "threads".to_owned(),
        unit: unit.to_owned(),
        rows,
        notes,
        plotted: true,
    };
    Ok([
        table("create, call, reset", "calls/s", rates, rate_notes),
        table("processor time of create, call, reset", "µs", costs, cost_notes),
    ])
}

/// What is promised: ours against the best pool, and how it grows with the threads.
fn notes(contenders: &[Contender], rows: &[Row], less_is_better: bool) -> Vec<String> {
    let median = |row: &Row, column: usize| row.cells[column].summary.map_or(0.0, |s| s.median);
    let value = |median: f64| if less_is_better { 1.0 / median } else { median };
    let best_pool = |column: usize| {
        let pools =
            contenders.iter().zip(rows).filter(|(one, _)| matches!(one, Contender::Pooling { .. }));
        pools.map(|(_, row)| value(median(row, column))).fold(0.0, f64::max)
    };
    let ours = contenders.iter().zip(rows).take(2);
    ours.flat_map(|(one, row)| {
        let (name, ours) = (one.name(), |column: usize| value(median(row, column)));
        [
            format!(
                "{name} / best pooling setting: {}",
                each(&|column| ours(column) / best_pool(column))
            ),
            format!(
                "{name} / the same with one thread: {}",
                each(&|column| ours(column) / ours(0))
            ),
        ]
    })
    .collect()
}

/// A value for each number of threads, in words.
fn each(of: &dyn Fn(usize) -> f64) -> String {
    let columns = THREADS.iter().enumerate();
    let all = columns.map(|(column, threads)| format!("{:.2} at {threads}", of(column)));
    all.collect::<Vec<_>>().join(", ")
}

/// How arithmetic alone grows with the threads: processors that share a core do not give twice as much.
fn machine(plan: &Plan) -> Result<String> {
    let alone = || -> Result<i32> {
        let sum = (0..2000_u32).fold(1_u32, |sum, x| std::hint::black_box(sum.wrapping_mul(x | 1)));
        std::hint::black_box(sum);
        Ok(1)
    };
    let rates = THREADS.iter().map(|threads| Ok(rate(&alone, *threads, plan.seconds)?.rate));
    let rates = rates.collect::<Result<Vec<_>>>()?;
    let grown = each(&|column| rates[column] / rates[0]);
    Ok(format!("this machine's arithmetic / that with one thread: {grown}"))
}

/// "calls:THREADS" and "warm:THREADS" measure ours alone, for a profiler; `None` if it is another part.
pub(super) fn part(part: &str) -> Option<Result<()>> {
    let (contender, threads) = match part.split_once(':')? {
        ("calls", threads) => (Contender::Ours, threads.parse().ok()?),
        ("warm", threads) => (Contender::Warm, threads.parse().ok()?),
        _ => return None,
    };
    Some((|| {
        let made = said(contender.make(1000))?;
        let ready = said(Ready::new(contender, &made, RETURN_ONE))?;
        let rate = rate(&|| said(ready.call()), threads, 2.0)?;
        println!("{:.0} calls a second, {:.3} µs of a processor each", rate.rate, rate.cpu_us);
        Ok(())
    })())
}

/// What all threads together did.
#[derive(Clone, Copy, Debug)]
struct Run {
    rate: f64,
    cpu_us: f64,
}

/// Calls on all threads at a time.
fn rate(call: &(dyn Fn() -> Result<i32> + Sync), threads: usize, seconds: f64) -> Result<Run> {
    let stop = AtomicBool::new(false);
    let start = Barrier::new(threads + 1);
    let work = || -> Result<u64> {
        for _ in 0..50 {
            ensure!(call()? == 1, "the guest returns 1");
        }
        start.wait();
        let mut calls = 0;
        while !stop.load(Ordering::Relaxed) {
            call()?;
            calls += 1;
        }
        Ok(calls)
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        start.wait();
        let (begun, before) = (Instant::now(), processor_time());
        std::thread::sleep(Duration::from_secs_f64(seconds));
        stop.store(true, Ordering::Relaxed);
        let took = begun.elapsed().as_secs_f64();
        let mut calls = 0;
        for worker in workers {
            calls += worker.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
        }
        let cpu_us = (processor_time() - before) * 1e6 / calls.max(1) as f64;
        Ok(Run { rate: calls as f64 / took, cpu_us })
    })
}
