//! Where the data bytes of one element lie: a compact tree that is walked lazily.
//!
//! A position in *packed* space counts data bytes in type-map order; an offset counts bytes from
//! the buffer address. Every walk takes a window of packed positions, so a transfer can start
//! anywhere and stop anywhere without state and without allocating.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

/// The data bytes of one element of a datatype.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    size: u64,
    shape: Shape,
}

#[derive(Clone, Debug)]
enum Shape {
    /// `size` adjacent bytes at the origin.
    Run,
    /// `first` bytes at the origin, the rest from offset `resume` on: a pair with a gap inside.
    Gap { first: u64, resume: i64 },
    /// Copies of a non-empty child, `stride` bytes apart.
    Repeat { stride: i64, child: Arc<Layout> },
    /// Runs in type-map order.
    Runs(Arc<[Run]>),
    /// Children in type-map order.
    Parts(Arc<[Part]>),
}

/// Adjacent bytes; `start` is the packed position of the first.
#[derive(Copy, Clone, Debug)]
struct Run {
    offset: i64,
    start: u64,
    len: u64,
}

#[derive(Clone, Debug)]
struct Part {
    offset: i64,
    start: u64,
    layout: Layout,
}

/// Who is shown where data lies.
pub(crate) trait Visit<E> {
    /// `len` adjacent bytes at `offset`.
    fn run(&mut self, offset: i64, len: u64) -> Result<(), E>;

    /// `count` times `len` adjacent bytes, `stride` bytes apart.
    fn row(&mut self, offset: i64, len: u64, stride: i64, count: u64) -> Result<(), E> {
        let mut at = offset;
        for _ in 0..count {
            self.run(at, len)?;
            at = at.wrapping_add(stride);
        }
        Ok(())
    }
}

impl<E, F: FnMut(i64, u64) -> Result<(), E>> Visit<E> for F {
    fn run(&mut self, offset: i64, len: u64) -> Result<(), E> {
        self(offset, len)
    }
}

impl Layout {
    /// `size` adjacent bytes at the origin.
    pub(crate) const fn run(size: u64) -> Self {
        Self { size, shape: Shape::Run }
    }

    /// `first` bytes at the origin and `size - first` bytes at `resume`.
    pub(crate) const fn gap(size: u64, first: u64, resume: u64) -> Self {
        if first == resume {
            return Self::run(size);
        }
        Self { size, shape: Shape::Gap { first, resume: resume as i64 } }
    }

    /// `count` copies `stride` bytes apart. The caller has checked that `count * size` fits.
    pub(crate) fn repeat(self, count: u64, stride: i64) -> Self {
        let size = self.size * count;
        if size == 0 {
            return Self::run(0);
        }
        if count == 1 {
            return self;
        }
        match &self.shape {
            Shape::Run if i64::try_from(self.size) == Ok(stride) => Self::run(size),
            Shape::Repeat { stride: inner, child } if self.continues(*inner, child, stride) => {
                Self { size, shape: Shape::Repeat { stride: *inner, child: Arc::clone(child) } }
            }
            _ => Self { size, shape: Shape::Repeat { stride, child: Arc::new(self) } },
        }
    }

    /// The layouts one after the other in type-map order, each at its offset.
    pub(crate) fn sequence(parts: impl IntoIterator<Item = (i64, Self)>) -> Self {
        let mut builder = Sequence::default();
        for (offset, layout) in parts {
            builder.push(offset, layout);
        }
        builder.finish()
    }

    /// Data bytes of one element.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// Whether the data is one run at the origin.
    pub(crate) const fn is_run(&self) -> bool {
        matches!(self.shape, Shape::Run)
    }

    /// Offset of the data when it is one run.
    pub(crate) fn single_run(&self) -> Option<i64> {
        match &self.shape {
            Shape::Run => Some(0),
            Shape::Runs(runs) if runs.len() == 1 => Some(runs[0].offset),
            _ => None,
        }
    }

    /// Calls `f(offset, len)` for each run inside a window of packed positions.
    pub(crate) fn visit<E>(
        &self,
        origin: i64,
        window: Range<u64>,
        f: &mut impl Visit<E>,
    ) -> Result<(), E> {
        debug_assert!(window.end <= self.size, "a window lies inside the layout");
        match &self.shape {
            Shape::Run => visit_run(origin, &window, f),
            Shape::Gap { first, resume } => visit_gap(origin, *first, *resume, &window, f),
            Shape::Repeat { stride, child } => child.visit_copies(*stride, origin, window, f),
            Shape::Runs(runs) => visit_runs(runs, origin, &window, f),
            Shape::Parts(parts) => visit_parts(parts, origin, &window, f),
        }
    }

    /// As [`Layout::visit`], over any number of copies of this layout `stride` bytes apart.
    pub(crate) fn visit_copies<E>(
        &self,
        stride: i64,
        origin: i64,
        window: Range<u64>,
        f: &mut impl Visit<E>,
    ) -> Result<(), E> {
        if self.size == 0 || window.is_empty() {
            return Ok(());
        }
        let first = window.start / self.size;
        let mut position = first * self.size;
        let mut origin = origin.wrapping_add(stride.wrapping_mul(first as i64));
        while position < window.end {
            let low = window.start.saturating_sub(position);
            let high = (window.end - position).min(self.size);
            if self.is_run() {
                let whole = if low == 0 { (window.end - position) / self.size } else { 0 };
                if whole > 1 {
                    f.row(origin, self.size, stride, whole)?;
                    position += whole * self.size;
                    origin = origin.wrapping_add(stride.wrapping_mul(whole as i64));
                    continue;
                }
                f.run(origin.wrapping_add(low as i64), high - low)?;
            } else {
                self.visit(origin, low..high, f)?;
            }
            position += self.size;
            origin = origin.wrapping_add(stride);
        }
        Ok(())
    }

    /// Whether copies at `outer` continue the row of children at `inner` without a break.
    fn continues(&self, inner: i64, child: &Self, outer: i64) -> bool {
        let copies = (self.size / child.size) as i64;
        inner.checked_mul(copies) == Some(outer)
    }
}

/// Collects parts and keeps them as plain runs for as long as all of them are.
#[derive(Default)]
struct Sequence {
    size: u64,
    runs: Vec<Run>,
    parts: Vec<Part>,
}

impl Sequence {
    fn push(&mut self, offset: i64, layout: Layout) {
        let len = layout.size;
        if len == 0 {
            return;
        }
        if self.parts.is_empty() && layout.is_run() {
            self.push_run(offset, len);
        } else {
            self.spill_runs();
            self.parts.push(Part { offset, start: self.size, layout });
        }
        self.size += len;
    }

    fn push_run(&mut self, offset: i64, len: u64) {
        match self.runs.last_mut() {
            Some(last) if last.offset.checked_add_unsigned(last.len) == Some(offset) => {
                last.len += len;
            }
            _ => self.runs.push(Run { offset, start: self.size, len }),
        }
    }

    fn spill_runs(&mut self) {
        self.parts.extend(self.runs.drain(..).map(|run| Part {
            offset: run.offset,
            start: run.start,
            layout: Layout::run(run.len),
        }));
    }

    fn finish(mut self) -> Layout {
        let size = self.size;
        let alone = self.parts.len() == 1 && self.parts[0].offset == 0;
        if let Some(part) = self.parts.pop_if(|_| alone) {
            return part.layout;
        }
        let shape = if !self.parts.is_empty() {
            Shape::Parts(self.parts.into())
        } else if self.runs.is_empty() || (self.runs.len() == 1 && self.runs[0].offset == 0) {
            Shape::Run
        } else {
            Shape::Runs(self.runs.into())
        };
        Layout { size, shape }
    }
}

fn visit_run<E>(origin: i64, window: &Range<u64>, f: &mut impl Visit<E>) -> Result<(), E> {
    if window.is_empty() {
        return Ok(());
    }
    f.run(origin.wrapping_add(window.start as i64), window.end - window.start)
}

fn visit_gap<E>(
    origin: i64,
    first: u64,
    resume: i64,
    window: &Range<u64>,
    f: &mut impl Visit<E>,
) -> Result<(), E> {
    visit_run(origin, &(window.start..window.end.min(first)), f)?;
    let rest = window.start.max(first)..window.end;
    visit_run(origin.wrapping_add(resume).wrapping_sub(first as i64), &rest, f)
}

fn visit_runs<E>(
    runs: &[Run],
    origin: i64,
    window: &Range<u64>,
    f: &mut impl Visit<E>,
) -> Result<(), E> {
    let first = runs.partition_point(|run| run.start + run.len <= window.start);
    for run in runs[first..].iter().take_while(|run| run.start < window.end) {
        let low = window.start.saturating_sub(run.start);
        let high = (window.end - run.start).min(run.len);
        visit_run(origin.wrapping_add(run.offset), &(low..high), f)?;
    }
    Ok(())
}

fn visit_parts<E>(
    parts: &[Part],
    origin: i64,
    window: &Range<u64>,
    f: &mut impl Visit<E>,
) -> Result<(), E> {
    let first = parts.partition_point(|part| part.start + part.layout.size <= window.start);
    for part in parts[first..].iter().take_while(|part| part.start < window.end) {
        let low = window.start.saturating_sub(part.start);
        let high = (window.end - part.start).min(part.layout.size);
        part.layout.visit(origin.wrapping_add(part.offset), low..high, f)?;
    }
    Ok(())
}
