//! What Slurm's variables say about where we run.
//!
//! Inside `sbatch` or `salloc` there is an *allocation*: one `faasm-run` starts a node on each of its
//! hosts. Under `srun -n N faasm-run prog` there is a *step* of N copies of us, which are to be one
//! world of N ranks: on each host the first copy runs a node for all ranks of that host and the others
//! wait for it to end (`idle`); the very first is the coordinator, too, and tells the other hosts where
//! it is by a file in a directory that they share (`rendezvous`).

mod idle;
mod nodelist;
mod rendezvous;

pub use idle::{IdleError, Leader, use_all_cores, wait_for_leader};
pub use nodelist::{expand_counts, expand_nodelist};
pub use rendezvous::{Invitation, Rendezvous, RendezvousError};

/// Where we run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Surroundings {
    /// Not in a job of Slurm.
    Outside,
    /// In an allocation, once.
    Allocation(Allocation),
    /// As one of several tasks of a step.
    Step(Step),
}

/// Hosts that a job has been given.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Allocation {
    /// The job's number.
    pub job: String,
    /// Its hosts with the number of tasks, or else of processors, on each.
    pub hosts: Vec<(String, u32)>,
}

/// One task of several that were started together.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Step {
    /// The job's number.
    pub job: String,
    /// The step's number.
    pub step: String,
    /// Our number among all tasks: the rank that we would be.
    pub task: u32,
    /// Our number among the tasks of this host.
    pub local_task: u32,
    /// Our host's number.
    pub host: u32,
    /// The hosts with the number of tasks on each.
    pub hosts: Vec<(String, u32)>,
    /// Whether tasks were dealt round the hosts instead of in blocks.
    pub is_cyclic: bool,
}

/// A variable of Slurm that is missing or not understood.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "Slurm's variable {name} {cause}; to run on this machine alone, use `env -u SLURM_JOB_ID -u SLURM_STEP_ID faasm-run`"
)]
pub struct SlurmError {
    name: &'static str,
    cause: String,
}

impl Step {
    /// Number of tasks.
    pub fn tasks(&self) -> u32 {
        self.hosts.iter().map(|(_, tasks)| tasks).sum()
    }

    /// Number of tasks on this host, at least this one.
    pub fn tasks_here(&self) -> u32 {
        self.hosts.get(self.host as usize).map_or(1, |(_, tasks)| (*tasks).max(1))
    }

    /// What tells this step from all others of a user.
    pub fn name(&self) -> String {
        format!("{}.{}", self.job, self.step)
    }

    /// What tells the step's part on this host from all others: several hosts of Slurm may be one
    /// machine.
    pub fn name_here(&self) -> String {
        format!("{}.{}/{}", self.job, self.step, self.host)
    }
}

impl Surroundings {
    /// What these variables say.
    ///
    /// # Errors
    /// They contradict each other.
    pub fn detect(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, SlurmError> {
        let variables = Variables(variable);
        let Some(job) = variables.first(&["SLURM_JOB_ID", "SLURM_JOBID"]) else {
            return Ok(Self::Outside);
        };
        let job = identifier("SLURM_JOB_ID", job)?;
        let step = variables.first(&["SLURM_STEP_ID", "SLURM_STEPID"]);
        // A step of one task is a shell that the user works in, or a job of its own.
        match (step, variables.number("SLURM_STEP_NUM_TASKS")?) {
            (Some(step), Some(tasks)) if tasks > 1 => {
                let step = identifier("SLURM_STEP_ID", step)?;
                Ok(Self::Step(variables.step(job, step, tasks)?))
            }
            _ => Ok(Self::Allocation(variables.allocation(job)?)),
        }
    }
}

struct Variables<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Variables<'_> {
    fn first(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| (self.0)(name)).filter(|value| !value.is_empty())
    }

    fn required(&self, name: &'static str) -> Result<String, SlurmError> {
        let cause = || SlurmError { name, cause: "is missing".to_owned() };
        self.first(&[name]).ok_or_else(cause)
    }

    fn number(&self, name: &'static str) -> Result<Option<u32>, SlurmError> {
        let parse = |value: String| value.parse().map_err(|_| wrong(name, &value));
        self.first(&[name]).map(parse).transpose()
    }

    fn required_number(&self, name: &'static str) -> Result<u32, SlurmError> {
        let cause = || SlurmError { name, cause: "is missing".to_owned() };
        self.number(name)?.ok_or_else(cause)
    }

    fn hosts(&self, name: &'static str) -> Result<Vec<String>, SlurmError> {
        let list = self.required(name)?;
        expand_nodelist(&list)
            .map_err(|cause| SlurmError { name, cause: format!("is wrong: {cause}") })
    }

    /// A number for each host.
    fn counts(&self, name: &'static str, hosts: usize) -> Result<Option<Vec<u32>>, SlurmError> {
        let Some(list) = self.first(&[name]) else { return Ok(None) };
        let fail = |cause| SlurmError { name, cause: format!("is wrong: {cause}") };
        let counts = expand_counts(&list).map_err(fail)?;
        match counts.len() == hosts {
            true => Ok(Some(counts)),
            false => Err(fail(format!("it has {} numbers for {hosts} hosts", counts.len()))),
        }
    }

    fn allocation(&self, job: String) -> Result<Allocation, SlurmError> {
        let hosts = match self.first(&["SLURM_JOB_NODELIST"]) {
            Some(_) => self.hosts("SLURM_JOB_NODELIST")?,
            None => self.hosts("SLURM_NODELIST")?,
        };
        // Tasks are what was asked for with -n; without it a host has its processors. srun sets the
        // same variable to the tasks of a step, which then belongs to fewer hosts.
        let tasks = match self.first(&["SLURM_NTASKS", "SLURM_NPROCS"]) {
            Some(_) => self.counts("SLURM_TASKS_PER_NODE", hosts.len())?,
            None => None,
        };
        let counts = match tasks {
            Some(tasks) => tasks,
            None => self
                .counts("SLURM_JOB_CPUS_PER_NODE", hosts.len())?
                .unwrap_or_else(|| vec![1; hosts.len()]),
        };
        Ok(Allocation { job, hosts: hosts.into_iter().zip(counts).collect() })
    }

    fn step(&self, job: String, step: String, tasks: u32) -> Result<Step, SlurmError> {
        let names = self.hosts("SLURM_STEP_NODELIST")?;
        const PER_NODE: &str = "SLURM_STEP_TASKS_PER_NODE";
        let counts = self
            .counts(PER_NODE, names.len())?
            .ok_or_else(|| SlurmError { name: PER_NODE, cause: "is missing".to_owned() })?;
        let hosts: Vec<(String, u32)> = names.into_iter().zip(counts).collect();
        let found = Step {
            job,
            step,
            task: self.required_number("SLURM_PROCID")?,
            local_task: self.required_number("SLURM_LOCALID")?,
            host: self.required_number("SLURM_NODEID")?,
            is_cyclic: self
                .first(&["SLURM_DISTRIBUTION"])
                .is_some_and(|distribution| distribution.starts_with("cyclic")),
            hosts,
        };
        let sum: u64 = found.hosts.iter().map(|(_, tasks)| u64::from(*tasks)).sum();
        if sum != u64::from(tasks) {
            let cause = format!("has {sum} tasks, but SLURM_STEP_NUM_TASKS is {tasks}");
            return Err(SlurmError { name: PER_NODE, cause });
        }
        let own = found.hosts.get(found.host as usize).map_or(0, |(_, tasks)| *tasks);
        if found.task >= tasks || found.local_task >= own {
            let cause = format!("has no task {} on host {}", found.local_task, found.host);
            return Err(SlurmError { name: PER_NODE, cause });
        }
        Ok(found)
    }
}

fn wrong(name: &'static str, value: &str) -> SlurmError {
    SlurmError { name, cause: format!("is \"{}\", which is no number", value.escape_default()) }
}

/// The number of a job or a step, which becomes part of the name of a file.
fn identifier(name: &'static str, value: String) -> Result<String, SlurmError> {
    let is_right = |c: char| c.is_ascii_alphanumeric() || c == '_';
    match value.len() <= 32 && value.chars().all(is_right) {
        true => Ok(value),
        false => Err(wrong(name, &value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(variables: &str) -> Result<Surroundings, SlurmError> {
        let variables: Vec<(&str, &str)> =
            variables.split_whitespace().filter_map(|pair| pair.split_once('=')).collect();
        Surroundings::detect(&|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn allocation(variables: &str) -> Vec<(String, u32)> {
        match detect(variables) {
            Ok(Surroundings::Allocation(allocation)) => allocation.hosts,
            other => panic!("{variables}: {other:?}"),
        }
    }

    fn hosts(hosts: &[(&str, u32)]) -> Vec<(String, u32)> {
        hosts.iter().map(|(name, tasks)| ((*name).to_owned(), *tasks)).collect()
    }

    #[test]
    fn an_allocation_has_tasks_or_processors() {
        assert_eq!(detect("A=b"), Ok(Surroundings::Outside));
        let job = "SLURM_JOB_ID=7 SLURM_JOB_NODELIST=n[1-3] SLURM_JOB_CPUS_PER_NODE=8(x2),4";
        assert_eq!(allocation(job), hosts(&[("n1", 8), ("n2", 8), ("n3", 4)]));
        let tasks = format!("{job} SLURM_NTASKS=5 SLURM_TASKS_PER_NODE=2(x2),1");
        assert_eq!(allocation(&tasks), hosts(&[("n1", 2), ("n2", 2), ("n3", 1)]));
        let shell = format!("{job} SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=1");
        assert_eq!(allocation(&shell).len(), 3, "a shell started by srun is in the allocation");
    }

    const STEP: &str = "SLURM_JOB_ID=7 SLURM_STEP_ID=2 SLURM_STEP_NUM_TASKS=5 SLURM_STEP_NODELIST=n[1-2] \
        SLURM_STEP_TASKS_PER_NODE=3,2 SLURM_PROCID=4 SLURM_LOCALID=1 SLURM_NODEID=1";

    #[test]
    fn a_step_of_several_tasks() {
        let step = Step {
            job: "7".into(),
            step: "2".into(),
            task: 4,
            local_task: 1,
            host: 1,
            hosts: hosts(&[("n1", 3), ("n2", 2)]),
            is_cyclic: false,
        };
        assert_eq!((step.tasks(), step.name()), (5, "7.2".to_owned()));
        assert_eq!(detect(STEP), Ok(Surroundings::Step(step.clone())));
        let cyclic = detect(&format!("{STEP} SLURM_DISTRIBUTION=cyclic"));
        assert_eq!(cyclic, Ok(Surroundings::Step(Step { is_cyclic: true, ..step })));
    }

    #[test]
    fn what_contradicts_itself_is_an_error() {
        for (change, part) in [
            ("SLURM_STEP_TASKS_PER_NODE=3", "1 numbers for 2 hosts"),
            ("SLURM_STEP_TASKS_PER_NODE=3,3", "6 tasks, but SLURM_STEP_NUM_TASKS is 5"),
            ("SLURM_PROCID=x", "SLURM_PROCID is \"x\""),
            ("SLURM_PROCID=5", "no task"),
            ("SLURM_LOCALID=2", "no task 2 on host 1"),
            ("SLURM_NODEID=2", "on host 2"),
            ("SLURM_STEP_NODELIST=n[", "SLURM_STEP_NODELIST is wrong"),
            ("SLURM_STEP_ID=../x", "SLURM_STEP_ID"),
            ("SLURM_JOB_ID=a/b", "SLURM_JOB_ID"),
        ] {
            // The first of two equal names counts.
            let error = detect(&format!("{change} {STEP}")).expect_err(change).to_string();
            assert!(error.contains(part) && error.contains("env -u SLURM_JOB_ID"), "{error}");
        }
        let error = detect("SLURM_JOB_ID=7").expect_err("no hosts").to_string();
        assert!(error.contains("SLURM_NODELIST is missing"), "{error}");
    }
}
