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
use crate::spawn_port::SpawnRequest;
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

/// What the root tells the others: the new group, and a code for each process that was asked for.
struct Outcome {
    pair: Pair,
    codes: Vec<i32>,
}

impl Outcome {
    fn write(&self) -> Vec<u8> {
        let mut out = Writer::new();
        self.pair.write(&mut out);
        out.u32(self.codes.len() as u32);
        self.codes.iter().for_each(|code| out.i32(*code));
        out.into_bytes()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let pair = Pair::read(&mut reader)?;
        let count = reader.u32()?;
        let codes = (0..count).map(|_| reader.i32()).collect::<Option<Vec<i32>>>()?;
        Some(Self { pair, codes })
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
    let told = tell(call, comm, told).await?;
    let Outcome { pair, codes } = Outcome::read(&told).ok_or_else(malformed)?;
    if !errcodes.is_null() {
        let bytes: Vec<u8> = codes.iter().flat_map(|code| code.to_le_bytes()).collect();
        call.write("array_of_errcodes", errcodes, &bytes)?;
    }
    let errhandler = call.mpi().comm(comm)?.errhandler;
    let new = pair.communicator(call.mpi(), errhandler)?;
    let handle = install(call.mpi(), new)?;
    call.write_i32("intercomm", intercomm, handle)
}

/// Has the processes started, and waits until they are there.
async fn start<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    wanted: Vec<Wanted>,
) -> Result<Outcome> {
    let parents = call.mpi().comm(comm)?.group.clone();
    let mut codes = Vec::new();
    for Wanted { program, most } in &wanted {
        for index in 0..*most {
            let is_there = index < program.processes;
            codes.push(if is_there { abi::MPI_SUCCESS } else { abi::MPI_ERR_SPAWN });
        }
    }
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
    let family = call.wait(&pending, &is_there, |_| take()).await?;
    let pair = Pair { context: family.parent_context, low: parents, high: family.group.clone() };
    Ok(Outcome { pair, codes })
}
