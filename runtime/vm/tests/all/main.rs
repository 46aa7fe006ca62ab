//! Tests of faasm-vm through its public interface, one module a subject.

mod artifact;
mod engine;
mod proto;
mod rewrite;
mod threads;
mod threads_random;

/// Assembles a module from text.
fn assemble(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("the test's module is correct")
}
