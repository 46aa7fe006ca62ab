//! The module around the functions: sections read, changed where needed, and written in their order.

use wasm_encoder::{
    CodeSection, ConstExpr, CustomSection, ElementSection, ExportKind, ExportSection,
    FunctionSection, GlobalSection, GlobalType, ImportSection, Module, RawSection, SectionId,
    StartSection, TypeSection, ValType, reencode::Reencode,
};
use wasmparser::{
    FuncValidatorAllocations, FunctionBody, Parser, Payload, ValidPayload, Validator, WasmFeatures,
};

use super::{
    HELD_EXPORT, Migratable, STACK_IMPORTS, STACK_MODULE, STATE_EXPORT, UnwindError, UnwindReport,
    emit, encode::Places, graph::Reach, index::Index, liveness, tree,
};

/// A function to be validated while it is read.
type Unchecked = wasmparser::FuncToValidate<wasmparser::ValidatorResources>;

/// See [`super::make_migratable`].
pub(super) fn transform(
    bytes: &[u8],
    is_switch: &(dyn Fn(&str, &str) -> bool + Sync),
) -> Result<Migratable, UnwindError> {
    let functions = functions(bytes)?;
    let index = Index::read(bytes, is_switch)?;
    let bodies: Vec<FunctionBody<'_>> = functions.iter().map(|(_, body)| body.clone()).collect();
    let reach = Reach::new(&index, &bodies)?;
    let places = Places::new(&index);
    let mut report = UnwindReport::default();
    let mut code = CodeSection::new();
    let mut allocations = FuncValidatorAllocations::default();
    for ((unchecked, body), number) in functions.into_iter().zip(index.imports()..) {
        report.functions += 1;
        let mut validator = unchecked.into_validator(allocations);
        if !reach.function(number) {
            validator.validate(&body)?;
            allocations = validator.into_allocations();
            let mut places = places;
            places.parse_function_body(&mut code, body)?;
            continue;
        }
        refuse_references(&index, number)?;
        let mut tree = tree::read(&index, &reach, &mut validator, &body, number)?;
        allocations = validator.into_allocations();
        let sites = liveness::annotate(&mut tree, index.is_end(number));
        report.instrumented += 1;
        report.sites += sites.taken;
        report.held_sites += sites.held;
        code.function(&emit::function(places, &tree, sites.taken)?);
    }
    Ok(Migratable { bytes: assemble(bytes, &index, places, &code)?, report })
}

/// Validates the module except for the code of its functions, and lists those.
fn functions(bytes: &[u8]) -> Result<Vec<(Unchecked, FunctionBody<'_>)>, UnwindError> {
    let mut validator = Validator::new_with_features(WasmFeatures::all());
    let mut functions = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        if let ValidPayload::Func(unchecked, body) = validator.payload(&payload?)? {
            functions.push((unchecked, body));
        }
    }
    Ok(functions)
}

fn refuse_references(index: &Index, function: u32) -> Result<(), UnwindError> {
    if index.type_of(function)?.results().iter().copied().all(liveness::is_value) {
        return Ok(());
    }
    Err(UnwindError::Unsupported {
        function,
        what: "a reference as its result on the way to a waiting call",
        remedy: "return a number",
    })
}

/// Writes the sections in their order, with the new `code`.
fn assemble(
    bytes: &[u8],
    index: &Index,
    places: Places,
    code: &CodeSection,
) -> Result<Vec<u8>, UnwindError> {
    let mut assembly = Assembly::new(bytes, places);
    for payload in Parser::new(0).parse_all(bytes) {
        assembly.read(payload?)?;
    }
    add_imports(&mut assembly.types, &mut assembly.imports, index.types());
    for (name, global) in [(STATE_EXPORT, places.state), (HELD_EXPORT, places.held)] {
        let ty = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
        assembly.globals.global(ty, &ConstExpr::i32_const(0));
        assembly.exports.export(name, ExportKind::Global, global);
    }
    Ok(assembly.finish(code))
}

/// Adds the imports through which frames leave and enter; `first` is the number of the first new type.
fn add_imports(types: &mut TypeSection, imports: &mut ImportSection, first: u32) {
    let values = [vec![ValType::I64], vec![ValType::I64; 4], vec![ValType::V128]];
    let push = values.clone().map(|values| (values, vec![]));
    let zeros = [(vec![ValType::I32], vec![])];
    let pop = values.map(|values| (vec![], values));
    for ((name, (params, results)), ty) in
        STACK_IMPORTS.iter().zip(push.into_iter().chain(zeros).chain(pop)).zip(first..)
    {
        types.ty().function(params, results);
        imports.import(STACK_MODULE, name, wasm_encoder::EntityType::Function(ty));
    }
}

/// Sections that change, and those that are copied.
struct Assembly<'a> {
    places: Places,
    source: &'a [u8],
    types: TypeSection,
    imports: ImportSection,
    functions: FunctionSection,
    globals: GlobalSection,
    exports: ExportSection,
    elements: ElementSection,
    start: Option<u32>,
    /// Sections without function numbers, by their id.
    copied: Vec<(u8, &'a [u8])>,
    tables: Option<wasm_encoder::TableSection>,
    custom: Vec<(String, Vec<u8>)>,
}

impl<'a> Assembly<'a> {
    fn new(source: &'a [u8], places: Places) -> Self {
        Self {
            places,
            source,
            types: TypeSection::new(),
            imports: ImportSection::new(),
            functions: FunctionSection::new(),
            globals: GlobalSection::new(),
            exports: ExportSection::new(),
            elements: ElementSection::new(),
            start: None,
            copied: Vec::new(),
            tables: None,
            custom: Vec::new(),
        }
    }

    fn read(&mut self, payload: Payload<'a>) -> Result<(), UnwindError> {
        let mut places = self.places;
        match payload {
            Payload::TypeSection(section) => places.parse_type_section(&mut self.types, section)?,
            Payload::ImportSection(section) => {
                places.parse_import_section(&mut self.imports, section)?;
            }
            Payload::FunctionSection(section) => {
                places.parse_function_section(&mut self.functions, section)?;
            }
            Payload::TableSection(section) => {
                let mut tables = wasm_encoder::TableSection::new();
                places.parse_table_section(&mut tables, section)?;
                self.tables = Some(tables);
            }
            Payload::GlobalSection(section) => {
                places.parse_global_section(&mut self.globals, section)?;
            }
            Payload::ExportSection(section) => {
                places.parse_export_section(&mut self.exports, section)?;
            }
            Payload::ElementSection(section) => {
                places.parse_element_section(&mut self.elements, section)?;
            }
            Payload::StartSection { func, .. } => self.start = Some(places.function_index(func)?),
            Payload::CustomSection(section) => self.custom(&section)?,
            // Functions are written by the pass.
            Payload::CodeSectionStart { .. } | Payload::CodeSectionEntry(_) => {}
            other => {
                if let Some((id, range)) = other.as_section() {
                    let copy = self.source.get(range).unwrap_or_default();
                    self.copied.push((id, copy));
                }
            }
        }
        Ok(())
    }

    /// Keeps names, with the functions' new numbers; debug information would be wrong.
    fn custom(&mut self, section: &wasmparser::CustomSectionReader<'a>) -> Result<(), UnwindError> {
        let name = section.name();
        if let wasmparser::KnownCustom::Name(names) = section.as_known() {
            let mut places = self.places;
            // Broken names are no reason to refuse a program: they are only shown.
            if let Ok(names) = places.custom_name_section(names) {
                self.custom.push((name.into(), names.as_custom().data.into_owned()));
            }
        } else if !name.starts_with(".debug_") {
            self.custom.push((name.into(), section.data().to_vec()));
        }
        Ok(())
    }

    fn finish(self, code: &CodeSection) -> Vec<u8> {
        let mut module = Module::new();
        module.section(&self.types).section(&self.imports).section(&self.functions);
        if let Some(tables) = &self.tables {
            module.section(tables);
        }
        self.copy(&mut module, &[SectionId::Memory, SectionId::Tag]);
        module.section(&self.globals).section(&self.exports);
        if let Some(function_index) = self.start {
            module.section(&StartSection { function_index });
        }
        if !self.elements.is_empty() {
            module.section(&self.elements);
        }
        self.copy(&mut module, &[SectionId::DataCount]);
        module.section(code);
        self.copy(&mut module, &[SectionId::Data]);
        for (name, data) in &self.custom {
            module.section(&CustomSection { name: name.into(), data: data.into() });
        }
        module.finish()
    }

    fn copy(&self, module: &mut Module, ids: &[SectionId]) {
        for id in ids {
            let id = *id as u8;
            for &(_, data) in self.copied.iter().filter(|(copied, _)| *copied == id) {
                module.section(&RawSection { id, data });
            }
        }
    }
}
