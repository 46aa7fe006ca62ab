//! What becomes of options that clang for WebAssembly does not take as they are.
//!
//! The tables are searched from the top; the first pattern that fits decides. What no pattern fits is
//! forwarded to clang, which reports what it does not know.

/// What to do with an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Treatment {
    /// Hand it to clang.
    Forward,
    /// Leave it out: it has no meaning here and its absence changes nothing.
    Drop,
    /// Leave it and the value after it out.
    DropWithValue,
    /// Leave it out and tell the user what that means.
    Note(&'static str),
    /// Hand clang these options instead.
    Replace(&'static [&'static str]),
    /// Stop with this reason.
    Refuse(&'static str),
}

use Treatment::{Drop, DropWithValue, Forward, Note, Refuse, Replace};

/// Decides about the compiler option `option`.
pub(crate) fn treatment(option: &str) -> Treatment {
    search(OPTIONS, option)
}

/// Decides about one comma-separated part of a `-Wl,` option.
pub(crate) fn linker_treatment(part: &str) -> Treatment {
    search(LINKER_OPTIONS, part)
}

/// Whether the word after `option` is its value.
pub(crate) fn takes_value(option: &str) -> bool {
    TAKES_VALUE.contains(&option)
}

/// A pattern ending in `*` fits every option that begins with what is before it.
fn search(table: &[(&str, Treatment)], option: &str) -> Treatment {
    let fits = |pattern: &str| match pattern.strip_suffix('*') {
        Some(prefix) => option.starts_with(prefix),
        None => option == pattern,
    };
    table.iter().find(|(pattern, _)| fits(pattern)).map_or(Forward, |&(_, treatment)| treatment)
}

const OFFLOAD: &str = "there are no accelerators; target regions run on the host";
const GNU_OPENMP: &str = "guests use LLVM's OpenMP entry points; use -fopenmp";
const SHARED: &str = "guests are linked statically; make an archive with faasm-ar instead";
const SANITIZER: &str =
    "sanitizers have no runtime library for guests; an access outside of the guest's memory traps";

/// Compiler options, by pattern.
const OPTIONS: &[(&str, Treatment)] = &[
    // Parallel models.
    ("-fopenmp-targets*", Note(OFFLOAD)),
    ("-fopenmp=libgomp", Refuse(GNU_OPENMP)),
    ("-fopenmp=*", Replace(&["-fopenmp"])),
    ("-qopenmp-simd", Replace(&["-fopenmp-simd"])),
    ("-qopenmp*", Replace(&["-fopenmp"])),
    ("-openmp", Replace(&["-fopenmp"])),
    ("--offload-arch*", Note(OFFLOAD)),
    ("-foffload*", Note(OFFLOAD)),
    ("-fopenacc*", Refuse("OpenACC is not supported; compile without it")),
    ("-pthreads", Replace(&["-pthread"])),
    ("-mt", Replace(&["-pthread"])),
    // Kinds of output that a guest cannot be.
    ("-shared", Refuse(SHARED)),
    ("-dynamiclib", Refuse(SHARED)),
    ("-fsanitize=*", Refuse(SANITIZER)),
    ("-fprofile-arcs", Refuse("profiling data cannot be written by guests; compile without it")),
    ("--coverage", Refuse("coverage data cannot be written by guests; compile without it")),
    ("-coverage", Refuse("coverage data cannot be written by guests; compile without it")),
    ("-pg", Note("guests are not profiled by gprof; use perf on faasm-run")),
    ("-p", Note("guests are not profiled by prof; use perf on faasm-run")),
    // Position independence costs time in wasm and gives nothing: there is no dynamic linking.
    ("-fPIC", Drop),
    ("-fpic", Drop),
    ("-fPIE", Drop),
    ("-fpie", Drop),
    ("-pie", Drop),
    ("-no-pie", Drop),
    ("-fno-plt", Drop),
    // Processors. SIMD128 is on; the rest of the machine's abilities is chosen when the module is loaded.
    ("-mcpu=mvp", Forward),
    ("-mcpu=generic", Forward),
    ("-mcpu=lime1", Forward),
    ("-mcpu=bleeding-edge", Forward),
    ("-mcpu=*", Drop),
    ("-march=*", Drop),
    ("-mtune=*", Drop),
    ("-mcmodel=*", Drop),
    // Removed from gcc long ago, still in makefiles.
    ("-ftree-vectorizer-verbose*", Drop),
    ("-m64", Note("guests are wasm32: pointers and long have 32 bits")),
    ("-m32", Drop),
    ("-mlong-double-*", Drop),
    ("-mavx*", Drop),
    ("-mno-avx*", Drop),
    ("-msse*", Drop),
    ("-mno-sse*", Drop),
    ("-mssse3", Drop),
    ("-mmmx", Drop),
    ("-mfma*", Drop),
    ("-mno-fma*", Drop),
    ("-mf16c", Drop),
    ("-mbmi*", Drop),
    ("-mlzcnt", Drop),
    ("-mpopcnt", Drop),
    ("-maes", Drop),
    ("-mpclmul", Drop),
    ("-madx", Drop),
    ("-mrdrnd", Drop),
    ("-mfpmath=*", Drop),
    ("-mprefer-vector-width=*", Drop),
    ("-mrecip*", Drop),
    ("-mveclibabi=*", Drop),
    ("-mstackrealign", Drop),
    ("-mpreferred-stack-boundary=*", Drop),
    ("-malign-*", Drop),
    ("-mno-red-zone", Drop),
    ("-mfloat-abi=*", Drop),
    ("-mfpu=*", Drop),
    ("-mneon*", Drop),
    // What the runtime or the toolchain brings by itself. -lmpi names the MPI functions for programs that
    // call them without mpi.h, as the link tests of configure scripts do.
    ("-lmpi", Forward),
    ("-lmpich", Replace(&["-lmpi"])),
    ("-lmpi*", Drop),
    ("-lpmpi*", Drop),
    ("-lfmpich*", Drop),
    ("-lopen-rte*", Drop),
    ("-lopen-pal*", Drop),
    ("-lpmix*", Drop),
    ("-lhwloc*", Drop),
    ("-lgcc*", Drop),
    ("-lsupc++", Replace(&["-lc++"])),
    ("-lstdc++fs", Drop),
    ("-lstdc++*", Replace(&["-lc++"])),
    ("-latomic", Drop),
    ("-lquadmath", Note("there is no quad-precision library; long double has 128 bits in guests")),
    // OpenMP's and the threads' libraries come with the mode.
    ("-lgomp", Drop),
    ("-lomp", Drop),
    ("-liomp5", Drop),
    ("-lomptarget*", Drop),
    ("-lpthread", Drop),
    ("-lnsl", Drop),
    ("-lnuma", Note("there is no NUMA library for guests")),
    // Directories of the machine's own headers and libraries, which are not for wasm.
    ("-I/usr/include*", Note("the machine's own headers are not for guests")),
    ("-I/usr/lib/*", Note("the machine's own headers are not for guests")),
    ("-L/usr/lib*", Note("the machine's own libraries are not for guests")),
    ("-L/lib*", Note("the machine's own libraries are not for guests")),
    // gcc's own, unknown to clang.
    ("-Ofast", Replace(&["-O3", "-ffast-math"])),
    ("-fopt-info*", Drop),
    ("-fcf-protection*", Drop),
    ("-fno-gnu-unique", Drop),
    ("-fipa-*", Drop),
    ("-fno-ipa-*", Drop),
    ("-fvect-cost-model=*", Drop),
    ("-fsimd-cost-model=*", Drop),
    ("-fmax-errors=*", Drop),
    ("-fstack-clash-protection", Drop),
    ("-fno-stack-clash-protection", Drop),
    ("-fvar-tracking*", Drop),
    ("-fno-var-tracking*", Drop),
    ("-Wa,*", Drop),
    ("--param", DropWithValue),
    ("--param=*", Drop),
    // Stack protection is the host's: a guest's call stack is out of its reach.
    ("-fstack-protector*", Drop),
];

/// Linker options inside `-Wl,`, by pattern: those of GNU ld that wasm-ld does not know.
const LINKER_OPTIONS: &[(&str, Treatment)] = &[
    ("--as-needed", Drop),
    ("--no-as-needed", Drop),
    ("--start-group", Drop),
    ("--end-group", Drop),
    ("-(", Drop),
    ("-)", Drop),
    ("--no-undefined", Drop),
    ("--allow-shlib-undefined", Drop),
    ("--no-allow-shlib-undefined", Drop),
    ("--hash-style=*", Drop),
    ("--enable-new-dtags", Drop),
    ("--disable-new-dtags", Drop),
    ("--no-copy-dt-needed-entries", Drop),
    ("--copy-dt-needed-entries", Drop),
    ("--sort-common*", Drop),
    ("--warn-common", Drop),
    ("--warn-unresolved-symbols", Drop),
    ("--undefined-version", Drop),
    ("--no-undefined-version", Drop),
    ("--version-script=*", Drop),
    ("--version-script", DropWithValue),
    ("--dynamic-list=*", Drop),
    ("--icf=*", Drop),
    ("-x", Drop),
    ("-rpath=*", Drop),
    ("--rpath=*", Drop),
    ("-rpath", DropWithValue),
    ("--rpath", DropWithValue),
    ("-rpath-link=*", Drop),
    ("--rpath-link=*", Drop),
    ("-rpath-link", DropWithValue),
    ("--rpath-link", DropWithValue),
    ("-soname=*", Drop),
    ("--soname=*", Drop),
    ("-soname", DropWithValue),
    ("-h", DropWithValue),
    // Exporting every function would keep dead code; the runtime needs only the start function.
    ("--export-dynamic", Drop),
    ("-export-dynamic", Drop),
    ("-E", Drop),
    (
        "--allow-undefined",
        Note("a missing function stays an error; MPI functions are found without it"),
    ),
    ("--stack", DropWithValue),
];

/// Options whose value is the next word.
const TAKES_VALUE: &[&str] = &[
    "-o",
    "-x",
    "-I",
    "-D",
    "-U",
    "-L",
    "-l",
    "-F",
    "-include",
    "-imacros",
    "-isystem",
    "-idirafter",
    "-iquote",
    "-iprefix",
    "-iwithprefix",
    "-iwithprefixbefore",
    "-isysroot",
    "-imultilib",
    "-MF",
    "-MT",
    "-MQ",
    "-MJ",
    "-Xlinker",
    "-Xclang",
    "-Xpreprocessor",
    "-Xassembler",
    "-mllvm",
    "-T",
    "-u",
    "-z",
    "-e",
    "-arch",
    "-target",
    "--sysroot",
    "-aux-info",
    "-dumpbase",
    "-dumpdir",
    "-G",
    "-B",
    "--serialize-diagnostics",
    "-working-directory",
    "-main-file-name",
    "-wrapper",
    "-specs",
];
