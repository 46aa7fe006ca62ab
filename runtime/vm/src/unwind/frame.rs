//! Handing a frame over, and taking it back at the head of a function.

use std::collections::BTreeSet;

use wasm_encoder::Instruction;
use wasmparser::ValType;

use super::encode::Sink;

/// Numbers of the imports.
const PUSH: usize = 0;
const PUSH_4: usize = 1;
const PUSH_128: usize = 2;
const ZEROS: usize = 3;
const POP: usize = 4;
const POP_4: usize = 5;
const POP_128: usize = 6;

/// The local's value as 64 bits.
fn widen(sink: &mut Sink, local: u32, ty: ValType) {
    sink.get(local);
    match ty {
        ValType::I32 => sink.put(&Instruction::I64ExtendI32U),
        ValType::F32 => {
            sink.put(&Instruction::I32ReinterpretF32);
            sink.put(&Instruction::I64ExtendI32U);
        }
        ValType::F64 => sink.put(&Instruction::I64ReinterpretF64),
        ValType::I64 | ValType::V128 | ValType::Ref(_) => {}
    }
}

/// Sets the local to what [`widen`] made of its value.
fn narrow(sink: &mut Sink, local: u32, ty: ValType) {
    match ty {
        ValType::I32 => sink.put(&Instruction::I32WrapI64),
        ValType::F32 => {
            sink.put(&Instruction::I32WrapI64);
            sink.put(&Instruction::F32ReinterpretI32);
        }
        ValType::F64 => sink.put(&Instruction::F64ReinterpretI64),
        ValType::I64 | ValType::V128 | ValType::Ref(_) => {}
    }
    sink.set(local);
}

fn call(sink: &mut Sink, import: usize) {
    let function = sink.places().stack(import);
    sink.put(&Instruction::Call(function));
}

/// What a function's frame holds: a place for each local that any of its sites saves, so that one piece of code takes
/// all frames back. A site that does not save a local has a zero there.
#[derive(Debug, Default)]
pub(super) struct Layout {
    wide: Vec<u32>,
    /// The others, in fours; the last places may be empty.
    others: Vec<[Option<u32>; 4]>,
}

impl Layout {
    /// The layout for these sites.
    pub(super) fn new(sites: &[Vec<u32>], locals: &[ValType]) -> Self {
        let all: BTreeSet<u32> = sites.iter().flatten().copied().collect();
        let (wide, others): (Vec<u32>, Vec<u32>) =
            all.into_iter().partition(|&local| locals[local as usize] == ValType::V128);
        let four = |locals: &[u32]| std::array::from_fn(|at| locals.get(at).copied());
        Self { wide, others: others.chunks(4).map(four).collect() }
    }

    /// Hands the values of `saved` over.
    fn push(&self, sink: &mut Sink, saved: &[u32], locals: &[ValType]) {
        let saved: BTreeSet<u32> = saved.iter().copied().collect();
        for &local in &self.wide {
            match saved.contains(&local) {
                true => sink.get(local),
                false => sink.put(&Instruction::V128Const(0)),
            }
            call(sink, PUSH_128);
        }
        let is_saved = |place: &Option<u32>| place.filter(|local| saved.contains(local));
        let places: Vec<Option<u32>> = self.others.as_flattened().iter().map(is_saved).collect();
        let mut rest = &places[..];
        while !rest.is_empty() {
            let zeros = rest.iter().take_while(|place| place.is_none()).count();
            let next = if zeros >= 4 || zeros == rest.len() {
                sink.number(u32::try_from(zeros).unwrap_or(u32::MAX));
                call(sink, ZEROS);
                zeros
            } else {
                let next = if rest.len() >= 4 { 4 } else { 1 };
                for place in &rest[..next] {
                    match *place {
                        Some(local) => widen(sink, local, locals[local as usize]),
                        None => sink.put(&Instruction::I64Const(0)),
                    }
                }
                call(sink, if next == 4 { PUSH_4 } else { PUSH });
                next
            };
            rest = &rest[next..];
        }
    }

    /// Takes all values back.
    fn pop(&self, sink: &mut Sink, locals: &[ValType]) {
        for four in self.others.iter().rev() {
            call(sink, POP_4);
            for place in four.iter().rev() {
                match *place {
                    Some(local) => narrow(sink, local, locals[local as usize]),
                    None => sink.put(&Instruction::Drop),
                }
            }
        }
        for &local in self.wide.iter().rev() {
            call(sink, POP_128);
            sink.set(local);
        }
    }
}

/// Behind a call: if frames are being taken, hands this one over and returns zeros.
pub(super) fn hand_over(
    sink: &mut Sink,
    layout: &Layout,
    (number, saved): (u32, &[u32]),
    locals: &[ValType],
    results: &[ValType],
) {
    sink.put(&Instruction::GlobalGet(sink.places().state));
    sink.open_if();
    layout.push(sink, saved, locals);
    sink.put(&Instruction::I64Const(number.into()));
    call(sink, PUSH);
    for &result in results {
        zero(sink, result);
    }
    sink.put(&Instruction::Return);
    sink.close();
}

/// At the head of a function with so many `sites`: if frames are being put back, takes this one, and leaves the
/// site's number in `resume`.
pub(super) fn take_back(
    sink: &mut Sink,
    layout: &Layout,
    (resume, sites): (u32, u32),
    locals: &[ValType],
) {
    sink.put(&Instruction::GlobalGet(sink.places().state));
    sink.open_if();
    call(sink, POP);
    narrow(sink, resume, ValType::I32);
    // Numbers begin at 1.
    sink.get(resume);
    sink.number(1);
    sink.put(&Instruction::I32Sub);
    sink.number(sites);
    sink.put(&Instruction::I32GeU);
    sink.open_if();
    sink.put(&Instruction::Unreachable);
    sink.close();
    layout.pop(sink, locals);
    sink.close();
}

fn zero(sink: &mut Sink, ty: ValType) {
    sink.put(&match ty {
        ValType::I32 => Instruction::I32Const(0),
        ValType::I64 => Instruction::I64Const(0),
        ValType::F32 => Instruction::F32Const(0.0.into()),
        ValType::F64 => Instruction::F64Const(0.0.into()),
        ValType::V128 => Instruction::V128Const(0),
        // Functions that return references are refused before.
        ValType::Ref(_) => Instruction::Unreachable,
    });
}
