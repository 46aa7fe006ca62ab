//! The manifest of the guests: which programs there are, how they are run, and what they must print.
//!
//! ```
//! let manifest = faasm_workloads::manifest::Manifest::parse(
//!     r#"
//!     [[guest]]
//!     name = "ring"
//!     source = "mpi/ring.c"
//!     np = [1, 2, 7]
//!     expect = "ok ring"
//!     "#,
//! )?;
//! assert_eq!(manifest.guests[0].np, [1, 2, 7]);
//! # Ok::<(), faasm_workloads::Error>(())
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::error::{Error, Result};

/// All guests, in the order of the file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The `[[guest]]` tables.
    #[serde(rename = "guest")]
    pub guests: Vec<Guest>,
}

/// One program and how it is run.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guest {
    /// A name that no other guest has.
    pub name: String,
    /// The source file, relative to the manifest's directory.
    pub source: PathBuf,
    /// The numbers of ranks it is run with, one run for each.
    pub np: Vec<u32>,
    /// Further compiler options.
    #[serde(default)]
    pub options: Vec<String>,
    /// The program's arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Environment variables of every rank.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// What standard input holds.
    #[serde(default)]
    pub stdin: String,
    /// A text that standard output must contain.
    #[serde(default)]
    pub expect: String,
    /// A text that standard error must contain.
    #[serde(default)]
    pub expect_stderr: String,
    /// The exit status the job must have.
    #[serde(default)]
    pub exit: i32,
}

impl Manifest {
    /// Reads the manifest `path`.
    ///
    /// # Errors
    /// Fails when the file cannot be read or is not a valid manifest.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(Error::file("read", path))?;
        Self::parse_as(&text, path)
    }

    /// Understands the text of a manifest.
    ///
    /// # Errors
    /// Fails when it is not TOML, when a field is unknown or missing, or when a guest could never be run.
    pub fn parse(text: &str) -> Result<Self> {
        Self::parse_as(text, Path::new("manifest"))
    }

    fn parse_as(text: &str, path: &Path) -> Result<Self> {
        let invalid = |reason: String| Error::Manifest { path: path.to_owned(), reason };
        let manifest: Self = toml::from_str(text).map_err(|error| invalid(error.to_string()))?;
        let mut names = BTreeSet::new();
        for guest in &manifest.guests {
            if !names.insert(&guest.name) {
                return Err(invalid(format!("two guests are named {:?}", guest.name)));
            }
            if guest.np.is_empty() || guest.np.contains(&0) {
                return Err(invalid(format!("{}: np must list numbers above 0", guest.name)));
            }
        }
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected(text: &str) -> String {
        Manifest::parse(text).expect_err(text).to_string()
    }

    #[test]
    fn fields_have_defaults() {
        let manifest = Manifest::parse("[[guest]]\nname = 'a'\nsource = 'a.c'\nnp = [2]");
        let guest = &manifest.expect("valid").guests[0];
        assert_eq!((guest.exit, guest.args.len(), guest.expect.as_str()), (0, 0, ""));
    }

    #[test]
    fn mistakes_are_named() {
        let guest = "[[guest]]\nname = 'a'\nsource = 'a.c'\n";
        assert!(rejected(&format!("{guest}np = []")).contains("np"));
        assert!(rejected(&format!("{guest}np = [0]")).contains("np"));
        assert!(rejected(&format!("{guest}np = [1]\nfoo = 1")).contains("foo"));
        assert!(rejected(guest).contains("np"));
        assert!(rejected(&format!("{guest}np = [1]\n{guest}np = [1]")).contains("two guests"));
    }
}
