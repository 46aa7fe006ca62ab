//! A job that goes on from a checkpoint: its ranks put back as far as it can be done before they run.

use std::sync::Arc;
use std::time::Duration;

use faasm_mpi_shim::MpiCtx;

use crate::checkpoint::{
    Birth, Checkpoint, CheckpointError, CheckpointOptions, Description, Muster, SavedApp,
    Tombstone, Writer,
};
use crate::faaslet::{RankPort, Restored};
use crate::host::wasi::WasiCtx;
use crate::job::{AppSpec, JobShared};

/// The programs of a job as a checkpoint names them.
pub(crate) fn saved_apps(apps: &[AppSpec]) -> Vec<SavedApp> {
    let saved = |app: &AppSpec| SavedApp {
        name: app.module.name().to_owned(),
        hash: app.module.content_hash().to_string(),
        ranks: app.ranks,
    };
    apps.iter().map(saved).collect()
}

/// What writes the checkpoints of a job of these programs.
pub(crate) fn writer(
    options: CheckpointOptions,
    apps: Vec<SavedApp>,
) -> Result<Writer, CheckpointError> {
    let CheckpointOptions { dir, keep, command, directory, programs } = options;
    let directory = directory
        .map_or_else(std::env::current_dir, Ok)
        .map_err(|error| CheckpointError::Hindered(format!("no working directory: {error}")))?;
    let directory = directory.to_string_lossy().into_owned();
    let programs: Vec<_> = programs
        .iter()
        .map(|program| (program.content_hash().to_string(), &program.bytes()[..]))
        .collect();
    if let Some(app) = apps.iter().find(|app| programs.iter().all(|(hash, _)| *hash != app.hash)) {
        let why = format!("the bytes of the program {} were not given", app.name);
        return Err(CheckpointError::Hindered(why));
    }
    Writer::new(&dir, keep, Description { apps, command, directory }, &programs)
}

/// A job's return.
pub(crate) struct Restart {
    checkpoint: Arc<Checkpoint>,
    muster: Arc<Muster>,
}

impl Restart {
    /// Puts back what all ranks share.
    pub(crate) fn begin(
        checkpoint: Arc<Checkpoint>,
        apps: &[SavedApp],
        job: &JobShared,
    ) -> Result<Self, CheckpointError> {
        let known = &checkpoint.description().apps;
        let is_same = known.len() == apps.len()
            && known.iter().zip(apps).all(|(a, b)| (&a.hash, a.ranks) == (&b.hash, b.ranks));
        if !is_same {
            let list = |apps: &[SavedApp]| -> Vec<String> {
                apps.iter().map(|app| format!("{} ranks of {}", app.ranks, app.name)).collect()
            };
            return Err(CheckpointError::Hindered(format!(
                "the checkpoint is of {}, and the job is of {}; programs and numbers of ranks must be \
                 the same",
                list(known).join(", "),
                list(apps).join(", ")
            )));
        }
        let restored = job.world().restore_from(checkpoint.world());
        restored.map_err(|error| CheckpointError::Hindered(error.to_string()))?;
        job.set_ran_before(Duration::from_nanos(checkpoint.elapsed_ns()));
        let lives = |rank: &u32| checkpoint.tombstone(*rank).is_none();
        let muster = Muster::new(job.local_ranks().filter(lives).count());
        Ok(Self { checkpoint, muster })
    }

    /// Where this node's ranks wait for each other.
    pub(crate) const fn muster(&self) -> &Arc<Muster> {
        &self.muster
    }

    /// Keeps in the job what its processes of this node were spawned with, and the programs that it did not begin with.
    pub(crate) fn remember_births(&self, job: &JobShared) -> Result<(), CheckpointError> {
        for rank in job.local_ranks() {
            let Some(birth) = self.checkpoint.birth(rank) else { continue };
            let is_known = job.births().program(&birth.hash).is_some();
            let hash = birth.hex();
            let apps = &self.checkpoint.description().apps;
            if !is_known && apps.iter().all(|app| app.hash != hash) {
                job.births().keep_program(birth.hash, self.checkpoint.read_program(&hash)?.into());
            }
            let family = job.world().save_family(rank);
            let family = family.map_err(|error| CheckpointError::Hindered(error.to_string()))?;
            job.births().add(rank, Arc::new(Birth { family, ..birth.clone() }));
        }
        Ok(())
    }

    /// How a rank had ended, if it had: it does not run again.
    pub(crate) fn tombstone(&self, rank: u32) -> Option<Tombstone> {
        self.checkpoint.tombstone(rank)
    }

    /// Opens a rank's files again, and puts back its MPI state.
    pub(crate) fn rank(
        &self,
        rank: u32,
        port: RankPort,
        wasi: &mut WasiCtx,
    ) -> Result<Restored, CheckpointError> {
        let failed = |why: String| CheckpointError::Rank { rank, why };
        let image = self.checkpoint.image(rank)?;
        wasi.restore_files(&image.files).map_err(|error| failed(error.to_string()))?;
        port.adopt_offers(&image.offers).map_err(failed)?;
        let mpi = MpiCtx::restore(port, wasi, &image.mpi);
        let mpi = mpi.map_err(|error| failed(error.to_string()))?;
        let (checkpoint, muster) = (self.checkpoint.clone(), self.muster.clone());
        Ok(Restored { mpi, image, checkpoint, muster })
    }
}
