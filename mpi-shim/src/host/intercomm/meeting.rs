//! How two groups become an intercommunicator: their leaders tell each other who they are, and each
//! tells its own group.
//!
//! Where processes may fail, there is more to say: when its group knows, a leader tells the other one so, and both groups
//! have the communicator only when both have said that. A leader that gives up says that, whenever it is. If a group fails
//! even later, its leader revokes the communicator, so that nobody waits there for a process that does not have it.

use faasm_mpi_engine::collective::cluster::{Reader, Writer};
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_engine::group::Group;

use super::letter::{self, Address, malformed};
use crate::call::{Call, MpiView};
use crate::communicator::Communicator;
use crate::ctx::MpiCtx;
use crate::host::communicator::{Wire, exchange, install};
use crate::port::MpiPort;

/// What the members of a group learn from their leader: nothing from the others.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Told(pub(crate) Vec<u8>);

impl Wire for Told {
    fn write(&self, out: &mut Writer) {
        out.bytes(&self.0);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        from.bytes().map(|bytes| Self(bytes.to_vec()))
    }
}

/// Both groups of an intercommunicator that is being made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Pair {
    /// Its context.
    pub(crate) context: u32,
    /// The low group.
    pub(crate) low: Group,
    /// The other one.
    pub(crate) high: Group,
}

impl Pair {
    /// The pair of a group and another one, of which the one with the lower leader is low.
    pub(crate) fn of(context: u32, own: (u32, Group), other: (u32, Group)) -> Result<Self> {
        let (low, high) = if own.0 < other.0 { (own.1, other.1) } else { (other.1, own.1) };
        if !low.intersection(&high).is_empty() {
            let detail = "the two groups have a process in common; an intercommunicator is made of \
                          disjoint groups";
            return Err(MpiError::new(ErrorClass::Comm, detail));
        }
        Ok(Self { context, low, high })
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.u32(self.context);
        self.low.write(out);
        self.high.write(out);
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self { context: from.u32()?, low: Group::read(from)?, high: Group::read(from)? })
    }

    /// The intercommunicator as this process has it.
    ///
    /// # Errors
    /// `MPI_ERR_INTERN` when this process is in neither group.
    pub(crate) fn communicator<P: MpiPort>(
        &self,
        mpi: &MpiCtx<P>,
        errhandler: i32,
    ) -> Result<Communicator> {
        let all = self.low.union(&self.high);
        let own = mpi.port.rank();
        let Some(number) = all.rank_of(own) else {
            let detail = format!("process {own} is in neither group");
            return Err(MpiError::new(ErrorClass::Intern, detail));
        };
        let members: Vec<u32> = all.iter().collect();
        let site = mpi.port.world().gather_site(self.context, &members);
        let groups = (all, self.low.len() as u32);
        Communicator::between(self.context, groups, number as u32, site, errhandler)
    }
}

/// What a leader has found: the pair, and the leader of the other group.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) pair: Pair,
    pub(crate) peer: u32,
}

/// Where a leader tells the other one, under the pair's context, who its group is.
pub(crate) const fn greeting(context: u32) -> Address {
    Address { context, tag: 0 }
}

/// Where it tells whether its group knows of the pair.
const fn verdict(context: u32) -> Address {
    Address { context, tag: 1 }
}

/// Tells the leader of another group about one's own, or why that one fails; gives the pair. It waits unless
/// `why_leave` says otherwise.
pub(crate) async fn introduce<T: MpiView>(
    call: &mut Call<'_, T>,
    (peer, context): (u32, u32),
    own: Result<Group>,
    why_leave: impl Fn(&mut MpiCtx<T::Port>) -> Option<MpiError>,
) -> Result<Found> {
    letter::send(call.mpi(), peer, greeting(context), &encoded(&own));
    call.commit();
    let other = hear(call, (peer, context), why_leave).await?;
    let own_leader = call.mpi().port.rank();
    let pair = Pair::of(context, (own_leader, own?), (peer, other))?;
    Ok(Found { pair, peer })
}

/// Waits for the other leader's group; tells it when this one does not wait any longer.
pub(crate) async fn hear<T: MpiView>(
    call: &mut Call<'_, T>,
    (peer, context): (u32, u32),
    why_leave: impl Fn(&mut MpiCtx<T::Port>) -> Option<MpiError>,
) -> Result<Group> {
    let came = letter::receive(call, Some(peer), greeting(context), why_leave).await;
    match came {
        Ok((_, letter)) => decoded(&letter),
        Err(error) => {
            say(call.mpi(), (peer, context), &Err(error.clone()));
            Err(error)
        }
    }
}

/// Tells the other leader whether the own group has the pair.
fn say<P: MpiPort>(mpi: &mut MpiCtx<P>, (peer, context): (u32, u32), own: &Result<()>) {
    if !mpi.faults.known.has_failed(peer) {
        let own = own.clone().map(|()| Group::empty());
        letter::send(mpi, peer, verdict(context), &encoded(&own));
    }
}

/// Whether a leader that has asked for this pair has failed or given up meanwhile.
pub(crate) fn has_given_up<P: MpiPort>(mpi: &mut MpiCtx<P>, (peer, context): (u32, u32)) -> bool {
    mpi.check_process(peer).is_err() || letter::has_come(mpi, peer, verdict(context))
}

/// Why the leader of `comm` does not wait for the process `peer` any longer, where processes may fail.
pub(crate) fn why_leave<P: MpiPort>(mpi: &mut MpiCtx<P>, comm: i32, peer: u32) -> Option<MpiError> {
    mpi.check_members(comm).and_then(|()| mpi.check_process(peer)).err()
}

/// A group, or why there is none, as a letter.
pub(crate) fn encoded(group: &Result<Group>) -> Vec<u8> {
    let mut out = Writer::new();
    match group {
        Ok(group) => {
            out.u8(0);
            group.write(&mut out);
        }
        Err(error) => {
            out.u8(1);
            out.error(error);
        }
    }
    out.into_bytes()
}

/// The group in a letter.
pub(crate) fn decoded(letter: &[u8]) -> Result<Group> {
    let mut reader = Reader::new(letter);
    match reader.u8() {
        Some(0) => Group::read(&mut reader).ok_or_else(malformed),
        Some(1) => {
            let error = reader.error().ok_or_else(malformed)?;
            let detail = format!("the other group's call failed: {error}");
            // It is the other group's communicator that is revoked.
            let class = match error.class {
                ErrorClass::Revoked => ErrorClass::ProcFailed,
                class => class,
            };
            Err(MpiError { class, argument: None, detail, ..error })
        }
        _ => Err(malformed()),
    }
}

/// Checks that all members of `comm` gave the same number as their argument of this name.
///
/// # Errors
/// `MPI_ERR_NOT_SAME`, or the error of a member, at every member.
pub(crate) async fn agree_on<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    (argument, input): (&'static str, Result<i32>),
) -> Result<()> {
    exchange(call, comm, input, |_, given: Vec<i32>| {
        match given.iter().position(|other| *other != given[0]) {
            None => Ok(vec![(); given.len()]),
            Some(rank) => {
                let (first, other) = (given[0], given[rank]);
                let detail = format!("rank 0 gave {first} but rank {rank} gave {other}");
                Err(MpiError::argument(ErrorClass::NotSame, argument, detail))
            }
        }
    })
    .await
}

/// The leader's bytes, at every member of `comm`; the leader is the one who brings some.
///
/// # Errors
/// The leader's error, at every member.
pub(crate) async fn tell<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    input: Result<Told>,
) -> Result<Vec<u8>> {
    let told = exchange(call, comm, input, |_, inputs: Vec<Told>| {
        let count = inputs.len();
        let leader = inputs.into_iter().find(|told| !told.0.is_empty()).unwrap_or_default();
        Ok(vec![leader; count])
    })
    .await?;
    Ok(told.0)
}

/// Tells the members of `comm` which pair its leader has found, and makes each its communicator.
pub(crate) async fn conclude<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    found: Option<Result<Found>>,
) -> Result<i32> {
    let told = |Found { pair, .. }: &Found| {
        let mut out = Writer::new();
        pair.write(&mut out);
        Told(out.into_bytes())
    };
    let input = match &found {
        None => Ok(Told::default()),
        Some(found) => found.as_ref().map(told).map_err(Clone::clone),
    };
    let told = tell(call, comm, input).await;
    let told = match call.mpi().faults.is_tolerant {
        false => told?,
        true => confirm(call, comm, found.and_then(Result::ok), told).await?,
    };
    let pair = Pair::read(&mut Reader::new(&told)).ok_or_else(malformed)?;
    let errhandler = call.mpi().comm(comm)?.errhandler;
    let new = pair.communicator(call.mpi(), errhandler)?;
    install(call.mpi(), new)
}

/// Waits until the other group, too, has been `told`.
async fn confirm<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    found: Option<Found>,
    told: Result<Vec<u8>>,
) -> Result<Vec<u8>> {
    let result = match &found {
        Some(found) => confirm_as_leader(call, comm, found, told).await,
        None => {
            let told = told?;
            tell(call, comm, Ok(Told::default())).await.map(|_| told)
        }
    };
    if let (Err(_), Some(Found { pair, .. })) = (&result, &found) {
        call.mpi().revoke_unborn(pair.context, &pair.low.union(&pair.high));
    }
    result
}

async fn confirm_as_leader<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    Found { pair, peer }: &Found,
    told: Result<Vec<u8>>,
) -> Result<Vec<u8>> {
    let own = told.as_ref().map(|_| ()).map_err(Clone::clone);
    say(call.mpi(), (*peer, pair.context), &own);
    let told = told?;
    let leave = |mpi: &mut MpiCtx<T::Port>| why_leave(mpi, comm, *peer);
    let other = letter::receive(call, Some(*peer), verdict(pair.context), leave).await;
    let other = other.and_then(|(_, letter)| decoded(&letter));
    tell(call, comm, other.map(|_| Told::default())).await.map(|_| told)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(ranks: &[u32]) -> Group {
        Group::new(ranks.to_vec()).expect("distinct")
    }

    #[test]
    fn both_leaders_see_the_same_pair() {
        let (a, b) = ((3, group(&[3, 4])), (1, group(&[1, 0])));
        let pair = Pair::of(7, a.clone(), b.clone()).expect("disjoint");
        assert_eq!(Pair::of(7, b, a), Ok(pair.clone()));
        assert_eq!(pair.low.iter().collect::<Vec<_>>(), [1, 0]);
        let mut out = Writer::new();
        pair.write(&mut out);
        let bytes = out.into_bytes();
        assert_eq!(Pair::read(&mut Reader::new(&bytes)), Some(pair));
        assert_eq!(Pair::read(&mut Reader::new(&bytes[..bytes.len() - 1])), None);
        let shared = Pair::of(7, (0, group(&[0, 2])), (1, group(&[1, 2])));
        assert_eq!(shared.map_err(|error| error.class), Err(ErrorClass::Comm));
    }

    #[test]
    fn letters_carry_groups_and_errors() {
        assert_eq!(decoded(&encoded(&Ok(group(&[5, 2])))), Ok(group(&[5, 2])));
        for (class, as_read) in
            [(ErrorClass::Tag, ErrorClass::Tag), (ErrorClass::Revoked, ErrorClass::ProcFailed)]
        {
            let read = decoded(&encoded(&Err(MpiError::new(class, "it is so"))));
            assert_eq!(read.map_err(|error| error.class), Err(as_read));
        }
        assert_eq!(decoded(&[2]).map_err(|error| error.class), Err(ErrorClass::Intern));
    }
}
