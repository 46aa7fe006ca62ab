//! The table of a rank's open descriptors.

use std::sync::Arc;

use cap_std::fs::{Dir, File};

use super::errno::Errno;
use super::flags::FdFlags;
use super::rights::Rights;
use super::types::Filetype;

/// Number of a descriptor.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) struct Fd(pub(crate) u32);

/// An open descriptor.
#[derive(Debug)]
pub(crate) struct Descriptor {
    pub(crate) object: Object,
    pub(crate) rights: Rights,
    pub(crate) inheriting: Rights,
    pub(crate) flags: FdFlags,
}

/// What a descriptor stands for.
#[derive(Debug)]
pub(crate) enum Object {
    /// The rank's standard input.
    Stdin,
    /// The rank's standard output.
    Stdout,
    /// The rank's standard error.
    Stderr,
    /// A file that is no directory.
    File(OpenFile),
    /// A directory.
    Directory(OpenDirectory),
}

/// An open file.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) file: File,
    pub(crate) place: Place,
    pub(crate) filetype: Filetype,
    /// Where the next read or write starts; the host's own offset is not used.
    pub(crate) offset: u64,
}

impl OpenFile {
    /// Whether it is read and written at positions; pipes and terminals are not.
    pub(crate) fn is_seekable(&self) -> bool {
        matches!(self.filetype, Filetype::RegularFile | Filetype::BlockDevice)
    }
}

/// An open directory.
#[derive(Debug)]
pub(crate) struct OpenDirectory {
    /// Shared by all ranks when it is a preopen, which then costs one descriptor of the host.
    pub(crate) dir: Arc<Dir>,
    pub(crate) place: Place,
    pub(crate) preopened: bool,
    /// Entries as they were at the last rewind.
    pub(crate) listing: Option<Vec<ListedEntry>>,
}

/// An entry of a directory.
#[derive(Debug)]
pub(crate) struct ListedEntry {
    pub(crate) name: Box<[u8]>,
    pub(crate) inode: u64,
    pub(crate) filetype: Filetype,
}

/// Where a file is, in terms that hold on another machine too.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Place {
    /// Index of the preopened directory it was reached through.
    pub(crate) preopen: usize,
    /// Path below it, without `.` components; empty for the directory itself.
    pub(crate) path: String,
    /// The name was removed by this rank while the file was open.
    pub(crate) unlinked: bool,
}

impl Place {
    /// The place of preopened directory number `preopen`.
    pub(crate) const fn root(preopen: usize) -> Self {
        Self { preopen, path: String::new(), unlinked: false }
    }

    /// The place `path` leads to from this directory. `..` stays as it is: what it means depends
    /// on symbolic links.
    pub(crate) fn join(&self, path: &str) -> Self {
        let mut joined = self.path.clone();
        for component in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
            if !joined.is_empty() {
                joined.push('/');
            }
            joined.push_str(component);
        }
        Self { preopen: self.preopen, path: joined, unlinked: self.unlinked }
    }

    /// The rest of the path if this place is `directory` or lies below it.
    fn below(&self, directory: &Self) -> Option<&str> {
        if self.preopen != directory.preopen || self.unlinked {
            return None;
        }
        let rest = self.path.strip_prefix(&directory.path)?;
        (rest.is_empty() || rest.starts_with('/') || directory.path.is_empty()).then_some(rest)
    }
}

/// The open descriptors of one rank.
#[derive(Debug)]
pub(crate) struct FileTable {
    slots: Vec<Option<Descriptor>>,
    descriptors_max: usize,
}

impl FileTable {
    pub(crate) const fn new(descriptors_max: usize) -> Self {
        Self { slots: Vec::new(), descriptors_max }
    }

    /// Opens the lowest free number.
    pub(crate) fn insert(&mut self, descriptor: Descriptor) -> Result<Fd, Errno> {
        let fd = self.free()?;
        self.insert_at(fd, descriptor)?;
        Ok(fd)
    }

    /// Opens number `fd`, closing what it was.
    pub(crate) fn insert_at(&mut self, fd: Fd, descriptor: Descriptor) -> Result<(), Errno> {
        let index = fd.0 as usize;
        if index >= self.descriptors_max {
            return Err(Errno::Mfile);
        }
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, || None);
        }
        self.slots[index] = Some(descriptor);
        Ok(())
    }

    /// Closes `fd`.
    pub(crate) fn remove(&mut self, fd: Fd) -> Result<Descriptor, Errno> {
        self.slots.get_mut(fd.0 as usize).and_then(Option::take).ok_or(Errno::Badf)
    }

    /// Makes `to`, which must be open, what `from` is, and closes `from`.
    pub(crate) fn renumber(&mut self, from: Fd, to: Fd) -> Result<(), Errno> {
        self.get(to)?;
        self.get(from)?;
        if from != to {
            let descriptor = self.remove(from)?;
            self.insert_at(to, descriptor)?;
        }
        Ok(())
    }

    /// Descriptor `fd`, which must have `rights`.
    pub(crate) fn get_mut(&mut self, fd: Fd, rights: Rights) -> Result<&mut Descriptor, Errno> {
        let slot = self.slots.get_mut(fd.0 as usize).and_then(Option::as_mut);
        allowed(slot.ok_or(Errno::Badf)?, rights)
    }

    /// The file `fd`, which must have `rights`.
    pub(crate) fn file_mut(&mut self, fd: Fd, rights: Rights) -> Result<&mut OpenFile, Errno> {
        match &mut self.get_mut(fd, Rights::NONE)?.object {
            Object::Directory(_) => return Err(Errno::Isdir),
            Object::Stdin | Object::Stdout | Object::Stderr => return Err(Errno::Spipe),
            Object::File(_) => {}
        }
        match &mut self.get_mut(fd, rights)?.object {
            Object::File(file) => Ok(file),
            _ => Err(Errno::Badf),
        }
    }

    /// The name `from` became `to`: open files below it are found there from now on.
    pub(crate) fn renamed(&mut self, from: &Place, to: &Place) {
        self.unlinked(to);
        for place in self.places_mut() {
            if let Some(rest) = place.below(from) {
                place.path = format!("{}{rest}", to.path);
                place.preopen = to.preopen;
            }
        }
    }

    /// The name `at` is gone.
    pub(crate) fn unlinked(&mut self, at: &Place) {
        self.places_mut().filter(|place| *place == at).for_each(|place| place.unlinked = true);
    }

    fn places_mut(&mut self) -> impl Iterator<Item = &mut Place> {
        self.slots.iter_mut().flatten().filter_map(|descriptor| match &mut descriptor.object {
            Object::File(file) => Some(&mut file.place),
            Object::Directory(directory) if !directory.preopened => Some(&mut directory.place),
            _ => None,
        })
    }

    pub(crate) const fn descriptors_max(&self) -> usize {
        self.descriptors_max
    }

    /// The lowest free number.
    pub(crate) fn free(&self) -> Result<Fd, Errno> {
        let index = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        if index >= self.descriptors_max {
            return Err(Errno::Mfile);
        }
        u32::try_from(index).map(Fd).map_err(|_| Errno::Mfile)
    }

    /// Descriptor `fd`.
    pub(crate) fn get(&self, fd: Fd) -> Result<&Descriptor, Errno> {
        self.slots.get(fd.0 as usize).and_then(Option::as_ref).ok_or(Errno::Badf)
    }

    /// The directory `fd`, which must have `rights`, and its descriptor.
    pub(crate) fn directory(
        &self,
        fd: Fd,
        rights: Rights,
    ) -> Result<(&OpenDirectory, &Descriptor), Errno> {
        let descriptor = self.get(fd)?;
        let Object::Directory(directory) = &descriptor.object else { return Err(Errno::Notdir) };
        if descriptor.rights.has(rights) {
            Ok((directory, descriptor))
        } else {
            Err(Errno::Notcapable)
        }
    }

    /// All open descriptors, lowest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Fd, &Descriptor)> {
        let numbered = (0_u32..).zip(&self.slots);
        numbered.filter_map(|(fd, slot)| slot.as_ref().map(|descriptor| (Fd(fd), descriptor)))
    }
}

fn allowed(descriptor: &mut Descriptor, rights: Rights) -> Result<&mut Descriptor, Errno> {
    if descriptor.rights.has(rights) { Ok(descriptor) } else { Err(Errno::Notcapable) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(object: Object) -> Descriptor {
        Descriptor {
            object,
            rights: Rights::FD_READ,
            inheriting: Rights::NONE,
            flags: FdFlags::NONE,
        }
    }

    #[test]
    fn the_lowest_free_number_is_used() {
        let mut table = FileTable::new(3);
        for expected in 0..3 {
            assert_eq!(table.insert(stream(Object::Stdin)), Ok(Fd(expected)));
        }
        assert_eq!(table.insert(stream(Object::Stdin)), Err(Errno::Mfile));
        table.remove(Fd(1)).expect("it is open");
        assert_eq!(table.remove(Fd(1)).err(), Some(Errno::Badf));
        assert_eq!(table.insert(stream(Object::Stdout)), Ok(Fd(1)));
    }

    #[test]
    fn renumber_moves_and_needs_both_ends_open() {
        let mut table = FileTable::new(8);
        table.insert(stream(Object::Stdin)).expect("room");
        table.insert(stream(Object::Stdout)).expect("room");
        assert_eq!(table.renumber(Fd(0), Fd(5)), Err(Errno::Badf));
        assert_eq!(table.renumber(Fd(1), Fd(0)), Ok(()));
        assert!(matches!(table.get(Fd(0)).map(|d| &d.object), Ok(Object::Stdout)));
        assert_eq!(table.get(Fd(1)).err(), Some(Errno::Badf));
    }

    #[test]
    fn missing_rights_are_refused() {
        let mut table = FileTable::new(8);
        table.insert(stream(Object::Stdin)).expect("room");
        assert!(table.get_mut(Fd(0), Rights::FD_READ).is_ok());
        assert_eq!(table.get_mut(Fd(0), Rights::FD_WRITE).err(), Some(Errno::Notcapable));
    }

    #[test]
    fn places_join_and_contain() {
        let root = Place::root(0);
        let deep = root.join("./a//b/").join("c");
        assert_eq!(deep.path, "a/b/c");
        assert_eq!(deep.below(&root.join("a/b")), Some("/c"));
        assert_eq!(deep.below(&root.join("a/bc")), None);
        assert_eq!(root.join("ab").below(&root.join("a")), None);
    }
}
