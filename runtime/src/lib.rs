//! Faaslets: MPI ranks as WebAssembly actors in one process, and the program `faasm-run`.
//!
//! A [`Runtime`] is a set of worker threads. It loads programs ([`Module`]) and runs jobs of them:
//! each rank is an instance on a fiber, polled by a worker. A job is the supervisor of its ranks;
//! its [`JobHandle`] tells what they do and how they ended.
//!
//! ```no_run
//! use faasm_runtime::{Multiplexer, MultiplexerOptions, Runtime};
//! use std::sync::Arc;
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let runtime = Runtime::builder().build()?;
//!     let module = runtime.load_file("ring.wasm")?;
//!     let options = MultiplexerOptions { ranks: 64, ..Default::default() };
//!     let output = Arc::new(Multiplexer::new(options, |failure| eprintln!("{failure}"))?);
//!     let job = runtime.job(&module).ranks(64).args(["8"]).output(output.clone()).spawn()?;
//!     let report = job.wait();
//!     output.finish();
//!     println!("exit code {} after {:?}", report.exit_code(), report.wall);
//!     Ok(())
//! }
//! ```
//!
//! Modules, lower ones first: `atomic`, `error`, `message` (mailboxes), `module` (loading), `scheduler`
//! (tasks and queues), `worker` (threads), `host` (WASI), `omp_nodes` (teams of threads that span nodes), `checkpoint`, `faaslet` (one rank), `job`, `launch`,
//! `runtime`, `cluster` (several nodes).

mod atomic;
mod checkpoint;
mod cluster;
mod error;
mod faaslet;
mod host;
mod job;
mod launch;
mod message;
mod module;
mod omp_nodes;
mod runtime;
mod scheduler;
mod worker;

pub use checkpoint::{Checkpoint, CheckpointError, CheckpointOptions, Cut, Description, SavedApp};
pub use cluster::launcher;
pub use cluster::{
    AppDemand, Cluster, ClusterApp, ClusterClient, ClusterDir, ClusterError, ClusterJob,
    ClusterOptions, ClusterOrigin, ClusterPlace, ClusterServer, ClusterStatus, DrainedJob,
    EdgeError, Host, HostError, HostList, JoinOptions, LocalCluster, MapBy, MovePolicy, Node,
    NodeEnd, NodeLeaver, NodeSlots, NodeStatus, Placement, PlacementError, PlacementRules,
    PlacementView, PolicyOptions, RankBy, SharedToken, Topology, place,
};
pub use error::Error;
pub use faaslet::RankExit;
pub use faasm_transport::NodeId;
pub use host::wasi::{OutputSink, Preopen, Stream};
pub use host::wasi::{StdinStream, WasiSetupError};
pub use job::{
    Activity, AppSpec, JobBuilder, JobHandle, JobReport, JobSpec, JobStatus, MoveOrder, MoveReport,
    NodeLoad, Outcome, PastMove, PastMoves, RankEvent, RankLoad, RankState, RankStatus,
    StdinPolicy,
};
pub use launch::{Multiplexer, MultiplexerOptions, OutputFailure, SourceError, SourceFile};
pub use module::{FileFormat, Module, ModuleError, Program, Progress};
pub use runtime::{Runtime, RuntimeBuilder};
