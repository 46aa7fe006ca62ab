//! How the hosts of a step find the coordinator: it leaves a file in a directory that all share.
//!
//! ```text
//! faasm rendezvous 1
//! join 10.0.0.1:40123,127.0.0.1:40123
//! token faasm1....
//! end
//! ```
//!
//! The file has a token in it: only its owner may read it (mode 0600), it appears complete under its
//! name, is believed only if it is ours, and is removed when all have joined or the job ends.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// What the coordinator tells the nodes.
#[derive(Clone, Eq, PartialEq)]
pub struct Invitation {
    /// Where the coordinator is found, `address:port` each.
    pub join: Vec<String>,
    /// With what one joins.
    pub token: String,
}

impl std::fmt::Debug for Invitation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Invitation").field("join", &self.join).finish_non_exhaustive()
    }
}

/// The file, while it is needed.
#[derive(Debug)]
pub struct Rendezvous {
    path: PathBuf,
}

/// Why the hosts of a step cannot find each other.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RendezvousError {
    /// The file cannot be written.
    #[error(
        "the tasks of this step cannot meet: {} cannot be written: {cause}; name a directory that all hosts share with the variable {DIRECTORY}, or run `faasm-run -n N` in the allocation, without srun",
        .path.display()
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: std::io::Error,
    },
    /// The directory cannot be looked at.
    #[error(
        "this task of the step cannot look for the others in {}: {cause}; name a directory that all hosts share with the variable {DIRECTORY}, or run `faasm-run -n N` in the allocation, without srun",
        .dir.display()
    )]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// Why not.
        cause: std::io::Error,
    },
    /// The file did not appear.
    #[error(
        "this task of the step found no {} within {} s, so it cannot join the others: either the first task has failed, or the hosts do not share that directory; name one that they share with the variable {DIRECTORY}, or run `faasm-run -n N` in the allocation, without srun",
        .path.display(), .patience.as_secs()
    )]
    Absent {
        /// The file.
        path: PathBuf,
        /// How long it was looked for.
        patience: Duration,
    },
    /// The file is not one of ours.
    #[error("{} cannot be trusted: {cause}; remove it and try again", .path.display())]
    Untrusted {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: &'static str,
    },
}

/// The variable that names the directory.
const DIRECTORY: &str = "FAASM_RENDEZVOUS_DIR";

impl Rendezvous {
    /// The directory in which tasks meet: that of the variable `FAASM_RENDEZVOUS_DIR`, or the one
    /// that the step was started in, where the program is, too.
    pub fn directory(variable: &dyn Fn(&str) -> Option<String>) -> PathBuf {
        let named = [DIRECTORY, "SLURM_SUBMIT_DIR"].iter().find_map(|name| variable(name));
        named.map_or_else(|| PathBuf::from("."), PathBuf::from)
    }

    /// Tells the other hosts of a step where the coordinator is, until this is dropped.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn publish(
        dir: &Path,
        step: &str,
        invitation: &Invitation,
    ) -> Result<Self, RendezvousError> {
        let path = path(dir, step);
        let written = write(&path, invitation);
        written.map_err(|cause| RendezvousError::Write { path: path.clone(), cause })?;
        Ok(Self { path })
    }

    /// Waits for the coordinator's file, but not longer than this.
    ///
    /// # Errors
    /// It did not appear, or is not ours.
    pub fn find(dir: &Path, step: &str, patience: Duration) -> Result<Invitation, RendezvousError> {
        let path = path(dir, step);
        let end = Instant::now() + patience;
        loop {
            match read(&path) {
                Ok(Some(invitation)) => return Ok(invitation),
                Err(cause) => return Err(RendezvousError::Untrusted { path, cause }),
                Ok(None) if Instant::now() >= end => {
                    return Err(RendezvousError::Absent { path, patience });
                }
                Ok(None) => {
                    // A listing makes network file systems look at the server again.
                    if let Err(cause) = fs::read_dir(dir).map(Iterator::count) {
                        return Err(RendezvousError::Directory { dir: dir.to_owned(), cause });
                    }
                    std::thread::sleep(LOOK_INTERVAL);
                }
            }
        }
    }
}

impl Drop for Rendezvous {
    fn drop(&mut self) {
        // It may have been removed by somebody else, which is as good.
        let _ = fs::remove_file(&self.path);
    }
}

fn path(dir: &Path, step: &str) -> PathBuf {
    dir.join(format!(".faasm-step-{step}"))
}

/// Writes under another name and renames, so that the file is complete when it is seen.
fn write(path: &Path, invitation: &Invitation) -> std::io::Result<()> {
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let _ = fs::remove_file(&draft);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let join = invitation.join.join(",");
    let text = format!("{MAGIC}\njoin {join}\ntoken {}\nend\n", invitation.token);
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path).inspect_err(|_| {
        // The token must not stay behind.
        let _ = fs::remove_file(&draft);
    })
}

/// The invitation of a file; none if there is no file.
fn read(path: &Path) -> Result<Option<Invitation>, &'static str> {
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(no_follow).open(path) {
        Ok(file) => file,
        Err(error)
            if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::StaleNetworkFileHandle) =>
        {
            return Ok(None);
        }
        Err(_) => return Err("it cannot be opened, or is a link"),
    };
    check_owner(&file)?;
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(|_| "it cannot be read")?;
    parse(&text).map(Some).ok_or("it is not a rendezvous file of this version")
}

fn check_owner(file: &File) -> Result<(), &'static str> {
    let metadata = file.metadata().map_err(|_| "it cannot be examined")?;
    if !metadata.is_file() {
        return Err("it is no file");
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err("it belongs to another user");
    }
    if metadata.mode() & 0o077 != 0 {
        return Err("others may read or write it");
    }
    Ok(())
}

fn parse(text: &str) -> Option<Invitation> {
    let mut lines = text.lines();
    if lines.next() != Some(MAGIC) {
        return None;
    }
    let join = lines.next()?.strip_prefix("join ")?;
    let token = lines.next()?.strip_prefix("token ")?;
    let is_complete = lines.next() == Some("end") && lines.next().is_none();
    let join: Vec<String> = join.split(',').map(str::to_owned).collect();
    (is_complete && !token.is_empty() && join.iter().all(|address| !address.is_empty()))
        .then(|| Invitation { join, token: token.to_owned() })
}

const MAGIC: &str = "faasm rendezvous 1";
/// Addresses and a token.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// How often the file is looked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn invitation() -> Invitation {
        Invitation { join: vec!["10.0.0.1:7".into(), "[::1]:7".into()], token: "s3cret".into() }
    }

    fn find(dir: &Path) -> Result<Invitation, String> {
        Rendezvous::find(dir, "7.0", Duration::ZERO).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_published_is_found_and_goes_away() {
        let dir = tempfile::tempdir().expect("a directory");
        let rendezvous = Rendezvous::publish(dir.path(), "7.0", &invitation()).expect("written");
        assert_eq!(find(dir.path()), Ok(invitation()));
        let metadata = fs::metadata(path(dir.path(), "7.0")).expect("a file");
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        drop(rendezvous);
        assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 0);
        let error = find(dir.path()).expect_err("it is gone");
        assert!(error.contains(DIRECTORY) && error.contains(".faasm-step-7.0"), "{error}");
    }

    #[test]
    fn a_directory_that_is_not_there() {
        let error = Rendezvous::publish(Path::new("/absent"), "7.0", &invitation());
        let error = error.expect_err("it cannot be written").to_string();
        assert!(error.contains("/absent/.faasm-step-7.0") && error.contains(DIRECTORY), "{error}");
        let error = Rendezvous::find(Path::new("/absent"), "7.0", Duration::from_secs(60));
        let error = error.expect_err("it is not there").to_string();
        assert!(error.contains("in /absent:") && error.contains(DIRECTORY), "{error}");
    }

    #[test]
    fn files_of_others_are_not_believed() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = path(dir.path(), "7.0");
        let _rendezvous = Rendezvous::publish(dir.path(), "7.0", &invitation()).expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("ours");
        assert!(find(dir.path()).expect_err("open to all").contains("others may read"));
        fs::remove_file(&file).expect("ours");
        std::os::unix::fs::symlink("/etc/passwd", &file).expect("ours");
        assert!(find(dir.path()).expect_err("a link").contains("is a link"));
    }

    #[test]
    fn only_complete_files_are_read() {
        let whole = format!("{MAGIC}\njoin a:1\ntoken t\nend\n");
        assert!(parse(&whole).is_some());
        for end in 0..whole.len() - 1 {
            assert_eq!(parse(&whole[..end]), None, "{end}");
        }
        assert_eq!(parse(&whole.replace("a:1", "")), None);
        assert!(!format!("{:?}", invitation()).contains("s3cret"));
    }

    #[test]
    fn the_directory_is_named_or_that_of_the_step() {
        let dir = |names: &[&str]| {
            Rendezvous::directory(&|name| names.contains(&name).then(|| format!("/{name}")))
        };
        assert_eq!(dir(&[DIRECTORY, "SLURM_SUBMIT_DIR"]), Path::new("/FAASM_RENDEZVOUS_DIR"));
        assert_eq!(dir(&["SLURM_SUBMIT_DIR"]), Path::new("/SLURM_SUBMIT_DIR"));
        assert_eq!(dir(&[]), Path::new("."));
    }
}
