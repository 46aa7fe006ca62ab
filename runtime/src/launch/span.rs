//! Jobs that are one program on several nodes: what is checked, and what each rank is.

use std::sync::Arc;

use crate::error::Error;
use crate::faaslet::ThreadFacts;
use crate::job::{JobShared, JobSpec};
use crate::omp_nodes::{Span, nodes_asked_for};

/// How many nodes the job's program spans, and how many pages its memory may have; `None` for an ordinary job.
///
/// # Errors
/// Its program cannot.
pub(super) fn check(spec: &JobSpec) -> Result<Option<(u32, u32)>, Error> {
    let Some(nodes) = nodes_asked_for(&spec.env) else { return Ok(None) };
    let app = &spec.apps[0];
    let facts = app.module.facts();
    let refused = |cause: &str| {
        let program = app.module.name().to_owned();
        Err(Error::Span { program, cause: cause.to_owned() })
    };
    if spec.apps.len() > 1 || app.ranks != nodes {
        return refused(
            "such a job is one program with one rank on each node; leave -n and further programs out",
        );
    }
    if facts.imports.iter().any(|import| import.module == crate::host::MPI) {
        return refused(
            "it uses MPI, whose ranks are on nodes of their own; leave --omp-nodes out",
        );
    }
    let has_library = facts.imports.iter().any(|import| import.name == "span_next");
    match ThreadFacts::of(facts) {
        Some(threads) if has_library => Ok(Some((nodes, threads.pages_max))),
        _ => refused(
            "it is no OpenMP program, or was linked by an older faasm-cc; compile and link all of it with faasm-cc \
             -fopenmp",
        ),
    }
}

/// Makes the parts of the job's program that are here.
pub(super) fn begin(job: &JobShared, (nodes, pages_max): (u32, u32)) {
    let part = |rank: u32| (rank, Span::new(rank, nodes, pages_max));
    job.set_spans(job.local_ranks().map(part).collect());
}

/// The rank's threads get memory from its node's part only.
pub(super) fn threads(facts: ThreadFacts, span: &Arc<Span>) -> ThreadFacts {
    let arena = span.arena();
    ThreadFacts { pages: facts.pages.max(arena.start), pages_max: arena.end, ..facts }
}
