//! The header guests compile against says the same as `abi.rs`.
//!
//! The list comes from the header: a constant added there and forgotten in Rust fails here, and so
//! does one that exists only in Rust.

use std::collections::BTreeMap;

use faasm_mpi_shim::abi;

const HEADER: &str = include_str!("../include/mpi.h");

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
