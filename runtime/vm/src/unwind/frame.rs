//! Handing a frame over, and taking it back at the head of a function.

use wasm_encoder::Instruction;
use wasmparser::ValType;

use super::encode::Sink;

/// Numbers of the imports that push; the `pop` of each is three further.
const ONE: usize = 0;
const FOUR: usize = 1;
const WIDE: usize = 2;
const POP: usize = 3;

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

/// Locals in the order in which they are handed over: wide ones, then the others.
fn sorted(saved: &[u32], locals: &[ValType]) -> (Vec<u32>, Vec<u32>) {
    saved.iter().partition(|&&local| locals[local as usize] == ValType::V128)
}

/// Hands the values of the locals over.
fn push(sink: &mut Sink, saved: &[u32], locals: &[ValType]) {
    let (wide, others) = sorted(saved, locals);
    for local in wide {
        widen(sink, local, ValType::V128);
        call(sink, WIDE);
    }
    for four in others.chunks(4) {
        four.iter().for_each(|&local| widen(sink, local, locals[local as usize]));
        if four.len() > 1 {
            (four.len()..4).for_each(|_| sink.put(&Instruction::I64Const(0)));
        }
        call(sink, if four.len() > 1 { FOUR } else { ONE });
    }
}

/// Takes the values of the locals back.
fn pop(sink: &mut Sink, saved: &[u32], locals: &[ValType]) {
    let (wide, others) = sorted(saved, locals);
    for four in others.chunks(4).rev() {
        call(sink, POP + if four.len() > 1 { FOUR } else { ONE });
        if four.len() > 1 {
            (four.len()..4).for_each(|_| sink.put(&Instruction::Drop));
        }
        four.iter().rev().for_each(|&local| narrow(sink, local, locals[local as usize]));
    }
    for local in wide.into_iter().rev() {
        call(sink, POP + WIDE);
        narrow(sink, local, ValType::V128);
    }
}

/// Behind a call: if frames are being taken, hands this one over and returns zeros.
pub(super) fn hand_over(
    sink: &mut Sink,
    number: u32,
    saved: &[u32],
    locals: &[ValType],
    results: &[ValType],
) {
    sink.put(&Instruction::GlobalGet(sink.places().state));
    sink.open_if();
    push(sink, saved, locals);
    sink.put(&Instruction::I64Const(number.into()));
    call(sink, ONE);
    for &result in results {
        zero(sink, result);
    }
    sink.put(&Instruction::Return);
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

/// At the head of a function: if frames are being put back, takes this one, and leaves the site's number in `resume`.
pub(super) fn take_back(sink: &mut Sink, resume: u32, sites: &[Vec<u32>], locals: &[ValType]) {
    sink.put(&Instruction::GlobalGet(sink.places().state));
    sink.open_if();
    call(sink, POP + ONE);
    narrow(sink, resume, ValType::I32);
    // A block for each site, the first innermost, and one for a number that no site has.
    sink.open_block();
    for _ in sites {
        sink.open_block();
    }
    sink.open_block();
    let count = u32::try_from(sites.len()).unwrap_or(u32::MAX);
    sink.get(resume);
    let targets: Vec<u32> = (0..=count).collect();
    sink.put(&Instruction::BrTable(targets.into(), 0));
    sink.close();
    sink.put(&Instruction::Unreachable);
    for (saved, left) in sites.iter().zip((0..count).rev()) {
        sink.close();
        pop(sink, saved, locals);
        if left > 0 {
            sink.put(&Instruction::Br(left));
        }
    }
    sink.close();
    sink.close();
}
