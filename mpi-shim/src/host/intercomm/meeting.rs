//! How two groups become an intercommunicator: their leaders tell each other who they are, and each
//! tells its own group.

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

/// Tells the leader of another group about one's own, or why that one fails; gives the pair.
pub(crate) async fn introduce<T: MpiView>(
    call: &mut Call<'_, T>,
    (peer, context): (u32, u32),
    own: Result<Group>,
) -> Result<Pair> {
    let address = Address { context, tag: 0 };
    letter::send(call.mpi(), peer, address, &encoded(&own));
    call.commit();
    let (_, answer) = letter::receive(call, Some(peer), address).await?;
    let other = decoded(&answer)?;
    let own_leader = call.mpi().port.rank();
    Pair::of(context, (own_leader, own?), (peer, other))
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
            Err(MpiError { argument: None, detail, ..error })
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
    found: Option<Result<Pair>>,
) -> Result<i32> {
    let input = found.map_or(Ok(Told::default()), |pair| {
        pair.map(|pair| {
            let mut out = Writer::new();
            pair.write(&mut out);
            Told(out.into_bytes())
        })
    });
    let told = tell(call, comm, input).await?;
    let pair = Pair::read(&mut Reader::new(&told)).ok_or_else(malformed)?;
    let errhandler = call.mpi().comm(comm)?.errhandler;
    let new = pair.communicator(call.mpi(), errhandler)?;
    install(call.mpi(), new)
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
        let error = MpiError::new(ErrorClass::Tag, "it is negative");
        let read = decoded(&encoded(&Err(error)));
        assert_eq!(read.map_err(|error| error.class), Err(ErrorClass::Tag));
        assert_eq!(decoded(&[2]).map_err(|error| error.class), Err(ErrorClass::Intern));
    }
}
