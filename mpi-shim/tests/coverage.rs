//! Every function that `mpi.h` declares is offered by a chapter, with as many parameters of the same
//! width, and no chapter offers one that the header lacks.

use std::collections::{BTreeMap, BTreeSet};

use faasm_mpi_shim::functions;

const HEADER: &str = include_str!("../include/mpi.h");

#[test]
fn every_declared_function_is_offered() {
    let declared = declared();
    assert!(declared.len() > 150, "the parser found only {} functions", declared.len());
    let offered: BTreeSet<_> = functions().map(|function| function.name).collect();
    let missing: Vec<_> = declared.keys().filter(|name| !offered.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "declared in mpi.h, but in no chapter: {missing:?}");
}

#[test]
fn every_offered_function_is_declared_once() {
    let declared = declared();
    let mut seen = BTreeSet::new();
    for function in functions() {
        assert!(declared.contains_key(function.name), "{} is not in mpi.h", function.name);
        assert!(seen.insert(function.name), "{} is in two chapters", function.name);
    }
}

#[test]
fn parameters_have_the_width_of_their_c_types() {
    let declared = declared();
    for function in functions() {
        let Some(expected) = declared.get(function.name) else { continue };
        let widths: Vec<_> = function.parameters.iter().map(|(_, ty)| width_in_rust(ty)).collect();
        assert_eq!(&widths, expected, "bits of the parameters of {}", function.name);
    }
}

#[test]
fn old_names_stand_for_functions_of_today() {
    let declared = declared();
    let old: Vec<_> = macros("MPI_ABI_OLD_NAME_(").collect();
    assert!(old.len() > 10, "the parser found only {} old names", old.len());
    for arguments in old {
        let mut parts = arguments.splitn(4, ',').skip(2).map(str::trim);
        let today = format!("MPI_{}", parts.next().expect("an old name has a name of today"));
        let parameters = parts.next().expect("an old name has parameters");
        assert_eq!(declared.get(&today), Some(&widths(parameters)), "{today} in {arguments}");
    }
}

/// Bits of each parameter of each declared function.
fn declared() -> BTreeMap<String, Vec<u32>> {
    macros("MPI_ABI_DECLARE_(")
        .map(|arguments| {
            let mut parts = arguments.splitn(3, ',').skip(1).map(str::trim);
            let name = parts.next().expect("a declaration has a name");
            let parameters = parts.next().expect("a declaration has parameters");
            (format!("MPI_{name}"), widths(parameters))
        })
        .collect()
}

/// The arguments of each use of a macro, on one line.
fn macros(start: &'static str) -> impl Iterator<Item = String> {
    HEADER.split('\n').enumerate().filter(move |(_, line)| line.starts_with(start)).map(
        move |(index, _)| {
            let text: Vec<_> = HEADER.split('\n').skip(index).map(str::trim).collect();
            let text = text.join(" ");
            let inner = &text[start.len()..];
            inner[..closing(inner)].to_owned()
        },
    )
}

/// Position of the parenthesis that closes one opened before `text`.
fn closing(text: &str) -> usize {
    let mut depth = 1;
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    panic!("a parenthesis is not closed in mpi.h: {text:.60}");
}

/// Bits of each parameter of `(int n, const int ranks[], ...)`.
fn widths(parameters: &str) -> Vec<u32> {
    let list = parameters.trim_start_matches('(').trim_end_matches(')').trim();
    if list == "void" {
        return Vec::new();
    }
    list.split(',').map(|parameter| width_in_c(parameter.trim())).collect()
}

fn width_in_c(parameter: &str) -> u32 {
    let is_pointer = parameter.contains(['*', '[']);
    let is_wide = ["MPI_Count", "MPI_Offset"].iter().any(|wide| parameter.contains(wide));
    if is_wide && !is_pointer { 64 } else { 32 }
}

fn width_in_rust(ty: &str) -> u32 {
    match ty {
        "i32" | "GuestAddr" => 32,
        "i64" => 64,
        other => panic!("{other} is not a type of a host function's parameter"),
    }
}
