//! Keeps the cache within its limit.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::folder::{Folder, SUFFIX, Shelf, UNFINISHED};

/// Removes the least recently used entries until the rest fits into `bytes_max`, and what killed
/// processes left behind. Costs a few system calls for each entry.
pub(super) fn evict(folder: &Folder, bytes_max: u64) -> io::Result<()> {
    let mut entries = Vec::new();
    for name in folder.shelves()? {
        // What is no directory is not ours.
        if let Ok(Some(shelf)) = folder.shelf_named(&name) {
            collect(&shelf, &name, &mut entries)?;
            folder.remove_if_empty(&name)?;
        }
    }
    let mut total: u64 = entries.iter().map(|entry| entry.bytes).sum();
    entries.sort_by_key(|entry| entry.used);
    for entry in &entries {
        if total <= bytes_max {
            break;
        }
        if let Some(shelf) = folder.shelf_named(&entry.shelf)? {
            shelf.remove(&entry.name)?;
            folder.remove_if_empty(&entry.shelf)?;
        }
        total -= entry.bytes;
    }
    Ok(())
}

#[derive(Debug)]
struct Entry {
    shelf: String,
    name: String,
    bytes: u64,
    /// Time of last use since 1970.
    used: Duration,
}

fn collect(shelf: &Shelf, shelf_name: &str, entries: &mut Vec<Entry>) -> io::Result<()> {
    for name in shelf.files()? {
        let stat = match shelf.stat(&name) {
            Ok(stat) => stat,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => continue,
            Err(cause) => return Err(cause),
        };
        let used = Duration::new(
            u64::try_from(stat.st_mtime).unwrap_or(0),
            u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        );
        if name.ends_with(SUFFIX) {
            let bytes = u64::try_from(stat.st_size).unwrap_or(0);
            entries.push(Entry { shelf: shelf_name.to_owned(), name, bytes, used });
        } else if name.starts_with(UNFINISHED) && age(used) > UNFINISHED_AGE_MAX {
            shelf.remove(&name)?;
        }
    }
    Ok(())
}

fn age(used: Duration) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(used)
}

/// An entry that has been unfinished for so long is nobody's.
const UNFINISHED_AGE_MAX: Duration = Duration::from_secs(3600);
