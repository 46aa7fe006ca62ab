//! Finds the loops of a function that may wait for another thread's store.
//!
//! Such a loop looks at memory again and again: it has an atomic access, or it reads a fixed address
//! and stores nothing. A compiler that takes the memory for one thread's could read the address
//! once, and a fiber that stays in such a loop keeps others from the worker; so these loops are
//! given a call of the host every few turns. A loop that is taken for one by mistake only loses a
//! counter's time.

use std::collections::HashSet;

use wasmparser::{FunctionBody, Operator};

use super::RewriteError;

/// The numbers of the loops of `body` that may wait for another thread, counted as they begin.
pub(super) fn polling_loops(body: &FunctionBody<'_>) -> Result<HashSet<u32>, RewriteError> {
    let mut finder = Finder::default();
    let mut reader = body.get_operators_reader()?;
    while !reader.eof() {
        finder.operator(&reader.read()?);
    }
    Ok(finder.found)
}

/// The last operators as far as they may make an address.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
enum Recent {
    /// A constant, or a global.
    Fixed,
    /// The value of a local.
    Local(u32),
    /// A sum of the two operators before.
    Sum,
    #[default]
    Other,
}

/// An open block.
#[derive(Debug, Default)]
struct Block {
    /// The number of the loop, if it is one.
    number: Option<u32>,
    /// Locals that are assigned in it.
    assigned: HashSet<u32>,
    /// What its own reads take their addresses from: each is fixed if none of the locals is assigned.
    reads: Vec<Vec<u32>>,
    stores: bool,
    is_atomic: bool,
}

#[derive(Debug, Default)]
struct Finder {
    blocks: Vec<Block>,
    loops: u32,
    recent: [Recent; 3],
    found: HashSet<u32>,
}

impl Finder {
    fn operator(&mut self, operator: &Operator<'_>) {
        match operator {
            Operator::Loop { .. } => {
                self.blocks.push(Block { number: Some(self.loops), ..Block::default() });
                self.loops += 1;
            }
            Operator::Block { .. } | Operator::If { .. } | Operator::TryTable { .. } => {
                self.blocks.push(Block::default());
            }
            Operator::End => self.end(),
            Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                if let Some(block) = self.blocks.last_mut() {
                    block.assigned.insert(*local_index);
                }
            }
            other => self.access(other),
        }
        self.remember(operator);
    }

    fn access(&mut self, operator: &Operator<'_>) {
        match access(operator) {
            Access::None => {}
            Access::Store => self.innermost_loop(|block| block.stores = true),
            Access::Atomic => self.innermost_loop(|block| block.is_atomic = true),
            Access::Load => {
                if let Some(locals) = self.address() {
                    self.innermost_loop(|block| block.reads.push(locals));
                }
            }
        }
    }

    fn innermost_loop(&mut self, change: impl FnOnce(&mut Block)) {
        if let Some(block) = self.blocks.iter_mut().rev().find(|block| block.number.is_some()) {
            change(block);
        }
    }

    /// The locals that the address of a load is made of, if it may be a fixed one.
    fn address(&self) -> Option<Vec<u32>> {
        let part = |recent: Recent| match recent {
            Recent::Fixed => Some(None),
            Recent::Local(index) => Some(Some(index)),
            _ => None,
        };
        let [first, second, last] = self.recent;
        if last == Recent::Sum {
            return Some(part(first)?.into_iter().chain(part(second)?).collect());
        }
        Some(part(last)?.into_iter().collect())
    }

    fn end(&mut self) {
        // The last end is the function's own.
        let Some(block) = self.blocks.pop() else { return };
        if let Some(number) = block.number {
            let is_fixed = |locals: &Vec<u32>| locals.iter().all(|at| !block.assigned.contains(at));
            let reads_fixed = block.reads.iter().any(is_fixed);
            if block.is_atomic || (reads_fixed && !block.stores) {
                self.found.insert(number);
            }
        }
        if let Some(parent) = self.blocks.last_mut() {
            parent.assigned.extend(block.assigned);
        }
        if block.stores {
            self.innermost_loop(|parent| parent.stores = true);
        }
    }

    fn remember(&mut self, operator: &Operator<'_>) {
        let recent = match operator {
            Operator::I32Const { .. } | Operator::GlobalGet { .. } => Recent::Fixed,
            Operator::LocalGet { local_index } => Recent::Local(*local_index),
            Operator::I32Add => Recent::Sum,
            _ => Recent::Other,
        };
        self.recent = [self.recent[1], self.recent[2], recent];
    }
}

/// What an operator does with memory.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
enum Access {
    None,
    Load,
    Store,
    Atomic,
}

fn access(operator: &Operator<'_>) -> Access {
    use Operator as O;
    match operator {
        O::I32Load { .. }
        | O::I64Load { .. }
        | O::F32Load { .. }
        | O::F64Load { .. }
        | O::I32Load8S { .. }
        | O::I32Load8U { .. }
        | O::I32Load16S { .. }
        | O::I32Load16U { .. }
        | O::I64Load8S { .. }
        | O::I64Load8U { .. }
        | O::I64Load16S { .. }
        | O::I64Load16U { .. }
        | O::I64Load32S { .. }
        | O::I64Load32U { .. }
        | O::V128Load { .. } => Access::Load,
        O::I32Store { .. }
        | O::I64Store { .. }
        | O::F32Store { .. }
        | O::F64Store { .. }
        | O::I32Store8 { .. }
        | O::I32Store16 { .. }
        | O::I64Store8 { .. }
        | O::I64Store16 { .. }
        | O::I64Store32 { .. }
        | O::V128Store { .. }
        | O::MemoryFill { .. }
        | O::MemoryCopy { .. }
        | O::MemoryInit { .. } => Access::Store,
        O::AtomicFence
        | O::I32AtomicLoad { .. }
        | O::I64AtomicLoad { .. }
        | O::I32AtomicLoad8U { .. }
        | O::I32AtomicLoad16U { .. }
        | O::I64AtomicLoad8U { .. }
        | O::I64AtomicLoad16U { .. }
        | O::I64AtomicLoad32U { .. }
        | O::I32AtomicRmwXchg { .. }
        | O::I32AtomicRmw8XchgU { .. }
        | O::I64AtomicRmwXchg { .. }
        | O::I32AtomicRmwOr { .. }
        | O::I32AtomicRmwAdd { .. }
        | O::I64AtomicRmwAdd { .. }
        | O::I32AtomicRmwCmpxchg { .. }
        | O::I64AtomicRmwCmpxchg { .. }
        | O::I32AtomicRmw8CmpxchgU { .. }
        | O::I32AtomicRmw16CmpxchgU { .. }
        | O::I64AtomicRmw8CmpxchgU { .. }
        | O::I64AtomicRmw16CmpxchgU { .. }
        | O::I64AtomicRmw32CmpxchgU { .. } => Access::Atomic,
        _ => Access::None,
    }
}

#[cfg(test)]
mod tests {
    use wasmparser::{Parser, Payload};

    use super::*;

    /// Which loops of the one function with `body` are found.
    fn found(body: &str) -> Vec<u32> {
        let text = format!(
            "(module (memory 1) (global $g i32 (i32.const 0)) (func $f) (func (param $p i32) (local $i i32) (local $s i32) {body}))"
        );
        let bytes = wat::parse_str(text).expect("a good module");
        let bodies = Parser::new(0).parse_all(&bytes).filter_map(|payload| {
            match payload.expect("a good module") {
                Payload::CodeSectionEntry(body) => Some(body),
                _ => None,
            }
        });
        let last = bodies.last().expect("a function");
        let mut found: Vec<_> = polling_loops(&last).expect("readable").into_iter().collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn loops_that_read_a_fixed_address_are_found() {
        assert_eq!(found("(loop (br_if 0 (i32.load (i32.const 8))))"), [0]);
        assert_eq!(found("(loop (br_if 0 (i32.load (local.get $p))))"), [0]);
        assert_eq!(
            found("(loop (br_if 0 (i32.load (i32.add (local.get $p) (i32.const 4)))))"),
            [0]
        );
        assert_eq!(found("(loop (call $f) (br_if 0 (i32.load (global.get $g))))"), [0]);
        // The inner loop only passes time.
        let delay = "(loop (loop (br_if 0 (local.tee $i (i32.sub (local.get $i) (i32.const 1))))) (br_if 0 (i32.load (local.get $p))))";
        assert_eq!(found(delay), [0]);
    }

    #[test]
    fn loops_with_atomics_are_found() {
        let spin =
            "(loop (br_if 0 (i32.atomic.rmw.cmpxchg (local.get $p) (i32.const 0) (i32.const 1))))";
        assert_eq!(found(spin), [0]);
        assert_eq!(
            found(
                "(loop (i32.store (local.get $p) (i32.const 1)) (loop (br_if 0 (i32.atomic.load (local.get $p)))))"
            ),
            [1]
        );
    }

    #[test]
    fn loops_that_compute_are_left_alone() {
        let sum = "(loop (local.set $s (i32.add (local.get $s) (i32.load (local.get $i)))) \
            (br_if 0 (local.tee $i (i32.sub (local.get $i) (i32.const 4)))))";
        assert_eq!(found(sum), [] as [u32; 0]);
        let indexed = "(loop (local.set $s (i32.add (local.get $s) (i32.load (i32.add (local.get $p) (local.get $i))))) \
            (br_if 0 (local.tee $i (i32.sub (local.get $i) (i32.const 4)))))";
        assert_eq!(found(indexed), [] as [u32; 0]);
        assert_eq!(
            found(
                "(loop (i32.store (local.get $i) (i32.const 1)) (br_if 0 (i32.load (local.get $p))))"
            ),
            [] as [u32; 0]
        );
        assert_eq!(found("(i32.load (local.get $p)) drop"), [] as [u32; 0]);
    }
}
