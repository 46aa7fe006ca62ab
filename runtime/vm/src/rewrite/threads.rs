//! Makes a module whose memory is shared between threads ready to be instantiated once a thread.
//!
//! Wasmtime's own shared memories bypass the pool and its waits block the worker's thread. So the
//! module gets a plain memory of its own, which the pool places at the same addresses for every thread
//! of a rank, accessible up to its maximum from the start. What would need the others' help becomes
//! a call of the host:
//!
//! ```text
//! memory.atomic.wait32, wait64, notify    faasm_thread.atomic_wait32, .. with the offset behind
//! memory.size, memory.grow                faasm_thread.memory_size, memory_grow
//! each write of __stack_pointer           compared with the thread's limit, faasm_thread.stack_overflow
//! each loop that may wait for a store     faasm_thread.poll every 64 turns (see `polling`)
//! ```
//!
//! The imports are added behind those that are there, so the indices of the module's own functions
//! grow: code, elements, exports, the start function and the names are renumbered. Line tables
//! count bytes of code and are left out.

use std::collections::HashSet;

use wasm_encoder::reencode::{self, Reencode, utils};
use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, EntityType, Function, GlobalSection, GlobalType,
    ImportSection, Instruction, MemorySection, MemoryType, Module, SectionId, TypeSection, ValType,
};
use wasmparser::{DataKind, FunctionBody, Operator, Parser, TypeRef};

use super::polling::polling_loops;
use super::scan::Scan;
use super::{RewriteError, STACK_LIMIT_EXPORT};

/// The module that threads' functions are imported from.
pub const THREAD_MODULE: &str = "faasm_thread";

/// The functions that the pass imports; their order is that of `Added`.
pub const ADDED_IMPORTS: [&str; 7] = [
    "atomic_wait32",
    "atomic_wait64",
    "atomic_notify",
    "memory_size",
    "memory_grow",
    "stack_overflow",
    "poll",
];

/// Most pages of a threaded memory. The last page of the address space stays out of it, so that the main
/// thread's stack, which lies at the bottom, traps when it wraps around.
pub const SHARED_PAGES_MAX: u64 = 65_535;

/// Turns of a polling loop between two calls of the host.
const TURNS_BETWEEN_POLLS: i32 = 64;

/// Position of each function in [`ADDED_IMPORTS`].
#[derive(Copy, Clone, Debug)]
#[repr(u32)]
enum Added {
    Wait32,
    Wait64,
    Notify,
    Size,
    Grow,
    Overflow,
    Poll,
}

/// Types of the added functions: parameters and results.
const ADDED_TYPES: [(&[ValType], &[ValType]); 7] = [
    (&[ValType::I32, ValType::I32, ValType::I64, ValType::I32], &[ValType::I32]),
    (&[ValType::I32, ValType::I64, ValType::I64, ValType::I32], &[ValType::I32]),
    (&[ValType::I32, ValType::I32, ValType::I32], &[ValType::I32]),
    (&[], &[ValType::I32]),
    (&[ValType::I32], &[ValType::I32]),
    (&[], &[]),
    (&[], &[]),
];

/// The module with a plain memory and the host's help where threads need it.
pub(super) fn unshare(bytes: &[u8], scan: &Scan) -> Result<Vec<u8>, RewriteError> {
    let memory = scan.facts.memory;
    let pages = memory.max_pages.unwrap_or(SHARED_PAGES_MAX).min(SHARED_PAGES_MAX);
    if memory.min_pages > pages {
        return Err(RewriteError::SharedTooLarge { pages: memory.min_pages });
    }
    let mut pass = Unshare {
        pages,
        types: scan.counts.types,
        imported_functions: scan.counts.imported_functions,
        globals: scan.counts.globals,
        stack_pointer: scan.facts.stack_pointer,
        written: Written::default(),
    };
    let mut module = Module::new();
    pass.parse_core_module(&mut module, Parser::new(0), bytes).map_err(failure)?;
    Ok(module.finish())
}

pub(super) fn failure(cause: reencode::Error<RewriteError>) -> RewriteError {
    match cause {
        reencode::Error::ParseError(cause) => cause.into(),
        reencode::Error::UserError(cause) => cause,
        other => RewriteError::Malformed { what: other.to_string(), offset: 0 },
    }
}

/// The pass, with what it has to know of the module.
#[derive(Debug)]
struct Unshare {
    pages: u64,
    types: u32,
    imported_functions: u32,
    globals: u32,
    stack_pointer: Option<u32>,
    written: Written,
}

/// The sections that something is added to, as far as they are written.
#[derive(Copy, Clone, Debug, Default)]
struct Written {
    types: bool,
    imports: bool,
    memory: bool,
    globals: bool,
}

type Result2<T> = Result<T, reencode::Error<RewriteError>>;

impl Unshare {
    const fn call(&self, function: Added) -> Instruction<'static> {
        Instruction::Call(self.imported_functions + function as u32)
    }

    /// The lowest address that the thread's stack may reach; 0 without a limit.
    const fn limit_global(&self) -> u32 {
        self.globals
    }

    /// Turns until the next call of the host from a polling loop.
    const fn turns_global(&self) -> u32 {
        self.globals + 1
    }

    const fn memory_ty(&self) -> MemoryType {
        let (minimum, maximum) = (self.pages, Some(self.pages));
        MemoryType { minimum, maximum, memory64: false, shared: false, page_size_log2: None }
    }

    fn add_types(&mut self, types: &mut TypeSection) {
        self.written.types = true;
        for (params, results) in ADDED_TYPES {
            types.ty().function(params.iter().copied(), results.iter().copied());
        }
    }

    fn add_imports(&mut self, imports: &mut ImportSection) {
        self.written.imports = true;
        for (ty, name) in (self.types..).zip(ADDED_IMPORTS) {
            imports.import(THREAD_MODULE, name, EntityType::Function(ty));
        }
    }

    fn add_globals(&mut self, globals: &mut GlobalSection) {
        self.written.globals = true;
        let ty = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
        globals.global(ty, &ConstExpr::i32_const(0));
        globals.global(ty, &ConstExpr::i32_const(TURNS_BETWEEN_POLLS));
    }

    /// Writes the sections that the module lacks and whose place is before section `before`.
    fn write_missing(&mut self, module: &mut Module, before: u8) {
        if !self.written.types && before > place(SectionId::Type) {
            let mut types = TypeSection::new();
            self.add_types(&mut types);
            module.section(&types);
        }
        if !self.written.imports && before > place(SectionId::Import) {
            let mut imports = ImportSection::new();
            self.add_imports(&mut imports);
            module.section(&imports);
        }
        if !self.written.memory && before > place(SectionId::Memory) {
            self.written.memory = true;
            let mut memories = MemorySection::new();
            memories.memory(self.memory_ty());
            module.section(&memories);
        }
        if !self.written.globals && before > place(SectionId::Global) {
            let mut globals = GlobalSection::new();
            self.add_globals(&mut globals);
            module.section(&globals);
        }
    }

    fn operator(&mut self, out: &mut Function, operator: Operator<'_>) -> Result2<()> {
        let offset = |offset: u64| Instruction::I32Const((offset as u32).cast_signed());
        match operator {
            Operator::MemoryAtomicWait32 { memarg } => {
                out.instruction(&offset(memarg.offset)).instruction(&self.call(Added::Wait32));
            }
            Operator::MemoryAtomicWait64 { memarg } => {
                out.instruction(&offset(memarg.offset)).instruction(&self.call(Added::Wait64));
            }
            Operator::MemoryAtomicNotify { memarg } => {
                out.instruction(&offset(memarg.offset)).instruction(&self.call(Added::Notify));
            }
            Operator::MemorySize { .. } => {
                out.instruction(&self.call(Added::Size));
            }
            Operator::MemoryGrow { .. } => {
                out.instruction(&self.call(Added::Grow));
            }
            other => {
                out.instruction(&self.instruction(other)?);
            }
        }
        Ok(())
    }

    /// Ends the thread when its stack has left its room.
    fn check_stack(&self, out: &mut Function, stack_pointer: u32) {
        out.instruction(&Instruction::GlobalGet(stack_pointer))
            .instruction(&Instruction::GlobalGet(self.limit_global()))
            .instruction(&Instruction::I32LtU)
            .instruction(&Instruction::If(BlockType::Empty))
            .instruction(&self.call(Added::Overflow))
            .instruction(&Instruction::End);
    }

    /// Calls the host now and then.
    fn poll(&self, out: &mut Function) {
        let turns = self.turns_global();
        out.instruction(&Instruction::GlobalGet(turns))
            .instruction(&Instruction::I32Const(1))
            .instruction(&Instruction::I32Sub)
            .instruction(&Instruction::GlobalSet(turns))
            .instruction(&Instruction::GlobalGet(turns))
            .instruction(&Instruction::I32Eqz)
            .instruction(&Instruction::If(BlockType::Empty))
            .instruction(&Instruction::I32Const(TURNS_BETWEEN_POLLS))
            .instruction(&Instruction::GlobalSet(turns))
            .instruction(&self.call(Added::Poll))
            .instruction(&Instruction::End);
    }
}

/// Where the format puts a section of this kind; only the order counts.
const fn place(id: SectionId) -> u8 {
    match id {
        SectionId::Custom | SectionId::Type => 1,
        SectionId::Import => 2,
        SectionId::Function => 3,
        SectionId::Table => 4,
        SectionId::Memory => 5,
        SectionId::Tag => 6,
        SectionId::Global => 7,
        _ => 8,
    }
}

impl Reencode for Unshare {
    type Error = RewriteError;

    fn function_index(&mut self, function: u32) -> Result2<u32> {
        let added = ADDED_IMPORTS.len() as u32;
        Ok(if function < self.imported_functions { function } else { function + added })
    }

    fn memory_type(&mut self, _: wasmparser::MemoryType) -> Result2<MemoryType> {
        self.written.memory = true;
        Ok(self.memory_ty())
    }

    fn parse_type_section(
        &mut self,
        types: &mut TypeSection,
        section: wasmparser::TypeSectionReader<'_>,
    ) -> Result2<()> {
        utils::parse_type_section(self, types, section)?;
        self.add_types(types);
        Ok(())
    }

    fn parse_import_section(
        &mut self,
        imports: &mut ImportSection,
        section: wasmparser::ImportSectionReader<'_>,
    ) -> Result2<()> {
        for import in section.into_imports() {
            let import = import?;
            if !matches!(import.ty, TypeRef::Memory(_)) {
                imports.import(import.module, import.name, self.entity_type(import.ty)?);
            }
        }
        self.add_imports(imports);
        Ok(())
    }

    fn parse_global_section(
        &mut self,
        globals: &mut GlobalSection,
        section: wasmparser::GlobalSectionReader<'_>,
    ) -> Result2<()> {
        utils::parse_global_section(self, globals, section)?;
        self.add_globals(globals);
        Ok(())
    }

    fn parse_export_section(
        &mut self,
        exports: &mut wasm_encoder::ExportSection,
        section: wasmparser::ExportSectionReader<'_>,
    ) -> Result2<()> {
        utils::parse_export_section(self, exports, section)?;
        exports.export(STACK_LIMIT_EXPORT, wasm_encoder::ExportKind::Global, self.limit_global());
        Ok(())
    }

    fn intersperse_section_hook(
        &mut self,
        module: &mut Module,
        _: Option<SectionId>,
        before: Option<SectionId>,
    ) -> Result2<()> {
        self.write_missing(module, before.map_or(u8::MAX, place));
        Ok(())
    }

    fn parse_data(
        &mut self,
        data: &mut wasm_encoder::DataSection,
        datum: wasmparser::Data<'_>,
    ) -> Result2<()> {
        if matches!(datum.kind, DataKind::Active { .. }) {
            return Err(reencode::Error::UserError(RewriteError::ActiveData));
        }
        utils::parse_data(self, data, datum)
    }

    fn parse_custom_section(
        &mut self,
        module: &mut Module,
        section: wasmparser::CustomSectionReader<'_>,
    ) -> Result2<()> {
        if section.name().starts_with(".debug_") {
            return Ok(());
        }
        utils::parse_custom_section(self, module, section)
    }

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: FunctionBody<'_>,
    ) -> Result2<()> {
        let polling: HashSet<u32> = polling_loops(&body).map_err(reencode::Error::UserError)?;
        let mut out = self.new_function_with_parsed_locals(&body)?;
        let mut reader = body.get_operators_reader()?;
        let mut loops = 0;
        let mut gives_back = false;
        while !reader.eof() {
            let operator = reader.read()?;
            // A sum is what a function leaves with: it gives its part of the stack back.
            let after_sum =
                std::mem::replace(&mut gives_back, matches!(operator, Operator::I32Add));
            match operator {
                Operator::GlobalSet { global_index }
                    if Some(global_index) == self.stack_pointer && !after_sum =>
                {
                    self.operator(&mut out, operator)?;
                    self.check_stack(&mut out, global_index);
                }
                Operator::Loop { .. } => {
                    self.operator(&mut out, operator)?;
                    if polling.contains(&loops) {
                        self.poll(&mut out);
                    }
                    loops += 1;
                }
                operator => self.operator(&mut out, operator)?,
            }
        }
        code.function(&out);
        Ok(())
    }
}
