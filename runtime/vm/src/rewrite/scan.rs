//! Reads every section but the code and the data, and gathers the facts.

use wasmparser::{
    CompositeInnerType, ConstExpr, CustomSectionReader, ExportSectionReader, FunctionSectionReader,
    GlobalSectionReader, GlobalType, ImportSectionReader, KnownCustom, MemorySectionReader,
    MemoryType, Name, Operator, TableSectionReader, TableType, TypeRef, TypeSectionReader, ValType,
};

use super::facts::{Export, FunctionType, Import, ImportType, MemoryFacts, ModuleFacts};
use super::sections::{Section, id, sections};
use super::{ExternalKind, RewriteError};

/// A module's sections and facts.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) sections: Vec<Section>,
    pub(super) facts: ModuleFacts,
    pub(super) counts: Counts,
}

/// How many items of a kind there are.
#[derive(Copy, Clone, Debug)]
pub(super) struct Counts {
    pub(super) types: u32,
    pub(super) imported_functions: u32,
    /// Imported ones included.
    pub(super) globals: u32,
}

/// Reads the module in `bytes`.
pub(super) fn scan(bytes: &[u8]) -> Result<Scan, RewriteError> {
    let sections = sections(bytes)?;
    let mut scanner = Scanner::default();
    for section in &sections {
        scanner.section(bytes, section)?;
    }
    let is_function = |import: &&Import| matches!(import.ty, ImportType::Function(_));
    let counts = Counts {
        types: scanner.types.len() as u32,
        imported_functions: scanner.imports.iter().filter(is_function).count() as u32,
        globals: scanner.globals,
    };
    let facts = scanner.finish()?;
    Ok(Scan { sections, facts, counts })
}

#[derive(Debug, Default)]
struct Scanner {
    types: Vec<Option<FunctionType>>,
    imports: Vec<Import>,
    exports: Vec<Export>,
    memories: u32,
    memory: Option<MemoryFacts>,
    functions: u32,
    tables: u32,
    globals: u32,
    mutable_globals: Vec<u32>,
    /// What the LLVM linker puts first: the initial value of a mutable `i32`, as global 0.
    first_global_init: Option<i32>,
    named_stack_pointer: Option<u32>,
    has_names: bool,
    has_line_tables: bool,
}

impl Scanner {
    fn section(&mut self, bytes: &[u8], section: &Section) -> Result<(), RewriteError> {
        let reader = section.reader(bytes);
        match section.id {
            id::CUSTOM => self.custom(&CustomSectionReader::new(reader)?),
            id::TYPE => self.types(TypeSectionReader::new(reader)?),
            id::IMPORT => self.imports(ImportSectionReader::new(reader)?),
            id::FUNCTION => {
                self.functions = FunctionSectionReader::new(reader)?.count();
                Ok(())
            }
            id::TABLE => {
                for table in TableSectionReader::new(reader)? {
                    self.table(&table?.ty)?;
                }
                Ok(())
            }
            id::MEMORY => {
                for memory in MemorySectionReader::new(reader)? {
                    self.memory(&memory?, false)?;
                }
                Ok(())
            }
            id::GLOBAL => self.globals(GlobalSectionReader::new(reader)?),
            id::EXPORT => self.exports(ExportSectionReader::new(reader)?),
            _ => Ok(()),
        }
    }

    fn custom(&mut self, section: &CustomSectionReader<'_>) -> Result<(), RewriteError> {
        match section.name() {
            "linking" => return Err(RewriteError::ObjectFile),
            "dylink.0" | "dylink" => return Err(RewriteError::DynamicLibrary),
            ".debug_line" => self.has_line_tables = true,
            _ => {}
        }
        if let KnownCustom::Name(subsections) = section.as_known() {
            self.has_names = true;
            // A damaged name section harms only backtraces, so what cannot be read is left out.
            for name in subsections.map_while(Result::ok) {
                if let Name::Global(names) = name {
                    let mut names = names.into_iter().map_while(Result::ok);
                    let found = names.find(|naming| naming.name == STACK_POINTER);
                    self.named_stack_pointer = found.map(|naming| naming.index);
                }
            }
        }
        Ok(())
    }

    fn types(&mut self, reader: TypeSectionReader<'_>) -> Result<(), RewriteError> {
        for group in reader {
            for ty in group?.into_types() {
                self.types.push(match ty.composite_type.inner {
                    CompositeInnerType::Func(ty) => Some(FunctionType {
                        params: ty.params().iter().map(|&ty| ty.into()).collect(),
                        results: ty.results().iter().map(|&ty| ty.into()).collect(),
                    }),
                    _ => None,
                });
            }
        }
        Ok(())
    }

    fn imports(&mut self, reader: ImportSectionReader<'_>) -> Result<(), RewriteError> {
        for import in reader.into_imports_with_offsets() {
            let (offset, import) = import?;
            let ty = match import.ty {
                TypeRef::Func(index) | TypeRef::FuncExact(index) => {
                    ImportType::Function(self.function_type(index, offset)?)
                }
                TypeRef::Table(ty) => {
                    self.table(&ty)?;
                    ImportType::Table
                }
                TypeRef::Memory(ty) => {
                    self.memory(&ty, true)?;
                    ImportType::Memory
                }
                TypeRef::Global(ty) => {
                    self.global(ty);
                    ImportType::Global { value: ty.content_type.into(), mutable: ty.mutable }
                }
                TypeRef::Tag(_) => ImportType::Tag,
            };
            let (module, name) = (import.module.to_owned(), import.name.to_owned());
            self.imports.push(Import { module, name, ty });
        }
        Ok(())
    }

    fn function_type(&self, index: u32, offset: usize) -> Result<FunctionType, RewriteError> {
        let ty = self.types.get(index as usize).cloned().flatten();
        ty.ok_or_else(|| RewriteError::Malformed {
            what: format!("type {index} is no function type"),
            offset,
        })
    }

    fn table(&mut self, ty: &TableType) -> Result<(), RewriteError> {
        if ty.table64 {
            return Err(RewriteError::SixtyFourBit { item: "table" });
        }
        self.tables += 1;
        Ok(())
    }

    fn memory(&mut self, ty: &MemoryType, imported: bool) -> Result<(), RewriteError> {
        if ty.memory64 {
            return Err(RewriteError::SixtyFourBit { item: "memory" });
        }
        if let Some(page_size_log2) = ty.page_size_log2.filter(|&log2| log2 != WASM_PAGE_LOG2) {
            return Err(RewriteError::PageSize { page_size_log2 });
        }
        self.memories += 1;
        let (min_pages, max_pages, shared) = (ty.initial, ty.maximum, ty.shared);
        self.memory = Some(MemoryFacts { min_pages, max_pages, imported, shared });
        Ok(())
    }

    fn globals(&mut self, reader: GlobalSectionReader<'_>) -> Result<(), RewriteError> {
        for global in reader {
            let global = global?;
            if self.globals == 0 && global.ty.mutable && global.ty.content_type == ValType::I32 {
                self.first_global_init = i32_constant(&global.init_expr);
            }
            self.global(global.ty);
        }
        Ok(())
    }

    fn global(&mut self, ty: GlobalType) {
        if ty.mutable {
            self.mutable_globals.push(self.globals);
        }
        self.globals += 1;
    }

    fn exports(&mut self, reader: ExportSectionReader<'_>) -> Result<(), RewriteError> {
        for export in reader {
            let export = export?;
            let name = export.name.to_owned();
            self.exports.push(Export { name, kind: export.kind.into(), index: export.index });
        }
        Ok(())
    }

    fn finish(self) -> Result<ModuleFacts, RewriteError> {
        if self.memories > 1 {
            return Err(RewriteError::Memories { count: self.memories });
        }
        let memory = self.memory.ok_or(RewriteError::NoMemory)?;
        let stack_pointer = self.stack_pointer(memory);
        Ok(ModuleFacts {
            imports: self.imports,
            exports: self.exports,
            memory,
            functions: self.functions,
            tables: self.tables,
            mutable_globals: self.mutable_globals,
            stack_pointer,
            has_names: self.has_names,
            has_line_tables: self.has_line_tables,
        })
    }

    fn stack_pointer(&self, memory: MemoryFacts) -> Option<u32> {
        let exported = self
            .exports
            .iter()
            .find(|export| export.kind == ExternalKind::Global && export.name == STACK_POINTER);
        let named = exported.map(|export| export.index).or(self.named_stack_pointer);
        named.filter(|index| self.mutable_globals.contains(index)).or_else(|| {
            let start = u64::from(self.first_global_init?.cast_unsigned());
            let in_memory = start > 0 && start <= memory.min_pages << WASM_PAGE_LOG2;
            (in_memory && start % C_STACK_ALIGNMENT == 0).then_some(0)
        })
    }
}

fn i32_constant(init: &ConstExpr<'_>) -> Option<i32> {
    let mut operators = init.get_operators_reader();
    match (operators.read().ok()?, operators.read().ok()?) {
        (Operator::I32Const { value }, Operator::End) => Some(value),
        _ => None,
    }
}

/// The LLVM linker's name of the C stack pointer.
const STACK_POINTER: &str = "__stack_pointer";

/// Alignment of the C stack in the ABI of wasm32.
const C_STACK_ALIGNMENT: u64 = 16;

const WASM_PAGE_LOG2: u32 = crate::page::WASM_PAGE_BYTES.trailing_zeros();
