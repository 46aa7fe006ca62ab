//! Random modules with a shared memory do after the pass what they do with a plain one before it.

use std::fmt::Write as _;

use faasm_vm::rewrite::{ADDED_IMPORTS, THREAD_MODULE, global_export, rewrite};
use wasmtime::{Engine, Linker, Module, Store, Val};

use crate::assemble;

const MODULES: u64 = 150;

/// Makes one module. Functions call only those before them, so that they end.
struct Generator {
    state: u64,
    imports: u32,
    globals: u32,
    function: u32,
    calls_left: u32,
}

impl Generator {
    fn below(&mut self, limit: u32) -> u32 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((self.state >> 33) as u32) % limit
    }

    /// The module's text with `memory` as its memory.
    fn module(seed: u64, memory: &str) -> String {
        let mut this = Self { state: seed, imports: 0, globals: 0, function: 0, calls_left: 0 };
        this.imports = this.below(4);
        this.globals = 1 + this.below(4);
        let functions = 4 + this.below(8);
        let mut text = "(module (type $t (func (param i32) (result i32)))\n".to_owned();
        for import in 0..this.imports {
            let _ = writeln!(text, r#"(import "env" "f{import}" (func $i{import} (type $t)))"#);
        }
        let _ = writeln!(text, "{memory} (table 8 funcref)");
        text += "(global $__stack_pointer (mut i32) (i32.const 65536))\n";
        for global in 0..this.globals {
            let _ = writeln!(text, "(global $g{global} (mut i32) (i32.const {}))", this.below(99));
        }
        let leaf = this.below(3);
        let _ = writeln!(text, "(global funcref (ref.func $f{leaf}))");
        for function in 0..functions {
            this.function = function;
            let body = this.body();
            let _ = writeln!(
                text,
                "(func $f{function} (type $t) (param $x i32) (result i32) (local $a i32) (local $n i32) {body})"
            );
        }
        let mut elements = String::new();
        for _ in 0..8 {
            let _ = write!(elements, " {}", this.callee(3));
        }
        let _ = writeln!(text, "(elem (i32.const 0) func{elements})");
        let _ = writeln!(
            text,
            "(func $begin (global.set $g0 (call $f1 (i32.const 5)))) (start $begin)"
        );
        for function in 0..functions {
            let _ = writeln!(text, r#"(export "e{function}" (func $f{function}))"#);
        }
        text + ")"
    }

    /// An import, or one of the first `limit` functions.
    fn callee(&mut self, limit: u32) -> String {
        let chosen = self.below(self.imports + limit);
        match chosen.checked_sub(self.imports) {
            None => format!("$i{chosen}"),
            Some(function) => format!("$f{function}"),
        }
    }

    fn body(&mut self) -> String {
        self.calls_left = 2;
        let statements = 1 + self.below(5);
        let mut body: String = (0..statements).map(|_| self.statement()).collect();
        let result = self.expression(3);
        let _ = write!(body, "{result}");
        body
    }

    fn statement(&mut self) -> String {
        let value = self.expression(3);
        match self.below(6) {
            0 => format!("(i32.store {} {value})", self.address()),
            1 => format!("(global.set $g{} {value})", self.below(self.globals)),
            2 => format!("(if {value} (then (local.set $a {})))", self.expression(2)),
            3 => format!(
                "(local.set $n (i32.const {})) (loop $l (local.set $a (i32.add (local.get $a) (i32.load {}))) \
                 (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))",
                1 + self.below(200),
                self.address()
            ),
            4 => format!(
                "(global.set $__stack_pointer (i32.sub (global.get $__stack_pointer) (i32.const 16))) \
                 (local.set $a {value}) \
                 (global.set $__stack_pointer (i32.add (global.get $__stack_pointer) (i32.const 16)))"
            ),
            _ => format!("(local.set $a {value})"),
        }
    }

    fn address(&mut self) -> String {
        match self.below(2) {
            0 => format!("(i32.const {})", 4 * self.below(16_000)),
            _ => "(i32.and (local.get $a) (i32.const 0xfffc))".to_owned(),
        }
    }

    fn expression(&mut self, depth: u32) -> String {
        let kind = self.below(if depth == 0 { 4 } else { 9 });
        match kind {
            0 => format!("(i32.const {})", self.below(1000)),
            1 => "(local.get $x)".to_owned(),
            2 => "(local.get $a)".to_owned(),
            3 => format!("(global.get $g{})", self.below(self.globals)),
            4 => {
                let operation = ["i32.add", "i32.mul", "i32.xor"][self.below(3) as usize];
                format!(
                    "({operation} {} {})",
                    self.expression(depth - 1),
                    self.expression(depth - 1)
                )
            }
            5 => format!("(i32.load {})", self.address()),
            6 => format!("(i32.atomic.rmw.add {} {})", self.address(), self.expression(depth - 1)),
            _ if self.calls_left == 0 => "(memory.size)".to_owned(),
            7 if self.function + self.imports > 0 => {
                self.calls_left -= 1;
                let (callee, argument) = (self.callee(self.function), self.expression(depth - 1));
                format!("(call {callee} {argument})")
            }
            _ if self.function >= 3 => {
                self.calls_left -= 1;
                let argument = self.expression(depth - 1);
                format!("(call_indirect (type $t) {argument} (i32.const {}))", self.below(8))
            }
            _ => "(memory.size)".to_owned(),
        }
    }
}

/// Everything that can be seen of a module's functions.
fn seen(engine: &Engine, bytes: &[u8]) -> Vec<i32> {
    let module = Module::new(engine, bytes).expect("valid");
    let mut linker = Linker::new(engine);
    for import in 0..4 {
        let name = format!("f{import}");
        linker.func_wrap("env", &name, move |x: i32| x.wrapping_mul(3) ^ import).expect("new");
    }
    let [_, _, _, size, _, _, poll] = ADDED_IMPORTS;
    linker.func_wrap(THREAD_MODULE, size, || 1).expect("new");
    linker.func_wrap(THREAD_MODULE, poll, || {}).expect("new");
    linker.define_unknown_imports_as_traps(&module).expect("the others are never called");
    let mut store = Store::new(engine, ());
    let instance = linker.instantiate(&mut store, &module).expect("instance");
    let mut seen = Vec::new();
    for function in 0.. {
        let name = format!("e{function}");
        let Ok(function) = instance.get_typed_func::<i32, i32>(&mut store, &name) else { break };
        for argument in [0, 1, -7] {
            seen.push(function.call(&mut store, argument).expect("no trap"));
        }
    }
    assert!(seen.len() >= 12, "there are functions");
    for index in 0..2 {
        let global = instance.get_global(&mut store, &global_export(index)).expect("exported");
        let Val::I32(value) = global.get(&mut store) else { panic!("it is an i32") };
        seen.push(value);
    }
    let memory = instance.get_memory(&mut store, "faasm.memory.0").expect("exported");
    seen.extend(memory.data(&store)[..65_536].iter().map(|byte| i32::from(*byte)));
    seen
}

#[test]
fn the_pass_changes_nothing_that_one_thread_can_see() {
    let engine = Engine::default();
    for seed in 0..MODULES {
        let shared =
            assemble(&Generator::module(seed, r#"(import "env" "memory" (memory 1 2 shared))"#));
        let plain = assemble(&Generator::module(seed, "(memory 1 2)"));
        let threaded = rewrite(&shared).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let plain = rewrite(&plain).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert!(
            seen(&engine, &threaded.bytes) == seen(&engine, &plain.bytes),
            "seed {seed}: {}",
            Generator::module(seed, "(memory 1 2)")
        );
    }
}
