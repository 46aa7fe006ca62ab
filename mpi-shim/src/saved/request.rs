//! Requests of every kind.

use faasm_mpi_engine::collective::intercomm::Share;
use faasm_mpi_engine::collective::{
    self as engine, Contribution, Kind, Operator, Side, TypedBuffer, VectorBuffer,
};
use faasm_mpi_engine::error::MpiError;
use faasm_mpi_engine::group::Group;
use serde::{Deserialize, Serialize};

use super::communicator::Seats;
use super::types::{SavedBuffer, TypeList, Types};
use super::{SaveError, Saving, damaged};
use crate::abi::Status;
use crate::request::{
    Collective, Completion, Generalized, Operation, PARTITIONS_MAX, Partitioned, Persistent,
    Request, SendMode, State, UserOperator,
};

/// A request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SavedRequest {
    operation: SavedOperation,
    buffer: SavedBuffer,
    tag: i32,
    comm: i32,
    context: u32,
    peer: u32,
    state: SavedState,
    persistent: bool,
    freed: bool,
    cancelling: bool,
    also: Option<i32>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum SavedOperation {
    Send { mode: SendMode, dest: i32 },
    Receive { source: i32 },
    Collective(Box<SavedCollective>),
    Generalized(Generalized),
    Partitioned(Box<Partitioned>),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum SavedState {
    Inactive,
    Active,
    Complete { status: Status, error: Option<MpiError> },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct SavedCollective {
    function: String,
    contribution: SavedContribution,
    user: Option<UserOperator>,
    started: u64,
    rank: u32,
    group: Group,
    persistent: Option<Persistent>,
    is_seen: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct SavedContribution {
    kind: Kind,
    root: u32,
    op: Option<Operator>,
    send: SavedSide,
    recv: SavedSide,
    share: (u32, i64),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum SavedSide {
    Absent,
    InPlace,
    Buffer(SavedBuffer),
    Vector { addr: u64, counts: Vec<i64>, displacements: Vec<i64>, datatype: u32 },
    Typed { addr: u64, counts: Vec<i64>, displacements: Vec<i64>, datatypes: Vec<u32> },
}

impl SavedRequest {
    pub(super) fn of(request: &Request, types: &mut TypeList) -> Saving<Self> {
        let operation = match &request.operation {
            Operation::Send { mode, dest } => SavedOperation::Send { mode: *mode, dest: *dest },
            Operation::Receive { source } => SavedOperation::Receive { source: *source },
            Operation::Collective(own) => {
                SavedOperation::Collective(Box::new(SavedCollective::of(own, types)))
            }
            Operation::Generalized(own) => SavedOperation::Generalized(*own),
            Operation::Partitioned(own) => SavedOperation::Partitioned(own.clone()),
            #[allow(unreachable_patterns, reason = "kinds of requests that are added are named")]
            other => {
                let why = format!("a request is under way that cannot be written: {other:?}");
                return Err(SaveError::Hindered(why));
            }
        };
        Ok(Self {
            operation,
            buffer: SavedBuffer::of(&request.buffer, types),
            tag: request.tag,
            comm: request.comm,
            context: request.context,
            peer: request.peer,
            state: SavedState::of(&request.state),
            persistent: request.persistent,
            freed: request.freed,
            cancelling: request.cancelling,
            also: request.also,
        })
    }

    pub(super) fn restore(
        self,
        types: &Types,
        seats: &mut Seats<'_>,
        size: u32,
    ) -> Saving<Request> {
        let operation = match self.operation {
            SavedOperation::Send { mode, dest } => Operation::Send { mode, dest },
            SavedOperation::Receive { source } => Operation::Receive { source },
            SavedOperation::Collective(own) => {
                Operation::Collective(Box::new(own.restore(self.context, types, seats)?))
            }
            SavedOperation::Generalized(own) => Operation::Generalized(own),
            SavedOperation::Partitioned(own) if own.partitions > PARTITIONS_MAX => {
                return Err(damaged("the partitions of a request"));
            }
            SavedOperation::Partitioned(own) => Operation::Partitioned(own),
        };
        if self.peer >= size {
            return Err(damaged("the peer of a request"));
        }
        Ok(Request {
            operation,
            buffer: types.buffer(&self.buffer)?,
            tag: self.tag,
            comm: self.comm,
            context: self.context,
            peer: self.peer,
            state: self.state.restore(),
            persistent: self.persistent,
            freed: self.freed,
            cancelling: self.cancelling,
            also: self.also,
        })
    }
}

impl SavedState {
    fn of(state: &State) -> Self {
        match state {
            State::Inactive => Self::Inactive,
            State::Active => Self::Active,
            State::Complete(Completion { status, error }) => {
                Self::Complete { status: *status, error: error.clone() }
            }
        }
    }

    fn restore(self) -> State {
        match self {
            Self::Inactive => State::Inactive,
            Self::Active => State::Active,
            Self::Complete { status, error } => State::Complete(Completion { status, error }),
        }
    }
}

impl SavedCollective {
    fn of(own: &Collective, types: &mut TypeList) -> Self {
        Self {
            function: own.function.to_owned(),
            contribution: SavedContribution::of(&own.contribution, types),
            user: own.user,
            started: own.site.started(),
            rank: own.rank,
            group: own.group.clone(),
            persistent: own.persistent,
            is_seen: own.is_seen,
        }
    }

    fn restore(self, context: u32, types: &Types, seats: &mut Seats<'_>) -> Saving<Collective> {
        let Self { function, contribution, user, started, rank, group, persistent, is_seen } = self;
        let site = seats.seat(context, &group, rank, started)?;
        let mut names = crate::functions().map(|known| known.name);
        let function = names.find(|name| *name == function);
        Ok(Collective {
            function: function.ok_or_else(|| damaged("the function of a request"))?,
            contribution: contribution.restore(types)?,
            user,
            seat: site.site().seat(rank),
            site,
            rank,
            group,
            persistent,
            is_seen,
        })
    }
}

impl SavedContribution {
    fn of(own: &Contribution, types: &mut TypeList) -> Self {
        Self {
            kind: own.kind,
            root: own.root,
            op: own.op,
            send: SavedSide::of(&own.send, types),
            recv: SavedSide::of(&own.recv, types),
            share: (own.share.low, own.share.first),
        }
    }

    fn restore(self, types: &Types) -> Saving<Contribution> {
        let (low, first) = self.share;
        Ok(Contribution {
            kind: self.kind,
            root: self.root,
            op: self.op,
            send: self.send.restore(types)?,
            recv: self.recv.restore(types)?,
            share: Share { low, first },
        })
    }
}

impl SavedSide {
    fn of(side: &Side, types: &mut TypeList) -> Self {
        match side {
            Side::Absent => Self::Absent,
            Side::InPlace => Self::InPlace,
            Side::Buffer(engine::Buffer { addr, count, datatype }) => Self::Buffer(SavedBuffer {
                addr: *addr,
                count: *count,
                datatype: types.number(datatype),
            }),
            Side::Vector(vector) => Self::Vector {
                addr: vector.addr,
                counts: vector.counts.to_vec(),
                displacements: vector.displacements.to_vec(),
                datatype: types.number(&vector.datatype),
            },
            Side::Typed(typed) => Self::Typed {
                addr: typed.addr,
                counts: typed.counts.to_vec(),
                displacements: typed.displacements.to_vec(),
                datatypes: typed.datatypes.iter().map(|one| types.number(one)).collect(),
            },
        }
    }

    fn restore(self, types: &Types) -> Saving<Side> {
        Ok(match self {
            Self::Absent => Side::Absent,
            Self::InPlace => Side::InPlace,
            Self::Buffer(saved) => {
                let buffer = types.buffer(&saved)?;
                Side::buffer(buffer.addr, buffer.count, buffer.datatype)
            }
            Self::Vector { addr, counts, displacements, datatype } => {
                let (counts, displacements) = (not_negative(counts)?, displacements.into());
                let datatype = types.get(datatype)?;
                Side::Vector(Box::new(VectorBuffer { addr, counts, displacements, datatype }))
            }
            Self::Typed { addr, counts, displacements, datatypes } => {
                let (counts, displacements) = (not_negative(counts)?, displacements.into());
                let datatypes = datatypes.into_iter().map(|number| types.get(number));
                let datatypes = datatypes.collect::<Saving<_>>()?;
                Side::Typed(Box::new(TypedBuffer { addr, counts, displacements, datatypes }))
            }
        })
    }
}

fn not_negative(counts: Vec<i64>) -> Saving<Box<[i64]>> {
    if counts.iter().any(|count| *count < 0) {
        return Err(damaged("a count"));
    }
    Ok(counts.into())
}

/// A collective under way: the handle of its request, and its number at the site.
pub(super) type SavedUnderway = (i32, u64);

/// A collective that was started, and its context, for joining it again.
pub(super) fn started(request: &Request) -> Option<(&Collective, u32)> {
    match &request.operation {
        Operation::Collective(own) if matches!(request.state, State::Active) => {
            Some((own, request.context))
        }
        _ => None,
    }
}
