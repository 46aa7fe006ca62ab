//! The variant of a module whose instances begin with an image: without the data that they would copy.
//!
//! Active data segments become empty passive ones, so that the numbers of the others stay. A segment that was copied
//! counts as dropped, which is what an empty one is. What the segments hold makes the first image.

use std::borrow::Cow;

use wasm_encoder::{DataSection, Encode, Section as _};
use wasmparser::{BinaryReader, DataKind, DataSectionReader, FunctionBody, Operator};

use super::RewriteError;
use super::sections::{HEADER_BYTES, sections};

/// Version of this variant; part of the key of its code.
pub const DATA_VERSION: u32 = 1;

/// A module without its data, and the data.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WithoutData {
    /// The module to compile.
    pub bytes: Vec<u8>,
    /// What its instances' memory begins with: address and bytes of each segment, in the order of the module.
    pub segments: Segments,
}

/// Addresses and bytes of data segments.
type Segments = Vec<(u64, Vec<u8>)>;

/// Takes the data out of the module in `bytes`; `None` if its instances cannot all begin with one image: it has a
/// start function, data whose place or use is known at run time only, or tables that change.
///
/// # Errors
/// When `bytes` is no module.
pub fn without_data(bytes: &[u8]) -> Result<Option<WithoutData>, RewriteError> {
    let mut out = bytes[..HEADER_BYTES.min(bytes.len())].to_vec();
    let mut segments = Vec::new();
    for section in sections(bytes)? {
        match section.id {
            START => return Ok(None),
            CODE if changes_segments(section.reader(bytes))? => return Ok(None),
            DATA => {
                let Some(found) = active(section.reader(bytes))? else { return Ok(None) };
                let mut emptied = DataSection::new();
                for _ in &found {
                    emptied.passive([]);
                }
                out.push(emptied.id());
                emptied.encode(&mut out);
                segments = found;
            }
            _ => out.extend_from_slice(&bytes[section.whole]),
        }
    }
    Ok(Some(WithoutData { bytes: out, segments }))
}

const START: u8 = 8;
const CODE: u8 = 10;
const DATA: u8 = 11;

/// The segments, if all are active and at addresses that the module tells.
fn active(reader: BinaryReader<'_>) -> Result<Option<Segments>, RewriteError> {
    let mut found = Segments::new();
    for data in DataSectionReader::new(reader)? {
        let data = data?;
        let DataKind::Active { memory_index: 0, offset_expr } = data.kind else { return Ok(None) };
        let mut operators = offset_expr.get_operators_reader();
        let at = match (operators.read()?, operators.read()?) {
            (Operator::I32Const { value }, Operator::End) => u64::from(value.cast_unsigned()),
            (Operator::I64Const { value }, Operator::End) => value.cast_unsigned(),
            _ => return Ok(None),
        };
        found.push((at, Cow::from(data.data).into_owned()));
    }
    Ok(Some(found))
}

/// Whether code uses segments, or changes a table, either of which an image does not hold.
fn changes_segments(mut code: BinaryReader<'_>) -> Result<bool, RewriteError> {
    for _ in 0..code.read_var_u32()? {
        let body = FunctionBody::new(code.read_reader()?);
        for operator in body.get_operators_reader()? {
            if matches!(
                operator?,
                Operator::MemoryInit { .. }
                    | Operator::DataDrop { .. }
                    | Operator::TableInit { .. }
                    | Operator::ElemDrop { .. }
                    | Operator::TableSet { .. }
                    | Operator::TableGrow { .. }
                    | Operator::TableFill { .. }
                    | Operator::TableCopy { .. }
            ) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
