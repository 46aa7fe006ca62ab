//! The sections of a binary module, as byte ranges.

use std::ops::Range;

use wasmparser::{BinaryReader, Parser};

use super::RewriteError;

/// One section.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Section {
    pub(super) id: u8,
    /// Everything, with the section's id and size.
    pub(super) whole: Range<usize>,
    /// What the section holds.
    pub(super) body: Range<usize>,
}

impl Section {
    /// A reader over the section's body whose errors name offsets in the file.
    pub(super) fn reader<'a>(&self, bytes: &'a [u8]) -> BinaryReader<'a> {
        BinaryReader::new(&bytes[self.body.clone()], self.body.start)
    }
}

/// Section ids of the binary format.
pub(super) mod id {
    pub(in crate::rewrite) const CUSTOM: u8 = 0;
    pub(in crate::rewrite) const TYPE: u8 = 1;
    pub(in crate::rewrite) const IMPORT: u8 = 2;
    pub(in crate::rewrite) const FUNCTION: u8 = 3;
    pub(in crate::rewrite) const TABLE: u8 = 4;
    pub(in crate::rewrite) const MEMORY: u8 = 5;
    pub(in crate::rewrite) const GLOBAL: u8 = 6;
    pub(in crate::rewrite) const EXPORT: u8 = 7;
    pub(in crate::rewrite) const TAG: u8 = 13;

    /// Whether the format puts a section of this kind before the export section.
    pub(in crate::rewrite) const fn comes_before_exports(id: u8) -> bool {
        matches!(id, TYPE | IMPORT | FUNCTION | TABLE | MEMORY | GLOBAL | TAG)
    }
}

/// Length of the magic bytes and the version.
pub(super) const HEADER_BYTES: usize = 8;

/// Cuts `bytes` into its sections; the time does not depend on how long they are.
pub(super) fn sections(bytes: &[u8]) -> Result<Vec<Section>, RewriteError> {
    check_header(bytes)?;
    let mut reader = BinaryReader::new(&bytes[HEADER_BYTES..], HEADER_BYTES);
    let mut sections = Vec::new();
    while !reader.eof() {
        let start = reader.original_position();
        let id = reader.read_u8()?;
        let length = reader.read_var_u32()?;
        let body = reader.original_position();
        reader.read_bytes(length as usize)?;
        let end = reader.original_position();
        sections.push(Section { id, whole: start..end, body: body..end });
    }
    Ok(sections)
}

fn check_header(bytes: &[u8]) -> Result<(), RewriteError> {
    if Parser::is_core_wasm(bytes) {
        return Ok(());
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(if is_text(bytes) { RewriteError::Text } else { RewriteError::NotWasm });
    }
    match bytes.get(4..HEADER_BYTES) {
        // The second half of a component's version is its layer, which is 1.
        Some([_, _, 1, 0]) => Err(RewriteError::Component),
        Some(version) => {
            Err(RewriteError::Version { version: u16::from_le_bytes([version[0], version[1]]) })
        }
        None => Err(RewriteError::Malformed {
            what: "the file ends within its header".to_owned(),
            offset: bytes.len(),
        }),
    }
}

/// Whether this looks like the text format: its first word opens a module or a comment.
fn is_text(bytes: &[u8]) -> bool {
    let text = bytes.trim_ascii_start();
    text.starts_with(b";;")
        || text.starts_with(b"(;")
        || text.strip_prefix(b"(").is_some_and(|rest| {
            let rest = rest.trim_ascii_start();
            rest.starts_with(b"module") || rest.starts_with(b"component")
        })
}
