//! What a program whose teams span nodes needs of a thread.

use std::sync::Arc;

use faasm_omp_engine::Construct;
use faasm_omp_engine::span::{Outcome, Wanted};
use faasm_omp_shim::SpanView;
use faasm_vm::GuestMemory;
use wasmtime::Caller;

use super::group::Threads;
use super::park::{ThreadShared, WaitsFor};
use crate::faaslet::{FaasletState, RankExit};
use crate::host::wasi::{ProcExit, Yield};
use crate::job::JobShared;
use crate::omp_nodes::{Question, Span, SpanFailure};

/// What is reported of a thread that only waits for the end.
const IDLE: &str = "the OpenMP library, for the end of the program on its first node";

impl FaasletState {
    fn part(&self) -> Option<(Arc<JobShared>, Arc<Span>)> {
        let (job, rank) = self.mpi.port.place();
        Some((job.clone(), job.span(rank)?.clone()))
    }

    /// The part, the job and the thread of a program that spans nodes.
    fn spanning(&self) -> wasmtime::Result<(Arc<JobShared>, Arc<Span>, Arc<ThreadShared>)> {
        let thread = self.thread.as_ref().map(|thread| thread.shared.clone());
        match (self.part(), thread) {
            (Some((job, span)), Some(thread)) => Ok((job, span, thread)),
            _ => Err(wasmtime::Error::msg(
                "the program calls functions of teams that span nodes, but is on one node; link it with the faasm-cc \
                 that belongs to this faasm-run",
            )),
        }
    }
}

impl Threads {
    /// The rank has ended: the other nodes of its program hear of it, if there are any.
    pub(crate) fn leave_span(&self, exit: &RankExit) {
        let Some(job) = self.job() else { return };
        // Of another end the job is told, which ends all.
        if let (Some(span), RankExit::Completed { code }) = (job.span(self.rank), exit) {
            span.leave(*code);
            job.send_parcels(span);
        }
    }
}

/// What ends the thread.
fn failure(failure: SpanFailure) -> wasmtime::Error {
    match failure {
        SpanFailure::Ended(code) => ProcExit(code).into(),
        other => other.into(),
    }
}

fn wake(thread: &Arc<ThreadShared>) -> Box<dyn Fn() + Send + Sync> {
    let thread = thread.clone();
    Box::new(move || thread.wake())
}

/// Leaves the fiber until there is an answer.
async fn answer(
    question: &Question,
    thread: &ThreadShared,
    what: &'static str,
) -> wasmtime::Result<Outcome> {
    thread.park_until(WaitsFor::Construct(what), || question.is_done()).await;
    question.take().map_err(failure)
}

impl SpanView for FaasletState {
    fn span(&self) -> (u32, u32) {
        self.part().map_or((0, 1), |(_, span)| (span.rank(), span.nodes()))
    }

    fn arena(&self) -> (u32, u32) {
        const ALL: (u32, u32) = (0, 65_536);
        self.part().map_or(ALL, |(_, span)| (span.arena().start, span.arena().end))
    }

    fn keep(&self, is_shared: bool, start: u32, len: u32) -> wasmtime::Result<()> {
        let Some((_, span)) = self.part() else { return Ok(()) };
        let done = if is_shared { span.keep(start, len) } else { span.keep_private(start, len) };
        match done {
            true => Ok(()),
            false => Err(wasmtime::Error::msg(
                "the program keeps too many ranges of memory to each node",
            )),
        }
    }

    fn tell(&mut self, wanted: Wanted) -> wasmtime::Result<()> {
        let (job, span, _) = self.spanning()?;
        let told = span.tell(&self.memory, wanted);
        job.send_parcels(&span);
        told.map_err(failure)
    }

    async fn ask(
        caller: &mut Caller<'_, Self>,
        wanted: Wanted,
        construct: Construct,
    ) -> wasmtime::Result<Outcome> {
        let (job, span, thread) = caller.data().spanning()?;
        // What the main thread has on its stack goes when the home's memory comes.
        while !span.has_retired() {
            Yield::default().await;
        }
        let memory = caller.data().memory.clone();
        let asked = span.ask(&memory, wanted, wake(&thread));
        job.send_parcels(&span);
        answer(&*asked.map_err(failure)?, &thread, construct.name()).await
    }

    async fn idle(caller: &mut Caller<'_, Self>) -> wasmtime::Result<()> {
        let (_, span, thread) = caller.data().spanning()?;
        let question = span.retire(wake(&thread));
        answer(&question, &thread, IDLE).await.map(drop)
    }

    fn is_own(&self, address: u32, len: u32) -> bool {
        self.part().is_none_or(|(_, span)| span.is_own(address, len))
    }

    fn memory(&self) -> &GuestMemory {
        &self.memory
    }
}
