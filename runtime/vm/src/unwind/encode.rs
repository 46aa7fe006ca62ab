//! Instructions as bytes, with the numbers that the added imports shift.

use std::convert::Infallible;

use wasm_encoder::{
    BlockType, Catch, Encode, Instruction, ValType,
    reencode::{Error, Reencode},
};
use wasmparser::Operator;

use super::{STACK_IMPORTS, UnwindError, index::Index};

/// Where the pass's own functions and globals are, and how the module's own functions moved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    /// Functions that the module imports; the pass's come behind them.
    imports: u32,
    /// Global that says whether frames are taken or put back.
    pub(super) state: u32,
    /// Global that says whether the stack cannot be taken.
    pub(super) held: u32,
}

impl Places {
    pub(super) fn new(index: &Index) -> Self {
        Self { imports: index.imports(), state: index.globals, held: index.globals + 1 }
    }

    /// Function index of `STACK_IMPORTS[at]`.
    pub(super) fn stack(self, at: usize) -> u32 {
        self.imports + u32::try_from(at).unwrap_or(0)
    }
}

impl Reencode for Places {
    type Error = Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, Error> {
        let added = u32::try_from(STACK_IMPORTS.len()).unwrap_or(0);
        Ok(if function < self.imports { function } else { function + added })
    }
}

/// Bytes of code, with the levels of nesting of the original and of the pass.
#[derive(Debug)]
pub(super) struct Sink {
    places: Places,
    bytes: Vec<u8>,
    /// Constructs that are open.
    depth: u32,
    /// Depth of the original's labels, the function's own first.
    labels: Vec<u32>,
}

impl Sink {
    pub(super) fn new(places: Places) -> Self {
        Self { places, bytes: Vec::new(), depth: 0, labels: vec![0] }
    }

    pub(super) fn places(&self) -> Places {
        self.places
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Adds an instruction of the pass.
    pub(super) fn put(&mut self, instruction: &Instruction<'_>) {
        instruction.encode(&mut self.bytes);
    }

    /// Opens a construct of the pass.
    pub(super) fn open(&mut self, instruction: &Instruction<'_>) {
        self.put(instruction);
        self.depth += 1;
    }

    /// Ends a construct of the pass.
    pub(super) fn close(&mut self) {
        self.put(&Instruction::End);
        self.depth -= 1;
    }

    /// Opens a construct of the original.
    pub(super) fn open_original(&mut self, operator: &Operator<'_>) -> Result<(), UnwindError> {
        self.original(operator)?;
        self.depth += 1;
        self.labels.push(self.depth);
        Ok(())
    }

    /// Ends a construct of the original.
    pub(super) fn close_original(&mut self) {
        self.labels.pop();
        self.close();
    }

    /// Adds an instruction of the original.
    pub(super) fn original(&mut self, operator: &Operator<'_>) -> Result<(), UnwindError> {
        let instruction = match self.places.instruction(operator.clone())? {
            Instruction::Br(label) => Instruction::Br(self.label(label)),
            Instruction::BrIf(label) => Instruction::BrIf(self.label(label)),
            Instruction::BrTable(labels, default) => Instruction::BrTable(
                labels.iter().map(|&label| self.label(label)).collect(),
                self.label(default),
            ),
            Instruction::TryTable(ty, catches) => {
                Instruction::TryTable(ty, catches.iter().map(|catch| self.catch(catch)).collect())
            }
            other => other,
        };
        self.put(&instruction);
        Ok(())
    }

    /// The original's label `depth` as it is counted here.
    fn label(&self, depth: u32) -> u32 {
        let at = self.labels.len().saturating_sub(1 + depth as usize);
        self.depth - self.labels[at]
    }

    fn catch(&self, catch: &Catch) -> Catch {
        match *catch {
            Catch::One { tag, label } => Catch::One { tag, label: self.label(label) },
            Catch::OneRef { tag, label } => Catch::OneRef { tag, label: self.label(label) },
            Catch::All { label } => Catch::All { label: self.label(label) },
            Catch::AllRef { label } => Catch::AllRef { label: self.label(label) },
        }
    }

    pub(super) fn get(&mut self, local: u32) {
        self.put(&Instruction::LocalGet(local));
    }

    pub(super) fn set(&mut self, local: u32) {
        self.put(&Instruction::LocalSet(local));
    }

    /// Puts an unsigned number on the stack.
    pub(super) fn number(&mut self, number: u32) {
        self.put(&Instruction::I32Const(number.cast_signed()));
    }

    /// Opens an `if` without operands.
    pub(super) fn open_if(&mut self) {
        self.open(&Instruction::If(BlockType::Empty));
    }

    /// Opens a `block` without operands.
    pub(super) fn open_block(&mut self) {
        self.open(&Instruction::Block(BlockType::Empty));
    }
}

/// A type as it is written.
pub(super) fn written(places: Places, ty: wasmparser::ValType) -> Result<ValType, UnwindError> {
    let mut places = places;
    Ok(places.val_type(ty)?)
}
