//! Rights of descriptors.
//!
//! A descriptor carries the rights it may use (base) and those that files opened through it may
//! get (inheriting). They only shrink. A read-only preopen is not expressed here: its directory
//! shows full rights, so that a guest asks for what it really wants and is refused with `ROFS` at
//! the call that would change something, not with a bad descriptor much later.

use super::flags::flags;

flags! {
    /// What may be done with a descriptor.
    Rights: u64 {
        FD_DATASYNC = 1 << 0,
        FD_READ = 1 << 1,
        FD_SEEK = 1 << 2,
        FD_FDSTAT_SET_FLAGS = 1 << 3,
        FD_SYNC = 1 << 4,
        FD_TELL = 1 << 5,
        FD_WRITE = 1 << 6,
        FD_ADVISE = 1 << 7,
        FD_ALLOCATE = 1 << 8,
        PATH_CREATE_DIRECTORY = 1 << 9,
        PATH_CREATE_FILE = 1 << 10,
        PATH_LINK_SOURCE = 1 << 11,
        PATH_LINK_TARGET = 1 << 12,
        PATH_OPEN = 1 << 13,
        FD_READDIR = 1 << 14,
        PATH_READLINK = 1 << 15,
        PATH_RENAME_SOURCE = 1 << 16,
        PATH_RENAME_TARGET = 1 << 17,
        PATH_FILESTAT_GET = 1 << 18,
        PATH_FILESTAT_SET_SIZE = 1 << 19,
        PATH_FILESTAT_SET_TIMES = 1 << 20,
        FD_FILESTAT_GET = 1 << 21,
        FD_FILESTAT_SET_SIZE = 1 << 22,
        FD_FILESTAT_SET_TIMES = 1 << 23,
        PATH_SYMLINK = 1 << 24,
        PATH_REMOVE_DIRECTORY = 1 << 25,
        PATH_UNLINK_FILE = 1 << 26,
        POLL_FD_READWRITE = 1 << 27,
        SOCK_SHUTDOWN = 1 << 28,
        SOCK_ACCEPT = 1 << 29,
    }
}

/// Rights that need a file opened for writing.
pub(crate) const NEED_WRITE: Rights =
    Rights::FD_WRITE.or(Rights::FD_ALLOCATE).or(Rights::FD_FILESTAT_SET_SIZE);

/// Rights that need a file opened for reading.
pub(crate) const NEED_READ: Rights = Rights::FD_READ.or(Rights::FD_READDIR);

/// What standard input allows. Without seek and tell a character device counts as a terminal.
pub(crate) const STDIN: Rights = Rights::FD_READ
    .or(Rights::FD_FDSTAT_SET_FLAGS)
    .or(Rights::FD_FILESTAT_GET)
    .or(Rights::POLL_FD_READWRITE);

/// What standard output and error allow.
pub(crate) const STDOUT: Rights = Rights::FD_WRITE
    .or(Rights::FD_FDSTAT_SET_FLAGS)
    .or(Rights::FD_FILESTAT_GET)
    .or(Rights::FD_DATASYNC)
    .or(Rights::FD_SYNC)
    .or(Rights::POLL_FD_READWRITE);

/// What an open file can allow.
pub(crate) const FILE: Rights = Rights::FD_DATASYNC
    .or(Rights::FD_READ)
    .or(Rights::FD_SEEK)
    .or(Rights::FD_FDSTAT_SET_FLAGS)
    .or(Rights::FD_SYNC)
    .or(Rights::FD_TELL)
    .or(Rights::FD_WRITE)
    .or(Rights::FD_ADVISE)
    .or(Rights::FD_ALLOCATE)
    .or(Rights::FD_FILESTAT_GET)
    .or(Rights::FD_FILESTAT_SET_SIZE)
    .or(Rights::FD_FILESTAT_SET_TIMES)
    .or(Rights::POLL_FD_READWRITE);

/// What an open directory can allow.
pub(crate) const DIRECTORY: Rights = Rights::ALL
    .without(FILE)
    .without(Rights::SOCK_SHUTDOWN)
    .without(Rights::SOCK_ACCEPT)
    .or(Rights::FD_FDSTAT_SET_FLAGS)
    .or(Rights::FD_SYNC)
    .or(Rights::FD_DATASYNC)
    .or(Rights::FD_ADVISE)
    .or(Rights::FD_FILESTAT_GET)
    .or(Rights::FD_FILESTAT_SET_TIMES);

/// What files and directories opened below a preopen can allow.
pub(crate) const INHERITED: Rights = DIRECTORY.or(FILE);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stdio_lacks_seek_and_tell() {
        for rights in [STDIN, STDOUT] {
            assert!(!rights.has_any(Rights::FD_SEEK.or(Rights::FD_TELL)));
        }
    }

    #[test]
    fn directories_are_not_read_or_written() {
        assert!(!DIRECTORY.has_any(Rights::FD_READ.or(Rights::FD_WRITE).or(Rights::FD_SEEK)));
        assert!(DIRECTORY.has(Rights::FD_READDIR.or(Rights::PATH_OPEN)));
    }
}
