//! What one member brings to a collective call.

use alloc::boxed::Box;

use super::intercomm::Share;
use crate::datatype::{Datatype, address};
use crate::op::Op;

/// Which collective operation is called.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash, serde::Serialize, serde::Deserialize)]
#[allow(missing_docs, reason = "each is the MPI function of the same name")]
pub enum Kind {
    Barrier,
    Bcast,
    Gather,
    Gatherv,
    Scatter,
    Scatterv,
    Allgather,
    Allgatherv,
    Alltoall,
    Alltoallv,
    Alltoallw,
    Reduce,
    Allreduce,
    ReduceScatter,
    ReduceScatterBlock,
    Scan,
    Exscan,
    /// A reduction across the groups of an intercommunicator.
    Across,
}

impl Kind {
    /// Name of the MPI function.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Barrier => "MPI_Barrier",
            Self::Bcast => "MPI_Bcast",
            Self::Gather => "MPI_Gather",
            Self::Gatherv => "MPI_Gatherv",
            Self::Scatter => "MPI_Scatter",
            Self::Scatterv => "MPI_Scatterv",
            Self::Allgather => "MPI_Allgather",
            Self::Allgatherv => "MPI_Allgatherv",
            Self::Alltoall => "MPI_Alltoall",
            Self::Alltoallv => "MPI_Alltoallv",
            Self::Alltoallw => "MPI_Alltoallw",
            Self::Reduce => "MPI_Reduce",
            Self::Allreduce => "MPI_Allreduce",
            Self::ReduceScatter => "MPI_Reduce_scatter",
            Self::ReduceScatterBlock => "MPI_Reduce_scatter_block",
            Self::Scan => "MPI_Scan",
            Self::Exscan => "MPI_Exscan",
            Self::Across => "a reduction of an intercommunicator",
        }
    }

    /// Whether one member is the root.
    pub const fn is_rooted(self) -> bool {
        matches!(
            self,
            Self::Bcast
                | Self::Gather
                | Self::Gatherv
                | Self::Scatter
                | Self::Scatterv
                | Self::Reduce
        )
    }

    /// Whether an operator combines the data.
    pub const fn is_reduction(self) -> bool {
        matches!(
            self,
            Self::Reduce
                | Self::Allreduce
                | Self::ReduceScatter
                | Self::ReduceScatterBlock
                | Self::Scan
                | Self::Exscan
                | Self::Across
        )
    }
}

/// A buffer of equal blocks: `count` elements for each peer, or in total where there are no peers.
#[derive(Clone, Debug)]
pub struct Buffer {
    /// Address in the member's memory.
    pub addr: u64,
    /// Elements, for each peer where the operation has one block a peer.
    pub count: i64,
    /// Type of the elements.
    pub datatype: Datatype,
}

/// A buffer of blocks of different lengths, one a peer.
#[derive(Clone, Debug)]
pub struct VectorBuffer {
    /// Address in the member's memory.
    pub addr: u64,
    /// Elements for each peer.
    pub counts: Box<[i64]>,
    /// Displacement of each block in extents of the datatype; empty for `MPI_Reduce_scatter`.
    pub displacements: Box<[i64]>,
    /// Type of the elements.
    pub datatype: Datatype,
}

/// A buffer of blocks of different lengths and types, one a peer (`MPI_Alltoallw`).
#[derive(Clone, Debug)]
pub struct TypedBuffer {
    /// Address in the member's memory.
    pub addr: u64,
    /// Elements for each peer.
    pub counts: Box<[i64]>,
    /// Displacement of each block in bytes.
    pub displacements: Box<[i64]>,
    /// Type of the elements of each block.
    pub datatypes: Box<[Datatype]>,
}

/// The send or the receive side of a call.
#[derive(Clone, Debug)]
pub enum Side {
    /// The argument is not significant at this member.
    Absent,
    /// `MPI_IN_PLACE`.
    InPlace,
    /// Equal blocks.
    Buffer(Buffer),
    /// Blocks of different lengths.
    Vector(Box<VectorBuffer>),
    /// Blocks of different lengths and types.
    Typed(Box<TypedBuffer>),
}

/// The operator of a reduction.
#[derive(Copy, Clone, Debug, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Operator {
    /// One the standard defines.
    Predefined(Op),
    /// One the program made; see [`super::Schedule`] for how it is run.
    User {
        /// What the caller knows it by; handles of different members are not compared.
        handle: i32,
        /// Whether operands may be swapped.
        commutative: bool,
    },
}

/// The arguments of one member.
///
/// `MPI_Bcast` has its buffer on the send side of every member. Reductions have `count` elements on
/// both sides; `MPI_Reduce_scatter` takes its counts from a [`Side::Vector`] on the receive side,
/// `MPI_Reduce_scatter_block` from the count of its receive buffer.
#[derive(Clone, Debug)]
pub struct Contribution {
    /// The operation called.
    pub kind: Kind,
    /// Rank of the root; not significant without one. In an operation of an intercommunicator the
    /// number of the function called.
    pub root: u32,
    /// The operator of a reduction.
    pub op: Option<Operator>,
    /// What is sent.
    pub send: Side,
    /// Where the result goes.
    pub recv: Side,
    /// What is besides in a reduction across the groups of an intercommunicator.
    pub share: Share,
}

impl Contribution {
    /// A call with no root, operator or buffers yet.
    pub const fn new(kind: Kind) -> Self {
        let (send, recv) = (Side::Absent, Side::Absent);
        Self { kind, root: 0, op: None, send, recv, share: Share { low: 0, first: 0 } }
    }

    /// With this root.
    pub fn root(self, root: u32) -> Self {
        Self { root, ..self }
    }

    /// With this operator.
    pub fn op(self, op: Operator) -> Self {
        Self { op: Some(op), ..self }
    }

    /// With this send side.
    pub fn send(self, send: Side) -> Self {
        Self { send, ..self }
    }

    /// With this receive side.
    pub fn recv(self, recv: Side) -> Self {
        Self { recv, ..self }
    }
}

impl Contribution {
    /// Type of the elements that the member puts into a reduction.
    pub fn element(&self) -> Option<&Datatype> {
        match (&self.send, &self.recv) {
            (_, Side::Vector(vector)) => Some(&vector.datatype),
            (Side::Buffer(buffer), _) | (_, Side::Buffer(buffer)) => Some(&buffer.datatype),
            _ => None,
        }
    }
}

/// Elements at an address of one member.
#[derive(Copy, Clone, Debug)]
pub struct Operand<'a> {
    /// Rank of the member.
    pub member: usize,
    /// Address in its memory.
    pub addr: u64,
    /// Number of elements.
    pub count: i64,
    /// Type of the elements.
    pub datatype: &'a Datatype,
}

impl Side {
    /// A buffer of equal blocks.
    pub fn buffer(addr: u64, count: i64, datatype: impl Into<Datatype>) -> Self {
        Self::Buffer(Buffer { addr, count, datatype: datatype.into() })
    }

    /// Whether this is `MPI_IN_PLACE`.
    pub const fn is_in_place(&self) -> bool {
        matches!(self, Self::InPlace)
    }

    /// Address of the buffer.
    pub(super) fn addr(&self) -> Option<u64> {
        match self {
            Self::Absent | Self::InPlace => None,
            Self::Buffer(buffer) => Some(buffer.addr),
            Self::Vector(vector) => Some(vector.addr),
            Self::Typed(typed) => Some(typed.addr),
        }
    }

    /// Number of blocks, where the side says.
    pub(super) fn blocks(&self) -> Option<usize> {
        match self {
            Self::Absent | Self::InPlace | Self::Buffer(_) => None,
            Self::Vector(vector) => Some(vector.counts.len().min(vector.displacements.len())),
            Self::Typed(typed) => {
                let lengths = typed.counts.len().min(typed.displacements.len());
                Some(lengths.min(typed.datatypes.len()))
            }
        }
    }

    /// The block for peer `index` of the side that `member` passed.
    pub(super) fn block(&self, member: usize, index: usize) -> Option<Operand<'_>> {
        let operand = |addr, offset: i64, count, datatype| Operand {
            member,
            addr: address(addr, offset),
            count,
            datatype,
        };
        match self {
            Self::Absent | Self::InPlace => None,
            Self::Buffer(buffer) => {
                let step = buffer.count.wrapping_mul(buffer.datatype.extent());
                let offset = step.wrapping_mul(index as i64);
                Some(operand(buffer.addr, offset, buffer.count, &buffer.datatype))
            }
            Self::Vector(vector) => {
                let offset =
                    vector.displacements.get(index)?.wrapping_mul(vector.datatype.extent());
                Some(operand(vector.addr, offset, *vector.counts.get(index)?, &vector.datatype))
            }
            Self::Typed(typed) => {
                let (offset, count) = (*typed.displacements.get(index)?, *typed.counts.get(index)?);
                Some(operand(typed.addr, offset, count, typed.datatypes.get(index)?))
            }
        }
    }

    /// All data bytes of the side, saturating, when it has a block for each of `peers`.
    pub fn bytes(&self, peers: usize) -> u64 {
        let blocks = (0..peers).filter_map(|index| self.block(0, index));
        let sizes = blocks.map(|block| block.datatype.bytes(block.count).unwrap_or(u64::MAX));
        sizes.fold(0, u64::saturating_add)
    }
}
