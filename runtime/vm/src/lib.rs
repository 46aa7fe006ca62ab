//! Linear memories, fiber stacks, guest access, module rewriting and the compiled-code cache.
//!
//! This is the only crate of the workspace that may hold `unsafe`. Modules, lower ones first:
//! `page` (page arithmetic), `line` (zeroed cache lines), `sys` (the operating system), `guest` (bounds-checked guest memory),
//! `pool` (memory and stack slots), `region` (pages that memories share), `engine` (the wasmtime configuration that uses them),
//! `rewrite` (load-time passes), `unwind` (call stacks as values), `artifact` (the cache of compiled modules) and `snapshot` (the content
//! of memories as values), `proto` (initialised Faaslets from which others begin), `warm` (used ones that are as if they were new), `lab` (other ways to reset memory, to be measured).

pub mod artifact;
pub mod engine;
pub mod guest;
#[cfg(feature = "lab")]
pub mod lab;
pub mod line;
pub mod page;
pub mod pool;
pub mod proto;
pub mod region;
pub mod rewrite;
pub mod snapshot;
mod sys;
pub mod unwind;
pub mod warm;

pub use artifact::{ArtifactCache, ArtifactConfig, CacheTrouble, ContentHash};
pub use engine::{EngineConfig, VmEngine};
pub use guest::{GuestAddr, GuestFault, GuestMemory};
pub use pool::{OnMemory, Pool, PoolConfig, on_memory};
pub use proto::{Proto, ProtoError};
pub use region::{RegionError, SharedRegion};
pub use snapshot::{MemorySnapshot, SnapshotBuilder, SnapshotError, on_image};
pub use warm::{WarmError, WarmFaaslet, WarmFaaslets, WarmHost};
