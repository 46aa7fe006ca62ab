//! Guest programs, their manifest, and the compiler driver faasm-cc.
//!
//! The four binaries `faasm-cc`, `faasm-c++`, `faasm-ar` and `faasm-ranlib` are one line each; what they
//! do is in [`cli`]. A library user compiles with [`compile`]. Everything here runs on the developer's
//! machine; nothing of it is part of a running guest except the C library in `libc/`.

mod args;
pub mod cli;
mod driver;
mod error;
pub mod manifest;
mod process;
mod progress;
mod response;
mod rules;
mod toolchain;

pub use driver::compile;
pub use error::{Error, Result};
