//! `--omp-nodes`: one program on several nodes.

use super::nodes::Mapping;
use super::{Draft, EnvRule, Invocation, Problem, UsageError};

/// Most nodes that a program may span.
const NODES_MAX: u32 = 16;

/// The option.
pub(super) fn omp_nodes(draft: &mut Draft, values: &[&str]) -> Result<(), Problem> {
    let nodes = values[0].parse().ok().filter(|nodes: &u32| (2..=NODES_MAX).contains(nodes));
    let nodes = nodes.ok_or_else(|| {
        Problem::new(
            format!("\"{}\" is not a number of nodes for a team of threads.", values[0]),
            format!(
                "Give a whole number from 2 to {NODES_MAX}, or leave the option out for one node."
            ),
        )
    })?;
    draft.job.omp_nodes = Some(nodes);
    Ok(())
}

/// Makes a job of one rank on each node; nodes of this machine if none are named.
pub(super) fn settle(job: &mut Invocation) -> Result<(), UsageError> {
    let Some(nodes) = job.omp_nodes else { return Ok(()) };
    let option = || format!("--omp-nodes {nodes}");
    if job.apps.len() > 1 || job.apps.iter().any(|app| app.ranks.or(app.ranks_per_node).is_some()) {
        return Err(Problem::new(
            "One program with one part on each node runs then, and the command line has a number of ranks.",
            "Leave -n and further programs out.",
        )
        .at(option()));
    }
    let is_elastic =
        |rule: &EnvRule| matches!(rule, EnvRule::Set(name, _) if name == "FAASM_OMP_ELASTIC");
    let others = [
        (job.checkpoints.dir.is_some(), "checkpoints"),
        (job.on_failure.is_some(), "--on-failure restart"),
        (job.migratable || job.rebuild_stack.is_some(), "--migratable or --rebuild-stack"),
        (job.tolerates_failures, "--with-ft ulfm"),
        (job.env.iter().any(is_elastic), "--omp-elastic"),
    ];
    if let Some((_, other)) = others.iter().find(|(is_given, _)| *is_given) {
        return Err(Problem::new(
            format!("A program that spans nodes cannot have {other}."),
            "Leave one of the two out.",
        )
        .at(option()));
    }
    job.apps.iter_mut().for_each(|app| app.ranks = Some(nodes));
    job.env.push(EnvRule::Set("FAASM_OMP_NODES".to_owned(), nodes.to_string()));
    if !job.nodes.names_nodes() {
        job.nodes.local_nodes = Some(nodes);
    }
    job.nodes.map_by = Some(Mapping::Node);
    Ok(())
}
