//! Every function of the standard's C index is there: declared in `mpi.h`, and offered to programs under
//! its own name and that of the profiling interface.
//!
//! `names.txt` holds the index of MPI-5.0, one name a line, in order. Nothing is left out of it.

use std::collections::{BTreeMap, BTreeSet};

const HEADER: &str = include_str!("../include/mpi.h");
const NAMES: &str = include_str!("names.txt");

/// Functions that are not there yet. A name that is no longer missing has to leave the list.
const MISSING: &[&str] = &[];

/// How the header provides a function.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
enum Provided<'a> {
    /// It is imported.
    Import,
    /// It is an older name of this imported function.
    OldName(&'a str),
    /// It is defined in the header.
    Inline,
}

#[test]
fn the_list_is_whole_and_in_order() {
    let names: Vec<&str> = NAMES.lines().collect();
    assert_eq!(names.len(), 664, "functions of the C index of MPI-5.0");
    assert!(names.is_sorted() && names.iter().all(|name| name.starts_with("MPI_")));
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "a name is there twice");
}

#[test]
fn no_function_of_the_standard_is_missing() {
    let provided = provided();
    let is_there = |name: &str| match provided.get(name) {
        Some(Provided::Import) => is_offered(name),
        Some(Provided::OldName(today)) => is_offered(today),
        Some(Provided::Inline) => true,
        None => false,
    };
    let missing: Vec<&str> = NAMES.lines().filter(|name| !is_there(name)).collect();
    assert_eq!(missing, MISSING, "functions that mpi.h or the tables of host functions lack");
}

#[test]
fn every_declaration_has_its_profiling_twin() {
    for (macro_name, lines) in
        [("MPI_ABI_DECLARE_", 2), ("MPI_ABI_OLD_NAME_", 2), ("MPI_ABI_INLINE_", 2)]
    {
        let start = format!("#define {macro_name}(");
        let body: String =
            HEADER.split(&start).nth(1).into_iter().flat_map(str::lines).take(1 + lines).collect();
        assert!(body.contains(" MPI_##name"), "{macro_name} declares the function");
        assert!(body.contains(" PMPI_##name"), "{macro_name} declares the profiling twin");
    }
}

/// Whether programs find a function under both names.
fn is_offered(name: &str) -> bool {
    faasm_mpi_shim::is_offered(name) && faasm_mpi_shim::is_offered(&format!("P{name}"))
}

/// All functions of the header.
fn provided() -> BTreeMap<String, Provided<'static>> {
    let mut found = BTreeMap::new();
    for (arguments, _) in uses("MPI_ABI_DECLARE_") {
        found.insert(format!("MPI_{}", arguments[1]), Provided::Import);
    }
    for (arguments, _) in uses("MPI_ABI_INLINE_") {
        found.insert(format!("MPI_{}", arguments[1]), Provided::Inline);
    }
    for (arguments, _) in uses("MPI_ABI_CONVERT_") {
        for suffix in ["toint", "fromint", "c2f", "f2c"] {
            let is_made = HEADER.contains(&format!("name##_{suffix},"));
            assert!(is_made, "MPI_ABI_CONVERT_ makes no function in _{suffix}");
            found.insert(format!("MPI_{}_{suffix}", arguments[0]), Provided::Inline);
        }
    }
    let imports: BTreeMap<_, _> =
        found.keys().map(|name| (name.clone(), &*name.clone().leak())).collect();
    for (arguments, _) in uses("MPI_ABI_OLD_NAME_") {
        let today = format!("MPI_{}", arguments[2]);
        let today = imports.get(&today).unwrap_or_else(|| panic!("{today} is not declared"));
        found.insert(format!("MPI_{}", arguments[1]), Provided::OldName(today));
    }
    found
}

/// The arguments of each use of a macro, up to the first that is in brackets, and the text behind.
fn uses(macro_name: &str) -> impl Iterator<Item = (Vec<&'static str>, &'static str)> {
    let start = format!("\n{macro_name}(");
    let texts: Vec<&str> = HEADER.split(&*start).skip(1).collect();
    assert!(!texts.is_empty(), "mpi.h does not use {macro_name}");
    texts.into_iter().map(|text| {
        let end = text.find(['(', ')']).expect("a use of a macro ends");
        let (head, rest) = text.split_at(end);
        (head.split(',').map(str::trim).filter(|part| !part.is_empty()).collect(), rest)
    })
}
