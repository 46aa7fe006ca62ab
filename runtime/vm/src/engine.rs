//! The wasmtime engine of one runtime: which proposals it accepts and where memories come from.

use std::sync::Arc;

use wasmtime::{Config, Engine, OptLevel, WasmBacktraceDetails};

use crate::pool::{Pool, PoolConfig, PoolMemories, PoolStacks};

/// What an engine is made of.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Bytes of machine stack that compiled code may use in one Faaslet. Address space only:
    /// pages are touched as they are used. Default 6 MiB.
    pub wasm_stack_bytes: usize,
    /// Bytes of machine stack left to host functions beyond the guest's. Default 2 MiB.
    pub host_stack_bytes: usize,
    /// Pools of memories and stacks.
    pub pool: PoolConfig,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self { wasm_stack_bytes: 6 << 20, host_stack_bytes: 2 << 20, pool: PoolConfig::default() }
    }
}

/// A wasmtime engine together with the pool its memories and stacks come from.
#[derive(Clone, Debug)]
pub struct VmEngine {
    engine: Engine,
    pool: Arc<Pool>,
}

impl VmEngine {
    /// Builds the engine.
    ///
    /// # Errors
    /// When the host cannot run compiled WebAssembly.
    pub fn new(config: &EngineConfig) -> wasmtime::Result<Self> {
        let pool = Pool::new(config.pool.clone());
        let mut wasmtime = Config::new();
        wasmtime
            .max_wasm_stack(config.wasm_stack_bytes)
            .async_stack_size(config.wasm_stack_bytes + config.host_stack_bytes)
            .with_host_memory(Arc::new(PoolMemories(pool.clone())))
            .with_host_stack(Arc::new(PoolStacks(pool.clone())))
            // Copy-on-write images need memories of wasmtime's own making.
            .memory_init_cow(false)
            .wasm_exceptions(true)
            .wasm_relaxed_simd(true)
            .relaxed_simd_deterministic(true)
            .wasm_backtrace_details(WasmBacktraceDetails::Enable)
            .cranelift_opt_level(OptLevel::Speed);
        if config.pool.small_memory_bytes.is_some() {
            // Code may count on nothing about addresses beyond the current size, so it compares each with it.
            wasmtime
                .memory_reservation(0)
                .memory_reservation_for_growth(0)
                .memory_guard_size(0)
                .memory_may_move(true);
        } else {
            wasmtime.memory_reservation(4 << 30).memory_may_move(false);
        }
        Ok(Self { engine: Engine::new(&wasmtime)?, pool })
    }

    /// The wasmtime engine.
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The pool behind its memories and stacks.
    pub const fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }
}
