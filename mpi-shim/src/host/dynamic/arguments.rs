//! What a root says to spawn, read from its memory.

use faasm_mpi_engine::dynamic::{hosts, soft};
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_vm::GuestAddr;

use crate::abi;
use crate::call::{Call, MpiView};
use crate::file_port::FileAccess;
use crate::host::info;
use crate::spawn_port::SpawnProgram;

/// Longest path, and longest argument, of a program.
const TEXT_BYTES_MAX: usize = 64 * 1024;
/// Most arguments of a program, and most programs of a call.
const ARGUMENTS_MAX: usize = 4096;
/// Longest program.
const PROGRAM_BYTES_MAX: u64 = 1 << 30;

/// A program as the root names it.
#[derive(Copy, Clone, Debug)]
pub(super) struct Named {
    pub(super) command: GuestAddr,
    pub(super) argv: GuestAddr,
    pub(super) maxprocs: i32,
    pub(super) info: i32,
}

/// A program to spawn, and how many processes were asked for at most.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) program: SpawnProgram,
    pub(super) most: u32,
}

/// The arrays of `MPI_Comm_spawn_multiple`.
pub(super) fn listed<T: MpiView>(
    call: &mut Call<'_, T>,
    count: i32,
    (commands, argvs): (GuestAddr, GuestAddr),
    (maxprocs, infos): (GuestAddr, GuestAddr),
) -> Result<Vec<Named>> {
    let count = usize::try_from(count).ok().filter(|count| (1..=ARGUMENTS_MAX).contains(count));
    let count = count.ok_or_else(|| {
        let detail = format!("there must be from 1 to {ARGUMENTS_MAX} programs");
        MpiError::argument(ErrorClass::Arg, "count", detail)
    })?;
    let commands = call.read_i32s("array_of_commands", commands, count)?;
    let argvs = match argvs.is_null() {
        true => vec![abi::MPI_ARGV_NULL; count],
        false => call.read_i32s("array_of_argv", argvs, count)?,
    };
    let maxprocs = call.read_i32s("array_of_maxprocs", maxprocs, count)?;
    let infos = call.read_i32s("array_of_info", infos, count)?;
    let all = commands.into_iter().zip(argvs).zip(maxprocs.into_iter().zip(infos));
    let named = |((command, argv), (maxprocs, info)): ((i32, i32), (i32, i32))| Named {
        command: command.into_addr(),
        argv: argv.into_addr(),
        maxprocs,
        info,
    };
    Ok(all.map(named).collect())
}

/// An address as the guest holds it in memory.
trait IntoAddr {
    fn into_addr(self) -> GuestAddr;
}

impl IntoAddr for i32 {
    fn into_addr(self) -> GuestAddr {
        GuestAddr::from(self)
    }
}

/// Reads the program itself, its arguments and the keys of its info.
pub(super) fn wanted<T: MpiView>(call: &mut Call<'_, T>, named: Named) -> Result<Wanted> {
    let Named { command, argv, maxprocs, info } = named;
    let most = u32::try_from(maxprocs).ok().filter(|most| *most > 0).ok_or_else(|| {
        let detail = format!("{maxprocs} is not a number of processes above 0");
        MpiError::argument(ErrorClass::Arg, "maxprocs", detail)
    })?;
    let command = call.read_string("command", command, TEXT_BYTES_MAX)?;
    if command.is_empty() {
        let detail = "the command is empty; it is the path of a WebAssembly file";
        return Err(MpiError::argument(ErrorClass::Spawn, "command", detail));
    }
    let args = arguments(call, argv)?;
    let hints = info::hints(call.mpi(), info)?;
    let hosts = hints.value("host")?.map(hosts).transpose()?;
    let processes = match hints.value("soft")? {
        Some(value) => soft(value, most)?,
        None => most,
    };
    let wdir = hints.value("wdir")?.map(str::to_owned);
    let surroundings = call.caller.data().files().surroundings(wdir.as_deref());
    let surroundings = surroundings.map_err(|error| MpiError {
        class: ErrorClass::Spawn,
        user_code: None,
        argument: Some("info"),
        detail: format!("the working directory cannot be used: {}", error.detail),
    })?;
    let path = hints.value("path")?.map(str::to_owned);
    let bytes = program(call, &command, path.as_deref())?;
    let name = command.rsplit('/').next().unwrap_or(&command).to_owned();
    let program = SpawnProgram { command: name, bytes, args, processes, surroundings, hosts };
    Ok(Wanted { program, most })
}

/// The strings up to the null pointer.
fn arguments<T: MpiView>(call: &mut Call<'_, T>, argv: GuestAddr) -> Result<Vec<String>> {
    let mut args = Vec::new();
    if argv.is_null() {
        return Ok(args);
    }
    for index in 0..ARGUMENTS_MAX as u64 {
        let at = call.read_i32s("argv", GuestAddr::new(argv.get() + 4 * index), 1)?[0];
        if at == 0 {
            return Ok(args);
        }
        args.push(call.read_string("argv", GuestAddr::from(at), TEXT_BYTES_MAX)?);
    }
    let detail = format!("there is no null pointer after {ARGUMENTS_MAX} arguments");
    Err(MpiError::argument(ErrorClass::Arg, "argv", detail))
}

/// The bytes of the program: a file that the caller can read, in the working directory or in one of
/// the directories of the key `path`. `None` when there is none, for a program of the job may be meant.
fn program<T: MpiView>(
    call: &Call<'_, T>,
    command: &str,
    path: Option<&str>,
) -> Result<Option<Vec<u8>>> {
    let mut candidates = Vec::new();
    if !command.contains('/') {
        let directories = path.into_iter().flat_map(|path| path.split(':'));
        let directories = directories.filter(|directory| !directory.is_empty());
        candidates.extend(directories.map(|directory| format!("{directory}/{command}")));
    }
    candidates.push(command.to_owned());
    let files = call.caller.data().files();
    let access = FileAccess { reads: true, writes: false, creates: false, is_exclusive: false };
    for path in candidates {
        let file = match files.open(&path, access) {
            Ok(file) => file,
            Err(error) if error.class == ErrorClass::NoSuchFile => continue,
            Err(error) => {
                return Err(MpiError::argument(ErrorClass::Spawn, "command", error.detail));
            }
        };
        let unreadable =
            |error: MpiError| MpiError::argument(ErrorClass::Spawn, "command", error.detail);
        let len = file.size().map_err(unreadable)?;
        if len > PROGRAM_BYTES_MAX {
            let detail =
                format!("{path} has {len} bytes, more than the {PROGRAM_BYTES_MAX} of any program");
            return Err(MpiError::argument(ErrorClass::Spawn, "command", detail));
        }
        let mut bytes = vec![0; len as usize];
        let read = file.read_at(0, &mut bytes).map_err(unreadable)?;
        bytes.truncate(read);
        return Ok(Some(bytes));
    }
    Ok(None)
}
