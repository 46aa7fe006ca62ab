//! What the values of the options mean: one function an option, called by the table's rows.

use std::{num::NonZeroUsize, time::Duration};

use super::{Dir, Draft, EnvBase, EnvRule, OutputFiles, Problem, RANKS_MAX, Stdin};

type Outcome = Result<(), Problem>;

pub(super) fn ranks(draft: &mut Draft, values: &[&str]) -> Outcome {
    draft.app.ranks = Some(rank_count(values[0])?);
    Ok(())
}

pub(super) fn ranks_per_node(draft: &mut Draft, values: &[&str]) -> Outcome {
    draft.app.ranks_per_node = Some(rank_count(values[0])?);
    Ok(())
}

pub(super) fn export(draft: &mut Draft, values: &[&str]) -> Outcome {
    draft.app.env.push(match values[0].split_once('=') {
        Some((name, value)) => EnvRule::Set(variable(name)?, value.to_owned()),
        None => EnvRule::Forward(variable(values[0])?),
    });
    Ok(())
}

pub(super) fn env(draft: &mut Draft, values: &[&str]) -> Outcome {
    draft.app.env.push(EnvRule::Set(variable(values[0])?, values[1].to_owned()));
    Ok(())
}

pub(super) fn genv(draft: &mut Draft, values: &[&str]) -> Outcome {
    draft.job.env.push(EnvRule::Set(variable(values[0])?, values[1].to_owned()));
    Ok(())
}

pub(super) fn genvlist(draft: &mut Draft, values: &[&str]) -> Outcome {
    draft.job.env_base = EnvBase::Empty;
    for name in values[0].split(',') {
        let name = variable(name)?;
        draft.job.env.push(EnvRule::Forward(name));
    }
    Ok(())
}

pub(super) fn genvall(draft: &mut Draft, _: &[&str]) -> Outcome {
    draft.job.env_base = EnvBase::All;
    Ok(())
}

pub(super) fn genvnone(draft: &mut Draft, _: &[&str]) -> Outcome {
    draft.job.env_base = EnvBase::Empty;
    Ok(())
}

pub(super) fn wdir(draft: &mut Draft, values: &[&str]) -> Outcome {
    draft.app.wdir = Some(path(values[0])?);
    Ok(())
}

pub(super) fn dir(draft: &mut Draft, values: &[&str]) -> Outcome {
    let (paths, read_only) = match values[0].strip_suffix(":ro") {
        Some(paths) => (paths, true),
        None => (values[0].strip_suffix(":rw").unwrap_or(values[0]), false),
    };
    let (host, guest) = paths.split_once("::").unwrap_or((paths, paths));
    draft.job.dirs.push(Dir { host: path(host)?, guest: path(guest)?, read_only });
    Ok(())
}

pub(super) fn stdin(draft: &mut Draft, values: &[&str]) -> Outcome {
    draft.job.stdin = match values[0] {
        "all" => Stdin::All,
        "none" => Stdin::None,
        rank => Stdin::Rank(rank.parse().map_err(|_| {
            Problem::new(
                format!("\"{rank}\" is neither a rank nor `all` nor `none`."),
                "Write, for example, `--stdin 0`.",
            )
        })?),
    };
    Ok(())
}

pub(super) fn tag_output(draft: &mut Draft, _: &[&str]) -> Outcome {
    draft.job.tag_output = true;
    Ok(())
}

pub(super) fn merge_stderr(draft: &mut Draft, _: &[&str]) -> Outcome {
    draft.job.merge_stderr = true;
    Ok(())
}

/// Open MPI 4 lets directives follow the directory: `dir:nocopy`.
pub(super) fn output_filename(draft: &mut Draft, values: &[&str]) -> Outcome {
    let mut parts = values[0].split(':');
    let dir = path(parts.next().unwrap_or_default())?;
    let mut files = OutputFiles { dir, copy: true };
    for directive in parts.flat_map(|directives| directives.split(',')) {
        match directive {
            "nocopy" => files.copy = false,
            "copy" | "nojobid" => {}
            _ => {
                return Err(Problem::new(
                    format!("\"{directive}\" is not a directive of this option."),
                    "The one with an effect is `nocopy`: `--output-filename out:nocopy`.",
                ));
            }
        }
    }
    draft.job.output_files = Some(files);
    Ok(())
}

/// Open MPI 5 gathers the output options in one: `--output tag,merge,dir=out`.
pub(super) fn output(draft: &mut Draft, values: &[&str]) -> Outcome {
    for directive in values[0].split([',', ':']) {
        match directive.split_once('=') {
            Some(("dir", dir)) => output_filename(draft, &[dir])?,
            None if directive == "tag" => draft.job.tag_output = true,
            None if matches!(directive, "merge" | "merge-stderr-to-stdout") => {
                draft.job.merge_stderr = true;
            }
            _ => {
                return Err(Problem::new(
                    format!("\"{directive}\" is not a directive of this option."),
                    "It takes `tag`, `merge` and `dir=DIR`, separated by commas.",
                ));
            }
        }
    }
    Ok(())
}

pub(super) fn timeout(draft: &mut Draft, values: &[&str]) -> Outcome {
    draft.job.timeout = Some(seconds(values[0], "--timeout 60")?);
    Ok(())
}

pub(super) fn report(draft: &mut Draft, _: &[&str]) -> Outcome {
    draft.job.report = true;
    Ok(())
}

pub(super) fn with_ft(draft: &mut Draft, values: &[&str]) -> Outcome {
    draft.job.tolerates_failures = match values[0].to_ascii_lowercase().as_str() {
        "ulfm" | "mpi" | "true" | "yes" | "1" => true,
        "none" | "false" | "no" | "0" => false,
        other => {
            let cause = format!("{other:?} is no kind of fault tolerance.");
            return Err(Problem::new(cause, "Write `--with-ft ulfm`, or leave it out."));
        }
    };
    Ok(())
}

pub(super) fn enable_recovery(draft: &mut Draft, _: &[&str]) -> Outcome {
    draft.job.tolerates_failures = true;
    Ok(())
}

/// A parameter of Open MPI. One is known; the others change nothing here.
pub(super) fn mca(draft: &mut Draft, values: &[&str]) -> Outcome {
    match values {
        ["mpi_ft_enable", value] => with_ft(draft, &[*value]),
        _ => {
            let words = values.join(" ");
            draft.note(format!("--mca {words}: there are no MCA parameters here"));
            Ok(())
        }
    }
}

pub(super) fn migratable(draft: &mut Draft, _: &[&str]) -> Outcome {
    draft.job.migratable = true;
    Ok(())
}

pub(super) fn rebuild_stack(draft: &mut Draft, values: &[&str]) -> Outcome {
    let every = values[0].parse().map_err(|_| {
        Problem::new(
            format!("\"{}\" is not a number of calls.", values[0]),
            "Write, for example, `--rebuild-stack 10`.",
        )
    })?;
    draft.job.migratable = true;
    draft.job.rebuild_stack = Some(every);
    Ok(())
}

pub(super) fn workers(draft: &mut Draft, values: &[&str]) -> Outcome {
    draft.job.workers = Some(worker_count(values[0])?);
    Ok(())
}

/// Most OpenMP threads that may be asked for: a rank has no more threads.
const OMP_THREADS_MAX: u32 = 4_096;

pub(super) fn omp_threads(draft: &mut Draft, values: &[&str]) -> Outcome {
    let threads = values[0].parse().ok().filter(|n: &u32| (1..=OMP_THREADS_MAX).contains(n));
    let threads = threads.ok_or_else(|| {
        Problem::new(
            format!("\"{}\" is not a number of OpenMP threads.", values[0]),
            format!("Give a whole number from 1 to {OMP_THREADS_MAX}; the default is one a core."),
        )
    })?;
    let (key, value) = ("OMP_NUM_THREADS".to_owned(), threads.to_string());
    draft.job.env.push(EnvRule::Set(key, value));
    Ok(())
}

pub(super) fn omp_elastic(draft: &mut Draft, _: &[&str]) -> Outcome {
    draft.job.env.push(EnvRule::Set("FAASM_OMP_ELASTIC".to_owned(), "1".to_owned()));
    Ok(())
}

pub(super) fn verbose(draft: &mut Draft, _: &[&str]) -> Outcome {
    louder(&mut draft.job.verbosity)
}

pub(super) fn louder(verbosity: &mut u8) -> Outcome {
    *verbosity = verbosity.saturating_add(1);
    Ok(())
}

pub(super) fn quiet(draft: &mut Draft, _: &[&str]) -> Outcome {
    draft.job.quiet = true;
    Ok(())
}

pub(super) fn rank_count(text: &str) -> Result<u32, Problem> {
    text.parse().ok().filter(|ranks| (1..=RANKS_MAX).contains(ranks)).ok_or_else(|| {
        Problem::new(
            format!("\"{text}\" is not a number of ranks."),
            format!("Give a whole number from 1 to {RANKS_MAX}, as in `faasm-run -n 4 prog.wasm`."),
        )
    })
}

/// A time in seconds; `example` shows how it is written.
pub(super) fn seconds(text: &str, example: &str) -> Result<Duration, Problem> {
    let seconds = text.parse::<f64>().ok().filter(|s| *s > 0.0);
    seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).ok_or_else(|| {
        Problem::new(
            format!("\"{text}\" is not a time."),
            format!("Give seconds, more than 0, as in `{example}`."),
        )
    })
}

pub(super) fn worker_count(text: &str) -> Result<NonZeroUsize, Problem> {
    let workers = text.parse().ok().filter(|workers: &NonZeroUsize| workers.get() <= WORKERS_MAX);
    workers.ok_or_else(|| {
        Problem::new(
            format!("\"{text}\" is not a number of worker threads."),
            format!("Give a whole number from 1 to {WORKERS_MAX}; the default is one a core."),
        )
    })
}

fn variable(name: &str) -> Result<String, Problem> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(Problem::new(
            format!("\"{name}\" is not the name of an environment variable."),
            "Write, for example, `-x OMP_NUM_THREADS=2`.",
        ));
    }
    Ok(name.to_owned())
}

pub(super) fn path(text: &str) -> Result<String, Problem> {
    if text.is_empty() {
        return Err(Problem::new("A path is empty.", "Name a directory, `.` for the current one."));
    }
    Ok(text.to_owned())
}

/// Far more than any machine has cores, far fewer than a process may have threads.
const WORKERS_MAX: usize = 4096;
