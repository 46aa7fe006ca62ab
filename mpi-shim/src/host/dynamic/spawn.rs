//! `MPI_Comm_spawn` and `MPI_Comm_spawn_multiple`.
//!
//! The root reads what is wanted and has the runtime start the processes; then it tells the others. A
//! call either starts all processes that it can have, or fails.

use faasm_mpi_engine::collective::cluster::{Reader, Writer};
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_vm::GuestAddr;

use super::arguments::{Named, Wanted, listed, wanted};
use super::is_root;
use crate::abi;
use crate::call::{Call, MpiView};
use crate::host::communicator::install;
use crate::host::intercomm::letter::malformed;
use crate::host::intercomm::meeting::{Pair, Told, agree_on, tell};
use crate::port::{MpiPort, Pending};
use crate::spawn_port::{Newborns, SpawnRequest};
use crate::world::CONTEXT_SELF;

pub(super) async fn comm_spawn<T: MpiView>(
    call: &mut Call<'_, T>,
    command: GuestAddr,
    argv: GuestAddr,
    maxprocs: i32,
    info: i32,
    root: i32,
    comm: i32,
    intercomm: GuestAddr,
    errcodes: GuestAddr,
) -> Result<()> {
    let leads = is_root(call, root, comm);
    let named = Named { command, argv, maxprocs, info };
    let request = match &leads {
        Ok(true) => Some(wanted(call, named).map(|wanted| vec![wanted])),
        _ => None,
    };
    spawn(call, (leads, request), (root, comm), (intercomm, errcodes)).await
}

pub(super) async fn comm_spawn_multiple<T: MpiView>(
    call: &mut Call<'_, T>,
    count: i32,
    commands: GuestAddr,
    argvs: GuestAddr,
    maxprocs: GuestAddr,
    infos: GuestAddr,
    root: i32,
    comm: i32,
    intercomm: GuestAddr,
    errcodes: GuestAddr,
) -> Result<()> {
    let leads = is_root(call, root, comm);
    let request = match &leads {
        Ok(true) => {
            let named = listed(call, count, (commands, argvs), (maxprocs, infos));
            Some(named.and_then(|all| all.into_iter().map(|one| wanted(call, one)).collect()))
        }
        _ => None,
    };
    spawn(call, (leads, request), (root, comm), (intercomm, errcodes)).await
}

/// What the root tells the others: the new group, and for each program how many processes there are and were asked for.
struct Outcome {
    pair: Pair,
    counts: Vec<(u32, u32)>,
}

impl Outcome {
    fn write(&self) -> Vec<u8> {
        let mut out = Writer::new();
        self.pair.write(&mut out);
        out.u32(self.counts.len() as u32);
        for (are_there, most) in &self.counts {
            out.u32(*are_there);
            out.u32(*most);
        }
        out.into_bytes()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let pair = Pair::read(&mut reader)?;
        let count = reader.u32()?;
        let pairs = (0..count).map(|_| Some((reader.u32()?, reader.u32()?)));
        Some(Self { pair, counts: pairs.collect::<Option<_>>()? })
    }

    /// A code for each process that was asked for; there may be many.
    fn codes(&self) -> impl Iterator<Item = i32> {
        self.counts.iter().flat_map(|(are_there, most)| {
            let missing = most.saturating_sub(*are_there);
            std::iter::repeat_n(abi::MPI_SUCCESS, *are_there as usize)
                .chain(std::iter::repeat_n(abi::MPI_ERR_SPAWN, missing as usize))
        })
    }
}

async fn spawn<T: MpiView>(
    call: &mut Call<'_, T>,
    (leads, request): (Result<bool>, Option<Result<Vec<Wanted>>>),
    (root, comm): (i32, i32),
    (intercomm, errcodes): (GuestAddr, GuestAddr),
) -> Result<()> {
    let input = match (&leads, &request) {
        (Err(error), _) if error.class != ErrorClass::Root => return Err(error.clone()),
        (Err(error), _) | (_, Some(Err(error))) => Err(error.clone()),
        _ => Ok(root),
    };
    call.mpi().error_comm = comm;
    agree_on(call, comm, ("root", input)).await?;
    let told = match request {
        Some(Ok(wanted)) => start(call, comm, wanted).await.map(|outcome| Told(outcome.write())),
        _ => Ok(Told::default()),
    };
    let told = told_by_all(call, comm, told).await?;
    let outcome = Outcome::read(&told).ok_or_else(malformed)?;
    if !errcodes.is_null() {
        for (index, code) in (0..).zip(outcome.codes()) {
            let at = GuestAddr::new(errcodes.get() + 4 * index);
            call.write_i32("array_of_errcodes", at, code)?;
        }
    }
    let errhandler = call.mpi().comm(comm)?.errhandler;
    let new = outcome.pair.communicator(call.mpi(), errhandler)?;
    let handle = install(call.mpi(), new)?;
    call.write_i32("intercomm", intercomm, handle)
}

/// What the root tells. If not all parents can be told any more, the processes that were spawned meanwhile hear that
/// nobody is there for them.
async fn told_by_all<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    input: Result<Told>,
) -> Result<Vec<u8>> {
    let started = input.as_ref().ok().and_then(|told| Outcome::read(&told.0));
    let told = tell(call, comm, input).await;
    if let (Err(_), Some(Outcome { pair, .. })) = (&told, started)
        && call.mpi().faults.is_tolerant
    {
        call.mpi().revoke_unborn(pair.context, &pair.low.union(&pair.high));
    }
    told
}

/// Has the processes started, and waits until they are there.
async fn start<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    wanted: Vec<Wanted>,
) -> Result<Outcome> {
    let parents = call.mpi().comm(comm)?.group.clone();
    let counts = wanted.iter().map(|wanted| (wanted.program.processes, wanted.most)).collect();
    let programs: Vec<_> = wanted.into_iter().map(|wanted| wanted.program).collect();
    if programs.iter().all(|program| program.processes == 0) {
        let detail = "no process is wanted of any program";
        return Err(MpiError::argument(ErrorClass::Spawn, "maxprocs", detail));
    }
    let request = SpawnRequest { programs, parents: parents.clone() };
    let answer = call.mpi().port.spawn(request);
    call.commit();
    let function = call.function;
    let pending = Pending { function, peer: None, tag: None, context: CONTEXT_SELF };
    let (is_there, take) = (|| answer.is_there(), || answer.take());
    let Newborns { context, group } = call.wait(&pending, &is_there, |_| take()).await?;
    let pair = Pair { context, low: parents, high: group };
    Ok(Outcome { pair, counts })
}
