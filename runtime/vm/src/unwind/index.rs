//! What a module declares: types of functions, and which of them are imports.

use std::collections::HashSet;

use wasmparser::{
    CompositeInnerType, FuncType, KnownCustom, Name, NameSectionReader, Naming, Parser, Payload,
    TypeRef,
};

use super::{STACK_MODULE, UnwindError};

/// The function index space of a module and its types.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Types in order; `None` for those that are not function types.
    types: Vec<Option<FuncType>>,
    /// For each type the first one equal to it: an indirect call compares structure, not numbers.
    same: Vec<u32>,
    /// Type of each function, imports first.
    functions: Vec<u32>,
    /// Which imported functions are switch points.
    pub(super) switch: Vec<bool>,
    /// Number of globals, imports first.
    pub(super) globals: u32,
    /// Functions whose address is taken outside of code.
    pub(super) addressed: Vec<u32>,
    /// Functions of C++'s type information, by their names.
    type_information: HashSet<u32>,
    /// Functions that end the program, by their names.
    ends: HashSet<u32>,
}

impl Index {
    /// Reads everything in front of the code section.
    pub(super) fn read(
        bytes: &[u8],
        is_switch: &(dyn Fn(&str, &str) -> bool + Sync),
    ) -> Result<Self, UnwindError> {
        let mut index = Self::default();
        for payload in Parser::new(0).parse_all(bytes) {
            index.section(payload?, is_switch)?;
        }
        Ok(index)
    }

    fn section(
        &mut self,
        payload: Payload<'_>,
        is_switch: &(dyn Fn(&str, &str) -> bool + Sync),
    ) -> Result<(), UnwindError> {
        match payload {
            Payload::TypeSection(section) => {
                for group in section {
                    for sub in group?.into_types() {
                        self.add_type(match sub.composite_type.inner {
                            CompositeInnerType::Func(ty) => Some(ty),
                            _ => None,
                        });
                    }
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    if import.module == STACK_MODULE {
                        return Err(UnwindError::Twice(STACK_MODULE));
                    }
                    match import.ty {
                        TypeRef::Func(ty) | TypeRef::FuncExact(ty) => {
                            self.functions.push(ty);
                            self.switch.push(is_switch(import.module, import.name));
                        }
                        TypeRef::Global(_) => self.globals += 1,
                        _ => {}
                    }
                }
            }
            Payload::FunctionSection(section) => {
                for ty in section {
                    self.functions.push(ty?);
                }
            }
            Payload::GlobalSection(section) => {
                self.globals += section.count();
                for global in section {
                    self.constant(global?.init_expr)?;
                }
            }
            Payload::TableSection(section) => {
                for table in section {
                    if let wasmparser::TableInit::Expr(init) = table?.init {
                        self.constant(init)?;
                    }
                }
            }
            Payload::ElementSection(section) => {
                for element in section {
                    match element?.items {
                        wasmparser::ElementItems::Functions(functions) => {
                            for function in functions {
                                self.addressed.push(function?);
                            }
                        }
                        wasmparser::ElementItems::Expressions(_, expressions) => {
                            for expression in expressions {
                                self.constant(expression?)?;
                            }
                        }
                    }
                }
            }
            Payload::CustomSection(section) => {
                if let KnownCustom::Name(names) = section.as_known() {
                    self.names(names);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Names only tell which calls need no code, so those that cannot be read are none.
    fn names(&mut self, names: NameSectionReader<'_>) {
        for name in names {
            let Ok(Name::Function(functions)) = name else { continue };
            for Naming { index, name } in functions.into_iter().filter_map(Result::ok) {
                if is_type_information(name) {
                    self.type_information.insert(index);
                } else if ENDS.contains(&name) {
                    self.ends.insert(index);
                }
            }
        }
    }

    fn constant(&mut self, expression: wasmparser::ConstExpr<'_>) -> Result<(), UnwindError> {
        for operator in expression.get_operators_reader() {
            if let wasmparser::Operator::RefFunc { function_index } = operator? {
                self.addressed.push(function_index);
            }
        }
        Ok(())
    }

    fn add_type(&mut self, ty: Option<FuncType>) {
        let own = self.types.len();
        let first = self.types.iter().position(|other| ty.is_some() && *other == ty);
        self.same.push(u32::try_from(first.unwrap_or(own)).unwrap_or(u32::MAX));
        self.types.push(ty);
    }

    /// Whether `function` is one of C++'s type information. Such functions call, indirectly, only each other.
    pub(super) fn is_type_information(&self, function: u32) -> bool {
        self.type_information.contains(&function)
    }

    /// Whether `function` never returns. It may run a handler of the program, during which the stack cannot be taken: so its
    /// callers need no code for that.
    pub(super) fn is_end(&self, function: u32) -> bool {
        self.ends.contains(&function)
    }

    /// Number of types.
    pub(super) fn types(&self) -> u32 {
        u32::try_from(self.types.len()).unwrap_or(u32::MAX)
    }

    /// Number of imported functions.
    pub(super) fn imports(&self) -> u32 {
        u32::try_from(self.switch.len()).unwrap_or(u32::MAX)
    }

    /// Number of functions, imported and defined.
    pub(super) fn functions(&self) -> u32 {
        u32::try_from(self.functions.len()).unwrap_or(u32::MAX)
    }

    /// Function type `ty`.
    pub(super) fn type_at(&self, ty: u32) -> Result<&FuncType, UnwindError> {
        self.types
            .get(ty as usize)
            .and_then(Option::as_ref)
            .ok_or_else(|| UnwindError::Malformed(format!("type {ty} is not a function's")))
    }

    /// Type of function `function`.
    pub(super) fn type_of(&self, function: u32) -> Result<&FuncType, UnwindError> {
        self.type_at(self.type_index(function)?)
    }

    /// Number under which functions of `ty` meet indirect calls.
    pub(super) fn canonical(&self, ty: u32) -> u32 {
        self.same.get(ty as usize).copied().unwrap_or(ty)
    }

    /// Index of function `function`'s type.
    pub(super) fn type_index(&self, function: u32) -> Result<u32, UnwindError> {
        self.functions
            .get(function as usize)
            .copied()
            .ok_or_else(|| UnwindError::Malformed(format!("there is no function {function}")))
    }
}

/// C++'s function that ends a program, in either form of its name.
const ENDS: [&str; 2] = ["std::terminate()", "_ZSt9terminatev"];

/// Whether a function has one of the names, reserved for C++'s library, of those that look at the types of objects and
/// exceptions (`dynamic_cast`, the search for a handler, and the virtual functions of `std::type_info` that both call), or
/// that write the names of types. Linkers write C++'s names in either form.
fn is_type_information(name: &str) -> bool {
    const WHOLE: [&str; 3] = ["__dynamic_cast", "__gxx_personality_wasm0", "__gxx_personality_v0"];
    const BEGINNINGS: [&str; 9] = [
        "_ZNK10__cxxabiv1",
        "_ZN10__cxxabiv1L11scan_eh_tab",
        "__cxxabiv1::scan_eh_tab(",
        "_ZN10__cxxabiv1L24exception_spec_can_catch",
        "__cxxabiv1::exception_spec_can_catch(",
        "__cxxabiv1::(anonymous namespace)::dyn_cast_",
        "_ZN12_GLOBAL__N_116itanium_demangle",
        "_ZNK12_GLOBAL__N_116itanium_demangle",
        "(anonymous namespace)::itanium_demangle::",
    ];
    let is_cast =
        |rest: &str| rest.trim_start_matches(|c: char| c.is_ascii_digit()).starts_with("dyn_cast_");
    WHOLE.contains(&name)
        || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
        // What changes nothing runs nothing of the program's, as destructors and handlers are.
        || name.starts_with("__cxxabiv1::") && name.ends_with(") const")
        || name.strip_prefix("_ZN10__cxxabiv112_GLOBAL__N_1").is_some_and(is_cast)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_information_is_known_by_either_form_of_its_names() {
        for name in [
            "_ZNK10__cxxabiv117__class_type_info9can_catchEPKNS_16__shim_type_infoERPv",
            "__cxxabiv1::__class_type_info::can_catch(__cxxabiv1::__shim_type_info const*, void*&) const",
            "_ZN10__cxxabiv112_GLOBAL__N_113dyn_cast_slowEPKvS2_PKNS_17__class_type_infoES5_S5_l",
            "(anonymous namespace)::itanium_demangle::QualType::printLeft(\
             (anonymous namespace)::itanium_demangle::OutputBuffer&) const",
            "__dynamic_cast",
        ] {
            assert!(is_type_information(name), "{name}");
        }
        for name in [
            "__cxxabiv1::exception_cleanup_func(_Unwind_Reason_Code, _Unwind_Exception*)",
            "_ZN10__cxxabiv1L22exception_cleanup_funcE19_Unwind_Reason_CodeP17_Unwind_Exception",
            "ForceEAM::compute(Atom&, Neighbor&, Comm&, int)",
            "__cxa_throw",
            "qsort",
        ] {
            assert!(!is_type_information(name), "{name}");
        }
    }
}
