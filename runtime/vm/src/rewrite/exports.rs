//! Rebuilds the export section with the reserved names in it.

use std::borrow::Cow;

use wasm_encoder::{Encode, ExportKind, ExportSection, Section as _};

use super::facts::{ExternalKind, ModuleFacts};
use super::scan::Scan;
use super::sections::{HEADER_BYTES, Section, id};
use super::{MEMORY_EXPORT, RewriteError, global_export, table_export};

/// A copy of the module in which all its state is exported.
pub(super) fn add_state_exports(bytes: &[u8], scan: &Scan) -> Result<Vec<u8>, RewriteError> {
    let missing = missing_exports(&scan.facts)?;
    if missing.is_empty() {
        return Ok(bytes.to_vec());
    }
    let mut exports = ExportSection::new();
    for export in &scan.facts.exports {
        exports.export(&export.name, encoded(export.kind), export.index);
    }
    for state in &missing {
        exports.export(&state.name, encoded(state.kind), state.index);
    }
    let replaced = export_range(&scan.sections);
    let mut section = vec![exports.id()];
    exports.encode(&mut section);
    let mut out = Vec::with_capacity(bytes.len() + section.len());
    out.extend_from_slice(&bytes[..replaced.start]);
    out.extend_from_slice(&section);
    out.extend_from_slice(&bytes[replaced.end..]);
    Ok(out)
}

/// A piece of state and its reserved name.
#[derive(Debug)]
struct State {
    name: Cow<'static, str>,
    kind: ExternalKind,
    index: u32,
}

/// What the module holds, less what it exports under its reserved name already.
fn missing_exports(facts: &ModuleFacts) -> Result<Vec<State>, RewriteError> {
    let mut missing = Vec::new();
    for state in all_state(facts) {
        match facts.exports.iter().find(|export| export.name == state.name) {
            None => missing.push(state),
            Some(export) if export.kind == state.kind && export.index == state.index => {}
            Some(_) => return Err(RewriteError::ReservedName { name: state.name.into_owned() }),
        }
    }
    Ok(missing)
}

fn all_state(facts: &ModuleFacts) -> impl Iterator<Item = State> + '_ {
    let memory = State { name: MEMORY_EXPORT.into(), kind: ExternalKind::Memory, index: 0 };
    let tables = (0..facts.tables).map(|index| State {
        name: table_export(index).into(),
        kind: ExternalKind::Table,
        index,
    });
    let globals = facts.mutable_globals.iter().map(|&index| State {
        name: global_export(index).into(),
        kind: ExternalKind::Global,
        index,
    });
    std::iter::once(memory).chain(tables).chain(globals)
}

/// The bytes that the new export section takes the place of; an empty range where there was none,
/// which is after the last section that must come earlier.
fn export_range(sections: &[Section]) -> std::ops::Range<usize> {
    if let Some(exports) = sections.iter().find(|section| section.id == id::EXPORT) {
        return exports.whole.clone();
    }
    let earlier = sections.iter().rev().find(|section| id::comes_before_exports(section.id));
    let at = earlier.map_or(HEADER_BYTES, |section| section.whole.end);
    at..at
}

const fn encoded(kind: ExternalKind) -> ExportKind {
    match kind {
        ExternalKind::Function => ExportKind::Func,
        ExternalKind::Table => ExportKind::Table,
        ExternalKind::Memory => ExportKind::Memory,
        ExternalKind::Global => ExportKind::Global,
        ExternalKind::Tag => ExportKind::Tag,
    }
}
