//! Structures of the preview1 ABI, and their bytes in guest memory.
//!
//! Layouts follow `wasi_snapshot_preview1` (little-endian, natural alignment); each `encode` gives
//! the whole structure with its padding zeroed, so that no host byte leaks to the guest.

use super::errno::Errno;
use super::flags::FdFlags;

/// Kind of a file.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum Filetype {
    /// Anything else, pipes among them: preview1 has no number for those.
    Unknown = 0,
    /// A block device.
    BlockDevice = 1,
    /// A character device; the C library takes it for a terminal if it cannot seek.
    CharacterDevice = 2,
    /// A directory.
    Directory = 3,
    /// A regular file.
    RegularFile = 4,
    /// A stream socket.
    SocketStream = 6,
    /// A symbolic link.
    SymbolicLink = 7,
}

impl From<rustix::fs::FileType> for Filetype {
    fn from(kind: rustix::fs::FileType) -> Self {
        use rustix::fs::FileType;
        match kind {
            FileType::RegularFile => Self::RegularFile,
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::SymbolicLink,
            FileType::CharacterDevice => Self::CharacterDevice,
            FileType::BlockDevice => Self::BlockDevice,
            FileType::Socket => Self::SocketStream,
            FileType::Fifo | FileType::Unknown => Self::Unknown,
        }
    }
}

/// Attributes of a file.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) struct Filestat {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) filetype: Filetype,
    pub(crate) links: u64,
    pub(crate) size_bytes: u64,
    pub(crate) accessed_ns: u64,
    pub(crate) modified_ns: u64,
    pub(crate) changed_ns: u64,
}

impl Filestat {
    /// Bytes in guest memory.
    pub(crate) const SIZE: usize = 64;

    /// A stream that is no file of the host.
    pub(crate) const fn stream(filetype: Filetype) -> Self {
        Self {
            device: 0,
            inode: 0,
            filetype,
            links: 1,
            size_bytes: 0,
            accessed_ns: 0,
            modified_ns: 0,
            changed_ns: 0,
        }
    }

    /// The attributes in a record of the host.
    pub(crate) fn from_metadata(metadata: &cap_std::fs::Metadata) -> Self {
        use cap_std::fs::MetadataExt;
        let mode = metadata.mode();
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            filetype: rustix::fs::FileType::from_raw_mode(mode).into(),
            links: metadata.nlink(),
            size_bytes: metadata.size(),
            accessed_ns: timestamp_ns(metadata.atime(), metadata.atime_nsec()),
            modified_ns: timestamp_ns(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: timestamp_ns(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// The structure `filestat`.
    pub(crate) fn encode(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        put_u64(&mut out, 0, self.device);
        put_u64(&mut out, 8, self.inode);
        out[16] = self.filetype as u8;
        put_u64(&mut out, 24, self.links);
        put_u64(&mut out, 32, self.size_bytes);
        put_u64(&mut out, 40, self.accessed_ns);
        put_u64(&mut out, 48, self.modified_ns);
        put_u64(&mut out, 56, self.changed_ns);
        out
    }
}

/// The structure `fdstat`.
pub(crate) fn encode_fdstat(
    filetype: Filetype,
    flags: FdFlags,
    base: u64,
    inheriting: u64,
) -> [u8; 24] {
    let mut out = [0; 24];
    out[0] = filetype as u8;
    out[2..4].copy_from_slice(&flags.raw().to_le_bytes());
    put_u64(&mut out, 8, base);
    put_u64(&mut out, 16, inheriting);
    out
}

/// The head of the structure `dirent`; the name follows it in the guest's buffer.
pub(crate) fn encode_dirent(next: u64, inode: u64, name_len: u32, kind: Filetype) -> [u8; 24] {
    let mut out = [0; 24];
    put_u64(&mut out, 0, next);
    put_u64(&mut out, 8, inode);
    out[16..20].copy_from_slice(&name_len.to_le_bytes());
    out[20] = kind as u8;
    out
}

/// The structure `prestat` of a preopened directory.
pub(crate) fn encode_prestat(name_len: u32) -> [u8; 8] {
    let mut out = [0; 8];
    out[4..8].copy_from_slice(&name_len.to_le_bytes());
    out
}

/// The clock a function names.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum ClockId {
    /// Wall clock.
    Realtime,
    /// Steady clock.
    Monotonic,
    /// Processor time of the rank.
    ProcessCpu,
    /// Processor time of the calling thread, which is the rank.
    ThreadCpu,
}

impl ClockId {
    /// The clock numbered `raw`.
    pub(crate) const fn from_raw(raw: u32) -> Result<Self, Errno> {
        match raw {
            0 => Ok(Self::Realtime),
            1 => Ok(Self::Monotonic),
            2 => Ok(Self::ProcessCpu),
            3 => Ok(Self::ThreadCpu),
            _ => Err(Errno::Inval),
        }
    }
}

/// What `poll_oneoff` is asked to wait for.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) struct Subscription {
    pub(crate) userdata: u64,
    pub(crate) event: SubscribedEvent,
}

/// The event of a subscription.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum SubscribedEvent {
    /// A time is reached.
    Clock { clock: u32, timeout_ns: u64, absolute: bool },
    /// A read would not wait.
    Read { fd: u32 },
    /// A write would not wait.
    Write { fd: u32 },
    /// A number the standard does not name.
    Unknown { tag: u8 },
}

impl Subscription {
    /// Bytes in guest memory.
    pub(crate) const SIZE: usize = 48;

    /// Reads the structure.
    pub(crate) fn decode(bytes: &[u8; Self::SIZE]) -> Self {
        let event = match bytes[8] {
            0 => SubscribedEvent::Clock {
                clock: u32_at(bytes, 16),
                timeout_ns: u64_at(bytes, 24),
                absolute: bytes[40] & 1 != 0,
            },
            1 => SubscribedEvent::Read { fd: u32_at(bytes, 16) },
            2 => SubscribedEvent::Write { fd: u32_at(bytes, 16) },
            tag => SubscribedEvent::Unknown { tag },
        };
        Self { userdata: u64_at(bytes, 0), event }
    }
}

/// What `poll_oneoff` reports.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) struct Event {
    pub(crate) userdata: u64,
    pub(crate) error: Option<Errno>,
    /// 0 clock, 1 read, 2 write.
    pub(crate) kind: u8,
    pub(crate) bytes: u64,
    pub(crate) hangup: bool,
}

impl Event {
    /// Bytes in guest memory.
    pub(crate) const SIZE: usize = 32;

    /// The structure `event`.
    pub(crate) fn encode(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        put_u64(&mut out, 0, self.userdata);
        let error = self.error.map_or(0, Errno::raw);
        out[8..10].copy_from_slice(&error.to_le_bytes());
        out[10] = self.kind;
        put_u64(&mut out, 16, self.bytes);
        out[24] = u8::from(self.hangup);
        out
    }
}

/// Seconds and nanoseconds as preview1's unsigned nanoseconds; times outside its range are clamped.
pub(crate) fn timestamp_ns(seconds: i64, nanoseconds: i64) -> u64 {
    let total = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    u64::try_from(total.max(0)).unwrap_or(u64::MAX)
}

fn put_u64(out: &mut [u8], at: usize, value: u64) {
    out[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

fn u32_at(bytes: &[u8; Subscription::SIZE], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn u64_at(bytes: &[u8; Subscription::SIZE], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filestat_has_the_standard_layout() {
        let stat = Filestat {
            device: 1,
            inode: 2,
            filetype: Filetype::RegularFile,
            links: 3,
            size_bytes: 4,
            accessed_ns: 5,
            modified_ns: 6,
            changed_ns: 7,
        };
        let bytes = stat.encode();
        let words: Vec<u64> =
            bytes.chunks(8).map(|w| u64::from_le_bytes(w.try_into().expect("8"))).collect();
        assert_eq!(words, [1, 2, 4, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn subscriptions_are_read_at_their_offsets() {
        let mut bytes = [0; Subscription::SIZE];
        bytes[0] = 9;
        bytes[16] = 1;
        bytes[24] = 50;
        bytes[40] = 1;
        let clock = SubscribedEvent::Clock { clock: 1, timeout_ns: 50, absolute: true };
        assert_eq!(Subscription::decode(&bytes), Subscription { userdata: 9, event: clock });
        bytes[8] = 2;
        assert_eq!(Subscription::decode(&bytes).event, SubscribedEvent::Write { fd: 1 });
    }

    #[test]
    fn times_before_the_epoch_are_clamped() {
        assert_eq!(timestamp_ns(-5, 0), 0);
        assert_eq!(timestamp_ns(2, 3), 2_000_000_003);
        assert_eq!(timestamp_ns(i64::MAX, 0), u64::MAX);
    }
}
