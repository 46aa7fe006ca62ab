//! Blocking collectives (MPI-5.0 chapter 6), here among members of one process; `cluster` is their
//! extension to several nodes.
//!
//! Every member waits inside the call with its arguments in a [`Contribution`]; the last to arrive
//! runs the whole operation on everybody's buffers: [`execute`] does it at once, [`Plan`] in parts
//! for several threads, [`Schedule`] step by step for operators that are guest functions. Data is
//! copied once, from user buffer to user buffer.
//!
//! Each operation has a folder, each algorithm a file there. Invariants: nothing is written before
//! the arguments of all members were compared; the result does not depend on how the work is split;
//! reductions combine in rank order.
//!
//! Collectives of intercommunicators are operations on all processes of both groups ([`intercomm`]).

mod alias;
mod check;
pub mod cluster;
mod contribution;
pub mod intercomm;
mod members;
mod movement;
mod neighbor;
mod plan;
mod reduction;
mod schedule;
#[cfg(test)]
mod tests;
mod transfer;

mod allgather {
    pub(super) mod direct;
    pub(super) mod gathered;
}
mod allreduce {
    pub(super) mod rank_order;
    pub(super) mod tiny;
}
mod alltoall {
    pub(super) mod direct;
    pub(super) mod exchange;
    pub(super) mod transposed;
    pub(super) mod uniform;
}
mod bcast {
    pub(super) mod fan_out;
}
mod exscan {
    pub(super) mod linear;
}
mod gather {
    pub(super) mod direct;
}
mod reduce {
    pub(super) mod rank_order;
}
mod reduce_scatter {
    pub(super) mod rank_order;
}
mod scan {
    pub(super) mod linear;
}
mod scatter {
    pub(super) mod direct;
}

pub use alias::check_distinct;
pub use check::check;
pub use contribution::{
    Buffer, Contribution, Kind, Operand, Operator, Side, TypedBuffer, VectorBuffer,
};
pub use members::{Failures, MemberFault, MemberMemory, Members};
pub use neighbor::neighborhood;
pub use plan::Plan;
pub use schedule::{Schedule, Scratch, Step};
pub use transfer::typed_copy;

/// Runs a collective in which rank `i` brings `contributions[i]`.
///
/// # Errors
/// The members at which it failed; at all others it succeeded. See [`Plan::new`]; besides,
/// `MPI_ERR_TRUNCATE` or `MPI_ERR_COUNT` at a receiver for which too much or too little was sent,
/// and `MPI_ERR_BUFFER` at every member when a buffer lies outside its member's memory.
pub fn execute<M: Members>(contributions: &[Contribution], members: &M) -> Result<(), Failures> {
    if let Some(result) = allreduce::tiny::run(contributions, members) {
        return result;
    }
    Plan::new(contributions)?.run(members)
}
