//! Windows and open files of members on several nodes: what ranks ask of the node that has the object.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use faasm_mpi_engine::collective::cluster::{Reader, Writer};
use faasm_mpi_engine::error::Result;
use faasm_vm::GuestMemory;

/// A question of one rank about an object of this node.
#[derive(Copy, Clone, Debug)]
pub struct Question<'a> {
    /// World rank of who asks.
    pub from: u32,
    /// Its name for the question, which the answer carries.
    pub name: u32,
    /// The question, in the words of the object.
    pub bytes: &'a [u8],
}

/// What follows from a question.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Effect {
    /// A question of `rank` is answered, maybe an earlier one.
    Answer {
        /// World rank of who asked.
        rank: u32,
        /// Its name for the question.
        name: u32,
        /// The answer.
        data: Vec<u8>,
    },
    /// A rank of this node may find something new.
    Wake(u32),
}

/// An object that ranks of other nodes ask.
pub trait Served: Debug + Send + Sync {
    /// Answers a question on the thread that brings it; `None` when the question breaks a rule, and nothing
    /// has changed. `memory` gives the memories of this node's ranks.
    fn serve<'a>(
        &self,
        question: Question<'_>,
        memory: &dyn Fn(u32) -> Option<&'a GuestMemory>,
    ) -> Option<Vec<Effect>>;
}

/// The objects of one node by the context of their communicator.
#[derive(Debug, Default)]
pub(super) struct Objects(Mutex<HashMap<u32, Arc<dyn Served>>>);

impl Objects {
    fn held(&self) -> MutexGuard<'_, HashMap<u32, Arc<dyn Served>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every local member brings the object; the first one's is kept.
    pub(super) fn publish(&self, context: u32, object: Arc<dyn Served>) {
        self.held().entry(context).or_insert(object);
    }

    pub(super) fn withdraw(&self, context: u32) {
        self.held().remove(&context);
    }

    pub(super) fn find(&self, context: u32) -> Option<Arc<dyn Served>> {
        self.held().get(&context).cloned()
    }
}

/// An answer: data, or an error.
pub(crate) fn answer(result: Result<Vec<u8>>) -> Vec<u8> {
    let mut out = Writer::new();
    match result {
        Ok(data) => {
            out.u8(0);
            out.raw(&data);
        }
        Err(error) => {
            out.u8(1);
            out.error(&error);
        }
    }
    out.into_bytes()
}

/// What an answer says; `None` when it is malformed.
pub(crate) fn told(answer: &[u8]) -> Option<Result<&[u8]>> {
    let mut from = Reader::new(answer);
    match from.u8()? {
        0 => Some(Ok(from.rest())),
        1 => from.error().map(Err),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use faasm_mpi_engine::error::{ErrorClass, MpiError};

    use super::*;

    #[test]
    fn answers_bring_data_or_an_error() {
        assert_eq!(told(&answer(Ok(vec![1, 2]))), Some(Ok(&[1, 2][..])));
        let error = MpiError::argument(ErrorClass::RmaRange, "target_disp", "far out");
        let told_error = answer(Err(error));
        let class = told(&told_error).and_then(|told| told.err()).map(|error| error.class);
        assert_eq!(class, Some(ErrorClass::RmaRange));
        assert_eq!(told(&[]), None);
    }
}
