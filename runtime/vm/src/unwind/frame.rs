//! Handing a frame over, and taking it back at the head of a function.

use wasm_encoder::Instruction;
use wasmparser::ValType;

use super::encode::Sink;

/// Which of the three widths a value of `ty` has: the index of its `push`; its `pop` is three further.
fn width(ty: ValType) -> usize {
    match ty {
        ValType::I32 | ValType::F32 => 0,
        ValType::I64 | ValType::F64 => 1,
        ValType::V128 | ValType::Ref(_) => 2,
    }
}

/// Distance from a `push` to its `pop`.
const POP: usize = 3;

/// Hands the value of `local` over.
fn push(sink: &mut Sink, local: u32, ty: ValType) {
    sink.get(local);
    match ty {
        ValType::F32 => sink.put(&Instruction::I32ReinterpretF32),
        ValType::F64 => sink.put(&Instruction::I64ReinterpretF64),
        _ => {}
    }
    let push = sink.places().stack(width(ty));
    sink.put(&Instruction::Call(push));
}

/// Takes the value of `local` back.
fn pop(sink: &mut Sink, local: u32, ty: ValType) {
    let pop = sink.places().stack(width(ty) + POP);
    sink.put(&Instruction::Call(pop));
    match ty {
        ValType::F32 => sink.put(&Instruction::F32ReinterpretI32),
        ValType::F64 => sink.put(&Instruction::F64ReinterpretI64),
        _ => {}
    }
    sink.set(local);
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
    for &local in saved {
        push(sink, local, locals[local as usize]);
    }
    sink.number(number);
    sink.put(&Instruction::Call(sink.places().stack(0)));
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
    pop(sink, resume, ValType::I32);
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
        for &local in saved.iter().rev() {
            pop(sink, local, locals[local as usize]);
        }
        if left > 0 {
            sink.put(&Instruction::Br(left));
        }
    }
    sink.close();
    sink.close();
}
