//! `COVERAGE.md` says which guest calls which function, and is what the sources of the guests say.
//!
//! Every guest checks what its calls bring, so a function is checked by the guests whose program names it, unless an
//! error is expected of it there: in `CHECK_CLASS`, `CHECK_RETURNS` or `CHECK_ERROR`, or in a `CHECK` that compares with an error
//! class. Those guests misuse it.
//! `UPDATE_COVERAGE=1 cargo test -p faasm-mpi-shim --test coverage` writes the table anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

const NAMES: &str = include_str!("names.txt");

/// Functions that no call can misuse with a defined outcome, and why.
const NO_MISUSE: &[(&str, &str)] = &[
    ("MPI_Abort", "ends the job, whatever it is given"),
    ("MPI_Aint_add", "any numbers can be added"),
    ("MPI_Aint_diff", "any numbers can be subtracted"),
    ("MPI_Buffer_flush", "takes nothing, and needs no buffer"),
    ("MPI_File_call_errhandler", "the null file has an error handler, too"),
    ("MPI_Finalize", "nothing may be called behind it"),
    ("MPI_Free_mem", "the null address is right, and others are freed as by free()"),
    ("MPI_Pcontrol", "takes any arguments"),
    ("MPI_T_finalize", "ends the program that has not initialised"),
    ("MPI_Wtick", "takes nothing"),
    ("MPI_Wtime", "takes nothing"),
];
/// Functions that always refuse here, as the standard allows, and why; with how their names begin.
const ONLY_REFUSED: &[(&str, &str)] = &[
    ("MPI_Comm_join", "programs have no sockets"),
    ("MPI_T_cvar_write", "no control variable can be set"),
    ("MPI_T_enum_get_", "no variable is an enumeration"),
    ("MPI_T_pvar_readreset", "no performance variable is atomic"),
];

/// Which guests call a function.
#[derive(Default)]
struct Covered {
    checked: BTreeSet<String>,
    misused: BTreeSet<String>,
}

#[test]
fn the_table_is_current() {
    let path = root().join("COVERAGE.md");
    let table = table(&covered());
    if env::var_os("UPDATE_COVERAGE").is_some() {
        fs::write(&path, &table).expect("the table can be written");
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    let command = "UPDATE_COVERAGE=1 cargo test -p faasm-mpi-shim --test coverage";
    assert!(there == table, "COVERAGE.md is not what the guests say; run `{command}`");
}

#[test]
fn every_function_is_called_with_a_checked_result() {
    let covered = covered();
    let lacks = |name: &&str| covered[*name].checked.is_empty() && only_refused(name).is_none();
    let lacks: Vec<_> = NAMES.lines().filter(lacks).collect();
    assert!(lacks.is_empty(), "no guest calls and checks {lacks:?}");
}

#[test]
fn every_function_is_misused_or_cannot_be() {
    let covered = covered();
    let excused: BTreeMap<_, _> = NO_MISUSE.iter().copied().collect();
    let lacks = |name: &&str| covered[*name].misused.is_empty() && reason(name, &excused).is_none();
    let lacks: Vec<_> = NAMES.lines().filter(lacks).collect();
    assert!(lacks.is_empty(), "no guest misuses {lacks:?}");
    for name in excused.keys() {
        assert!(covered.contains_key(*name), "{name} is no function of the standard");
        assert!(covered[*name].misused.is_empty(), "{name} is misused: take it out of NO_MISUSE");
    }
}

#[test]
fn the_parser_sees_calls_checks_and_misuse() {
    let text = "/* MPI_Not(a) */ static void f(void) { puts(\"MPI_Text(\"); XMPI_Other(); }\n\
        void g(void) { MPI_Sure(1); CHECK(x == 1); CHECK_CLASS(PMPI_Bad(MPI_In(1)), MPI_ERR_ARG);\n\
        CHECK(MPI_T_wrong(0) == MPI_T_ERR_INVALID_INDEX); CHECK(MPI_Good(1) == MPI_SUCCESS); }";
    let mut covered = BTreeMap::new();
    read_guest("a", text, &mut covered);
    let named = |pick: fn(&Covered) -> bool| {
        covered
            .iter()
            .filter(|(_, found)| pick(found))
            .map(|(name, _)| name.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!(named(|found| !found.misused.is_empty()), ["MPI_Bad", "MPI_T_wrong"]);
    assert_eq!(named(|found| !found.checked.is_empty()), ["MPI_Good", "MPI_In", "MPI_Sure"]);
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Why a function has no misuse. Conversions between C and Fortran take any number.
fn reason<'a>(name: &str, excused: &BTreeMap<&str, &'a str>) -> Option<&'a str> {
    let converts = ["_toint", "_fromint", "_c2f", "_f2c"].iter().any(|end| name.ends_with(end));
    let converts = converts.then_some("converts any value");
    excused.get(name).copied().or(converts)
}

/// Why every call of a function is refused.
fn only_refused(name: &str) -> Option<&'static str> {
    let (_, reason) = ONLY_REFUSED.iter().find(|(start, _)| name.starts_with(start))?;
    Some(reason)
}

/// What the guests do with each function of the standard.
fn covered() -> BTreeMap<String, Covered> {
    let mut covered: BTreeMap<_, _> =
        NAMES.lines().map(|name| (name.to_owned(), Covered::default())).collect();
    let folder = root().join("../workloads/guests/mpi");
    for entry in fs::read_dir(&folder).expect("the guests are part of the repository") {
        let path = entry.expect("the folder can be read").path();
        let text = fs::read_to_string(&path).expect("a guest is a text");
        read_guest(&stem(&path), &text, &mut covered);
    }
    covered
}

fn stem(path: &Path) -> String {
    path.file_stem().expect("a file has a name").to_string_lossy().into_owned()
}

fn read_guest(guest: &str, text: &str, covered: &mut BTreeMap<String, Covered>) {
    let text = without_comments_and_texts(text);
    let misused = misuses(&text);
    let is_misuse = |at: usize| misused.iter().any(|misuse| misuse.0 == at);
    for (at, name) in names(&text) {
        let found = covered.entry(name).or_default();
        let guests = if is_misuse(at) { &mut found.misused } else { &mut found.checked };
        guests.insert(guest.to_owned());
    }
}

/// Comments and texts replaced by blanks.
fn without_comments_and_texts(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if c == '"' {
            text_length(rest)
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        out.push(' ');
        rest = &rest[skipped..];
    }
    out
}

fn text_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Place and name of each function that is called or taken as a value; that of the profiling interface counts as well.
fn names(text: &str) -> Vec<(usize, String)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for (at, _) in text.match_indices("MPI_") {
        let before = text[..at].strip_suffix('P').unwrap_or(&text[..at]);
        let end = text[at..].find(|c| !is_word(c)).map_or(text.len(), |end| at + end);
        let is_start = !before.chars().next_back().is_some_and(is_word);
        if is_start && text[at..end].contains(|c: char| c.is_ascii_lowercase()) {
            found.push((at, text[at..end].to_owned()));
        }
    }
    found
}

/// Place and name of each call of which an error is expected.
fn misuses(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for check in ["CHECK_CLASS(", "CHECK_RETURNS(", "CHECK_ERROR(", "CHECK("] {
        for (start, _) in text.match_indices(check) {
            let from = start + check.len();
            let inside = &text[from..from + closing(&text[from..])];
            let errs = |text: &str| {
                text.contains("== MPI_ERR_")
                    || text.contains("== MPI_T_ERR_")
                    || text.contains("!= MPI_SUCCESS")
            };
            if check == "CHECK(" && !errs(inside) {
                continue;
            }
            found.extend(names(inside).into_iter().next().map(|(at, name)| (from + at, name)));
        }
    }
    found
}

/// Where the bracket that is open at the start is closed.
fn closing(text: &str) -> usize {
    let mut open = 1;
    for (at, c) in text.char_indices() {
        match c {
            '(' => open += 1,
            ')' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return at;
        }
    }
    text.len()
}

fn table(covered: &BTreeMap<String, Covered>) -> String {
    let excused: BTreeMap<_, _> = NO_MISUSE.iter().copied().collect();
    let mut text = String::from(
        "# Functions and the guests that test them\n\n\
         Made by `UPDATE_COVERAGE=1 cargo test -p faasm-mpi-shim --test coverage` from `workloads/guests/mpi`; a test compares.\n\
         \"Checked\" are guests that call the function and check what comes out, \"misused\" those that expect an error of it.\n\n\
         | function | checked | misused |\n|---|---|---|\n",
    );
    for name in NAMES.lines() {
        let found = &covered[name];
        let list =
            |guests: &BTreeSet<String>| guests.iter().cloned().collect::<Vec<_>>().join(", ");
        let misused = match reason(name, &excused) {
            Some(reason) if found.misused.is_empty() => format!("({reason})"),
            _ => list(&found.misused),
        };
        let checked = match only_refused(name) {
            Some(reason) if found.checked.is_empty() => format!("(refused: {reason})"),
            _ => list(&found.checked),
        };
        writeln!(text, "| {name} | {checked} | {misused} |").expect("a text grows");
    }
    text
}
