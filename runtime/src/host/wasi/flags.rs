//! Sets of bit flags of the preview1 ABI.

/// Declares a set of bit flags over an integer, with the few operations the host needs.
macro_rules! flags {
    ($(#[$meta:meta])* $name:ident: $repr:ty { $($(#[$flag_meta:meta])* $flag:ident = $bit:expr,)* }) => {
        $(#[$meta])*
        #[derive(Copy, Clone, Debug, Default, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub(crate) struct $name($repr);

        #[allow(dead_code, reason = "the set is the standard's")]
        impl $name {
            $($(#[$flag_meta])* pub(crate) const $flag: Self = Self($bit);)*
            /// Every flag the standard names.
            pub(crate) const ALL: Self = Self(0 $(| $bit)*);
            /// No flag.
            pub(crate) const NONE: Self = Self(0);

            /// The flags in `raw`, or `None` when it has a bit the standard does not name.
            pub(crate) const fn from_raw(raw: $repr) -> Option<Self> {
                if raw & !Self::ALL.0 == 0 { Some(Self(raw)) } else { None }
            }
            /// The flags in an argument of a system call.
            pub(crate) fn from_abi(raw: u32) -> Result<Self, $crate::host::wasi::errno::Errno> {
                #[allow(clippy::unnecessary_fallible_conversions, reason = "the width is the macro's")]
                <$repr>::try_from(raw).ok().and_then(Self::from_raw).ok_or($crate::host::wasi::errno::Errno::Inval)
            }
            /// The flags in `raw`, without bits the standard does not name.
            pub(crate) const fn from_raw_truncated(raw: $repr) -> Self {
                Self(raw & Self::ALL.0)
            }
            pub(crate) const fn raw(self) -> $repr {
                self.0
            }
            pub(crate) const fn has(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }
            pub(crate) const fn has_any(self, other: Self) -> bool {
                self.0 & other.0 != 0
            }
            pub(crate) const fn and(self, other: Self) -> Self {
                Self(self.0 & other.0)
            }
            pub(crate) const fn or(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }
            pub(crate) const fn without(self, other: Self) -> Self {
                Self(self.0 & !other.0)
            }
        }
    };
}
pub(crate) use flags;

flags! {
    /// Flags of an open descriptor.
    FdFlags: u16 {
        /// Each write goes to the end of the file.
        APPEND = 1,
        /// A write returns when its data are on the device.
        DSYNC = 2,
        /// A call that would wait fails with `AGAIN`.
        NONBLOCK = 4,
        /// Reads are synchronised too; Linux treats it as `SYNC`.
        RSYNC = 8,
        /// A write returns when data and metadata are on the device.
        SYNC = 16,
    }
}

flags! {
    /// How `path_open` opens.
    OFlags: u16 {
        /// Create the file if it is not there.
        CREAT = 1,
        /// Fail unless it is a directory.
        DIRECTORY = 2,
        /// Fail if it is there.
        EXCL = 4,
        /// Cut it to length 0.
        TRUNC = 8,
    }
}

flags! {
    /// How a path is looked up.
    LookupFlags: u32 {
        /// Follow a symbolic link in the last component.
        SYMLINK_FOLLOW = 1,
    }
}

flags! {
    /// Which timestamps to set, and to what.
    FstFlags: u16 {
        /// Set the access time to the argument.
        ATIM = 1,
        /// Set the access time to now.
        ATIM_NOW = 2,
        /// Set the modification time to the argument.
        MTIM = 4,
        /// Set the modification time to now.
        MTIM_NOW = 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_outside_the_standard_are_refused() {
        assert_eq!(FdFlags::from_raw(32), None);
        assert_eq!(FdFlags::from_raw(17), Some(FdFlags::APPEND.or(FdFlags::SYNC)));
    }
}
