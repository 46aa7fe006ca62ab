//! What is done to the disk, one step at a time: so a test can stop it before each.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use super::CheckpointError;

/// A kind of step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    MakeDir,
    Create,
    Write,
    Sync,
    /// The path is the new one.
    Rename,
    Remove,
    SyncDir,
}

#[cfg(not(test))]
#[inline]
#[expect(clippy::unnecessary_wraps, reason = "a test has steps fail")]
const fn step(_: Step, _: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
use super::faults::step;

/// Threads that wait for the disk at the same time.
const SYNCERS: usize = 4;
/// Files that wait for them: more would only be open.
const FILES_MAX: usize = 16;
/// So many bytes of a file are sent to the disk while the rest is still made.
const PART_BYTES: usize = 32 << 20;

pub(super) fn create_dir(path: &Path) -> io::Result<()> {
    step(Step::MakeDir, path)?;
    fs::create_dir(path)
}

pub(super) fn create_dir_all(path: &Path) -> io::Result<()> {
    step(Step::MakeDir, path)?;
    fs::create_dir_all(path)
}

pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    step(Step::Rename, to)?;
    fs::rename(from, to)
}

pub(super) fn remove_file(path: &Path) -> io::Result<()> {
    step(Step::Remove, path)?;
    fs::remove_file(path)
}

/// Removes an empty directory.
pub(super) fn remove_dir(path: &Path) -> io::Result<()> {
    step(Step::Remove, path)?;
    fs::remove_dir(path)
}

pub(super) fn remove_dir_all(path: &Path) -> io::Result<()> {
    step(Step::Remove, path)?;
    fs::remove_dir_all(path)
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    step(Step::SyncDir, dir)?;
    File::open(dir)?.sync_all()
}

/// Writes a whole file that stays whatever happens then.
pub(super) fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = NewFile::create(path)?;
    (&file).write_all(bytes)?;
    file.sync()
}

/// A file that is being written.
#[derive(Debug)]
pub(super) struct NewFile {
    file: File,
    path: PathBuf,
}

impl NewFile {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        step(Step::Create, path)?;
        Ok(Self { file: File::create(path)?, path: path.to_owned() })
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        step(Step::Sync, &self.path)?;
        self.file.sync_all()
    }
}

impl Write for &NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        step(Step::Write, &self.path)?;
        (&self.file).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Threads that make files durable while others are still written: the disk works all the time.
#[derive(Debug)]
pub(super) struct Syncers {
    files: flume::Sender<Arc<NewFile>>,
}

impl Syncers {
    /// Does `work`; when it has succeeded, everything that it wrote through the [`Syncers`] is durable.
    pub(super) fn with<R>(
        work: impl FnOnce(&Self) -> Result<R, CheckpointError>,
    ) -> Result<R, CheckpointError> {
        let (files, queue) = flume::bounded::<Arc<NewFile>>(FILES_MAX);
        thread::scope(|scope| {
            let mut threads = Vec::new();
            for _ in 0..SYNCERS {
                let queue = queue.clone();
                let thread = thread::Builder::new().name("faasm-sync".to_owned());
                let sync = move || queue.iter().map(|file| sync(&file)).fold(Ok(()), Result::and);
                threads.push(thread.spawn_scoped(scope, sync).map_err(|error| {
                    let why = format!("no thread can be started ({error}); check `ulimit -u`");
                    CheckpointError::Hindered(why)
                })?);
            }
            let syncers = Self { files };
            let done = work(&syncers);
            drop(syncers);
            let synced = threads.into_iter().map(|thread| {
                let bug = |_| CheckpointError::Hindered("a bug of the runtime".to_owned());
                thread.join().map_err(bug).flatten()
            });
            let synced = synced.fold(Ok(()), Result::and);
            done.and_then(|done| synced.map(|()| done))
        })
    }

    /// A new file that is written through them.
    pub(super) fn create(&self, path: &Path) -> io::Result<Output<'_>> {
        Ok(Output { file: Arc::new(NewFile::create(path)?), syncers: self, waiting_bytes: 0 })
    }
}

fn sync(file: &NewFile) -> Result<(), CheckpointError> {
    file.sync().map_err(at(&file.path, "cannot be made durable"))
}

/// A file whose content becomes durable by and by.
#[derive(Debug)]
pub(super) struct Output<'a> {
    file: Arc<NewFile>,
    syncers: &'a Syncers,
    waiting_bytes: usize,
}

impl Output<'_> {
    /// The file is complete.
    pub(super) fn finish(self) -> io::Result<()> {
        self.syncers.files.send(self.file).map_err(|_| io::Error::other("nobody syncs it"))
    }
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = (&*self.file).write(bytes)?;
        self.waiting_bytes += written;
        // If all are busy, the disk has enough to do.
        if self.waiting_bytes >= PART_BYTES
            && self.syncers.files.try_send(self.file.clone()).is_ok()
        {
            self.waiting_bytes = 0;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Names the file and what went wrong with it.
pub(super) fn at<'a>(
    path: &'a Path,
    what: &'static str,
) -> impl Fn(io::Error) -> CheckpointError + 'a {
    move |cause| CheckpointError::Io { path: path.to_owned(), what, cause }
}
