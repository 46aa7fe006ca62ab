//! The header guests compile against says the same as `abi.rs` and the tables of host functions.
//!
//! The list comes from the header: what is added there and forgotten in Rust fails here, and so
//! does what exists only in Rust. Every function of the header is called by a guest.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use faasm_mpi_shim::abi;

const HEADER: &str = include_str!("../include/mpi.h");
const EXTENSIONS: &str = include_str!("../include/mpi-ext.h");

#[test]
fn every_constant_of_the_header_is_in_abi() {
    let rust: BTreeMap<_, _> = abi::constants().collect();
    let header = header_constants();
    assert!(header.len() > 300, "the parser found only {} constants", header.len());
    for (name, value) in &header {
        match rust.get(name.as_str()) {
            Some(ours) => assert_eq!(i64::from(*ours), *value, "{name} differs from mpi.h"),
            None => panic!("{name} of mpi.h is missing in abi.rs"),
        }
    }
}

#[test]
fn abi_has_nothing_the_header_lacks() {
    let header = header_constants();
    for (name, _) in abi::constants() {
        assert!(header.contains_key(name), "{name} of abi.rs is missing in mpi.h");
    }
}

#[test]
fn the_error_classes_beyond_the_standard_have_the_numbers_of_the_engine() {
    use faasm_mpi_engine::error::ErrorClass;
    for class in [ErrorClass::ProcFailed, ErrorClass::ProcFailedPending, ErrorClass::Revoked] {
        let find = |line: &'static str| line.strip_prefix("#define ")?.split_once(' ');
        let mut defined = EXTENSIONS.lines().filter_map(find);
        let value = defined.find(|(name, _)| *name == class.name()).map(|(_, value)| value.trim());
        assert_eq!(value, Some(&*class.code().to_string()), "{}", class.name());
    }
}

#[test]
fn handles_of_one_kind_are_distinct() {
    let mut seen: BTreeMap<(String, i64), String> = BTreeMap::new();
    for (name, text) in definitions() {
        let Some(kind) = handle_kind(&text) else { continue };
        let value = evaluate(&text).unwrap_or_else(|| panic!("{name}: cannot read {text}"));
        if let Some(other) = seen.insert((kind, value), name.clone()) {
            panic!("{name} and {other} have the same value {value:#x}");
        }
    }
    assert!(seen.len() > 80, "the parser found only {} handles", seen.len());
}

#[test]
fn the_status_is_eight_words() {
    let text =
        HEADER.split("typedef struct MPI_Status {").nth(1).expect("mpi.h defines MPI_Status");
    let fields: Vec<_> = text.lines().skip(1).take(4).map(str::trim).collect();
    let expected = ["int MPI_SOURCE;", "int MPI_TAG;", "int MPI_ERROR;", "int MPI_internal[5];"];
    assert_eq!(fields, expected);
    assert_eq!(abi::Status::SIZE_BYTES, 4 * 8);
}

#[test]
fn the_guest_library_has_each_function_that_can_be_called_at_once() {
    let library = include_str!("../guest/at_once.c").lines();
    let definitions = library.filter_map(|line| line.strip_prefix("AT_ONCE")?.split_once('('));
    let names = definitions.filter_map(|(_, arguments)| arguments.split(',').next());
    let named: BTreeSet<_> = names.map(|name| format!("MPI_{name}")).collect();
    let offered = faasm_mpi_shim::functions().filter(|function| function.at_once);
    assert_eq!(named, offered.map(|function| function.name.to_owned()).collect());
    assert!(named.iter().all(|name| faasm_mpi_shim::is_offered(&format!("at_once.{name}"))));
}

#[test]
fn every_function_of_the_header_is_offered_with_the_same_parameters() {
    let mut offered: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for f in faasm_mpi_shim::functions() {
        let parameters =
            f.parameters.iter().map(|(_, kind)| wasm_type_of_rust(kind, f.large)).collect();
        assert!(offered.insert(f.name, parameters).is_none(), "{} is in two chapters", f.name);
    }
    let declared = header_functions();
    assert!(declared.len() > 190, "the parser found only {} functions", declared.len());
    for (name, parameters) in &declared {
        match offered.get(name.as_str()) {
            Some(ours) => assert_eq!(ours, parameters, "{name} has other parameters in mpi.h"),
            None => panic!("{name} of mpi.h is not in a table of host functions"),
        }
    }
    for name in offered.keys() {
        assert!(declared.contains_key(*name), "{name} is offered and missing in mpi.h");
    }
}

#[test]
fn every_old_name_imports_a_function_of_today() {
    let declared = header_functions();
    let old: Vec<_> = declarations("MPI_ABI_OLD_NAME_").collect();
    assert!(old.len() > 10, "the parser found only {} old names", old.len());
    for (arguments, parameters) in old {
        let today = format!("MPI_{}", arguments[2]);
        let expected = declared.get(&today).unwrap_or_else(|| panic!("{today} is not declared"));
        assert_eq!(expected, &parameters, "{} differs from {today}", arguments[1]);
    }
}

#[test]
fn every_function_is_called_by_a_guest() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../workloads/guests/mpi");
    let mut called = BTreeSet::new();
    for entry in fs::read_dir(&folder).expect("the guests are part of the repository") {
        let path = entry.expect("the folder can be read").path();
        let text = fs::read_to_string(&path).expect("a guest is a text");
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        called.extend(words.map(|word| word.strip_prefix('P').unwrap_or(word).to_owned()));
    }
    for name in header_functions().keys() {
        assert!(called.contains(name), "no program of workloads/guests/mpi calls {name}");
    }
}

/// Name and wasm types of the parameters of each function of the header.
fn header_functions() -> BTreeMap<String, Vec<&'static str>> {
    let named = |prefix: &'static str| {
        move |(arguments, parameters): (Vec<&str>, _)| {
            (format!("{prefix}{}", arguments[1]), parameters)
        }
    };
    let standard = declarations("MPI_ABI_DECLARE_").map(named("MPI_"));
    let beyond = declarations_in(EXTENSIONS, "MPIX_ABI_DECLARE_").map(named("MPIX_"));
    standard.chain(beyond).collect()
}

/// Arguments of each use of the declaring macro, and the types of the function's parameters.
fn declarations(macro_name: &str) -> impl Iterator<Item = (Vec<&'static str>, Vec<&'static str>)> {
    declarations_in(HEADER, macro_name)
}

fn declarations_in(
    header: &'static str,
    macro_name: &str,
) -> impl Iterator<Item = (Vec<&'static str>, Vec<&'static str>)> {
    let start = format!("\n{macro_name}(");
    let uses: Vec<_> = header.split(&start).skip(1).collect();
    uses.into_iter().map(|text| {
        let (head, rest) = text.split_once('(').expect("a function has parameters");
        let (list, _) = rest.split_once("))").expect("a declaration ends");
        let arguments = head.split(',').map(str::trim).filter(|text| !text.is_empty()).collect();
        let parameters = list.split(',').map(str::trim).filter(|text| *text != "void");
        (arguments, parameters.map(wasm_type_of_c).collect())
    })
}

/// A pointer, a handle and an `MPI_Aint` are 32 bits, and so is the address of variable arguments.
fn wasm_type_of_c(parameter: &str) -> &'static str {
    let by_value = !parameter.contains('*') && !parameter.contains('[');
    let wide = ["MPI_Count ", "MPI_Offset "].iter().any(|kind| parameter.starts_with(kind));
    if by_value && wide { "i64" } else { "i32" }
}

fn wasm_type_of_rust(kind: &str, large: bool) -> &'static str {
    match kind {
        "Count" => ["i32", "i64"][usize::from(large)],
        "i64" => "i64",
        "i32" | "GuestAddr" => "i32",
        other => panic!("{other} is no type of a host function's parameter"),
    }
}

/// Value of each constant, aliases of other constants resolved.
fn header_constants() -> BTreeMap<String, i64> {
    let mut constants: BTreeMap<String, i64> = BTreeMap::new();
    for (name, text) in definitions() {
        let value = evaluate(&text).or_else(|| constants.get(&text).copied());
        let value = value.unwrap_or_else(|| panic!("{name}: cannot read {text} in mpi.h"));
        assert!(constants.insert(name.clone(), value).is_none(), "{name} is defined twice");
    }
    constants
}

/// Name and text of each `#define MPI_X text`; macros that take arguments are not constants.
fn definitions() -> impl Iterator<Item = (String, String)> {
    HEADER.lines().filter_map(|line| {
        let (name, text) = line.strip_prefix("#define ")?.split_once(char::is_whitespace)?;
        let constant = name.starts_with("MPI") && !name.contains('(');
        constant.then(|| (name.to_owned(), text.trim().to_owned()))
    })
}

/// Reads `5`, `0xC`, `(-1)`, `((MPI_Comm)0x100)` and `((void*)1)`.
fn evaluate(text: &str) -> Option<i64> {
    let inner = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(text);
    let number = match inner.split_once(')') {
        Some((_type, number)) => number,
        None => inner,
    };
    match number.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).ok(),
        None => number.parse().ok(),
    }
}

/// The type of a handle constant; pointers to functions and buffers are not handles.
fn handle_kind(text: &str) -> Option<String> {
    let (kind, _) = text.strip_prefix("((MPI_")?.split_once(')')?;
    let handle = !kind.ends_with('*') && !kind.starts_with("T_") && kind != "Offset";
    handle.then(|| kind.to_owned())
}
