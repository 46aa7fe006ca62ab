//! What a rank keeps of open files (MPI-5.0 chapter 14).

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use faasm_mpi_engine::datatype::{Datatype, Predefined, external_form};
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_engine::file::View;
use faasm_mpi_engine::info::Info;
use faasm_vm::GuestMemory;

use crate::abi::{self, Status};
use crate::file_port::GuestFile;
use crate::world::{Effect, Question, Served, answer};

/// What all files of a rank share.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct FileDefaults {
    /// Handler of `MPI_FILE_NULL`, which new files get.
    pub(crate) errhandler: i32,
    /// What was given to `MPI_Register_datarep`, by name.
    pub(crate) datareps: BTreeMap<String, Datarep>,
}

/// A data representation of the program: functions, by their index in its table, or 0. Section 14.5.3.
#[derive(Copy, Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Datarep {
    /// Converts what was read.
    pub(crate) read: u32,
    /// Converts what will be written.
    pub(crate) write: u32,
    /// Tells how many bytes a predefined type has in the file.
    pub(crate) extent: u32,
    /// What they are called with.
    pub(crate) extra_state: i32,
    /// Whether the first two take counts as `MPI_Count`.
    pub(crate) large: bool,
}

impl Datarep {
    /// Whether data is converted in any direction.
    pub(crate) const fn converts(&self) -> bool {
        self.read != 0 || self.write != 0
    }
}

impl Default for FileDefaults {
    fn default() -> Self {
        Self { errhandler: abi::MPI_ERRORS_RETURN, datareps: BTreeMap::new() }
    }
}

/// What the members that opened a file share on their node. Where they run on several, that of the first
/// member's node counts, and the others ask it.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pointer: Mutex<u64>,
    access: Mutex<()>,
    turns: Mutex<Turns>,
}

/// Accesses in atomic mode of members on several nodes.
#[derive(Debug, Default)]
struct Turns {
    holder: Option<u32>,
    /// World ranks that wait, with the names of their questions.
    waiting: VecDeque<(u32, u32)>,
}

/// What is asked about a file at the node of its first member.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum Asked {
    /// The shared pointer, which moves on by so many bytes.
    Advance(u64),
    /// The access of an atomic operation; the answer comes when it is this rank's turn.
    Enter,
    /// The end of that access.
    Leave,
}

impl Asked {
    /// The question as it travels.
    pub(crate) fn bytes(self) -> Vec<u8> {
        let (code, value) = match self {
            Self::Advance(bytes) => (0, bytes),
            Self::Enter => (1, 0),
            Self::Leave => (2, 0),
        };
        let mut out = vec![code];
        out.extend_from_slice(&u64::to_le_bytes(value));
        out
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (code, value) = bytes.split_first()?;
        let value = u64::from_le_bytes(value.try_into().ok()?);
        Some(match code {
            0 => Self::Advance(value),
            1 => Self::Enter,
            2 => Self::Leave,
            _ => return None,
        })
    }
}

impl Served for Shared {
    fn serve<'a>(
        &self,
        question: Question<'_>,
        _memory: &dyn Fn(u32) -> Option<&'a GuestMemory>,
    ) -> Option<Vec<Effect>> {
        let Question { from, name, bytes } = question;
        let told = |(rank, name), data| Effect::Answer { rank, name, data: answer(Ok(data)) };
        let here = (from, name);
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        Some(match Asked::read(bytes)? {
            Asked::Advance(bytes) => {
                let before = self.advance(bytes);
                vec![told(here, before.to_le_bytes().to_vec())]
            }
            Asked::Enter if turns.holder.is_none() => {
                turns.holder = Some(from);
                vec![told(here, Vec::new())]
            }
            Asked::Enter => {
                let waits = turns.waiting.iter().any(|(rank, _)| *rank == from);
                if waits || turns.holder == Some(from) {
                    return None;
                }
                turns.waiting.push_back(here);
                Vec::new()
            }
            Asked::Leave if turns.holder == Some(from) => {
                let next = turns.waiting.pop_front();
                turns.holder = next.map(|(rank, _)| rank);
                let next = next.map(|next| told(next, Vec::new()));
                next.into_iter().chain([told(here, Vec::new())]).collect()
            }
            Asked::Leave => return None,
        })
    }
}

impl Shared {
    /// A file whose shared pointer stands at `position`.
    pub(crate) fn at(position: u64) -> Self {
        Self { pointer: Mutex::new(position), ..Self::default() }
    }

    /// Moves the shared pointer on; gives where it was.
    pub(crate) fn advance(&self, bytes: u64) -> u64 {
        let mut pointer = self.pointer();
        let before = *pointer;
        *pointer = before.saturating_add(bytes);
        before
    }

    /// The shared pointer, in bytes of the view's stream.
    pub(crate) fn pointer(&self) -> MutexGuard<'_, u64> {
        self.pointer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps other accesses out, which atomic mode needs.
    pub(crate) fn alone(&self) -> MutexGuard<'_, ()> {
        self.access.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How data lies in a file.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Representation {
    /// As in memory, under this name.
    Native(String),
    /// `external32`.
    External32,
    /// As functions of the program make it, under this name.
    Converted(String),
}

impl Representation {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Native(name) | Self::Converted(name) => name,
            Self::External32 => "external32",
        }
    }

    /// The type as it lies in the file, as far as that is known without asking the program.
    ///
    /// # Errors
    /// When the type does not fit the numbers of a datatype there.
    pub(crate) fn in_file(&self, of: &Datatype) -> Result<Datatype> {
        match self {
            Self::Native(_) | Self::Converted(_) => Ok(of.clone()),
            Self::External32 => external_form(of),
        }
    }

    /// A view of a file with this representation; only its displacement counts until it is resolved, where extents have to
    /// be asked for.
    ///
    /// # Errors
    /// As [`View::new`].
    pub(crate) fn view(&self, disp: i64, etype: &ViewType, filetype: &ViewType) -> Result<View> {
        if !self.is_known() {
            let byte = Predefined::Byte.into();
            return View::new(disp, &byte, &byte);
        }
        View::new(disp, &self.in_file(&etype.datatype)?, &self.in_file(&filetype.datatype)?)
    }

    /// Whether nothing has to be asked for a view.
    pub(crate) const fn is_known(&self) -> bool {
        !matches!(self, Self::Converted(_))
    }
}

/// A type of a view and the handle by which the program gave it.
#[derive(Clone, Debug)]
pub(crate) struct ViewType {
    pub(crate) handle: i32,
    pub(crate) datatype: Datatype,
}

/// A split collective under way. Section 14.4.5.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Split {
    pub(crate) flags: u32,
    pub(crate) status: Status,
}

/// An open file as one rank holds it.
#[derive(Clone, Debug)]
pub struct FileEntry {
    pub(crate) file: Arc<dyn GuestFile>,
    pub(crate) path: String,
    pub(crate) amode: i32,
    pub(crate) comm: i32,
    pub(crate) info: Info,
    pub(crate) errhandler: i32,
    pub(crate) view: View,
    pub(crate) etype: ViewType,
    pub(crate) filetype: ViewType,
    pub(crate) representation: Representation,
    /// The view has the extents of its representation, which may have to be asked for.
    pub(crate) is_resolved: bool,
    /// The individual pointer, in bytes of the view's stream.
    pub(crate) position: u64,
    pub(crate) is_atomic: bool,
    pub(crate) split: Option<Split>,
    pub(crate) shared: Arc<Shared>,
    /// Context of its communicator.
    pub(crate) context: u32,
    /// World rank of the first member, where the members run on several nodes.
    pub(crate) keeper: Option<u32>,
    /// Whether its members meet in collective accesses, so that one moves what others need. It stays so wherever they are later:
    /// some may have made an access already when they are placed anew, and others not.
    pub(crate) meets: bool,
}

impl FileEntry {
    /// Whether it was opened with this mode.
    pub(crate) const fn has(&self, mode: i32) -> bool {
        self.amode & mode != 0
    }

    /// Bytes of the stream that `offset` elementary types are.
    pub(crate) fn stream(&self, argument: &'static str, offset: i64) -> Result<u64> {
        let bytes = u64::try_from(offset).ok();
        let bytes = bytes.and_then(|offset| offset.checked_mul(self.view.etype_bytes()));
        bytes.filter(|bytes| *bytes <= i64::MAX as u64).ok_or_else(|| {
            let detail = format!("{offset} is no offset in a file");
            MpiError::argument(ErrorClass::Arg, argument, detail)
        })
    }

    /// Elementary types before a position of the stream.
    pub(crate) const fn etypes(&self, position: u64) -> i64 {
        (position / self.view.etype_bytes()).cast_signed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(shared: &Shared, from: u32, asked: Asked) -> Option<Vec<Effect>> {
        shared.serve(Question { from, name: 10 + from, bytes: &asked.bytes() }, &|_| None)
    }

    fn told(rank: u32, data: &[u8]) -> Effect {
        Effect::Answer { rank, name: 10 + rank, data: answer(Ok(data.to_vec())) }
    }

    #[test]
    fn the_shared_pointer_moves_on_for_whoever_asks() {
        let shared = Shared::at(5);
        assert_eq!(ask(&shared, 1, Asked::Advance(7)), Some(vec![told(1, &5_u64.to_le_bytes())]));
        assert_eq!(ask(&shared, 2, Asked::Advance(0)), Some(vec![told(2, &12_u64.to_le_bytes())]));
        let question = Question { from: 1, name: 1, bytes: &[0, 1] };
        assert_eq!(shared.serve(question, &|_| None), None, "it is too short");
    }

    #[test]
    fn atomic_accesses_take_turns() {
        let shared = Shared::default();
        assert_eq!(ask(&shared, 1, Asked::Enter), Some(vec![told(1, &[])]));
        assert_eq!(ask(&shared, 1, Asked::Enter), None, "it is its turn already");
        assert_eq!(ask(&shared, 2, Asked::Enter), Some(vec![]));
        assert_eq!(ask(&shared, 3, Asked::Enter), Some(vec![]));
        assert_eq!(ask(&shared, 3, Asked::Leave), None, "it is not its turn");
        assert_eq!(ask(&shared, 1, Asked::Leave), Some(vec![told(2, &[]), told(1, &[])]));
        assert_eq!(ask(&shared, 2, Asked::Leave), Some(vec![told(3, &[]), told(2, &[])]));
        assert_eq!(ask(&shared, 3, Asked::Leave), Some(vec![told(3, &[])]));
    }
}
