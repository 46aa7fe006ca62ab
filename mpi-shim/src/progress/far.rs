//! Answers about windows of other nodes.

use faasm_mpi_engine::datatype::unpack_window;
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};

use crate::ctx::{Bytes, MpiCtx};
use crate::port::{MpiPort, Payload};
use crate::window::FarOp;
use crate::world::told;

impl<P: MpiPort> MpiCtx<P> {
    /// Completes the operation whose question was answered; `false` when the answer is to another kind of
    /// question.
    pub(super) fn complete_far(&mut self, name: u32, payload: &Payload) -> bool {
        let Some(op) = self.far_ops.take(name) else { return false };
        if let Err(error) = self.put_answer(&op, payload) {
            self.far_ops.fail(op.context, error);
        }
        true
    }

    fn put_answer(&self, op: &FarOp, payload: &Payload) -> Result<()> {
        let malformed = || MpiError::new(ErrorClass::Intern, "another node's answer is malformed");
        let Payload::Shared(bytes) = payload else { return Err(malformed()) };
        let data = told(bytes).ok_or_else(malformed)??;
        let Some((buffer, done)) = &op.result else { return Ok(()) };
        if done + data.len() as u64 > buffer.bytes()? {
            return Err(malformed());
        }
        let memory = Bytes(self.memory()?);
        unpack_window(&memory, buffer.addr, buffer.count, &buffer.datatype, *done, data)?;
        Ok(())
    }
}
