//! Datatypes of a rank in one list, each once; others of its objects refer to them by number.

use std::collections::HashMap;

use faasm_mpi_engine::datatype::{Combiner, Contents, Datatype, Predefined};
use serde::{Deserialize, Serialize};

use super::{Saving, damaged};
use crate::request::Buffer;

/// A datatype. Those that it was made of come before it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(super) enum SavedType {
    Predefined(i32),
    Derived {
        combiner: i32,
        integers: Vec<i64>,
        addresses: Vec<i64>,
        datatypes: Vec<u32>,
        large: bool,
        committed: bool,
    },
}

/// The list while it grows.
#[derive(Debug, Default)]
pub(super) struct TypeList {
    list: Vec<SavedType>,
    predefined: HashMap<i32, u32>,
    /// Those that the program made, by the place where they are.
    derived: HashMap<usize, u32>,
}

impl TypeList {
    /// The number of a type, which is added if it is not there.
    pub(super) fn number(&mut self, datatype: &Datatype) -> u32 {
        match datatype {
            Datatype::Predefined(predefined) => {
                let handle = predefined.handle();
                let next = self.list.len() as u32;
                let number = *self.predefined.entry(handle).or_insert(next);
                if number == next {
                    self.list.push(SavedType::Predefined(handle));
                }
                number
            }
            Datatype::Derived(derived) => {
                let place = std::sync::Arc::as_ptr(derived).addr();
                if let Some(number) = self.derived.get(&place) {
                    return *number;
                }
                let saved = self.derived(datatype);
                self.list.push(saved);
                let number = self.list.len() as u32 - 1;
                self.derived.insert(place, number);
                number
            }
        }
    }

    fn derived(&mut self, datatype: &Datatype) -> SavedType {
        let Some(contents) = datatype.contents() else { return SavedType::Predefined(0) };
        let datatypes = contents.datatypes.iter().map(|part| self.number(part)).collect();
        SavedType::Derived {
            combiner: contents.combiner as i32,
            integers: contents.integers.clone(),
            addresses: contents.addresses.clone(),
            datatypes,
            large: contents.large,
            committed: datatype.is_committed(),
        }
    }

    pub(super) fn into_list(self) -> Vec<SavedType> {
        self.list
    }
}

/// The types that were read.
#[derive(Debug)]
pub(super) struct Types(Vec<Datatype>);

impl Types {
    pub(super) fn rebuild(list: Vec<SavedType>) -> Saving<Self> {
        let mut types = Self(Vec::with_capacity(list.len()));
        for saved in list {
            let made = types.one(saved)?;
            types.0.push(made);
        }
        Ok(types)
    }

    fn one(&self, saved: SavedType) -> Saving<Datatype> {
        let (combiner, integers, addresses, datatypes, large, committed) = match saved {
            SavedType::Predefined(handle) => {
                let predefined = Predefined::from_handle(handle);
                return predefined.map(Datatype::from).ok_or_else(|| damaged("a datatype"));
            }
            SavedType::Derived { combiner, integers, addresses, datatypes, large, committed } => {
                (combiner, integers, addresses, datatypes, large, committed)
            }
        };
        let combiner = Combiner::from_number(combiner).ok_or_else(|| damaged("a datatype"))?;
        let parts = datatypes.into_iter().map(|number| self.get(number));
        let datatypes = parts.collect::<Saving<_>>()?;
        let contents = Contents { combiner, integers, addresses, datatypes, large };
        let made = Datatype::from_contents(&contents)
            .map_err(|error| damaged(format!("a datatype: {error}")))?;
        if committed {
            made.commit();
        }
        Ok(made)
    }

    /// The type with this number.
    pub(super) fn get(&self, number: u32) -> Saving<Datatype> {
        self.0.get(number as usize).cloned().ok_or_else(|| damaged("the number of a datatype"))
    }

    /// The buffer, whose type has a number of the list.
    pub(super) fn buffer(&self, saved: &SavedBuffer) -> Saving<Buffer> {
        let SavedBuffer { addr, count, datatype } = *saved;
        if count < 0 {
            return Err(damaged("a count"));
        }
        Ok(Buffer { addr, count, datatype: self.get(datatype)? })
    }
}

/// A typed buffer in guest memory.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedBuffer {
    pub(super) addr: u64,
    pub(super) count: i64,
    pub(super) datatype: u32,
}

impl SavedBuffer {
    pub(super) fn of(buffer: &Buffer, types: &mut TypeList) -> Self {
        let Buffer { addr, count, datatype } = buffer;
        Self { addr: *addr, count: *count, datatype: types.number(datatype) }
    }
}
