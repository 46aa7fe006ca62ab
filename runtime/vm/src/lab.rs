//! Ways to give a memory its first content back, side by side, for measurements.
//!
//! Each [`Arena`] is one memory of a guest that is called again and again: it writes to some pages, and then all of it must be the
//! image again. What the ways cost lies partly in the reset and partly in the faults of the writes after it.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::MemorySnapshot;
use crate::sys::{
    FaultKind, Found, Mapping, Pages, Served, Serving, Userfault, page_bytes, scan_pages,
};

/// A way to reset.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mechanism {
    /// None at all: what the writes alone cost.
    Nothing,
    /// A new mapping of the image in place of the old one.
    FreshMapping,
    /// Overwritten where it was written (which is known here), taken away and given back by `mprotect`.
    Reprotect,
    /// Mapped copy-on-write, written pages taken away by `madvise`.
    DontNeed,
    /// Pages taken away by `madvise`, and all put in by `userfaultfd` before the next writes.
    UserfaultEager,
    /// Pages taken away by `madvise`, and each put in by a thread that handles its fault.
    UserfaultLazy,
    /// Pages taken away by `madvise`, and each put in by the thread itself that touches it, in the handler of a signal.
    UserfaultSignal,
    /// Written pages found by asynchronous write protection, and overwritten.
    WriteProtectAsync,
    /// Ours: mapped copy-on-write, written pages found by a scan, and overwritten. Large memories are not scanned as long as
    /// the process takes no page fault.
    Ours,
    /// The same where it does.
    OursScanned,
}

impl Mechanism {
    /// All that differ for small memories.
    pub const ALL: [Self; 9] = [
        Self::Nothing,
        Self::FreshMapping,
        Self::Reprotect,
        Self::DontNeed,
        Self::UserfaultEager,
        Self::UserfaultLazy,
        Self::UserfaultSignal,
        Self::WriteProtectAsync,
        Self::Ours,
    ];

    /// A short name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "no reset",
            Self::FreshMapping => "fresh mapping",
            Self::Reprotect => "reuse + mprotect",
            Self::DontNeed => "DONTNEED",
            Self::UserfaultEager => "userfaultfd eager",
            Self::UserfaultLazy => "userfaultfd lazy",
            Self::UserfaultSignal => "userfaultfd SIGBUS",
            Self::WriteProtectAsync => "write-protect async",
            Self::Ours => "ours",
            Self::OursScanned => "ours, faults elsewhere",
        }
    }
}

/// One memory with a way to reset it.
#[derive(Debug)]
pub struct Arena {
    mapping: Mapping,
    image: MemorySnapshot,
    mechanism: Mechanism,
    /// Offsets that were written since the reset.
    written: Vec<usize>,
    found: Vec<Range<usize>>,
    userfault: Option<Arc<Userfault>>,
    handler: Option<Handler>,
    served: Option<Box<Served>>,
}

#[derive(Debug)]
struct Handler {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Handler {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Arena {
    /// A memory with the content `image`.
    ///
    /// # Errors
    /// When the kernel has no such mechanism or refuses.
    pub fn new(mechanism: Mechanism, image: &MemorySnapshot) -> io::Result<Self> {
        let bytes = image.image().bytes().len();
        let mapping = Mapping::reserve(bytes)?;
        mapping.make_accessible(0, bytes)?;
        let mut arena = Self {
            mapping,
            image: image.clone(),
            mechanism,
            written: Vec::new(),
            found: Vec::new(),
            userfault: None,
            handler: None,
            served: None,
        };
        match mechanism {
            Mechanism::FreshMapping
            | Mechanism::DontNeed
            | Mechanism::Ours
            | Mechanism::OursScanned => arena.map()?,
            Mechanism::Nothing | Mechanism::Reprotect => arena.fill(),
            Mechanism::WriteProtectAsync => {
                arena.fill();
                arena.listen(FaultKind::Written)?;
                arena.find_written()?;
            }
            Mechanism::UserfaultEager => {
                arena.listen(FaultKind::Missing)?.provide(arena.base(), image.image().bytes())?;
            }
            Mechanism::UserfaultLazy => {
                let userfault = arena.listen(FaultKind::Missing)?;
                arena.handler = Some(arena.handle(userfault)?);
            }
            Mechanism::UserfaultSignal => {
                let userfault = Userfault::open(FaultKind::MissingBySignal)?;
                let range = arena.base()..arena.base() + bytes;
                userfault.register(&range)?;
                let image = image.image().clone();
                arena.served = Some(Box::new(Served { userfault, image, range }));
                // Whether the signal can be handled shows here.
                arena.serve()?;
            }
        }
        Ok(arena)
    }

    /// Writes a byte at each of `offsets`.
    pub fn write(&mut self, offsets: &[usize]) {
        let serving = self.serve();
        for offset in offsets {
            self.mapping.write(*offset, &[0xff]);
        }
        drop(serving);
        self.written.extend_from_slice(offsets);
    }

    /// Makes the image its content.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn reset(&mut self) -> io::Result<()> {
        let bytes = self.mapping.bytes();
        match self.mechanism {
            Mechanism::Nothing => {}
            Mechanism::FreshMapping => {
                self.mapping.unshare(0, bytes)?;
                self.map()?;
            }
            Mechanism::Reprotect => {
                for offset in &self.written {
                    self.put_back(page_of(*offset));
                }
                self.mapping.make_inaccessible(0, bytes)?;
                self.mapping.make_accessible(0, bytes)?;
            }
            Mechanism::DontNeed | Mechanism::UserfaultLazy | Mechanism::UserfaultSignal => {
                self.mapping.discard(0, bytes)?;
            }
            Mechanism::UserfaultEager => {
                self.mapping.discard(0, bytes)?;
                if let Some(userfault) = &self.userfault {
                    userfault.provide(self.base(), self.image.image().bytes())?;
                }
            }
            Mechanism::WriteProtectAsync => {
                self.find_written()?;
                for range in &self.found {
                    self.put_back(range.start - self.base()..range.end - self.base());
                }
                // The writes above lifted the protection of the pages.
                self.find_written()?;
            }
            Mechanism::Ours | Mechanism::OursScanned => {
                // Never unseen, as it would be with a larger memory.
                self.mapping.found = Found::default();
                if self.mechanism == Mechanism::OursScanned {
                    self.mapping.own.faults = None;
                }
                crate::pool::empty(&mut self.mapping, &(0..bytes), Some(self.image.image()))?;
            }
        }
        self.written.clear();
        Ok(())
    }

    /// Whether its content is the image.
    pub fn is_clean(&self) -> bool {
        let _serving = self.serve();
        let mut page = vec![0; page_bytes()];
        self.image.image().bytes().chunks(page.len()).enumerate().all(|(index, expected)| {
            self.mapping.read(index * expected.len(), &mut page[..expected.len()]);
            page[..expected.len()] == *expected
        })
    }

    /// Has the calling thread put in what it misses, where that is the way.
    fn serve(&self) -> io::Result<Option<Serving<'_>>> {
        self.served.as_ref().map(|served| served.serve()).transpose()
    }

    fn base(&self) -> usize {
        self.mapping.base().as_ptr().addr()
    }

    fn map(&self) -> io::Result<()> {
        self.mapping.copy_on_write(self.mapping.bytes(), self.image.image().file())
    }

    fn fill(&self) {
        self.mapping.write(0, self.image.image().bytes());
    }

    fn put_back(&self, range: Range<usize>) {
        self.mapping.write(range.start, &self.image.image().bytes()[range]);
    }

    fn find_written(&mut self) -> io::Result<()> {
        self.found.clear();
        let range = self.base()..self.base() + self.mapping.bytes();
        scan_pages(range, Pages::WrittenAndProtect, &mut self.found)
    }

    fn listen(&mut self, kind: FaultKind) -> io::Result<Arc<Userfault>> {
        let userfault = Arc::new(Userfault::open(kind)?);
        userfault.register(&(self.base()..self.base() + self.mapping.bytes()))?;
        self.userfault = Some(userfault.clone());
        Ok(userfault)
    }

    fn handle(&self, userfault: Arc<Userfault>) -> io::Result<Handler> {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, image, base) = (stop.clone(), self.image.clone(), self.base());
        let run = move || {
            while !stopped.load(Ordering::Relaxed) {
                let Ok(Some(address)) = userfault.wait(Duration::from_millis(20)) else { continue };
                let range = page_of(address - base);
                let start = base + range.start;
                // Who waits for a page that cannot be had waits until the arena is gone.
                let _ = userfault.provide(start, &image.image().bytes()[range]);
            }
        };
        let thread = std::thread::Builder::new().name("faasm-lab-faults".to_owned()).spawn(run)?;
        Ok(Handler { stop, thread: Some(thread) })
    }
}

fn page_of(offset: usize) -> Range<usize> {
    let start = offset - offset % page_bytes();
    start..start + page_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SnapshotBuilder;

    #[test]
    fn every_way_brings_the_image_back() {
        for mechanism in Mechanism::ALL {
            check(mechanism, 64 * page_bytes());
        }
        for mechanism in [Mechanism::Ours, Mechanism::OursScanned] {
            check(mechanism, 8 << 20);
        }
    }

    fn check(mechanism: Mechanism, bytes: usize) {
        let mut builder = SnapshotBuilder::new(bytes as u64).expect("a builder");
        builder.write(0, &vec![3; bytes]).expect("inside");
        let image = builder.finish().expect("a snapshot");
        let mut arena = Arena::new(mechanism, &image).expect("the kernel has it");
        for round in 0..40 {
            // Another page now and then.
            arena.write(&[5, (9 + round / 10) * page_bytes() + round, bytes - 1]);
            assert!(!arena.is_clean(), "{mechanism:?}");
            arena.reset().expect("reset");
            assert_eq!(arena.is_clean(), mechanism != Mechanism::Nothing, "{mechanism:?}");
        }
    }
}
