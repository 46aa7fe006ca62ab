//! Who makes instances: wasmtime's allocators and ours.

use faasm_vm::{EngineConfig, PoolConfig, VmEngine, WarmFaaslets, WarmHost, rewrite};
use wasmtime::Result;
use wasmtime::{
    Config, Enabled, Engine, Instance, InstanceAllocationStrategy, InstancePre, Linker, Module,
    PoolingAllocationConfig, Store, TypedFunc,
};

/// A way to make instances.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Contender {
    /// Ours, where used instances are made as if they were new.
    Warm,
    /// Ours, anew each time, with slots that reserve what a memory can grow to.
    Ours,
    /// Ours, with small slots.
    OursSmall,
    /// Wasmtime's own, anew each time.
    OnDemand,
    /// Wasmtime's pool.
    Pooling {
        /// Bytes of memory and tables that it overwrites rather than gives back.
        keep: usize,
        /// Whether it finds them by a scan.
        scan: bool,
    },
}

/// The settings of wasmtime's pool that are tried; the best one counts.
pub(super) const POOLS: [Contender; 4] = [
    Contender::Pooling { keep: 0, scan: false },
    Contender::Pooling { keep: 64 << 10, scan: false },
    Contender::Pooling { keep: 64 << 10, scan: true },
    Contender::Pooling { keep: 1 << 20, scan: true },
];

/// An engine of one contender.
#[derive(Debug)]
pub(super) enum Made {
    Ours(VmEngine),
    Theirs(Engine),
}

impl Made {
    /// The wasmtime engine.
    pub(super) fn engine(&self) -> &Engine {
        match self {
            Self::Ours(vm) => vm.engine(),
            Self::Theirs(engine) => engine,
        }
    }

    /// The module of this text as this contender runs it.
    pub(super) fn module(&self, text: &str) -> Result<Module> {
        let bytes = wat::parse_str(text)?;
        let bytes = match self {
            Self::Ours(_) => rewrite::rewrite(&bytes)?.bytes,
            Self::Theirs(_) => bytes,
        };
        Module::new(self.engine(), bytes)
    }

    /// What makes new instances of a module without imports.
    pub(super) fn ready(&self, text: &str) -> Result<InstancePre<()>> {
        Linker::new(self.engine()).instantiate_pre(&self.module(text)?)
    }
}

impl Contender {
    /// For tables.
    pub(super) fn name(self) -> String {
        match self {
            Self::Warm => "ours, used again".to_owned(),
            Self::Ours => "ours, made anew".to_owned(),
            Self::OursSmall => "ours, small memories".to_owned(),
            Self::OnDemand => "wasmtime on demand".to_owned(),
            Self::Pooling { keep, scan } => {
                let scan = if scan { ", scan" } else { "" };
                format!("wasmtime pooling, keeps {} KiB{scan}", keep >> 10)
            }
        }
    }

    /// Makes the engine, for at most `instances` at a time.
    pub(super) fn make(self, instances: u32) -> Result<Made> {
        Ok(match self {
            Self::Warm | Self::Ours => Made::Ours(VmEngine::new(&EngineConfig::default())?),
            Self::OursSmall => {
                let pool =
                    PoolConfig { small_memory_bytes: Some(1 << 20), ..PoolConfig::default() };
                Made::Ours(VmEngine::new(&EngineConfig { pool, ..EngineConfig::default() })?)
            }
            Self::OnDemand => Made::Theirs(Engine::new(&Config::new())?),
            Self::Pooling { keep, scan } => {
                let mut pool = PoolingAllocationConfig::new();
                pool.total_core_instances(instances)
                    .total_memories(instances)
                    .total_tables(instances)
                    .total_stacks(instances.min(1000))
                    .max_unused_warm_slots(instances.min(1000))
                    .linear_memory_keep_resident(keep)
                    .table_keep_resident(keep)
                    .pagemap_scan(if scan { Enabled::Yes } else { Enabled::No });
                let mut config = Config::new();
                config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
                Made::Theirs(Engine::new(&config)?)
            }
        })
    }
}

/// The same with an error as the rest of this program has them.
pub(super) fn said<T>(result: Result<T>) -> anyhow::Result<T> {
    result.map_err(|error| anyhow::anyhow!("{error:#}"))
}

/// What calls are made of.
pub(super) enum Ready {
    /// An instance is made for each.
    Anew(InstancePre<()>),
    /// One that was used before.
    Warm(WarmFaaslets<Run>),
}

/// A host that has nothing to do with its Faaslets but to call their function `run`.
pub(super) struct Run;

impl WarmHost for Run {
    type State = ();
    type Handles = TypedFunc<(), i32>;

    fn state(&self) {}

    fn handles(&self, store: &mut Store<()>, instance: &Instance) -> Result<Self::Handles> {
        instance.get_typed_func(store, "run")
    }
}

impl Ready {
    /// For calls to the function `run` of the module with this text, which has no imports.
    pub(super) fn new(contender: Contender, made: &Made, text: &str) -> Result<Self> {
        match (contender, made) {
            (Contender::Warm, Made::Ours(vm)) => {
                let (linker, bytes) = (Linker::new(vm.engine()), wat::parse_str(text)?);
                Ok(Self::Warm(WarmFaaslets::new(vm, &linker, &bytes, Run)?))
            }
            _ => Ok(Self::Anew(made.ready(text)?)),
        }
    }

    /// Calls it once, in an instance that is new or as if it were.
    pub(super) fn call(&self) -> Result<i32> {
        match self {
            Self::Anew(program) => {
                let mut store = Store::new(program.module().engine(), ());
                let instance = program.instantiate(&mut store)?;
                let run = instance.get_typed_func::<(), i32>(&mut store, "run")?;
                run.call(&mut store, ())
            }
            Self::Warm(faaslets) => {
                let mut faaslet = faaslets.take()?;
                let (store, run) = faaslet.parts();
                run.call(store, ())
            }
        }
    }
}
