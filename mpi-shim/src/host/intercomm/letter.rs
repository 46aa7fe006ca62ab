//! Letters: what processes tell each other to make a communicator, apart from the program's messages.
//!
//! A letter goes to one process under a context that no communicator has. A long one travels in
//! pieces, the first of which begins with the length of the whole. Who waits for a letter says when it does not wait any
//! longer, for processes may fail.

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_engine::matching::Pattern;

use crate::call::{Call, MpiView};
use crate::ctx::{Arrived, MpiCtx};
use crate::port::{Header, Kind, MpiPort, Pending};

/// Bytes of a piece; less than any message carries.
const PIECE_BYTES_MAX: usize = 16 * 1024;
/// Longest letter: a group of a million processes fits.
const LETTER_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Where a letter is delivered.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) struct Address {
    /// The context.
    pub(crate) context: u32,
    /// What distinguishes it from others there.
    pub(crate) tag: i32,
}

/// Sends a letter to the process `to`.
pub(crate) fn send<P: MpiPort>(mpi: &mut MpiCtx<P>, to: u32, address: Address, letter: &[u8]) {
    let sender = mpi.port.rank();
    let header = Header {
        kind: Kind::Eager,
        context: address.context,
        source: sender.cast_signed(),
        tag: address.tag,
        sender,
        request: 0,
    };
    let mut whole = (letter.len() as u64).to_le_bytes().to_vec();
    whole.extend_from_slice(letter);
    for piece in whole.chunks(PIECE_BYTES_MAX) {
        mpi.port.send(to, header, piece);
    }
}

/// Waits for a letter, from the process `from` or from anyone; gives its sender, too.
///
/// # Errors
/// `MPI_ERR_INTERN` when what came is no letter; what `why_leave` says before one has come; `MPIX_ERR_PROC_FAILED` when
/// the sender fails before all of it has.
pub(crate) async fn receive<T: MpiView>(
    call: &mut Call<'_, T>,
    from: Option<u32>,
    address: Address,
    why_leave: impl Fn(&mut MpiCtx<T::Port>) -> Option<MpiError>,
) -> Result<(u32, Vec<u8>)> {
    let first = piece(call, from, address, why_leave).await?;
    // It is nowhere else any more.
    call.commit();
    let (sender, bytes) = (first.header.sender, bytes_of(&first));
    let Some((len, rest)) = bytes.split_first_chunk::<8>() else { return Err(malformed()) };
    let len = u64::from_le_bytes(*len);
    if len > LETTER_BYTES_MAX {
        return Err(malformed());
    }
    let mut letter = rest.to_vec();
    while (letter.len() as u64) < len {
        let is_gone = |mpi: &mut MpiCtx<T::Port>| mpi.check_process(sender).err();
        let next = piece(call, Some(sender), address, is_gone).await?;
        letter.extend_from_slice(bytes_of(&next));
    }
    if letter.len() as u64 == len { Ok((sender, letter)) } else { Err(malformed()) }
}

async fn piece<T: MpiView>(
    call: &mut Call<'_, T>,
    from: Option<u32>,
    Address { context, tag }: Address,
    why_leave: impl Fn(&mut MpiCtx<T::Port>) -> Option<MpiError>,
) -> Result<Arrived> {
    let source = from.map(u32::cast_signed);
    let pattern = Pattern { context, source, tag: Some(tag) };
    let pending = Pending { function: call.function, peer: None, tag: None, context };
    let take = |mpi: &mut MpiCtx<T::Port>| match mpi.extract(&pattern) {
        Some((_, arrived)) => Some(Ok(arrived)),
        None => why_leave(mpi).map(Err),
    };
    call.wait(&pending, &|| false, take).await
}

/// Takes a letter of one piece that has come already, unread.
pub(crate) fn has_come<P: MpiPort>(mpi: &mut MpiCtx<P>, from: u32, address: Address) -> bool {
    let Address { context, tag } = address;
    let pattern = Pattern { context, source: Some(from.cast_signed()), tag: Some(tag) };
    mpi.extract(&pattern).is_some()
}

fn bytes_of(arrived: &Arrived) -> &[u8] {
    arrived.payload.bytes()
}

pub(crate) fn malformed() -> MpiError {
    let detail = "another process sent a letter that cannot be understood; do all nodes run the \
                  same version of this program?";
    MpiError::new(ErrorClass::Intern, detail)
}
