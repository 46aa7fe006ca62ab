//! Modules instantiated through the engine that the runtime uses, with memories of our pool.

use faasm_vm::{EngineConfig, GuestAddr, GuestMemory, VmEngine};
use wasmtime::{Instance, Module, Store};

use crate::assemble;

/// Where the segment lies; with its length, it covers whole pages and parts of pages.
const SEGMENT: GuestAddr = GuestAddr::new(1000);
const SEGMENT_BYTES: usize = 20_000;

#[test]
fn a_data_segment_arrives_in_a_memory_of_ours_also_in_one_used_before() {
    let vm = VmEngine::new(&EngineConfig::default()).expect("the host runs WebAssembly");
    let module = Module::new(vm.engine(), assemble(&program())).expect("compiles");
    for round in 0..3 {
        let mut store = Store::new(vm.engine(), ());
        let memory = memory_of_instance(&vm, &mut store, &module);
        let mut expected = vec![0; memory.len() as usize];
        expected[SEGMENT.get() as usize..][..SEGMENT_BYTES].fill(b'x');
        let found = memory.read_vec(GuestAddr::new(0), memory.len()).expect("inside");
        assert!(found == expected, "round {round}: the memory is not as the module says");
        // Neither the segment's bytes nor those around it may come back in the next round.
        memory.write(GuestAddr::new(0), &vec![0xff; memory.len() as usize]).expect("inside");
    }
}

fn program() -> String {
    let text = "x".repeat(SEGMENT_BYTES);
    format!(
        r#"(module (memory (export "memory") 2) (data (i32.const {}) "{text}"))"#,
        SEGMENT.get()
    )
}

fn memory_of_instance(vm: &VmEngine, store: &mut Store<()>, module: &Module) -> GuestMemory {
    let instance = Instance::new(&mut *store, module, &[]).expect("instance");
    let memory = instance.get_memory(&mut *store, "memory").expect("exported");
    vm.pool().memory_at(memory.data_ptr(&*store)).expect("a memory of the pool")
}
