//! Each rank's output in files of its own: `DIR/rank.N/stdout` and `DIR/rank.N/stderr`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use super::line::Source;
use crate::host::wasi::Stream;

/// The files of a job.
#[derive(Debug)]
pub(super) struct RankFiles {
    dir: PathBuf,
}

impl RankFiles {
    /// Creates the files of all ranks, empty, so that none is left from an earlier job.
    pub(super) fn create(
        dir: &Path,
        ranks: u32,
        streams: &[Stream],
    ) -> Result<Self, (PathBuf, io::Error)> {
        let files = Self { dir: dir.to_owned() };
        for rank in 0..ranks {
            let rank_dir = files.dir.join(format!("rank.{rank}"));
            fs::create_dir_all(&rank_dir).map_err(|error| (rank_dir, error))?;
            for stream in streams {
                let path = files.path((rank, *stream));
                File::create(&path).map_err(|error| (path, error))?;
            }
        }
        Ok(files)
    }

    /// Appends to a rank's file. The file is opened for each write: open files of 10,000 ranks
    /// would exceed what a process may have.
    pub(super) fn write(&self, source: Source, bytes: &[u8]) -> Result<(), (PathBuf, io::Error)> {
        let path = self.path(source);
        OpenOptions::new()
            .append(true)
            .open(&path)
            .or_else(|error| match error.kind() {
                // A rank that was spawned has no files yet.
                io::ErrorKind::NotFound => self.create_late(&path),
                _ => Err(error),
            })
            .and_then(|mut file| file.write_all(bytes))
            .map_err(|error| (path, error))
    }

    fn create_late(&self, path: &Path) -> io::Result<File> {
        fs::create_dir_all(path.parent().unwrap_or(&self.dir))?;
        OpenOptions::new().append(true).create(true).open(path)
    }

    fn path(&self, (rank, stream): Source) -> PathBuf {
        self.dir.join(format!("rank.{rank}")).join(stream.to_string())
    }
}
