//! How long it takes to get a memory with an image's content, touch 16 pages, and give it back.

use std::time::Instant;

use anyhow::Result;
use faasm_vm::{MemorySnapshot, SnapshotBuilder};

use super::Plan;
use super::figures::{Cell, Figures, Row, Table};
use crate::stats::Summary;
use faasm_vm::lab::{Arena, Mechanism};

const MIB: usize = 1 << 20;

/// Image sizes in MiB.
const SIZES: [usize; 5] = [1, 4, 16, 64, 256];

pub(super) fn measure(plan: &Plan, figures: &mut Figures) -> Result<()> {
    let mechanisms =
        [Mechanism::FreshMapping, Mechanism::DontNeed, Mechanism::Ours, Mechanism::OursScanned];
    let mut rows: Vec<Row> = mechanisms
        .iter()
        .map(|one| Row { name: one.name().to_owned(), cells: Vec::new() })
        .collect();
    for mib in SIZES {
        let image = image(mib * MIB)?;
        let mut arenas: Vec<Arena> =
            mechanisms.iter().map(|one| Arena::new(*one, &image)).collect::<Result<_, _>>()?;
        let pages: Vec<usize> = (0..16).map(|index| index * (mib * MIB / 16)).collect();
        let mut times = vec![Vec::new(); mechanisms.len()];
        for _ in 0..plan.rounds {
            for (arena, times) in arenas.iter_mut().zip(&mut times) {
                times.push(one(arena, &pages, plan.seconds / 4.0)?);
            }
        }
        for (row, times) in rows.iter_mut().zip(times) {
            row.cells.push(Cell { x: mib as f64, summary: Summary::of(times) });
        }
    }
    figures.tables.push(Table {
        title: "restore and write to 16 pages".to_owned(),
        x: "MiB of the image".to_owned(),
        unit: "µs".to_owned(),
        rows,
        notes: vec![
            "the 16 pages lie as far apart as they can".to_owned(),
            "ours, faults elsewhere: other threads of the process take page faults".to_owned(),
        ],
        plotted: true,
    });
    Ok(())
}

/// An image of which no page is zero.
pub(super) fn image(bytes: usize) -> Result<MemorySnapshot> {
    let mut builder = SnapshotBuilder::new(bytes as u64)?;
    let piece = vec![3; MIB];
    for start in (0..bytes).step_by(MIB) {
        builder.write(start as u64, &piece[..MIB.min(bytes - start)])?;
    }
    Ok(builder.finish()?)
}

/// Microseconds of one cycle: the median of batches.
fn one(arena: &mut Arena, pages: &[usize], seconds: f64) -> Result<f64> {
    let begun = Instant::now();
    let mut batches = Vec::new();
    while begun.elapsed().as_secs_f64() < seconds {
        let batch = Instant::now();
        for _ in 0..20 {
            arena.write(pages);
            arena.reset()?;
        }
        batches.push(batch.elapsed().as_secs_f64() * 1e6 / 20.0);
    }
    Ok(Summary::of(batches).map_or(0.0, |summary| summary.median))
}
