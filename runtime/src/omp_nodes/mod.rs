//! One program on several nodes: teams of OpenMP threads that span them (`--omp-nodes`).
//!
//! The program is a job with one rank on each node. Rank 0, the *home*, runs it; each other rank is a *member*, which holds
//! a copy of the home's memory and runs its part of each team's threads. What is agreed and who waits is decided in
//! `faasm_omp_engine::span`; here are the memories (`memory`), and the questions of threads and their way to the home
//! (`span`). Parcels are carried by the job.
//!
//! What must hold: parcels of a node leave in the order in which they were made, and go into a memory in the order in which
//! they come. So they are made under one lock, and one thread at a time sends them ([`Span::next_parcel`]).

mod memory;
mod span;

pub(crate) use span::{Parcel, ParcelKind, Question, Span, SpanFailure, nodes_asked_for};
