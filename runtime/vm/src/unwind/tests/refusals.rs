//! What the pass does not take.

use crate::unwind::{UnwindError, make_migratable};

fn refuse(bytes: &[u8]) -> UnwindError {
    make_migratable(bytes, &|module, _| module == "env").expect_err("a refusal")
}

fn refuse_text(text: &str) -> UnwindError {
    refuse(&wat::parse_str(text).expect("a module"))
}

#[test]
fn damaged_modules() {
    let whole = wat::parse_str(
        "(module (import \"env\" \"p\" (func $p)) (func (export \"run\") (call $p)))",
    )
    .expect("a module");
    assert!(matches!(refuse(b"no module"), UnwindError::Malformed(_)));
    for length in 9..whole.len() {
        // A cut between two sections leaves a module; any other is an error and never a panic.
        let _outcome = make_migratable(&whole[..length], &|_, _| true);
    }
    for at in 8..whole.len() {
        let mut broken = whole.clone();
        broken[at] ^= 0x55;
        let _outcome = make_migratable(&broken, &|_, _| true);
    }
}

#[test]
fn a_second_time() {
    let text = "(module (import \"env\" \"p\" (func $p)) (func (export \"run\") (call $p)))";
    let once = make_migratable(&wat::parse_str(text).expect("a module"), &|_, _| true)
        .expect("a migratable module");
    assert!(matches!(refuse(&once.bytes), UnwindError::Twice(_)));
}

#[test]
fn references_as_results() {
    let error = refuse_text(
        "(module (import \"env\" \"p\" (func $p))
           (func (export \"run\") (result funcref) (call $p) (ref.null func)))",
    );
    assert!(error.to_string().contains("function 1"), "{error}");
}

#[test]
fn references_to_functions_with_types() {
    let error = refuse_text(
        "(module (type $t (func)) (import \"env\" \"p\" (func $p))
           (func (export \"run\") (param (ref $t)) (call $p) (call_ref $t (local.get 0))))",
    );
    assert!(error.to_string().contains("typed function references"), "{error}");
}

#[test]
fn tables_that_change() {
    let error = refuse_text(
        "(module (import \"env\" \"p\" (func $p)) (table 1 funcref)
           (func (export \"run\") (call $p) (table.set (i32.const 0) (ref.null func))))",
    );
    assert!(error.to_string().contains("change a table"), "{error}");
}

#[test]
fn nesting_without_end() {
    let depth = 30_000;
    let text = format!(
        "(module (import \"env\" \"p\" (func $p)) (func (export \"run\") {} call $p {}))",
        "block ".repeat(depth),
        "end ".repeat(depth)
    );
    assert!(matches!(refuse_text(&text), UnwindError::Depth { .. }));
}
