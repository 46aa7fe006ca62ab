//! Recognises files that people mistake for WebAssembly programs.

use std::fmt;

/// A kind of file that is no WebAssembly module.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum FileFormat {
    /// A program or object file of the host: ELF, Mach-O or PE.
    Native(&'static str),
    /// Code that wasmtime compiled before.
    Precompiled,
    /// A static library.
    Archive,
    /// Code of the LLVM compiler that is not linked yet.
    Bitcode,
    /// A script, started by the interpreter its first line names.
    Script,
}

impl FileFormat {
    /// The format of a file that starts with `bytes`, if it is one of these.
    pub(super) fn detect(bytes: &[u8]) -> Option<Self> {
        if wasmtime::Engine::detect_precompiled(bytes).is_some() {
            return Some(Self::Precompiled);
        }
        let known = SIGNATURES.iter().find(|(signature, _)| bytes.starts_with(signature));
        known.map(|&(_, format)| format)
    }
}

impl fmt::Display for FileFormat {
    /// What the file is, and what to do about it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Native(format) => write!(
                out,
                "it was compiled for the host ({format}), not for WebAssembly; compile it with \
                 faasm-cc or faasm-c++, which take the options of mpicc and mpicxx"
            ),
            Self::Precompiled => out.write_str(
                "it is code that wasmtime compiled already; give the .wasm file it was made from, \
                 compiled code is cached by itself",
            ),
            Self::Archive => out.write_str(
                "it is a static library; link it into a program with `faasm-cc -o prog.wasm`",
            ),
            Self::Bitcode => out.write_str(
                "it is LLVM bitcode (made with -flto or -emit-llvm), not a program; link it with \
                 `faasm-cc -o prog.wasm`",
            ),
            Self::Script => out.write_str(
                "it is a script, and only WebAssembly programs are run; if it starts a program \
                 later on, run that one",
            ),
        }
    }
}

const SIGNATURES: [(&[u8], FileFormat); 10] = [
    (b"\x7fELF", FileFormat::Native("ELF")),
    (b"\xfe\xed\xfa\xce", FileFormat::Native("Mach-O")),
    (b"\xfe\xed\xfa\xcf", FileFormat::Native("Mach-O")),
    (b"\xce\xfa\xed\xfe", FileFormat::Native("Mach-O")),
    (b"\xcf\xfa\xed\xfe", FileFormat::Native("Mach-O")),
    (b"\xca\xfe\xba\xbe", FileFormat::Native("Mach-O")),
    (b"MZ", FileFormat::Native("PE")),
    (b"!<arch>\n", FileFormat::Archive),
    (b"BC\xc0\xde", FileFormat::Bitcode),
    (b"#!", FileFormat::Script),
];
