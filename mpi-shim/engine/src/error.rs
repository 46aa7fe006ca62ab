//! Error classes of the MPI 5.0 ABI, the error value every engine function returns, and the registry
//! of classes, codes and strings that a program adds at run time (MPI-5.0 section 9.4 and 9.5).

mod saved;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;
use core::num::NonZeroI32;

/// Result of an engine operation.
pub type Result<T> = core::result::Result<T, MpiError>;

/// An MPI error: its class, the argument at fault, and what was wrong with it.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
#[serde(into = "saved::Saved")]
pub struct MpiError {
    /// Class reported to the guest.
    pub class: ErrorClass,
    /// The code that a function of the program gave, which is reported instead of the class.
    pub user_code: Option<NonZeroI32>,
    /// Name of the argument at fault as the standard spells it, where one argument is at fault.
    pub argument: Option<&'static str>,
    /// What was wrong, with the values involved; a sentence without a full stop.
    pub detail: String,
}

impl MpiError {
    /// An error that no single argument explains.
    pub fn new(class: ErrorClass, detail: impl Into<String>) -> Self {
        Self { class, user_code: None, argument: None, detail: detail.into() }
    }

    /// An error caused by the value of `argument`.
    pub fn argument(class: ErrorClass, argument: &'static str, detail: impl Into<String>) -> Self {
        Self { class, user_code: None, argument: Some(argument), detail: detail.into() }
    }

    /// The error code that the call returns.
    pub fn code(&self) -> i32 {
        self.user_code.map_or(self.class.code(), NonZeroI32::get)
    }
}

impl fmt::Display for MpiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.class.name())?;
        if let Some(argument) = self.argument {
            write!(f, " (argument {argument})")?;
        }
        write!(f, ": {}", self.detail)
    }
}

impl core::error::Error for MpiError {}

macro_rules! error_classes {
    ($($variant:ident = $code:literal, $name:literal, $text:literal;)*) => {
        /// The error classes the standard defines, with the numbers of the MPI 5.0 ABI.
        #[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
        #[repr(u8)]
        pub enum ErrorClass {
            $(#[doc = concat!("`", $name, "`: ", $text, ".")] $variant = $code,)*
        }

        impl ErrorClass {
            /// Every class in the order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The class with this ABI number.
            pub const fn from_code(code: i32) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)* _ => None }
            }

            /// Name of the constant in `mpi.h`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What `MPI_Error_string` says about it.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

error_classes! {
    Success = 0, "MPI_SUCCESS", "no error";
    Buffer = 1, "MPI_ERR_BUFFER", "invalid buffer pointer";
    Count = 2, "MPI_ERR_COUNT", "invalid count argument";
    Type = 3, "MPI_ERR_TYPE", "invalid datatype argument";
    Tag = 4, "MPI_ERR_TAG", "invalid tag argument";
    Comm = 5, "MPI_ERR_COMM", "invalid communicator";
    Rank = 6, "MPI_ERR_RANK", "invalid rank";
    Request = 7, "MPI_ERR_REQUEST", "invalid request handle";
    Root = 8, "MPI_ERR_ROOT", "invalid root";
    Group = 9, "MPI_ERR_GROUP", "invalid group";
    Op = 10, "MPI_ERR_OP", "invalid operation";
    Topology = 11, "MPI_ERR_TOPOLOGY", "invalid topology";
    Dims = 12, "MPI_ERR_DIMS", "invalid dimension argument";
    Arg = 13, "MPI_ERR_ARG", "invalid argument of some other kind";
    Unknown = 14, "MPI_ERR_UNKNOWN", "unknown error";
    Truncate = 15, "MPI_ERR_TRUNCATE", "message truncated on receive";
    Other = 16, "MPI_ERR_OTHER", "known error not in this list";
    Intern = 17, "MPI_ERR_INTERN", "internal MPI error";
    Pending = 18, "MPI_ERR_PENDING", "pending request";
    InStatus = 19, "MPI_ERR_IN_STATUS", "error code is in status";
    Access = 20, "MPI_ERR_ACCESS", "permission denied";
    Amode = 21, "MPI_ERR_AMODE", "invalid access mode";
    Assert = 22, "MPI_ERR_ASSERT", "invalid assertion argument";
    BadFile = 23, "MPI_ERR_BAD_FILE", "invalid file name";
    Base = 24, "MPI_ERR_BASE", "invalid window base";
    Conversion = 25, "MPI_ERR_CONVERSION", "error in a user-defined data conversion function";
    Disp = 26, "MPI_ERR_DISP", "invalid displacement argument";
    DupDatarep = 27, "MPI_ERR_DUP_DATAREP", "data representation already defined";
    FileExists = 28, "MPI_ERR_FILE_EXISTS", "file exists";
    FileInUse = 29, "MPI_ERR_FILE_IN_USE", "file is in use by some process";
    File = 30, "MPI_ERR_FILE", "invalid file handle";
    InfoKey = 31, "MPI_ERR_INFO_KEY", "info key is too long or empty";
    InfoNokey = 32, "MPI_ERR_INFO_NOKEY", "no such info key";
    InfoValue = 33, "MPI_ERR_INFO_VALUE", "info value is too long or empty";
    Info = 34, "MPI_ERR_INFO", "invalid info object";
    Io = 35, "MPI_ERR_IO", "input/output error";
    Keyval = 36, "MPI_ERR_KEYVAL", "invalid attribute key";
    Locktype = 37, "MPI_ERR_LOCKTYPE", "invalid lock type";
    Name = 38, "MPI_ERR_NAME", "service name not published";
    NoMem = 39, "MPI_ERR_NO_MEM", "memory is exhausted";
    NotSame = 40, "MPI_ERR_NOT_SAME", "collective argument differs between processes";
    NoSpace = 41, "MPI_ERR_NO_SPACE", "not enough space";
    NoSuchFile = 42, "MPI_ERR_NO_SUCH_FILE", "no such file";
    Port = 43, "MPI_ERR_PORT", "invalid port name";
    Quota = 44, "MPI_ERR_QUOTA", "quota exceeded";
    ReadOnly = 45, "MPI_ERR_READ_ONLY", "read-only file or file system";
    RmaAttach = 46, "MPI_ERR_RMA_ATTACH", "memory cannot be attached to the window";
    RmaConflict = 47, "MPI_ERR_RMA_CONFLICT", "conflicting accesses to a window";
    RmaRange = 48, "MPI_ERR_RMA_RANGE", "target memory is not part of the window";
    RmaShared = 49, "MPI_ERR_RMA_SHARED", "memory cannot be shared";
    RmaSync = 50, "MPI_ERR_RMA_SYNC", "wrong synchronisation of one-sided calls";
    Service = 51, "MPI_ERR_SERVICE", "invalid service name";
    Size = 52, "MPI_ERR_SIZE", "invalid size argument";
    Spawn = 53, "MPI_ERR_SPAWN", "processes cannot be spawned";
    UnsupportedDatarep = 54, "MPI_ERR_UNSUPPORTED_DATAREP", "data representation is not supported";
    UnsupportedOperation = 55, "MPI_ERR_UNSUPPORTED_OPERATION", "operation is not supported";
    Win = 56, "MPI_ERR_WIN", "invalid window";
    RmaFlavor = 57, "MPI_ERR_RMA_FLAVOR", "wrong window flavor";
    ProcAborted = 58, "MPI_ERR_PROC_ABORTED", "a peer process has aborted";
    ValueTooLarge = 59, "MPI_ERR_VALUE_TOO_LARGE", "value is too large for its variable";
    Session = 60, "MPI_ERR_SESSION", "invalid session";
    Errhandler = 61, "MPI_ERR_ERRHANDLER", "invalid error handler";
    Abi = 62, "MPI_ERR_ABI", "mismatch of the application binary interface";
    // Not of the standard, which gives them no numbers: these are far behind its own, which grow by a few
    // an edition, and below those of the tool interface.
    ProcFailed = 201, "MPIX_ERR_PROC_FAILED", "a process that the operation needs has failed";
    ProcFailedPending = 202, "MPIX_ERR_PROC_FAILED_PENDING", "a process has failed, and the operation may be pending for ever";
    Revoked = 203, "MPIX_ERR_REVOKED", "the communicator is revoked";
}

impl ErrorClass {
    /// The number the guest sees.
    pub const fn code(self) -> i32 {
        self as i32
    }
}

/// `MPI_ERR_LASTCODE`: no predefined class or code is above it.
pub const ERR_LASTCODE: i32 = 16383;

/// Longest error string in bytes, without the terminating zero (`MPI_MAX_ERROR_STRING` is 512).
pub const ERROR_STRING_LEN_MAX: usize = 511;

/// Classes and codes that one process added with `MPI_Add_error_class` and its relatives.
///
/// Commands: `add_class`, `add_code`, `add_string`, `remove_*`. Queries: `class_of`, `text`,
/// `last_used_code`. A class is a code of itself, so both share one numbering above
/// [`ERR_LASTCODE`].
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct ErrorRegistry {
    codes: BTreeMap<i32, UserCode>,
    strings: BTreeMap<i32, String>,
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct UserCode {
    class: i32,
}

impl ErrorRegistry {
    /// A registry that knows only what the standard defines.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a class and returns its number.
    ///
    /// # Errors
    /// `MPI_ERR_OTHER` when the numbers are used up.
    pub fn add_class(&mut self) -> Result<i32> {
        let code = self.next_code()?;
        self.codes.insert(code, UserCode { class: code });
        Ok(code)
    }

    /// Adds a code to a predefined or user class and returns its number.
    ///
    /// # Errors
    /// `MPI_ERR_ARG` when `class` is not a class.
    pub fn add_code(&mut self, class: i32) -> Result<i32> {
        if self.class_of(class)? != class {
            return Err(not_a_class("errorclass", class));
        }
        let code = self.next_code()?;
        self.codes.insert(code, UserCode { class });
        Ok(code)
    }

    /// Sets the string of a user code or class; an empty string takes it away.
    ///
    /// # Errors
    /// `MPI_ERR_ARG` for a predefined or unknown code, or a string that is too long.
    pub fn add_string(&mut self, code: i32, text: &str) -> Result<()> {
        self.user_code(code)?;
        if text.len() > ERROR_STRING_LEN_MAX {
            let detail = format!("{} bytes; at most {ERROR_STRING_LEN_MAX} fit", text.len());
            return Err(MpiError::argument(ErrorClass::Arg, "string", detail));
        }
        self.strings.insert(code, text.to_string());
        Ok(())
    }

    /// Removes a user class that has no codes and no string.
    ///
    /// # Errors
    /// `MPI_ERR_ARG` when it is not a user class, or is still in use.
    pub fn remove_class(&mut self, class: i32) -> Result<()> {
        if self.user_code(class)?.class != class {
            return Err(not_a_class("errorclass", class));
        }
        let in_use = self.codes.iter().any(|(&code, user)| code != class && user.class == class);
        self.reject_in_use("errorclass", class, in_use)?;
        self.codes.remove(&class);
        Ok(())
    }

    /// Removes a user code that has no string.
    ///
    /// # Errors
    /// `MPI_ERR_ARG` when it is not a user code, is a class, or still has a string.
    pub fn remove_code(&mut self, code: i32) -> Result<()> {
        let is_class = self.user_code(code)?.class == code;
        self.reject_in_use("errorcode", code, is_class)?;
        self.codes.remove(&code);
        Ok(())
    }

    /// Removes the string of a user code or class.
    ///
    /// # Errors
    /// `MPI_ERR_ARG` when the code is not a user code or has no string.
    pub fn remove_string(&mut self, code: i32) -> Result<()> {
        self.user_code(code)?;
        match self.strings.remove(&code) {
            Some(_) => Ok(()),
            None => {
                let detail = format!("error code {code} has no string");
                Err(MpiError::argument(ErrorClass::Arg, "errorcode", detail))
            }
        }
    }

    /// Class of a code (`MPI_Error_class`).
    ///
    /// # Errors
    /// `MPI_ERR_ARG` for an unknown code.
    pub fn class_of(&self, code: i32) -> Result<i32> {
        if let Some(class) = ErrorClass::from_code(code) {
            return Ok(class.code());
        }
        Ok(self.user_code(code)?.class)
    }

    /// Text of a code (`MPI_Error_string`); empty for a user code without one.
    ///
    /// # Errors
    /// `MPI_ERR_ARG` for an unknown code.
    pub fn text(&self, code: i32) -> Result<String> {
        if let Some(class) = ErrorClass::from_code(code) {
            return Ok(format!("{}: {}", class.name(), class.text()));
        }
        self.user_code(code)?;
        Ok(self.strings.get(&code).cloned().unwrap_or_default())
    }

    /// Value of the attribute `MPI_LASTUSEDCODE`.
    pub fn last_used_code(&self) -> i32 {
        self.codes.last_key_value().map_or(ERR_LASTCODE, |(&code, _)| code)
    }

    fn next_code(&self) -> Result<i32> {
        self.last_used_code().checked_add(1).ok_or_else(|| {
            MpiError::new(ErrorClass::Other, "no error codes are left for this process")
        })
    }

    fn user_code(&self, code: i32) -> Result<&UserCode> {
        self.codes.get(&code).ok_or_else(|| {
            let detail = format!("{code} is not an error code that this process added");
            MpiError::argument(ErrorClass::Arg, "errorcode", detail)
        })
    }

    fn reject_in_use(&self, argument: &'static str, code: i32, in_use: bool) -> Result<()> {
        if in_use || self.strings.contains_key(&code) {
            let detail = format!("{code} is still in use; remove its codes and string first");
            return Err(MpiError::argument(ErrorClass::Arg, argument, detail));
        }
        Ok(())
    }
}

fn not_a_class(argument: &'static str, code: i32) -> MpiError {
    MpiError::argument(ErrorClass::Arg, argument, format!("{code} is not an error class"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_dense_and_round_trip() {
        for (index, &class) in ErrorClass::ALL.iter().enumerate() {
            let beyond = i32::from(class >= ErrorClass::ProcFailed) * (201 - 63);
            assert_eq!(class.code(), i32::try_from(index).expect("few classes") + beyond);
            assert_eq!(ErrorClass::from_code(class.code()), Some(class));
            assert!(class.text().len() < ERROR_STRING_LEN_MAX);
        }
        assert_eq!(ErrorClass::from_code(63), None);
        assert_eq!(ErrorClass::from_code(-1), None);
    }

    #[test]
    fn user_classes_codes_and_strings() {
        let mut registry = ErrorRegistry::new();
        assert_eq!(registry.last_used_code(), ERR_LASTCODE);
        let class = registry.add_class().expect("class");
        let code = registry.add_code(class).expect("code");
        let io = registry.add_code(ErrorClass::Io.code()).expect("code of a predefined class");
        assert_eq!((class, code, io), (ERR_LASTCODE + 1, ERR_LASTCODE + 2, ERR_LASTCODE + 3));
        assert_eq!(registry.class_of(code), Ok(class));
        assert_eq!(registry.class_of(io), Ok(35));
        assert_eq!(registry.last_used_code(), io);
        assert_eq!(registry.text(code), Ok(String::new()));
        registry.add_string(code, "out of tea").expect("string");
        assert_eq!(registry.text(code).as_deref(), Ok("out of tea"));
        assert!(registry.add_code(code).is_err(), "a code is not a class");
        assert!(registry.add_string(15, "x").is_err(), "predefined strings are fixed");
        assert!(registry.remove_class(class).is_err(), "it has a code");
        assert!(registry.remove_code(code).is_err(), "it has a string");
        registry.remove_string(code).expect("string");
        assert!(registry.remove_string(code).is_err());
        registry.remove_code(code).expect("code");
        assert!(registry.remove_code(class).is_err(), "a class is removed as a class");
        registry.remove_class(class).expect("class");
        assert!(registry.class_of(class).is_err());
    }

    #[test]
    fn display_names_class_and_argument() {
        let error = MpiError::argument(ErrorClass::Count, "count", "-1 is negative");
        assert_eq!(error.to_string(), "MPI_ERR_COUNT (argument count): -1 is negative");
    }
}
