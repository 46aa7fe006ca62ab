//! The memories of all members, and what went wrong at which member.

use alloc::format;
use alloc::vec::Vec;

use crate::datatype::{Fault, Memory};
use crate::error::{ErrorClass, MpiError};

/// The memories of the members of a communicator, by rank.
///
/// All members wait inside the call, so nobody else touches the buffers meanwhile. With a `Sync`
/// implementation the parts of a [`super::Plan`] may run on several threads: they never write the
/// same bytes.
pub trait Members {
    /// Copies bytes out of a member's memory.
    ///
    /// # Errors
    /// [`Fault`] when the range is not inside the memory.
    fn read(&self, member: usize, addr: u64, out: &mut [u8]) -> Result<(), Fault>;

    /// Copies bytes into a member's memory.
    ///
    /// # Errors
    /// [`Fault`] when the range is not inside the memory.
    fn write(&self, member: usize, addr: u64, data: &[u8]) -> Result<(), Fault>;

    /// Copies bytes between two members or within one, where ranges may overlap.
    ///
    /// # Errors
    /// [`Fault`] when either range is not inside its memory.
    fn copy(&self, from: (usize, u64), to: (usize, u64), len: u64) -> Result<(), Fault>;
}

/// One member's memory by itself.
#[derive(Debug)]
pub struct MemberMemory<'a, M> {
    /// All memories.
    pub members: &'a M,
    /// Rank of the member meant.
    pub member: usize,
}

impl<M: Members> Memory for MemberMemory<'_, M> {
    fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), Fault> {
        self.members.read(self.member, addr, out)
    }

    fn write(&self, addr: u64, data: &[u8]) -> Result<(), Fault> {
        self.members.write(self.member, addr, data)
    }
}

/// The members at which a collective call failed; it succeeded at all others.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Failures {
    /// Rank and error, at most one error a rank.
    pub errors: Vec<(usize, MpiError)>,
}

impl Failures {
    /// The same error at all of `members` members.
    pub fn everywhere(members: usize, error: &MpiError) -> Self {
        Self { errors: (0..members).map(|member| (member, error.clone())).collect() }
    }

    /// The error of one member.
    pub fn at(&self, member: usize) -> Option<&MpiError> {
        self.errors.iter().find(|(at, _)| *at == member).map(|(_, error)| error)
    }

    /// Adds an error unless the member already has one.
    pub fn push(&mut self, member: usize, error: MpiError) {
        if self.at(member).is_none() {
            self.errors.push((member, error));
        }
    }

    /// Adds what failed in another part of the same call.
    pub fn merge(&mut self, other: Self) {
        for (member, error) in other.errors {
            self.push(member, error);
        }
    }

    /// `Ok` when nothing failed.
    ///
    /// # Errors
    /// The failures themselves.
    pub fn into_result(self) -> Result<(), Self> {
        if self.errors.is_empty() { Ok(()) } else { Err(self) }
    }
}

/// An access outside the memory of one member. It fails the call everywhere, because what the
/// others received may be incomplete.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct MemberFault {
    /// Rank of the member.
    pub member: usize,
    /// The access.
    pub fault: Fault,
}

impl From<MemberFault> for MpiError {
    fn from(at: MemberFault) -> Self {
        let detail = format!("the buffer of rank {} is invalid: {}", at.member, at.fault);
        Self::new(ErrorClass::Buffer, detail)
    }
}

impl MemberFault {
    pub(super) fn everywhere(self, members: usize) -> Failures {
        Failures::everywhere(members, &self.into())
    }
}
