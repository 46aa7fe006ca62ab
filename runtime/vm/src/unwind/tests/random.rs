//! Random programs: calls in the middle of expressions, loops, branches and tables.

use std::fmt::Write;

use super::host::{compare, engine};

/// Functions of a program; each calls only later ones, so that it ends.
const FUNCTIONS: u32 = 5;

/// Programs tried.
const PROGRAMS: u64 = 150;

#[test]
fn random_programs_survive_moves() {
    let engine = engine();
    let mut moves = 0;
    for seed in 1..=PROGRAMS {
        moves += u64::from(compare(&engine, &Program::new(seed).text()) > 0);
    }
    // Most must have moved, or the programs test nothing.
    assert!(moves > PROGRAMS / 2, "{moves} of {PROGRAMS} programs moved");
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    I32,
    I64,
    F64,
}

impl Type {
    const ALL: [Self; 3] = [Self::I32, Self::I64, Self::F64];

    fn name(self) -> &'static str {
        match self {
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::F64 => "f64",
        }
    }
}

struct Program {
    state: u64,
    out: String,
    function: u32,
    /// Labels that are open: whether it is a loop.
    labels: Vec<bool>,
    /// Loop counters in use.
    counters: u32,
}

impl Program {
    fn new(seed: u64) -> Self {
        let state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        Self { state, out: String::new(), function: 0, labels: Vec::new(), counters: 0 }
    }

    fn below(&mut self, bound: u32) -> u32 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        ((self.state >> 33) as u32) % bound
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        self.out.write_fmt(text).expect("a string");
        self.out.push(' ');
    }

    fn text(mut self) -> String {
        self.put(format_args!(
            "(module
             (import \"env\" \"point\" (func $point (param i32 i64) (result i32)))
             (import \"env\" \"note\" (func $note (param i32)))
             (memory (export \"memory\") 1)
             (type $t (func (param i32 i64 f64) (result i64)))
             (table {FUNCTIONS} funcref) (elem (i32.const 0) $f0 $f1 $f2 $f3 $f4)
             (global $g (export \"g\") (mut i64) (i64.const 1))
             (func (export \"run\") (result i64)
               (call $f0 (i32.const 3) (i64.const 4) (f64.const 5)))"
        ));
        for function in 0..FUNCTIONS {
            self.function = function;
            self.put(format_args!(
                "(func $f{function} (type $t)
                   (local i32 i32 i64 i64 f64 f64) (local $c0 i32) (local $c1 i32) (local $c2 i32)"
            ));
            self.statements(4, 4);
            self.expression(Type::I64, 4);
            self.put(format_args!(")\n"));
        }
        self.put(format_args!(")"));
        self.out
    }

    /// A local that programs may write: parameters and declared ones.
    fn local(&mut self, ty: Type) -> u32 {
        let choices = match ty {
            Type::I32 => [0, 3, 4],
            Type::I64 => [1, 5, 6],
            Type::F64 => [2, 7, 8],
        };
        choices[self.below(3) as usize]
    }

    fn any_type(&mut self) -> Type {
        Type::ALL[self.below(3) as usize]
    }

    fn statements(&mut self, most: u32, depth: u32) {
        for _ in 0..=self.below(most) {
            self.statement(depth);
        }
    }

    fn statement(&mut self, depth: u32) {
        let deep = if depth == 0 { 4 } else { 11 };
        match self.below(deep) {
            0 | 1 => {
                let ty = self.any_type();
                let local = self.local(ty);
                self.expression(ty, depth);
                self.put(format_args!("local.set {local}"));
            }
            2 => {
                self.expression(Type::I32, depth.saturating_sub(1));
                self.put(format_args!("call $note"));
            }
            3 => {
                self.expression(Type::I64, depth.saturating_sub(1));
                self.put(format_args!("global.get $g i64.add global.set $g"));
            }
            4 => {
                self.expression(Type::I32, depth - 1);
                self.put(format_args!("i32.const 1020 i32.and"));
                self.expression(Type::I64, depth - 1);
                self.put(format_args!("i64.store"));
            }
            5 => self.repeat(depth),
            6 => {
                self.expression(Type::I32, depth - 1);
                self.put(format_args!("if"));
                self.within(false, |program| program.statements(2, depth - 1));
                if self.below(2) == 0 {
                    self.put(format_args!("else"));
                    self.within(false, |program| program.statements(2, depth - 1));
                }
                self.put(format_args!("end"));
            }
            7 => {
                self.put(format_args!("block"));
                self.within(false, |program| {
                    program.statements(2, depth - 1);
                    program.leave(depth - 1);
                    program.statements(1, depth - 1);
                });
                self.put(format_args!("end"));
            }
            8 => self.choose(depth),
            9 => {
                let ty = self.any_type();
                self.expression(ty, depth);
                self.put(format_args!("drop"));
            }
            _ => {
                self.expression(Type::I32, depth - 1);
                self.put(format_args!("i32.const 255 i32.and i32.eqz if"));
                self.within(false, |program| program.expression(Type::I64, depth - 1));
                self.put(format_args!("return end"));
            }
        }
    }

    fn within(&mut self, is_loop: bool, body: impl FnOnce(&mut Self)) {
        self.labels.push(is_loop);
        body(self);
        self.labels.pop();
    }

    /// A loop that ends.
    fn repeat(&mut self, depth: u32) {
        if self.counters == 3 {
            return;
        }
        let counter = self.counters;
        let times = 1 + self.below(3);
        self.counters += 1;
        self.put(format_args!("i32.const {times} local.set $c{counter} loop"));
        self.within(true, |program| program.statements(3, depth - 1));
        self.put(format_args!(
            "local.get $c{counter} i32.const 1 i32.sub local.tee $c{counter} br_if 0 end"
        ));
        self.counters -= 1;
    }

    /// Leaves a block, if it wants to.
    fn leave(&mut self, depth: u32) {
        let outward: Vec<usize> = (0..self.labels.len())
            .filter(|&label| !self.labels[self.labels.len() - 1 - label])
            .collect();
        let at = self.below(u32::try_from(outward.len()).expect("few labels")) as usize;
        self.expression(Type::I32, depth);
        self.put(format_args!("i32.const 3 i32.and i32.eqz br_if {}", outward[at]));
    }

    /// A table of branches.
    fn choose(&mut self, depth: u32) {
        self.put(format_args!("block block block"));
        self.expression(Type::I32, depth - 1);
        self.put(format_args!("i32.const 3 i32.and br_table 0 1 2 end"));
        for _ in 0..3 {
            self.labels.push(false);
        }
        self.labels.pop();
        self.statements(1, depth - 1);
        self.put(format_args!("end"));
        self.labels.pop();
        self.statements(1, depth - 1);
        self.put(format_args!("end"));
        self.labels.pop();
    }

    /// Code that leaves one value of `ty`.
    fn expression(&mut self, ty: Type, depth: u32) {
        let choices = if depth == 0 { 2 } else { 9 };
        match self.below(choices) {
            0 => {
                let value = self.below(100);
                self.put(format_args!("{}.const {value}", ty.name()));
            }
            1 => {
                let local = self.local(ty);
                self.put(format_args!("local.get {local}"));
            }
            2 | 3 => {
                self.expression(ty, depth - 1);
                self.expression(ty, depth - 1);
                let operation = ["add", "sub", "mul"][self.below(3) as usize];
                self.put(format_args!("{}.{operation}", ty.name()));
            }
            4 => {
                self.put(format_args!("block (result {})", ty.name()));
                // A branch to this label would need a value.
                self.within(true, |program| {
                    program.statements(1, depth - 1);
                    program.expression(ty, depth - 1);
                });
                self.put(format_args!("end"));
            }
            5 => {
                self.expression(Type::I32, depth - 1);
                self.put(format_args!("if (result {})", ty.name()));
                self.within(true, |program| program.expression(ty, depth - 1));
                self.put(format_args!("else"));
                self.within(true, |program| program.expression(ty, depth - 1));
                self.put(format_args!("end"));
            }
            6 => {
                self.call(depth - 1);
                self.convert(Type::I64, ty);
            }
            _ => {
                self.expression(Type::I32, depth - 1);
                self.expression(Type::I64, depth - 1);
                self.put(format_args!("call $point"));
                self.convert(Type::I32, ty);
            }
        }
    }

    /// Calls a later function, directly or through the table.
    fn call(&mut self, depth: u32) {
        let later = FUNCTIONS - 1 - self.function;
        if later == 0 {
            return self.expression(Type::I64, depth);
        }
        let target = self.function + 1 + self.below(later);
        for ty in Type::ALL {
            self.expression(ty, depth);
        }
        if self.below(3) == 0 {
            self.put(format_args!("i32.const {target} call_indirect (type $t)"));
        } else {
            self.put(format_args!("call $f{target}"));
        }
    }

    fn convert(&mut self, from: Type, to: Type) {
        let conversion = match (from, to) {
            (Type::I32, Type::I64) => "i64.extend_i32_s",
            (Type::I32, Type::F64) => "f64.convert_i32_s",
            (Type::I64, Type::I32) => "i32.wrap_i64",
            (Type::I64, Type::F64) => "f64.convert_i64_s",
            _ => return,
        };
        self.put(format_args!("{conversion}"));
    }
}
