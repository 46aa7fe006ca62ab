//! The functions. Nothing that a guest passes is trusted: numbers are judged, text is copied and bounded.

use faasm_omp_engine::Construct;
use faasm_omp_engine::team::elastic_size;
use faasm_vm::{GuestAddr, GuestMemory};
use wasmtime::{Caller, Result};

use crate::port::{OmpPort, OmpView};

/// Most bytes of a fault's cause that are told.
pub const CAUSE_BYTES_MAX: u32 = 1_024;

/// What a program did that OpenMP forbids; the error that ends its rank.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum OmpFault {
    /// The program's OpenMP library gave up.
    #[error("OpenMP failed in {construct}: {cause}")]
    Construct {
        /// Where.
        construct: Construct,
        /// Why, in the library's words.
        cause: String,
    },
    /// A number that no construct has.
    #[error(
        "omp.{function} was called for construct {number}, which does not exist; link the program with \
         the faasm-cc that belongs to this faasm-run"
    )]
    UnknownConstruct {
        /// The function of module `omp`.
        function: &'static str,
        /// The number.
        number: i32,
    },
}

/// Threads for a region that asks for `wanted` of them, while `busy` of its program's work elsewhere.
pub(crate) fn team_size<T: OmpView>(state: &mut T, wanted: i32, busy: i32) -> Result<i32> {
    let (port, _) = state.omp()?;
    Ok(elastic_size(port.load(), wanted, busy))
}

/// Waits for a word of memory; 0 when woken, 1 when the word is not `expected`.
pub(crate) async fn wait<T: OmpView>(
    caller: Caller<'_, T>,
    number: i32,
    addr: GuestAddr,
    expected: i32,
) -> Result<i32> {
    let construct = construct("wait", number)?;
    let woken = T::wait(caller, construct, addr, expected.cast_unsigned()).await?;
    Ok(i32::from(!woken))
}

/// Ends the rank.
pub(crate) fn fault<T: OmpView>(
    state: &mut T,
    number: i32,
    cause: GuestAddr,
    length: i32,
) -> Result<()> {
    let construct = construct("fault", number)?;
    let (_, memory) = state.omp()?;
    Err(OmpFault::Construct { construct, cause: text(memory, cause, length)? }.into())
}

fn construct(function: &'static str, number: i32) -> Result<Construct, OmpFault> {
    Construct::from_number(number).ok_or(OmpFault::UnknownConstruct { function, number })
}

/// A text of the guest for a person to read: bounded, on one line, without control characters.
fn text(memory: &GuestMemory, addr: GuestAddr, length: i32) -> Result<String> {
    let length = length.cast_unsigned().min(CAUSE_BYTES_MAX) as usize;
    let mut bytes = vec![0; length];
    memory.read(addr, &mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect())
}
