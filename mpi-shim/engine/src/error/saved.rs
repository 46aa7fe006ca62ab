//! Errors as they are written to a file.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use super::{ErrorClass, MpiError};

/// Arguments that the errors of requests name.
const ARGUMENTS: [&str; 10] =
    ["count", "buf", "datatype", "comm", "op", "request", "status", "source", "dest", "tag"];

#[derive(Serialize, Deserialize)]
pub(super) struct Saved {
    class: i32,
    user_code: Option<core::num::NonZeroI32>,
    argument: Option<String>,
    detail: String,
}

impl From<MpiError> for Saved {
    fn from(error: MpiError) -> Self {
        let MpiError { class, user_code, argument, detail } = error;
        Self { class: class.code(), user_code, argument: argument.map(str::to_owned), detail }
    }
}

// A derived one would be for data that lives as long as the name of the argument.
impl<'de> Deserialize<'de> for MpiError {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::try_from(Saved::deserialize(from)?).map_err(D::Error::custom)
    }
}

impl TryFrom<Saved> for MpiError {
    type Error = String;

    fn try_from(saved: Saved) -> Result<Self, String> {
        let Saved { class, user_code, argument, detail } = saved;
        let class = ErrorClass::from_code(class).ok_or_else(|| format!("{class} is no class"))?;
        let Some(name) = argument else {
            return Ok(Self { class, user_code, argument: None, detail });
        };
        let known = ARGUMENTS.into_iter().find(|known| *known == name);
        let detail = if known.is_some() { detail } else { format!("argument {name}: {detail}") };
        Ok(Self { class, user_code, argument: known, detail })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_come_back() {
        let told = MpiError::argument(ErrorClass::Truncate, "count", "too long");
        assert_eq!(MpiError::try_from(Saved::from(told.clone())), Ok(told));
        let other = MpiError::argument(ErrorClass::Arg, "unheard_of", "wrong");
        let back = MpiError::try_from(Saved::from(other)).expect("a class");
        assert_eq!((back.argument, &*back.detail), (None, "argument unheard_of: wrong"));
        let saved = Saved { class: -7, user_code: None, argument: None, detail: String::new() };
        assert!(MpiError::try_from(saved).is_err());
    }
}
