//! Makes a module's atomic operations calls of the host, for a program whose memory is a copy of another node's.
//!
//! It runs behind the other passes. Each instruction becomes a call with its operands, its offset and its number behind the
//! prefix of atomics; fences and what waits or wakes stay, and so does the start function. The imports are added behind those that are there.
//!
//! ```text
//! span_load32, span_load64           (address, offset, number) -> value
//! span_store32, span_store64         (address, value, offset, number)
//! span_update32, span_update64       (address, value, offset, number) -> what was there
//! span_exchange32, span_exchange64   (address, expected, value, offset, number) -> what was there
//! ```

use std::collections::BTreeSet;

use wasm_encoder::reencode::{self, Reencode, utils};
use wasm_encoder::{
    CodeSection, EntityType, Function, ImportSection, Instruction, Module, TypeSection, ValType,
};
use wasmparser::{FunctionBody, MemArg, Operator, Parser, Payload};

use super::{RewriteError, scan};

/// The module from which the functions are imported.
const ATOMICS_MODULE: &str = "omp";

/// The functions, in the order in which they are imported.
pub const ATOMICS_IMPORTS: [&str; 8] = [
    "span_load32",
    "span_load64",
    "span_store32",
    "span_store64",
    "span_update32",
    "span_update64",
    "span_exchange32",
    "span_exchange64",
];

/// Version of this pass; part of the key of compiled code.
pub const ATOMICS_VERSION: u32 = 1;

/// Types of the functions: parameters and results.
const TYPES: [(&[ValType], &[ValType]); 8] = [
    (&[ValType::I32; 3], &[ValType::I32]),
    (&[ValType::I32; 3], &[ValType::I64]),
    (&[ValType::I32; 4], &[]),
    (&[ValType::I32, ValType::I64, ValType::I32, ValType::I32], &[]),
    (&[ValType::I32; 4], &[ValType::I32]),
    (&[ValType::I32, ValType::I64, ValType::I32, ValType::I32], &[ValType::I64]),
    (&[ValType::I32; 5], &[ValType::I32]),
    (&[ValType::I32, ValType::I64, ValType::I64, ValType::I32, ValType::I32], &[ValType::I64]),
];

/// The module with its atomic operations made calls; `bytes` is what `rewrite` gave.
///
/// # Errors
/// When it is no module.
pub fn forward_atomics(bytes: &[u8]) -> Result<Vec<u8>, RewriteError> {
    let counts = scan::scan(bytes)?.counts;
    let (types, imports) = (counts.types, counts.imported_functions);
    let mut pass = Forward {
        types,
        imports,
        has_types: false,
        has_imports: false,
        kept: start_functions(bytes, imports)?,
        body: imports,
    };
    let mut module = Module::new();
    pass.parse_core_module(&mut module, Parser::new(0), bytes).map_err(super::threads::failure)?;
    match pass.has_types && pass.has_imports {
        true => Ok(module.finish()),
        // A threaded module has imported functions, and so both sections.
        false => Err(RewriteError::Malformed { what: "no imports".to_owned(), offset: 0 }),
    }
}

#[derive(Debug)]
struct Forward {
    types: u32,
    imports: u32,
    has_types: bool,
    has_imports: bool,
    /// Functions that stay as they are.
    kept: BTreeSet<u32>,
    /// Index of the function whose body comes next.
    body: u32,
}

/// The start function and those that it calls: they run before the host knows the memory, and prepare each copy.
fn start_functions(bytes: &[u8], imports: u32) -> Result<BTreeSet<u32>, RewriteError> {
    let mut found = BTreeSet::new();
    let mut body = imports;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::StartSection { func, .. } => drop(found.insert(func)),
            Payload::CodeSectionEntry(code) if found.contains(&body) => {
                for operator in code.get_operators_reader()? {
                    if let Operator::Call { function_index } = operator? {
                        found.insert(function_index);
                    }
                }
                body += 1;
            }
            Payload::CodeSectionEntry(_) => body += 1,
            _ => {}
        }
    }
    Ok(found)
}

type Result2<T> = Result<T, reencode::Error<RewriteError>>;

impl Reencode for Forward {
    type Error = RewriteError;

    fn function_index(&mut self, function: u32) -> Result2<u32> {
        let added = ATOMICS_IMPORTS.len() as u32;
        Ok(if function < self.imports { function } else { function + added })
    }

    fn parse_type_section(
        &mut self,
        types: &mut TypeSection,
        section: wasmparser::TypeSectionReader<'_>,
    ) -> Result2<()> {
        utils::parse_type_section(self, types, section)?;
        for (params, results) in TYPES {
            types.ty().function(params.iter().copied(), results.iter().copied());
        }
        self.has_types = true;
        Ok(())
    }

    fn parse_import_section(
        &mut self,
        imports: &mut ImportSection,
        section: wasmparser::ImportSectionReader<'_>,
    ) -> Result2<()> {
        utils::parse_import_section(self, imports, section)?;
        for (ty, name) in (self.types..).zip(ATOMICS_IMPORTS) {
            imports.import(ATOMICS_MODULE, name, EntityType::Function(ty));
        }
        self.has_imports = true;
        Ok(())
    }

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: FunctionBody<'_>,
    ) -> Result2<()> {
        let mut out: Function = self.new_function_with_parsed_locals(&body)?;
        let mut reader = body.get_operators_reader()?;
        let is_kept = self.kept.contains(&self.body);
        self.body += 1;
        while !reader.eof() {
            let operator = reader.read()?;
            let Some((index, memarg)) = atomic(&operator).filter(|_| !is_kept) else {
                out.instruction(&self.instruction(operator)?);
                continue;
            };
            out.instruction(&Instruction::I32Const((memarg.offset as u32).cast_signed()));
            out.instruction(&Instruction::I32Const((FIRST_NUMBER + index).cast_signed()));
            out.instruction(&Instruction::Call(self.imports + function(index)));
        }
        code.function(&out);
        Ok(())
    }
}

/// Number of the first of the operations behind the prefix of atomics.
const FIRST_NUMBER: u32 = 0x10;

/// Which of the functions stands for an operation.
const fn function(index: u32) -> u32 {
    let wide = matches!(index % 7, 1 | 4 | 5 | 6) as u32;
    let kind = match index / 7 {
        0 => 0,
        1 => 1,
        8 => 3,
        _ => 2,
    };
    2 * kind + wide
}

/// The index of an atomic operation on memory among them, and where it is.
fn atomic(operator: &Operator<'_>) -> Option<(u32, MemArg)> {
    macro_rules! operations {
        ($($name:ident),*) => {{
            let mut index = 0;
            $(
                if let Operator::$name { memarg } = operator {
                    return Some((index, *memarg));
                }
                index += 1;
            )*
            debug_assert_eq!(index, 63, "all operations are listed");
            None
        }};
    }
    operations!(
        I32AtomicLoad,
        I64AtomicLoad,
        I32AtomicLoad8U,
        I32AtomicLoad16U,
        I64AtomicLoad8U,
        I64AtomicLoad16U,
        I64AtomicLoad32U,
        I32AtomicStore,
        I64AtomicStore,
        I32AtomicStore8,
        I32AtomicStore16,
        I64AtomicStore8,
        I64AtomicStore16,
        I64AtomicStore32,
        I32AtomicRmwAdd,
        I64AtomicRmwAdd,
        I32AtomicRmw8AddU,
        I32AtomicRmw16AddU,
        I64AtomicRmw8AddU,
        I64AtomicRmw16AddU,
        I64AtomicRmw32AddU,
        I32AtomicRmwSub,
        I64AtomicRmwSub,
        I32AtomicRmw8SubU,
        I32AtomicRmw16SubU,
        I64AtomicRmw8SubU,
        I64AtomicRmw16SubU,
        I64AtomicRmw32SubU,
        I32AtomicRmwAnd,
        I64AtomicRmwAnd,
        I32AtomicRmw8AndU,
        I32AtomicRmw16AndU,
        I64AtomicRmw8AndU,
        I64AtomicRmw16AndU,
        I64AtomicRmw32AndU,
        I32AtomicRmwOr,
        I64AtomicRmwOr,
        I32AtomicRmw8OrU,
        I32AtomicRmw16OrU,
        I64AtomicRmw8OrU,
        I64AtomicRmw16OrU,
        I64AtomicRmw32OrU,
        I32AtomicRmwXor,
        I64AtomicRmwXor,
        I32AtomicRmw8XorU,
        I32AtomicRmw16XorU,
        I64AtomicRmw8XorU,
        I64AtomicRmw16XorU,
        I64AtomicRmw32XorU,
        I32AtomicRmwXchg,
        I64AtomicRmwXchg,
        I32AtomicRmw8XchgU,
        I32AtomicRmw16XchgU,
        I64AtomicRmw8XchgU,
        I64AtomicRmw16XchgU,
        I64AtomicRmw32XchgU,
        I32AtomicRmwCmpxchg,
        I64AtomicRmwCmpxchg,
        I32AtomicRmw8CmpxchgU,
        I32AtomicRmw16CmpxchgU,
        I64AtomicRmw8CmpxchgU,
        I64AtomicRmw16CmpxchgU,
        I64AtomicRmw32CmpxchgU
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULE: &str = r#"(module
        (import "env" "memory" (memory 1 1 shared))
        (import "env" "f" (func $f))
        (func $add (export "add") (param i32 i32) (result i32)
            local.get 0 local.get 1 i32.atomic.rmw.add offset=16)
        (func (export "more") (param i32 i64) (result i64)
            call $f
            local.get 0 i32.const 1 call $add drop
            local.get 0 local.get 1 i64.atomic.store32
            local.get 0 local.get 1 i64.const 7 i64.atomic.rmw16.cmpxchg_u offset=8)
        (func (export "load") (param i32) (result i32)
            atomic.fence
            local.get 0 i32.atomic.load8_u)
        (func $prepare
            i32.const 64 i32.const 0 i32.const 1 i32.atomic.rmw.cmpxchg drop)
        (start $prepare))"#;

    /// Index of the first function that is added: behind the program's own import and those for threads.
    const FIRST_ADDED: u32 = 1 + super::super::ADDED_IMPORTS.len() as u32;

    #[test]
    fn operations_become_calls() {
        let bytes = wat::parse_str(MODULE).expect("a module");
        let rewritten = super::super::rewrite(&bytes).expect("it is rewritten").bytes;
        let forwarded = forward_atomics(&rewritten).expect("it has imports");
        let (mut consts, mut calls, mut kept) = (Vec::new(), Vec::new(), 0);
        for payload in Parser::new(0).parse_all(&forwarded) {
            let wasmparser::Payload::CodeSectionEntry(body) = payload.expect("a module") else {
                continue;
            };
            for operator in body.get_operators_reader().expect("code") {
                match operator.expect("code") {
                    Operator::I32Const { value } => consts.push(value),
                    Operator::Call { function_index } => {
                        let number = function_index.checked_sub(FIRST_ADDED).map(|at| at as usize);
                        if let Some(name) = number.and_then(|at| ATOMICS_IMPORTS.get(at)) {
                            calls.push((*name, consts[consts.len() - 2..].to_vec()));
                        }
                    }
                    other => kept += usize::from(atomic(&other).is_some()),
                }
            }
        }
        let expected = [
            ("span_update32", vec![16, 0x1e]),
            ("span_store64", vec![0, 0x1d]),
            ("span_exchange64", vec![8, 0x4d]),
            ("span_load32", vec![0, 0x12]),
        ];
        assert_eq!((calls, kept), (expected.to_vec(), 1), "only the start function keeps its own");
        let scan = scan::scan(&forwarded).expect("a module");
        let added = scan.facts.imports.iter().filter(|import| import.name.starts_with("span_"));
        assert_eq!(added.count(), ATOMICS_IMPORTS.len());
    }
}
