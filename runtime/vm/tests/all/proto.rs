//! Proto-Faaslets: what one instance initialised, others begin with.

use faasm_vm::proto::{Proto, ProtoError, ZYGOTE_EXPORT};
use faasm_vm::rewrite::{self, without_data};
use faasm_vm::{
    EngineConfig, GuestAddr, GuestMemory, PoolConfig, SnapshotBuilder, VmEngine, on_image,
};
use wasmtime::{Instance, Linker, Module, Store};

const PROGRAM: &str = r#"(module
    (memory (export "memory") 8 32)
    (global $count (mut i32) (i32.const 5))
    (global $wide (mut i64) (i64.const -1))
    (global $float (mut f64) (f64.const 0.5))
    (table 2 funcref)
    (elem (i32.const 0) $sum)
    (data (i32.const 100) "\01\02\03\04")
    (data (i32.const 102) "\09")
    (func (export "faasm_zygote")
        (global.set $count (i32.const 77))
        (global.set $float (f64.const 2.5))
        ;; The memory grows by a page, which is written to.
        (i32.store (i32.mul (memory.grow (i32.const 1)) (i32.const 65536)) (i32.const 1000))
        (i32.store (i32.const 100000) (i32.const 123456)))
    (func $sum (export "run") (result i32)
        (i32.store (i32.const 200) (i32.add (i32.load (i32.const 200)) (i32.const 1)))
        (i32.add
            (i32.add (i32.add (global.get $count) (i32.load (i32.const 524288))) (i32.load (i32.const 100000)))
            (i32.add (i32.load8_u (i32.const 102)) (i32.load (i32.const 200)))))
    (func (export "indirect") (result i32) (call_indirect (result i32) (i32.const 0))))"#;

/// 77 + 1000 + 123456 + 9, and 1 for the first run of an instance.
const ANSWER: i32 = 124_543;

struct Lab {
    vm: VmEngine,
    module: Module,
    segments: Vec<(u64, Vec<u8>)>,
    globals: Vec<u32>,
}

fn lab(text: &str, config: &EngineConfig) -> Lab {
    let vm = VmEngine::new(config).expect("the host runs WebAssembly");
    let bytes = wat::parse_str(text).expect("correct");
    let rewritten = rewrite::rewrite(&bytes).expect("a module");
    let variant = without_data(&rewritten.bytes).expect("a module").expect("it can be shared");
    let module = Module::new(vm.engine(), &variant.bytes).expect("it compiles");
    Lab { vm, module, segments: variant.segments, globals: rewritten.facts.mutable_globals }
}

impl Lab {
    fn instance(&self, image: &faasm_vm::MemorySnapshot) -> (Store<()>, Instance, GuestMemory) {
        let mut store = Store::new(self.vm.engine(), ());
        let linker = Linker::new(self.vm.engine());
        let mut make = || linker.instantiate(&mut store, &self.module);
        let instance = poll_once(on_image(image, Box::pin(async { make() }))).expect("an instance");
        let memory = instance.get_memory(&mut store, "memory").expect("exported");
        let memory = self.vm.pool().memory_at(memory.data_ptr(&store)).expect("of the pool");
        (store, instance, memory)
    }

    fn proto(&self) -> Proto {
        let mut builder = SnapshotBuilder::new(8 << 16).expect("room");
        for (at, bytes) in &self.segments {
            builder.write(*at, bytes).expect("inside");
        }
        let (mut store, instance, memory) = self.instance(&builder.finish().expect("an image"));
        assert_eq!(memory.read_u32(GuestAddr::new(100)), Ok(0x0409_0201), "later segments win");
        let zygote = instance.get_typed_func::<(), ()>(&mut store, ZYGOTE_EXPORT).expect("there");
        zygote.call(&mut store, ()).expect("it returns");
        Proto::capture(&mut store, &instance, &memory, &self.globals).expect("a proto")
    }
}

fn poll_once<F: Future + Unpin>(mut future: F) -> F::Output {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::Pin::new(&mut future).poll(&mut context) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => panic!("nothing waits here"),
    }
}

fn call(store: &mut Store<()>, instance: &Instance, name: &str) -> i32 {
    let run = instance.get_typed_func::<(), i32>(&mut *store, name).expect("exported");
    run.call(store, ()).expect("it returns")
}

fn check(config: &EngineConfig) {
    let lab = lab(PROGRAM, config);
    let proto = lab.proto();
    let sent = proto.encode().expect("encoded");
    let received = Proto::decode(&sent).expect("decoded");
    assert_eq!(received.hash(), proto.hash());
    for proto in [&proto, &received] {
        for _ in 0..3 {
            let (mut store, instance, _memory) = lab.instance(proto.memory());
            proto.set_globals(&mut store, &instance).expect("the same program");
            assert_eq!(call(&mut store, &instance, "run"), ANSWER);
            assert_eq!(call(&mut store, &instance, "indirect"), ANSWER + 1, "tables are there");
        }
    }
}

#[test]
fn instances_begin_where_the_first_one_was() {
    check(&EngineConfig::default());
    let pool = PoolConfig { small_memory_bytes: Some(2 << 20), ..PoolConfig::default() };
    check(&EngineConfig { pool, ..EngineConfig::default() });
}

#[test]
fn damaged_protos_are_refused() {
    let lab = lab(PROGRAM, &EngineConfig::default());
    let bytes = lab.proto().encode().expect("encoded");
    for index in 0..bytes.len() {
        assert!(Proto::decode(&bytes[..index]).is_err(), "cut at {index}");
        let mut damaged = bytes.clone();
        damaged[index] ^= 0x40;
        assert!(Proto::decode(&damaged).is_err(), "byte {index}");
    }
}

#[test]
fn programs_whose_instances_differ_have_no_proto() {
    let none = [
        "(module (memory 1) (func $f) (start $f))",
        r#"(module (memory 1) (data "passive"))"#,
        r#"(module (import "env" "at" (global $g i32)) (memory 1) (data (global.get $g) "x"))"#,
        "(module (memory 1) (table 1 funcref) (func (table.set (i32.const 0) (ref.null func))))",
    ];
    for text in none {
        let bytes = wat::parse_str(text).expect("correct");
        assert_eq!(without_data(&bytes).expect("a module"), None, "{text}");
    }
    assert!(without_data(b"\0asm\x01\0\0\0\x0b\xff").is_err());
}

#[test]
fn a_global_with_a_reference_is_named() {
    let text = "(module (memory (export \"memory\") 1) (global (mut funcref) (ref.null func)))";
    let lab = lab(text, &EngineConfig::default());
    let image = SnapshotBuilder::new(1 << 16).and_then(SnapshotBuilder::finish).expect("an image");
    let (mut store, instance, memory) = lab.instance(&image);
    let refused = Proto::capture(&mut store, &instance, &memory, &lab.globals);
    assert!(matches!(refused, Err(ProtoError::Global { index: 0, .. })), "{refused:?}");
}
