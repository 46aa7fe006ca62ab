//! Several hosts on this machine: a lab of `bench/netns.sh`, made when a scenario first needs it.

use std::cell::{Ref, RefCell};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::scenario::Network;

/// Makes labs, one at a time, and removes the last one when it is dropped.
#[derive(Debug)]
pub(crate) struct Labs {
    script: PathBuf,
    current: RefCell<Option<Lab>>,
}

impl Labs {
    /// No lab yet.
    pub(crate) fn new(root: &Path) -> Self {
        let script = root.join("bench/netns.sh");
        // Programs are started from other folders, so a relative path must not stay one.
        let script = std::path::absolute(&script).unwrap_or(script);
        Self { script, current: RefCell::default() }
    }

    /// A lab with this network: the present one, or a new one in its place.
    ///
    /// # Errors
    /// If the script cannot make it; its message says why.
    pub(crate) fn with(&self, network: &Network) -> Result<Ref<'_, Lab>> {
        let fits = self.current.borrow().as_ref().is_some_and(|lab| lab.network == *network);
        if !fits {
            self.current.replace(None);
            self.current.replace(Some(Lab::up(&self.script, network)?));
        }
        let lab = Ref::filter_map(self.current.borrow(), Option::as_ref);
        lab.map_err(|_| anyhow::anyhow!("the lab that was just made is gone"))
    }
}

/// Hosts n1, n2, ... with a network.
#[derive(Debug)]
pub(crate) struct Lab {
    script: PathBuf,
    network: Network,
    agent: String,
}

impl Lab {
    fn up(script: &Path, network: &Network) -> Result<Self> {
        let (script, network) = (script.to_owned(), network.clone());
        let mut lab = Self { script, network, agent: String::new() };
        let hosts = lab.network.hosts.to_string();
        let mut words = vec!["up", &hosts];
        words.extend(lab.network.wire.split_whitespace());
        lab.done(&words)?;
        lab.agent = lab.done(&["path", "agent"])?.trim().to_owned();
        Ok(lab)
    }

    /// How a program on the first host is started: its name and arguments follow.
    pub(crate) fn on_first_host(&self) -> Command {
        let mut command = self.command();
        command.args(["run", "n1"]);
        command
    }

    /// The program that launchers call in ssh's place.
    pub(crate) fn agent(&self) -> &str {
        &self.agent
    }

    /// "n1:16,n2:16": all hosts with the ranks of each, of `np` in all.
    pub(crate) fn hosts(&self, np: u32) -> String {
        let each = np.div_ceil(self.network.hosts);
        let hosts: Vec<String> =
            (1..=self.network.hosts).map(|host| format!("n{host}:{each}")).collect();
        hosts.join(",")
    }

    /// Kills whatever still runs on the hosts.
    ///
    /// # Errors
    /// If something cannot be killed.
    pub(crate) fn settle(&self) -> Result<()> {
        for host in 1..=self.network.hosts {
            self.done(&["kill", &format!("n{host}")])?;
        }
        Ok(())
    }

    fn done(&self, words: &[&str]) -> Result<String> {
        let Output { status, stdout, stderr } = self.output(words)?;
        ensure!(status.success(), "{}", String::from_utf8_lossy(&stderr).trim());
        Ok(String::from_utf8_lossy(&stdout).into_owned())
    }

    fn output(&self, words: &[&str]) -> Result<Output> {
        let mut command = self.command();
        command.args(words).stdin(Stdio::null());
        command.output().with_context(|| format!("cannot start {}", self.script.display()))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.script);
        command.args(["--lab", NAME]);
        command
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Err(error) = self.done(&["down"]) {
            eprintln!("faasm-bench: the lab is still there: {error:#}");
        }
    }
}

/// Not the script's default, so that a person's own lab stays.
const NAME: &str = "bench";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_spread_evenly() {
        let network = Network { hosts: 2, wire: String::new() };
        let lab = Lab { script: "/bin/true".into(), network, agent: "/a".into() };
        assert_eq!(lab.hosts(32), "n1:16,n2:16");
        assert_eq!(lab.hosts(2), "n1:1,n2:1");
    }

    #[test]
    fn a_lab_that_cannot_be_made_says_why() {
        let labs = Labs::new(Path::new("/no/such/folder"));
        let network = Network { hosts: 2, wire: String::new() };
        let error = labs.with(&network).expect_err("there is no script");
        assert!(format!("{error:#}").contains("netns.sh"), "{error:#}");
    }
}
