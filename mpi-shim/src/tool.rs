//! What a rank keeps for the tool information interface (MPI-5.0 section 15.3).

mod event;

use std::collections::BTreeMap;

use crate::abi;

pub(crate) use event::{Callback, Due, EventType, Events, Happened, LEVELS, Registration};

/// The interface as one rank uses it.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct ToolState {
    /// Calls of `MPI_T_init_thread` without their `MPI_T_finalize`.
    pub(crate) uses: u32,
    /// Handles of control variables: the variable of each, by number.
    pub(crate) controls: BTreeMap<i32, usize>,
    /// Sessions of performance variables.
    pub(crate) sessions: Sessions,
    /// Registrations for events, and what has happened.
    pub(crate) events: Events,
    /// The last number given to a handle or a session.
    pub(crate) last: i32,
}

impl ToolState {
    /// A number for a handle or session that no other has.
    pub(crate) fn number(&mut self) -> Result<i32, i32> {
        self.last =
            self.last.checked_add(1).ok_or(abi::MPI_T_ERR_OUT_OF_HANDLES)?.max(FIRST_NUMBER);
        Ok(self.last)
    }
}

/// Numbers below are constants such as `MPI_T_PVAR_ALL_HANDLES`.
const FIRST_NUMBER: i32 = 16;

/// The sessions of a rank, each with its handles.
pub(crate) type Sessions = BTreeMap<i32, BTreeMap<i32, Watch>>;

/// A handle: a variable as one session sees it.
#[derive(Copy, Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Watch {
    pub(crate) what: What,
    /// Counted while it was started before.
    pub(crate) counted: u64,
    /// The variable when it was last started; `None` while it is stopped.
    pub(crate) since: Option<u64>,
}

impl Watch {
    pub(crate) fn value(&self, now: u64) -> u64 {
        if self.what.is_level() {
            return now;
        }
        self.counted.wrapping_add(self.since.map_or(0, |since| now.wrapping_sub(since)))
    }

    pub(crate) fn set(&mut self, value: u64, now: u64) {
        self.counted = value;
        self.since = self.since.map(|_| now);
    }
}

/// Where a variable's value comes from.
#[derive(Copy, Clone, Debug, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) enum What {
    Posted,
    Unexpected,
    Requests,
    SentMessages,
    SentBytes,
}

impl What {
    /// Levels are what they are now; counters count from when they were started.
    pub(crate) const fn is_level(self) -> bool {
        matches!(self, Self::Posted | Self::Unexpected | Self::Requests)
    }

    pub(crate) const fn class(self) -> i32 {
        match self {
            Self::SentBytes => abi::MPI_T_PVAR_CLASS_AGGREGATE,
            Self::SentMessages => abi::MPI_T_PVAR_CLASS_COUNTER,
            _ => abi::MPI_T_PVAR_CLASS_LEVEL,
        }
    }
}
