//! Attribute caching on communicators, datatypes and windows (MPI-5.0 section 7.7).
//!
//! Callbacks are guest functions, so the caller runs them: these types say which ones and in which
//! order, and record the outcome. A callback is a number that only the caller understands.
//!
//! A freed keyval lives on until the last attribute with it is gone, as the standard demands:
//! [`Keyvals::attach`] and [`Keyvals::detach`] count them.

mod saved;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

use crate::error::{ErrorClass, MpiError, Result};

/// What kind of object a keyval is for.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Target {
    /// Communicators.
    Communicator,
    /// Datatypes.
    Datatype,
    /// Windows.
    Window,
}

/// What happens to an attribute when its object is duplicated or freed.
#[derive(Copy, Clone, Debug, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Callback {
    /// The null function: not copied; nothing happens on deletion.
    Null,
    /// The dup function: the value is copied as it is.
    Dup,
    /// A guest function, by its table index.
    Guest(u32),
}

/// What `MPI_Comm_create_keyval` and its relatives were given.
#[derive(Copy, Clone, Debug, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Keyval {
    /// Objects it is for.
    pub target: Target,
    /// Called for each attribute when its object is duplicated.
    pub copy: Callback,
    /// Called when an attribute is deleted or replaced.
    pub delete: Callback,
    /// Passed to both callbacks.
    pub extra_state: u64,
}

#[derive(Copy, Clone, Debug)]
struct Entry {
    keyval: Keyval,
    attributes: usize,
    freed: bool,
}

/// The keyvals of one process.
#[derive(Clone, Debug)]
pub struct Keyvals {
    entries: BTreeMap<i32, Entry>,
    next: i32,
}

impl Keyvals {
    /// A registry that hands out numbers from `first` on.
    pub const fn new(first: i32) -> Self {
        Self { entries: BTreeMap::new(), next: first }
    }

    /// Makes a keyval.
    ///
    /// # Errors
    /// `MPI_ERR_OTHER` when the numbers are used up.
    pub fn create(&mut self, keyval: Keyval) -> Result<i32> {
        let key = self.next;
        let used_up = || MpiError::new(ErrorClass::Other, "no keyvals are left for this process");
        self.next = key.checked_add(1).ok_or_else(used_up)?;
        self.entries.insert(key, Entry { keyval, attributes: 0, freed: false });
        Ok(key)
    }

    /// Marks a keyval free; existing attributes keep it alive.
    ///
    /// # Errors
    /// `MPI_ERR_KEYVAL` when it is not a live keyval for this target.
    pub fn free(&mut self, key: i32, target: Target) -> Result<()> {
        self.keyval(key, target)?;
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.freed = true;
        }
        self.collect(key);
        Ok(())
    }

    /// Counts an attribute that now exists.
    pub fn attach(&mut self, key: i32) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.attributes += 1;
        }
    }

    /// Counts an attribute that no longer exists.
    pub fn detach(&mut self, key: i32) {
        if let Some(entry) = self.entries.get_mut(&key) {
            assert!(entry.attributes > 0, "an attribute is attached before it is detached");
            entry.attributes -= 1;
        }
        self.collect(key);
    }

    /// The keyval, if the program may still use it: one that was freed until its last attribute is gone, because
    /// attributes are then deleted one by one with it (MPI-5.0 section 7.7.2).
    ///
    /// # Errors
    /// `MPI_ERR_KEYVAL` when it is not a live keyval for this target.
    pub fn keyval(&self, key: i32, target: Target) -> Result<Keyval> {
        let found = self.entries.get(&key);
        found.map(|entry| entry.keyval).filter(|keyval| keyval.target == target).ok_or_else(|| {
            let detail = format!("{key} is not a keyval for this kind of object, or was freed");
            MpiError::argument(ErrorClass::Keyval, "keyval", detail)
        })
    }

    /// The keyval of an existing attribute, even if it was freed.
    pub fn of_attribute(&self, key: i32) -> Option<Keyval> {
        self.entries.get(&key).map(|entry| entry.keyval)
    }

    fn collect(&mut self, key: i32) {
        if self.entries.get(&key).is_some_and(|entry| entry.freed && entry.attributes == 0) {
            self.entries.remove(&key);
        }
    }
}

/// The attributes of one object, oldest first.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Attributes {
    values: Vec<(i32, u64)>,
}

impl Attributes {
    /// An object without attributes.
    pub const fn new() -> Self {
        Self { values: Vec::new() }
    }

    /// The value of an attribute.
    pub fn value(&self, key: i32) -> Option<u64> {
        self.values.iter().find(|(have, _)| *have == key).map(|&(_, value)| value)
    }

    /// Sets an attribute and returns its former value. The caller has run the delete callback on
    /// the former value beforehand, and calls [`Keyvals::attach`] when there was none.
    pub fn set(&mut self, key: i32, value: u64) -> Option<u64> {
        match self.values.iter_mut().find(|(have, _)| *have == key) {
            Some((_, old)) => Some(core::mem::replace(old, value)),
            None => {
                self.values.push((key, value));
                None
            }
        }
    }

    /// Removes an attribute and returns its value; the caller then calls [`Keyvals::detach`].
    pub fn remove(&mut self, key: i32) -> Option<u64> {
        let at = self.values.iter().position(|(have, _)| *have == key)?;
        Some(self.values.remove(at).1)
    }

    /// Keys and values in the order in which copy callbacks run when the object is duplicated: the
    /// order in which they were set.
    pub fn copy_order(&self) -> impl Iterator<Item = (i32, u64)> + '_ {
        self.values.iter().copied()
    }

    /// Keys and values in the order in which delete callbacks run when the object is freed: the
    /// reverse of the order in which they were set, which the standard demands of
    /// `MPI_COMM_SELF` in `MPI_Finalize`.
    pub fn delete_order(&self) -> impl Iterator<Item = (i32, u64)> + '_ {
        self.values.iter().rev().copied()
    }

    /// Whether there are no attributes.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    const KEYVAL: Keyval = Keyval {
        target: Target::Communicator,
        copy: Callback::Guest(3),
        delete: Callback::Null,
        extra_state: 7,
    };

    #[test]
    fn freed_keyvals_live_as_long_as_their_attributes() {
        let mut keyvals = Keyvals::new(100);
        let key = keyvals.create(KEYVAL).unwrap();
        assert_eq!((key, keyvals.create(KEYVAL).unwrap()), (100, 101));
        assert_eq!(keyvals.keyval(key, Target::Communicator), Ok(KEYVAL));
        assert!(keyvals.keyval(key, Target::Datatype).is_err());
        keyvals.attach(key);
        keyvals.attach(key);
        keyvals.free(key, Target::Communicator).unwrap();
        keyvals.free(key, Target::Communicator).expect("it is in use");
        keyvals.detach(key);
        assert_eq!(
            keyvals.keyval(key, Target::Communicator),
            Ok(KEYVAL),
            "to delete the other attribute"
        );
        assert_eq!(keyvals.of_attribute(key), Some(KEYVAL));
        keyvals.detach(key);
        assert_eq!(keyvals.of_attribute(key), None);
        assert!(keyvals.keyval(key, Target::Communicator).is_err());
        assert!(keyvals.free(key, Target::Communicator).is_err());
        keyvals.free(101, Target::Communicator).unwrap();
        assert_eq!(keyvals.of_attribute(101), None);
        assert_eq!(keyvals.create(KEYVAL).unwrap(), 102, "numbers are not used again");
    }

    #[test]
    fn callbacks_run_in_order_and_backwards() {
        let mut attributes = Attributes::new();
        assert_eq!(attributes.set(5, 50), None);
        assert_eq!(attributes.set(3, 30), None);
        assert_eq!(attributes.set(5, 51), Some(50));
        assert_eq!(attributes.copy_order().collect::<Vec<_>>(), vec![(5, 51), (3, 30)]);
        assert_eq!(attributes.delete_order().collect::<Vec<_>>(), vec![(3, 30), (5, 51)]);
        assert_eq!((attributes.remove(5), attributes.remove(5)), (Some(51), None));
        assert_eq!(attributes.value(3), Some(30));
        assert!(!attributes.is_empty());
    }
}
