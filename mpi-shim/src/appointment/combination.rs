//! What a journey has a member of its node do: to call the operator of the program, which needs that member's instance.

use faasm_mpi_engine::error::Result;

/// Elements that are to be combined, in packed form: `accumulator = accumulator op operand`.
#[derive(Debug)]
pub struct Operands {
    /// The left operand.
    pub accumulator: Vec<u8>,
    /// The right one.
    pub operand: Vec<u8>,
    /// Number of elements.
    pub count: u64,
}

/// How far the combination is that a journey waits for. There is one at a time.
#[derive(Debug, Default)]
pub enum Combination {
    /// Nothing is to be done.
    #[default]
    None,
    /// Some member is to call its operator.
    Asked(Operands),
    /// A member does so.
    Taken,
    /// The journey can go on with the result.
    Made(Result<Vec<u8>>),
}

impl Combination {
    /// Whether a member is wanted.
    pub const fn is_asked(&self) -> bool {
        matches!(self, Self::Asked(_))
    }

    /// The operands, for the member that is the first to take them.
    pub fn take(&mut self) -> Option<Operands> {
        if !self.is_asked() {
            return None;
        }
        match std::mem::replace(self, Self::Taken) {
            Self::Asked(operands) => Some(operands),
            _ => None,
        }
    }

    /// The result, if it is there.
    pub fn result(&mut self) -> Option<Result<Vec<u8>>> {
        if !matches!(self, Self::Made(_)) {
            return None;
        }
        match std::mem::take(self) {
            Self::Made(result) => Some(result),
            _ => None,
        }
    }
}
