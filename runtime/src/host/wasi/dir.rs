//! `fd_readdir`.
//!
//! A directory is read when a guest starts at cookie 0 and kept until it starts again, sorted by
//! name: a listing stays the same while entries come and go, every rank sees the same order, and a
//! cookie (the index of an entry) means the same after the rank was restored elsewhere.

use std::os::fd::{AsFd, OwnedFd};

use cap_std::fs::Dir;
use faasm_vm::{GuestAddr, GuestMemory};
use rustix::fs::{Mode, OFlags};

use super::ctx::WasiCtx;
use super::errno::Errno;
use super::iovec::{CHUNK_BYTES, with_scratch};
use super::rights::Rights;
use super::table::{Fd, ListedEntry, Object, OpenDirectory};
use super::types::{Filetype, encode_dirent};

/// Bytes of the structure `dirent`, which the name follows.
const DIRENT_BYTES: usize = 24;

/// `dir` as a descriptor that can be read and synchronised, which a mere path handle cannot.
pub(crate) fn readable(dir: &Dir) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(dir.as_fd(), ".", flags, Mode::empty())?)
}

/// `fd_readdir`: fills `out` with entries from `cookie` on, the last one cut where the buffer ends;
/// gives the bytes used, fewer than `out_len` at the end of the directory.
pub(crate) fn readdir(
    ctx: &mut WasiCtx,
    memory: &GuestMemory,
    fd: Fd,
    (out, out_len): (GuestAddr, u32),
    cookie: u64,
) -> Result<u32, Errno> {
    memory.check(out, u64::from(out_len))?;
    let Object::Directory(directory) = &mut ctx.files.get_mut(fd, Rights::FD_READDIR)?.object
    else {
        return Err(Errno::Notdir);
    };
    if cookie == 0 || directory.listing.is_none() {
        directory.listing = Some(list(directory)?);
    }
    let entries = directory.listing.as_deref().unwrap_or_default();
    let first = usize::try_from(cookie).unwrap_or(usize::MAX).min(entries.len());
    let len = (out_len as usize).min(CHUNK_BYTES);
    let used = with_scratch(len, |buffer| {
        let used = encode(entries, first, buffer)?;
        memory.write(out, &buffer[..used])?;
        Ok::<_, Errno>(used)
    })?;
    let more = used == CHUNK_BYTES && out_len as usize > CHUNK_BYTES;
    if more { finish(memory, entries, first, out, out_len) } else { to_u32(used) }
}

/// Fills a buffer that is longer than a chunk, entry by entry.
fn finish(
    memory: &GuestMemory,
    entries: &[ListedEntry],
    first: usize,
    out: GuestAddr,
    out_len: u32,
) -> Result<u32, Errno> {
    let mut used = 0_usize;
    for index in first..entries.len() {
        let left = out_len as usize - used;
        let mut entry = vec![0; (DIRENT_BYTES + entries[index].name.len()).min(left)];
        encode(&entries[index..=index], 0, &mut entry)?;
        let next = (index as u64 + 1).to_le_bytes();
        let shown = next.len().min(entry.len());
        entry[..shown].copy_from_slice(&next[..shown]);
        memory.write(out.checked_add(used as u64).ok_or(Errno::Fault)?, &entry)?;
        used += entry.len();
        if used == out_len as usize {
            break;
        }
    }
    to_u32(used)
}

fn to_u32(used: usize) -> Result<u32, Errno> {
    u32::try_from(used).map_err(|_| Errno::Overflow)
}

/// Puts entries from `first` on into `buffer`; gives the bytes used.
fn encode(entries: &[ListedEntry], first: usize, buffer: &mut [u8]) -> Result<usize, Errno> {
    let mut used = 0;
    for (index, entry) in entries.iter().enumerate().skip(first) {
        let name_len = to_u32(entry.name.len())?;
        let head = encode_dirent(index as u64 + 1, entry.inode, name_len, entry.filetype);
        for part in [head.as_slice(), &entry.name] {
            let len = part.len().min(buffer.len() - used);
            buffer[used..used + len].copy_from_slice(&part[..len]);
            used += len;
        }
        if used == buffer.len() {
            break;
        }
    }
    Ok(used)
}

/// Reads the whole directory.
fn list(directory: &OpenDirectory) -> Result<Vec<ListedEntry>, Errno> {
    let own = rustix::fs::fstat(directory.dir.as_fd())?.st_ino;
    let mut entries = Vec::new();
    for entry in rustix::fs::Dir::new(readable(&directory.dir)?)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            let filetype = Filetype::from(entry.file_type());
            entries.push(ListedEntry { name: name.into(), inode: entry.ino(), filetype });
        }
    }
    entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    // The parent may lie outside of what the guest may see, so both carry the directory's number.
    let dots = [b".".as_slice(), b".."].map(|name| ListedEntry {
        name: name.into(),
        inode: own,
        filetype: Filetype::Directory,
    });
    entries.splice(0..0, dots);
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ROOT, Rig};
    use super::*;

    const OUT: GuestAddr = GuestAddr::new(4096);

    /// Reads everything through a buffer of `len` bytes, as a C library does.
    fn read_all(rig: &mut Rig, len: u32) -> Vec<(String, u8)> {
        let (mut cookie, mut names) = (0, Vec::new());
        loop {
            let used = readdir(&mut rig.ctx, &rig.memory, ROOT, (OUT, len), cookie);
            let used = used.expect("the directory can be read") as usize;
            let bytes = rig.memory.read_vec(OUT, used as u64).expect("in bounds");
            let mut at = 0;
            while at + DIRENT_BYTES <= used {
                let name_len = u32::from_le_bytes(bytes[at + 16..at + 20].try_into().expect("4"));
                let end = at + DIRENT_BYTES + name_len as usize;
                if end > used {
                    break;
                }
                let name = String::from_utf8_lossy(&bytes[at + DIRENT_BYTES..end]).into_owned();
                names.push((name, bytes[at + 20]));
                cookie = u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8"));
                at = end;
            }
            if used < len as usize {
                return names;
            }
        }
    }

    #[test]
    fn a_listing_is_complete_and_sorted_for_every_buffer() {
        let mut rig = Rig::new();
        for name in ["b", "a-rather-long-name-of-a-file", "c"] {
            rig.host_file(name, b"");
        }
        std::fs::create_dir(rig.host("d")).expect("a directory");
        std::os::unix::fs::symlink("b", rig.host("e")).expect("a link");
        let expected = [
            (".", 3),
            ("..", 3),
            ("a-rather-long-name-of-a-file", 4),
            ("b", 4),
            ("c", 4),
            ("d", 3),
            ("e", 7),
        ];
        let expected = expected.map(|(name, kind)| (name.to_owned(), kind));
        for len in [60, 100, 4096] {
            assert_eq!(read_all(&mut rig, len), expected, "buffer of {len} bytes");
        }
    }

    #[test]
    fn a_large_directory_fills_a_large_buffer() {
        let mut rig = Rig::new();
        for index in 0..2000 {
            rig.host_file(&format!("file-with-a-long-name-{index:06}"), b"");
        }
        for len in [80_000, 200_000] {
            assert_eq!(read_all(&mut rig, len).len(), 2002, "buffer of {len} bytes");
        }
    }

    #[test]
    fn a_listing_stays_until_it_is_started_again() {
        let mut rig = Rig::new();
        rig.host_file("one", b"");
        let (ctx, memory) = (&mut rig.ctx, &rig.memory);
        readdir(ctx, memory, ROOT, (OUT, 4096), 0).expect("readable");
        std::fs::remove_file(rig.host("one")).expect("it is there");
        let (ctx, memory) = (&mut rig.ctx, &rig.memory);
        assert_eq!(readdir(ctx, memory, ROOT, (OUT, 4096), 2), Ok(27));
        assert_eq!(readdir(ctx, memory, ROOT, (OUT, 4096), 99), Ok(0), "past the end");
        assert_eq!(readdir(ctx, memory, ROOT, (OUT, 4096), 0), Ok(51), "only the dots are left");
    }

    #[test]
    fn only_directories_are_listed() {
        let mut rig = Rig::new();
        let fd = rig.create("file");
        let listed = readdir(&mut rig.ctx, &rig.memory, fd, (OUT, 100), 0);
        assert_eq!(listed, Err(Errno::Notcapable));
    }
}
