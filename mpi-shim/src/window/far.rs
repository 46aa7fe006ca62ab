//! Operations of this rank on windows of other nodes that are under way.

use std::collections::BTreeMap;

use faasm_mpi_engine::error::MpiError;

use crate::request::Buffer;

/// Questions of one rank that may be unanswered at a time, and the bytes that they and their answers have.
const OPERATIONS_MAX: usize = 1024;
const BYTES_MAX: u64 = 8 << 20;

/// A question that has not been answered.
#[derive(Debug)]
pub(crate) struct FarOp {
    /// Context of the window's communicator.
    pub(crate) context: u32,
    /// World rank of the member whose node is asked.
    pub(crate) peer: u32,
    /// The target, where the question is about its memory.
    pub(crate) target: Option<u32>,
    /// Where the answer's data goes: a buffer, and the position in its data.
    pub(crate) result: Option<(Buffer, u64)>,
    /// Bytes on the way.
    pub(crate) bytes: u64,
}

/// All of a rank's questions, by their names.
#[derive(Debug, Default)]
pub(crate) struct FarOps {
    ops: BTreeMap<u32, FarOp>,
    bytes: u64,
    /// By context, the first error that no call has reported.
    errors: BTreeMap<u32, MpiError>,
}

impl FarOps {
    pub(crate) fn insert(&mut self, name: u32, op: FarOp) {
        self.bytes += op.bytes;
        self.ops.insert(name, op);
    }

    /// Takes the question that was answered; `None` when it is not one of these.
    pub(crate) fn take(&mut self, name: u32) -> Option<FarOp> {
        let op = self.ops.remove(&name)?;
        self.bytes -= op.bytes;
        Some(op)
    }

    /// Gives up what was asked of `peer`, which is out of reach; gives the contexts.
    pub(crate) fn give_up(&mut self, peer: u32) -> Vec<u32> {
        let lost = self.ops.extract_if(.., |_, op| op.peer == peer);
        let lost: Vec<(u32, u64)> = lost.map(|(_, op)| (op.context, op.bytes)).collect();
        self.bytes -= lost.iter().map(|(_, bytes)| bytes).sum::<u64>();
        lost.into_iter().map(|(context, _)| context).collect()
    }

    /// Whether answers should come before more is asked.
    pub(crate) fn is_full(&self) -> bool {
        self.ops.len() >= OPERATIONS_MAX || self.bytes >= BYTES_MAX
    }

    /// Whether operations on a window, on one target or on all, are under way.
    pub(crate) fn reaches(&self, context: u32, target: Option<u32>) -> bool {
        let mut of_window = self.ops.values().filter(|op| op.context == context);
        of_window.any(|op| op.target.is_some() && (target.is_none() || op.target == target))
    }

    /// Whether anything about a window is under way.
    pub(crate) fn concerns(&self, context: u32) -> bool {
        self.ops.values().any(|op| op.context == context)
    }

    /// Keeps an error for the call that completes the operation.
    pub(crate) fn fail(&mut self, context: u32, error: MpiError) {
        self.errors.entry(context).or_insert(error);
    }

    pub(crate) fn take_error(&mut self, context: u32) -> Option<MpiError> {
        self.errors.remove(&context)
    }

    /// The errors that no call has reported, by context.
    pub(crate) const fn errors(&self) -> &BTreeMap<u32, MpiError> {
        &self.errors
    }

    /// With the errors of a rank that goes on, which has asked nothing yet.
    pub(crate) fn with_errors(errors: BTreeMap<u32, MpiError>) -> Self {
        Self { errors, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn op(context: u32, target: Option<u32>, bytes: u64) -> FarOp {
        FarOp { context, peer: 4, target, result: None, bytes }
    }

    #[test]
    fn operations_are_told_apart_by_window_and_target() {
        let mut ops = FarOps::default();
        ops.insert(1, op(7, Some(2), 10));
        ops.insert(2, op(8, None, 0));
        assert!(ops.reaches(7, None) && ops.reaches(7, Some(2)) && !ops.reaches(7, Some(3)));
        assert!(ops.concerns(8) && !ops.reaches(8, None));
        assert!(ops.take(3).is_none() && ops.take(1).is_some());
        assert!(!ops.concerns(7) && ops.bytes == 0);
    }

    #[test]
    fn what_was_asked_of_a_lost_node_is_given_up() {
        let mut ops = FarOps::default();
        ops.insert(1, op(7, Some(2), 10));
        ops.insert(2, FarOp { peer: 5, ..op(8, None, 3) });
        assert_eq!((ops.give_up(4), ops.bytes), (vec![7], 3));
        assert!(!ops.concerns(7) && ops.concerns(8) && ops.give_up(4).is_empty());
    }

    #[test]
    fn many_operations_or_bytes_are_enough() {
        let mut ops = FarOps::default();
        ops.insert(0, op(1, Some(0), BYTES_MAX - 1));
        assert!(!ops.is_full());
        ops.insert(1, op(1, Some(0), 1));
        assert!(ops.is_full());
        assert!(ops.take(0).is_some() && !ops.is_full());
    }
}
