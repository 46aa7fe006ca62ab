//! Processes of one call of `MPI_Comm_spawn` on this node, from their programs to their first step.
//!
//! A [`Ready`] is a program that some of them run. A [`Brood`] is they themselves: others can send to them, and they have
//! not begun.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix::Addr;
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_shim::world::{Family, World};

use super::spawn::{Linked, ProgramSpawner};
use crate::checkpoint::{Birth, SavedDir};
use crate::faaslet::{Start, run};
use crate::host::wasi::{Preopen, WasiCtx, WasiSetupError};
use crate::job::{Born, JobShared, OutsideWaits, Supervisor};
use crate::scheduler::Task;

/// A program that is ready to be started.
pub(crate) struct Ready {
    pub(super) linked: Linked,
    pub(super) args: Vec<String>,
    pub(super) preopens: Arc<[Preopen]>,
    /// The directories as other nodes find them.
    pub(super) dirs: Vec<SavedDir>,
    pub(super) bytes: u64,
    /// Processes of it on this node.
    pub(super) processes: u32,
}

/// Processes that have not begun.
pub(crate) struct Brood {
    job: Arc<JobShared>,
    family: Arc<Family>,
    /// Their numbers.
    numbers: Vec<u32>,
    born: Vec<(u32, Arc<Birth>)>,
    /// Those of them whose stacks cannot be taken, although those of others can.
    stiff: Vec<u32>,
    supervisor: Addr<Supervisor>,
}

/// The programs of a call by their numbers, as far as processes of them are on this node.
pub(crate) type Programs = BTreeMap<u32, Ready>;

impl Ready {
    /// Processes of it that are wanted on this node.
    pub(crate) const fn processes(&self) -> u32 {
        self.processes
    }

    /// What its process of this rank among so many, of this family, is begun again with.
    fn birth(&self, (rank, of): (u32, u32), family: Vec<u8>) -> Birth {
        Birth {
            name: self.linked.module.name().to_owned(),
            hash: *self.linked.module.content_hash().as_bytes(),
            bytes: self.bytes,
            args: self.args.clone(),
            dirs: self.dirs.clone(),
            rank,
            of,
            family,
        }
    }
}

impl Brood {
    /// Lets them run.
    pub(crate) fn begin(self) {
        let births = self.job.births();
        for (number, birth) in &self.born {
            births.add(*number, birth.clone());
        }
        self.stiff.iter().for_each(|number| births.add_stiff(*number));
        births.announce(&self.born);
        self.supervisor.do_send(Born { ranks: self.numbers.clone() });
        self.numbers.iter().for_each(|number| self.job.rank(*number).wake());
    }

    /// Gives them up. Their numbers are nobody's from then on.
    pub(crate) fn give_up(self) {
        self.job.world().drop_family(&self.family);
        for number in &self.numbers {
            let rank = self.job.rank(*number);
            if let Some(task) = rank.task() {
                task.cancel();
            }
            // As numbers count that were never given.
            rank.set_code(0);
            rank.end();
        }
    }
}

impl ProgramSpawner {
    /// Finds out what is wrong with processes of these programs before there are any.
    pub(crate) fn try_out(&self, job: &Arc<JobShared>, programs: &Programs) -> Result<()> {
        for ready in programs.values() {
            let birth = ready.birth((0, 1), Vec::new());
            let whose = ((0, 1), 0, ready.preopens.clone());
            self.wasi(job, &birth, whose).map_err(unfit)?;
        }
        Ok(())
    }

    /// Makes those processes of a family that are on this node.
    ///
    /// # Errors
    /// `MPI_ERR_SPAWN` when a program was not made ready, or its arguments cannot be given to it.
    pub(crate) fn hatch(
        &self,
        job: &Arc<JobShared>,
        programs: &Programs,
        (family, supervisor): (Arc<Family>, Addr<Supervisor>),
    ) -> Result<Brood> {
        if programs.values().any(|ready| ready.linked.module.shares_memory()) {
            job.world().expect_shared_windows();
        }
        let everybody = (0..).zip(family.group.iter()).zip(family.app_numbers.iter());
        let is_local = |process| job.world().node(process) == job.world().this_node();
        let local = everybody.filter(|((_, number), _)| is_local(*number));
        let local: Vec<(u32, u32, u32)> =
            local.map(|((rank, number), app)| (rank, number, *app)).collect();
        let numbers = local.iter().map(|(_, number, _)| *number).collect();
        let (job, born, stiff) = (job.clone(), Vec::new(), Vec::new());
        let mut brood = Brood { job, family, numbers, born, stiff, supervisor };
        let count = local.len() as u32;
        for (place, (rank, number, app)) in (0..).zip(local) {
            let made = match programs.get(&app) {
                Some(ready) => self.hatch_one(&mut brood, ready, (rank, number), (place, count)),
                None => Err(unable(format!("nothing is known of program {app}"))),
            };
            if let Err(error) = made {
                brood.give_up();
                return Err(error);
            }
        }
        Ok(brood)
    }

    /// Makes the process with this rank in its family and this number.
    fn hatch_one(
        &self,
        brood: &mut Brood,
        ready: &Ready,
        (rank, number): (u32, u32),
        local: (u32, u32),
    ) -> Result<()> {
        let job = &brood.job;
        let known = job.world().save_family(number).unwrap_or_default();
        let birth = Arc::new(ready.birth((rank, brood.family.group.len() as u32), known));
        let wasi = self.wasi(job, &birth, (local, number, ready.preopens.clone()));
        let start = Start {
            rank: number,
            own: ready.linked.own(wasi.map_err(unfit)?),
            restored: None,
            coming: None,
            job: job.clone(),
            pool: self.pool.clone(),
            no_memory: self.no_memory.clone(),
            output: self.output.clone(),
            supervisor: brood.supervisor.clone(),
            spins: self.spins,
            trial: self.trial,
        };
        let home = job.world().lane(number);
        job.rank(number).set_task(Task::new(&self.scheduler, home, Box::pin(run(start))));
        brood.born.push((number, birth));
        if self.takes_stacks() && !ready.linked.module.is_migratable() {
            brood.stiff.push(number);
        }
        Ok(())
    }

    /// The system interface of the process with this number and this place among those of its family on this node.
    pub(super) fn wasi(
        &self,
        job: &Arc<JobShared>,
        birth: &Birth,
        (local, number, preopens): ((u32, u32), u32, Arc<[Preopen]>),
    ) -> std::result::Result<WasiCtx, WasiSetupError> {
        let args = std::iter::once(&birth.name).chain(&birth.args).cloned().collect();
        let mut builder = WasiCtx::builder()
            .args(args)
            .shared_env(self.env.clone())
            .preopens(preopens)
            .rank(number)
            .hooks(Arc::new(OutsideWaits { job: job.clone(), rank: number }));
        if let Some(output) = &self.output {
            builder = builder.output(output.clone());
        }
        for (key, value) in super::prepare::rank_variables((birth.rank, birth.of), local) {
            builder = builder.env(key, &value.to_string());
        }
        builder.build()
    }
}

/// The place of a process of this node among those that were spawned together and are here, and how many these are.
pub(super) fn local_place(world: &World, process: u32) -> (u32, u32) {
    let siblings = world.siblings(process);
    let siblings = siblings.iter().flat_map(|group| group.iter());
    let local: Vec<u32> = siblings.filter(|sibling| world.is_local(*sibling)).collect();
    let place = local.iter().position(|sibling| *sibling == process).unwrap_or(0);
    (place as u32, local.len().max(1) as u32)
}

/// The workers of so many processes, in blocks, as the first ranks are placed.
pub(super) fn lanes(workers: u32, processes: u32) -> impl Iterator<Item = u32> {
    let (workers, all) = (u64::from(workers), u64::from(processes));
    (0..all).map(move |at| (at * workers / all) as u32)
}

pub(super) fn unable(detail: String) -> MpiError {
    MpiError::new(ErrorClass::Spawn, detail)
}

fn unfit(error: WasiSetupError) -> MpiError {
    MpiError::argument(ErrorClass::Spawn, "argv", error.to_string())
}
