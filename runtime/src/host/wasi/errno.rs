//! Error numbers of WASI preview1, and how errors of the host become one.
//!
//! Every system function of this module returns `Result<_, Errno>`; the number the guest sees is
//! decided here and nowhere else.

use std::io;

use faasm_vm::GuestFault;

/// Declares the enum and the table from Linux errors in one place.
macro_rules! errnos {
    ($($(#[doc = $doc:literal])* $name:ident = $value:literal $(<- $($host:ident)|+)?,)*) => {
        /// An error number of `wasi_snapshot_preview1`.
        #[derive(Copy, Clone, Debug, Eq, PartialEq)]
        #[repr(u16)]
        #[allow(dead_code, reason = "the set is the standard's, also where this host never fails so")]
        pub(crate) enum Errno { $($(#[doc = $doc])* $name = $value,)* }

        impl From<rustix::io::Errno> for Errno {
            fn from(error: rustix::io::Errno) -> Self {
                use rustix::io::Errno as Host;
                match error {
                    $($($(Host::$host)|+ => Self::$name,)?)*
                    _ => Self::Io,
                }
            }
        }
    };
}

errnos! {
    /// Argument list too long.
    TooBig = 1 <- TOOBIG,
    /// Permission denied.
    Access = 2 <- ACCESS,
    /// Address in use.
    Addrinuse = 3 <- ADDRINUSE,
    /// Address not available.
    Addrnotavail = 4 <- ADDRNOTAVAIL,
    /// Address family not supported.
    Afnosupport = 5 <- AFNOSUPPORT,
    /// Nothing available now; try again.
    Again = 6 <- AGAIN,
    /// Connection already in progress.
    Already = 7 <- ALREADY,
    /// Bad file descriptor.
    Badf = 8 <- BADF,
    /// Bad message.
    Badmsg = 9 <- BADMSG,
    /// Device or resource busy.
    Busy = 10 <- BUSY,
    /// Operation cancelled.
    Canceled = 11 <- CANCELED,
    /// No child processes.
    Child = 12 <- CHILD,
    /// Connection aborted.
    Connaborted = 13 <- CONNABORTED,
    /// Connection refused.
    Connrefused = 14 <- CONNREFUSED,
    /// Connection reset.
    Connreset = 15 <- CONNRESET,
    /// Resource deadlock would occur.
    Deadlk = 16 <- DEADLK,
    /// Destination address required.
    Destaddrreq = 17 <- DESTADDRREQ,
    /// Argument out of the function's domain.
    Dom = 18 <- DOM,
    /// Quota exceeded.
    Dquot = 19 <- DQUOT,
    /// The file exists.
    Exist = 20 <- EXIST,
    /// Address outside the guest's memory.
    Fault = 21 <- FAULT,
    /// File too large.
    Fbig = 22 <- FBIG,
    /// Host unreachable.
    Hostunreach = 23 <- HOSTUNREACH,
    /// Identifier removed.
    Idrm = 24 <- IDRM,
    /// Illegal byte sequence.
    Ilseq = 25 <- ILSEQ,
    /// Operation in progress.
    Inprogress = 26 <- INPROGRESS,
    /// Interrupted.
    Intr = 27 <- INTR,
    /// Invalid argument.
    Inval = 28 <- INVAL,
    /// Input or output error; also any host error without a number here.
    Io = 29 <- IO,
    /// Socket is connected.
    Isconn = 30 <- ISCONN,
    /// Is a directory.
    Isdir = 31 <- ISDIR,
    /// Too many levels of symbolic links.
    Loop = 32 <- LOOP,
    /// Too many open files in this rank.
    Mfile = 33 <- MFILE,
    /// Too many links.
    Mlink = 34 <- MLINK,
    /// Message too large.
    Msgsize = 35 <- MSGSIZE,
    /// Multihop.
    Multihop = 36 <- MULTIHOP,
    /// Name too long.
    Nametoolong = 37 <- NAMETOOLONG,
    /// Network is down.
    Netdown = 38 <- NETDOWN,
    /// Connection aborted by the network.
    Netreset = 39 <- NETRESET,
    /// Network unreachable.
    Netunreach = 40 <- NETUNREACH,
    /// Too many open files in the process.
    Nfile = 41 <- NFILE,
    /// No buffer space.
    Nobufs = 42 <- NOBUFS,
    /// No such device.
    Nodev = 43 <- NODEV,
    /// No such file or directory.
    Noent = 44 <- NOENT,
    /// Executable format error.
    Noexec = 45 <- NOEXEC,
    /// No locks available.
    Nolck = 46 <- NOLCK,
    /// Link severed.
    Nolink = 47 <- NOLINK,
    /// Not enough memory.
    Nomem = 48 <- NOMEM,
    /// No message of the type.
    Nomsg = 49 <- NOMSG,
    /// Protocol not available.
    Noprotoopt = 50 <- NOPROTOOPT,
    /// No space left on the device.
    Nospc = 51 <- NOSPC,
    /// Function not supported.
    Nosys = 52 <- NOSYS,
    /// Socket is not connected.
    Notconn = 53 <- NOTCONN,
    /// Not a directory.
    Notdir = 54 <- NOTDIR,
    /// Directory not empty.
    Notempty = 55 <- NOTEMPTY,
    /// State not recoverable.
    Notrecoverable = 56 <- NOTRECOVERABLE,
    /// Not a socket.
    Notsock = 57 <- NOTSOCK,
    /// Not supported.
    Notsup = 58 <- NOTSUP,
    /// Inappropriate control operation.
    Notty = 59 <- NOTTY,
    /// No such device or address.
    Nxio = 60 <- NXIO,
    /// Value too large for its type.
    Overflow = 61 <- OVERFLOW,
    /// Previous owner died.
    Ownerdead = 62 <- OWNERDEAD,
    /// Operation not permitted.
    Perm = 63 <- PERM,
    /// Broken pipe.
    Pipe = 64 <- PIPE,
    /// Protocol error.
    Proto = 65 <- PROTO,
    /// Protocol not supported.
    Protonosupport = 66 <- PROTONOSUPPORT,
    /// Wrong protocol type.
    Prototype = 67 <- PROTOTYPE,
    /// Result too large.
    Range = 68 <- RANGE,
    /// Read-only file system or preopened directory.
    Rofs = 69 <- ROFS,
    /// Invalid seek.
    Spipe = 70 <- SPIPE,
    /// No such process.
    Srch = 71 <- SRCH,
    /// Stale handle.
    Stale = 72 <- STALE,
    /// Timed out.
    Timedout = 73 <- TIMEDOUT,
    /// Text file busy.
    Txtbsy = 74 <- TXTBSY,
    /// Cross-device link.
    Xdev = 75 <- XDEV,
    /// The descriptor lacks the right, or the path leaves its directory.
    Notcapable = 76,
}

impl Errno {
    /// The number as the guest sees it.
    pub(crate) const fn raw(self) -> u16 {
        self as u16
    }
}

impl From<io::Error> for Errno {
    fn from(error: io::Error) -> Self {
        if let Some(host) = rustix::io::Errno::from_io_error(&error) {
            return host.into();
        }
        match error.kind() {
            io::ErrorKind::NotFound => Self::Noent,
            // cap-std refuses a path that leaves its directory with this kind and no number.
            io::ErrorKind::PermissionDenied => Self::Notcapable,
            io::ErrorKind::AlreadyExists => Self::Exist,
            io::ErrorKind::InvalidInput => Self::Inval,
            io::ErrorKind::NotADirectory => Self::Notdir,
            io::ErrorKind::IsADirectory => Self::Isdir,
            io::ErrorKind::OutOfMemory => Self::Nomem,
            io::ErrorKind::Unsupported => Self::Notsup,
            _ => Self::Io,
        }
    }
}

impl From<GuestFault> for Errno {
    fn from(_: GuestFault) -> Self {
        Self::Fault
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_numbers_become_wasi_numbers() {
        let cases = [
            (rustix::io::Errno::NOSPC, 51),
            (rustix::io::Errno::IO, 29),
            (rustix::io::Errno::DQUOT, 19),
            (rustix::io::Errno::ROFS, 69),
            (rustix::io::Errno::NOENT, 44),
            (rustix::io::Errno::LOOP, 32),
        ];
        for (host, wasi) in cases {
            assert_eq!(Errno::from(host).raw(), wasi, "{host:?}");
            assert_eq!(
                Errno::from(io::Error::from(host)).raw(),
                wasi,
                "{host:?} through io::Error"
            );
        }
    }

    #[test]
    fn an_unknown_host_error_is_an_io_error() {
        assert_eq!(Errno::from(rustix::io::Errno::from_raw_os_error(4000)), Errno::Io);
    }
}
