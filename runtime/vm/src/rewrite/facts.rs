//! What a module is, as far as loading and linking need to know.

use std::fmt;

/// What one module imports, exports and holds, as it was before the pass.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ModuleFacts {
    /// Imports in the order of the module.
    pub imports: Vec<Import>,
    /// Exports in the order of the module.
    pub exports: Vec<Export>,
    /// The linear memory.
    pub memory: MemoryFacts,
    /// Number of functions that the module defines.
    pub functions: u32,
    /// Number of tables, imported ones included.
    pub tables: u32,
    /// Indices of the mutable globals, imported ones included.
    pub mutable_globals: Vec<u32>,
    /// Index of the global that holds the C stack pointer: the one named `__stack_pointer`, else
    /// global 0 where it looks as the LLVM linker makes it; `None` when neither is there.
    pub stack_pointer: Option<u32>,
    /// Whether the name section, which backtraces take function names from, is there.
    pub has_names: bool,
    /// Whether line tables are there, as made by `-g`.
    pub has_line_tables: bool,
}

impl ModuleFacts {
    /// Whether the module is a program: whether it exports a function `_start`.
    pub fn has_start(&self) -> bool {
        self.exports_function("_start")
    }

    /// Whether the module is a library to be set up first: whether it exports `_initialize`.
    pub fn has_initialize(&self) -> bool {
        self.exports_function("_initialize")
    }

    /// Whether the module imports anything of MPI.
    pub fn imports_mpi(&self) -> bool {
        self.imports.iter().any(|import| import.module == "mpi")
    }

    fn exports_function(&self, name: &str) -> bool {
        self.exports
            .iter()
            .any(|export| export.kind == ExternalKind::Function && export.name == name)
    }
}

/// The linear memory of a module.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct MemoryFacts {
    /// Pages of 64 KiB it starts with.
    pub min_pages: u64,
    /// Pages of 64 KiB it may grow to, if the module sets a limit.
    pub max_pages: Option<u64>,
    /// Whether the host must supply it.
    pub imported: bool,
    /// Whether threads share it.
    pub shared: bool,
}

/// One import.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Import {
    /// The module it is imported from.
    pub module: String,
    /// Its name there.
    pub name: String,
    /// What it must be.
    pub ty: ImportType,
}

/// What an import must be.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ImportType {
    /// A function of this type.
    Function(FunctionType),
    /// A table.
    Table,
    /// A memory.
    Memory,
    /// A global.
    Global {
        /// Type of its value.
        value: ValueType,
        /// Whether the module may change it.
        mutable: bool,
    },
    /// An exception tag.
    Tag,
}

/// One export.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Export {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: ExternalKind,
    /// Its index among the items of its kind.
    pub index: u32,
}

/// The kinds of things that a module can export.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub enum ExternalKind {
    /// A function.
    Function,
    /// A table.
    Table,
    /// A memory.
    Memory,
    /// A global.
    Global,
    /// An exception tag.
    Tag,
}

/// Parameters and results of a function.
#[derive(Clone, Debug, Default, Eq, PartialEq, Hash)]
pub struct FunctionType {
    /// Types of the parameters.
    pub params: Vec<ValueType>,
    /// Types of the results.
    pub results: Vec<ValueType>,
}

impl fmt::Display for FunctionType {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |types: &[ValueType]| {
            types.iter().map(ValueType::to_string).collect::<Vec<_>>().join(", ")
        };
        write!(out, "({}) -> ({})", list(&self.params), list(&self.results))
    }
}

/// The type of a value.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub enum ValueType {
    /// A 32-bit integer or address.
    I32,
    /// A 64-bit integer.
    I64,
    /// A single-precision number.
    F32,
    /// A double-precision number.
    F64,
    /// A 128-bit vector.
    V128,
    /// A reference of any kind.
    Reference,
}

impl fmt::Display for ValueType {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::V128 => "v128",
            Self::Reference => "ref",
        })
    }
}

impl From<wasmparser::ValType> for ValueType {
    fn from(ty: wasmparser::ValType) -> Self {
        match ty {
            wasmparser::ValType::I32 => Self::I32,
            wasmparser::ValType::I64 => Self::I64,
            wasmparser::ValType::F32 => Self::F32,
            wasmparser::ValType::F64 => Self::F64,
            wasmparser::ValType::V128 => Self::V128,
            wasmparser::ValType::Ref(_) => Self::Reference,
        }
    }
}

impl From<wasmparser::ExternalKind> for ExternalKind {
    fn from(kind: wasmparser::ExternalKind) -> Self {
        match kind {
            wasmparser::ExternalKind::Func | wasmparser::ExternalKind::FuncExact => Self::Function,
            wasmparser::ExternalKind::Table => Self::Table,
            wasmparser::ExternalKind::Memory => Self::Memory,
            wasmparser::ExternalKind::Global => Self::Global,
            wasmparser::ExternalKind::Tag => Self::Tag,
        }
    }
}
