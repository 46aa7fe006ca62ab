//! Where and on what it was measured, for the head of each report.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::rivals::Toolbox;

/// The machine and the versions of what was compared.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    /// Processor model.
    pub(crate) processor: String,
    /// Cores this program may use.
    pub(crate) cores: usize,
    /// Operating system kernel.
    pub(crate) kernel: String,
    /// Load average of the minute before the first run: above a few tenths, figures are not to be trusted.
    pub(crate) load_before: f64,
    /// Who said to be which version.
    pub(crate) versions: BTreeMap<&'static str, String>,
}

impl Machine {
    /// Looks at this machine.
    pub(crate) fn look(tools: &Toolbox) -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
        let processor =
            model.and_then(|line| line.split_once(':')).map_or("unknown", |pair| pair.1);
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Self {
            processor: processor.trim().to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: kernel.trim().to_owned(),
            load_before: load.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0.0),
            versions: tools.versions(),
        }
    }

    /// A warning if others were using the machine.
    pub(crate) fn warning(&self) -> Option<String> {
        (self.load_before > 0.5).then(|| {
            format!(
                "the machine was not idle before the first run (load {:.1}): do not quote these figures",
                self.load_before
            )
        })
    }
}
