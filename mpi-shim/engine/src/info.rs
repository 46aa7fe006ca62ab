//! Info objects: ordered lists of string pairs (MPI-5.0 chapter 10).

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::error::{ErrorClass, MpiError, Result};

/// Longest key in bytes, without the terminating zero (`MPI_MAX_INFO_KEY` is 256).
pub const KEY_LEN_MAX: usize = 255;

/// Longest value in bytes, without the terminating zero (`MPI_MAX_INFO_VAL` is 1024).
pub const VALUE_LEN_MAX: usize = 1023;

/// The key-value pairs of one info object, in the order in which keys were first set.
#[derive(Clone, Debug, Default, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Info {
    pairs: Vec<(String, String)>,
}

impl Info {
    /// An info object without pairs.
    pub const fn new() -> Self {
        Self { pairs: Vec::new() }
    }

    /// Sets a value, replacing an earlier one (`MPI_Info_set`).
    ///
    /// # Errors
    /// `MPI_ERR_INFO_KEY` or `MPI_ERR_INFO_VALUE` for a string that is empty or too long.
    pub fn set(&mut self, key: &str, value: &str) -> Result<()> {
        check(ErrorClass::InfoKey, "key", key, KEY_LEN_MAX)?;
        check(ErrorClass::InfoValue, "value", value, VALUE_LEN_MAX)?;
        match self.pairs.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = value.to_string(),
            None => self.pairs.push((key.to_string(), value.to_string())),
        }
        Ok(())
    }

    /// Removes a pair (`MPI_Info_delete`).
    ///
    /// # Errors
    /// `MPI_ERR_INFO_NOKEY` when the key is not set, `MPI_ERR_INFO_KEY` for an invalid one.
    pub fn delete(&mut self, key: &str) -> Result<()> {
        check(ErrorClass::InfoKey, "key", key, KEY_LEN_MAX)?;
        let Some(at) = self.pairs.iter().position(|(name, _)| name == key) else {
            let detail = format!("{key:?} is not set");
            return Err(MpiError::argument(ErrorClass::InfoNokey, "key", detail));
        };
        self.pairs.remove(at);
        Ok(())
    }

    /// The value of a key (`MPI_Info_get_string`).
    ///
    /// # Errors
    /// `MPI_ERR_INFO_KEY` for an invalid key.
    pub fn value(&self, key: &str) -> Result<Option<&str>> {
        check(ErrorClass::InfoKey, "key", key, KEY_LEN_MAX)?;
        Ok(self.pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str()))
    }

    /// Number of pairs (`MPI_Info_get_nkeys`).
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there are no pairs.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The key at a position (`MPI_Info_get_nthkey`).
    ///
    /// # Errors
    /// `MPI_ERR_ARG` when there are not that many keys.
    pub fn key(&self, position: i32) -> Result<&str> {
        let pair = usize::try_from(position).ok().and_then(|at| self.pairs.get(at));
        pair.map(|(key, _)| key.as_str()).ok_or_else(|| {
            let detail = format!("{position} is not one of {} keys", self.pairs.len());
            MpiError::argument(ErrorClass::Arg, "n", detail)
        })
    }

    /// All pairs in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

fn check(class: ErrorClass, argument: &'static str, text: &str, len_max: usize) -> Result<()> {
    if !text.is_empty() && text.len() <= len_max {
        return Ok(());
    }
    let detail = format!("{} bytes; 1 to {len_max} are allowed", text.len());
    Err(MpiError::argument(class, argument, detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn keys_keep_their_order() {
        let mut info = Info::new();
        for (key, value) in [("b", "1"), ("a", "2"), ("c", "3"), ("a", "4")] {
            info.set(key, value).unwrap();
        }
        let pairs: Vec<_> = info.iter().collect();
        assert_eq!(pairs, vec![("b", "1"), ("a", "4"), ("c", "3")]);
        info.delete("b").unwrap();
        assert_eq!((info.len(), info.key(0), info.key(1)), (2, Ok("a"), Ok("c")));
        assert_eq!(info.value("a"), Ok(Some("4")));
        assert_eq!(info.value("b"), Ok(None));
        assert_eq!(info.delete("b").unwrap_err().class, ErrorClass::InfoNokey);
        assert_eq!(info.key(2).unwrap_err().class, ErrorClass::Arg);
        assert_eq!(info.key(-1).unwrap_err().class, ErrorClass::Arg);
    }

    #[test]
    fn lengths_are_limited() {
        let mut info = Info::new();
        let long = |len| "x".repeat(len);
        assert_eq!(info.set(&long(KEY_LEN_MAX), &long(VALUE_LEN_MAX)), Ok(()));
        assert_eq!(info.set(&long(256), "v").unwrap_err().class, ErrorClass::InfoKey);
        assert_eq!(info.set("", "v").unwrap_err().class, ErrorClass::InfoKey);
        assert_eq!(info.set("k", &long(1024)).unwrap_err().class, ErrorClass::InfoValue);
        assert_eq!(info.set("k", "").unwrap_err().class, ErrorClass::InfoValue);
    }
}
