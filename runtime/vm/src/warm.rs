//! Warm Faaslets: instances of one program that are used again and again, and are each time as if they were new.
//!
//! Making an instance costs wasmtime a microsecond, most of it in counts and tables that all threads share, so that
//! short calls gain little from further threads. Resetting one costs the pages that it has touched. So a Faaslet whose user
//! is done is put aside; when some have gathered, their memories and globals become those of the Proto-Faaslet again, and the
//! next users get them. Which pages a user has touched the kernel is asked only if it has given the process any page since.
//!
//! What always holds: a user finds memory, globals, tables and host state as in a new instance. A Faaslet of which that
//! cannot be made sure is dropped: one whose memory has grown or shares pages, and one whose user panicked. Programs whose
//! instances cannot all begin alike are refused.

use std::fmt;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use wasmtime::{Global, Instance, InstancePre, Linker, Module, Store, Val};

use crate::engine::VmEngine;
use crate::guest::GuestMemory;
use crate::pool::{Pool, Present, renew, thread_number, with_view};
use crate::proto::{Proto, ProtoError};
use crate::rewrite::{self, MEMORY_EXPORT, RewriteError, global_export, without_data};
use crate::snapshot::{MemorySnapshot, SnapshotError};

/// Faaslets that are put aside before they are reset: one question to the kernel serves so many users.
const RESET_TOGETHER: usize = 32;

/// Faaslets that are kept by each shard at most; there are no more shards than processors.
const KEPT_MAX: usize = 64;

/// What the host has to do with a program's warm Faaslets.
pub trait WarmHost: Send + Sync + 'static {
    /// The host's part of a Faaslet.
    type State: 'static;
    /// What is looked up in an instance once, as are functions that will be called.
    type Handles;

    /// The host's part of a Faaslet that nobody has used.
    fn state(&self) -> Self::State;

    /// Called once, with the first instance: what it does all users find done.
    ///
    /// # Errors
    /// The program cannot be used.
    fn begin(&self, store: &mut Store<Self::State>, instance: &Instance) -> wasmtime::Result<()> {
        let _ = (store, instance);
        Ok(())
    }

    /// Called once for each instance. Must not change it.
    ///
    /// # Errors
    /// The instance has not what the host needs.
    fn handles(
        &self,
        store: &mut Store<Self::State>,
        instance: &Instance,
    ) -> wasmtime::Result<Self::Handles>;
}

/// Warm Faaslets of one program.
pub struct WarmFaaslets<H: WarmHost> {
    pool: Arc<Pool>,
    host: H,
    program: InstancePre<H::State>,
    proto: Proto,
    /// Names of the mutable globals.
    globals: Vec<String>,
    /// One for each thread, as far as there are processors.
    shards: Box<[Shard<H>]>,
}

/// On cache lines of its own.
#[repr(align(128))]
struct Shard<H: WarmHost>(Mutex<Shelf<H>>);

struct Shelf<H: WarmHost> {
    clean: Vec<Kept<H>>,
    used: Vec<Kept<H>>,
}

struct Kept<H: WarmHost> {
    store: Store<H::State>,
    handles: H::Handles,
    memory: GuestMemory,
    present: Present,
    /// Mutable globals, and what they begin as.
    globals: Vec<(Global, Val)>,
}

/// A Faaslet that is as if it were new; goes back when it is dropped.
pub struct WarmFaaslet<'a, H: WarmHost> {
    home: &'a WarmFaaslets<H>,
    /// Taken only by `drop`.
    kept: Option<Kept<H>>,
}

/// Why a program has no warm Faaslets.
#[derive(Debug, thiserror::Error)]
pub enum WarmError {
    /// It is no program for a Faaslet.
    #[error(transparent)]
    Refused(#[from] RewriteError),
    /// Its instances cannot all begin alike.
    #[error(
        "a used instance of this program cannot be made as if it were new: it changes tables or drops segments, places \
         data where only the run tells, has a start function, or threads; make a new instance for each call"
    )]
    Unlike,
    /// There is no room for its data.
    #[error(transparent)]
    Data(#[from] SnapshotError),
    /// What its globals hold cannot be kept.
    #[error(transparent)]
    Proto(#[from] ProtoError),
    /// It cannot be compiled, linked or initialised.
    #[error(transparent)]
    Program(#[from] wasmtime::Error),
}

impl<H: WarmHost> WarmFaaslets<H> {
    /// Of the program in `bytes`, whose imports are in `linker`.
    ///
    /// # Errors
    /// When there can be none, see [`WarmError`].
    pub fn new(
        vm: &VmEngine,
        linker: &Linker<H::State>,
        bytes: &[u8],
        host: H,
    ) -> Result<Self, WarmError> {
        let rewritten = rewrite::rewrite(bytes)?;
        let facts = &rewritten.facts;
        if facts.memory.shared || facts.memory.imported {
            return Err(WarmError::Unlike);
        }
        let variant = without_data(&rewritten.bytes)?.ok_or(WarmError::Unlike)?;
        let data = MemorySnapshot::of_segments(facts.memory.min_pages, &variant.segments)?;
        let program = linker.instantiate_pre(&Module::new(vm.engine(), &variant.bytes)?)?;
        let mut store = Store::new(vm.engine(), host.state());
        let instance = with_view(data.image(), || program.instantiate(&mut store))?;
        let memory = memory_of(vm.pool(), &mut store, &instance)?;
        host.begin(&mut store, &instance)?;
        let proto = Proto::capture(&mut store, &instance, &memory, &facts.mutable_globals)?;
        let shelf = || Shard(Mutex::new(Shelf { clean: Vec::new(), used: Vec::new() }));
        Ok(Self {
            pool: vm.pool().clone(),
            host,
            program,
            proto,
            globals: facts.mutable_globals.iter().map(|index| global_export(*index)).collect(),
            shards: (0..vm.pool().shards()).map(|_| shelf()).collect(),
        })
    }

    /// A Faaslet that nobody has used, or of whose users nothing is left.
    ///
    /// # Errors
    /// There is no address space for a further one.
    pub fn take(&self) -> wasmtime::Result<WarmFaaslet<'_, H>> {
        let clean = self.shard().lock().take(&self.proto);
        let kept = clean.map_or_else(|| self.make(), Ok)?;
        Ok(WarmFaaslet { home: self, kept: Some(kept) })
    }

    /// Drops those that nobody uses at the moment.
    pub fn clear(&self) {
        for shard in &self.shards {
            let mut shelf = shard.0.lock();
            (shelf.clean, shelf.used) = (Vec::new(), Vec::new());
        }
    }

    fn make(&self) -> wasmtime::Result<Kept<H>> {
        let mut store = Store::new(self.program.module().engine(), self.host.state());
        let view = self.proto.memory().image();
        let instance = with_view(view, || self.program.instantiate(&mut store))?;
        let memory = memory_of(&self.pool, &mut store, &instance)?;
        self.proto.set_globals(&mut store, &instance)?;
        let mut globals = Vec::with_capacity(self.globals.len());
        for name in &self.globals {
            let global = instance.get_global(&mut store, name);
            let global = global.ok_or_else(|| wasmtime::format_err!("{name} is not exported"))?;
            let value = global.get(&mut store);
            globals.push((global, value));
        }
        let handles = self.host.handles(&mut store, &instance)?;
        let present = Present::unknown(memory.slot());
        Ok(Kept { store, handles, memory, present, globals })
    }

    fn give_back(&self, mut kept: Kept<H>) {
        *kept.store.data_mut() = self.host.state();
        if !kept.can_be_reset(&self.proto) {
            return;
        }
        let mut shelf = self.shard().lock();
        if shelf.used.len() < KEPT_MAX {
            shelf.used.push(kept);
        }
    }

    fn shard(&self) -> &Mutex<Shelf<H>> {
        &self.shards[thread_number() % self.shards.len()].0
    }
}

impl<H: WarmHost> Kept<H> {
    /// Whether its memory is no larger than it was, lies on the same image, and is nobody else's.
    fn can_be_reset(&self, proto: &Proto) -> bool {
        // The instance has one handle to it, and this is the other.
        const HANDLES: usize = 2;
        let (slot, began) = (self.memory.slot(), proto.memory());
        Arc::strong_count(slot) == HANDLES
            && self.memory.len() == began.len_bytes()
            && slot.began_as(began.image())
    }
}

impl<H: WarmHost> Shelf<H> {
    fn take(&mut self, proto: &Proto) -> Option<Kept<H>> {
        if self.clean.is_empty() && self.used.len() >= RESET_TOGETHER {
            let mut used = std::mem::take(&mut self.used);
            match reset(&mut used, proto) {
                Ok(()) => self.clean = used,
                Err(error) => {
                    tracing::warn!(%error, "used Faaslets cannot be reset and are dropped")
                }
            }
        }
        self.clean.pop()
    }
}

/// Makes Faaslets that nobody uses as if they were new.
fn reset<H: WarmHost>(used: &mut [Kept<H>], proto: &Proto) -> io::Result<()> {
    let memories = used.iter_mut().map(|kept| (&**kept.memory.slot(), &mut kept.present));
    renew(memories, proto.memory().image())?;
    for kept in used {
        for (global, value) in &kept.globals {
            global.set(&mut kept.store, *value).map_err(io::Error::other)?;
        }
    }
    Ok(())
}

fn memory_of<T>(
    pool: &Pool,
    store: &mut Store<T>,
    instance: &Instance,
) -> wasmtime::Result<GuestMemory> {
    let memory = instance.get_memory(&mut *store, MEMORY_EXPORT);
    let memory = memory.and_then(|memory| pool.memory_at(memory.data_ptr(&*store)));
    memory.ok_or_else(|| wasmtime::format_err!("the module exports no linear memory"))
}

impl<H: WarmHost> WarmFaaslet<'_, H> {
    /// Its store, with the host's part of it, and what the host has looked up.
    pub fn parts(&mut self) -> (&mut Store<H::State>, &H::Handles) {
        let kept = self.kept.as_mut().expect("it is there until it is dropped");
        (&mut kept.store, &kept.handles)
    }

    /// Its memory.
    pub fn memory(&self) -> &GuestMemory {
        &self.kept.as_ref().expect("it is there until it is dropped").memory
    }
}

impl<H: WarmHost> Drop for WarmFaaslet<'_, H> {
    fn drop(&mut self) {
        if let Some(kept) = self.kept.take()
            && !std::thread::panicking()
        {
            self.home.give_back(kept);
        }
    }
}

impl<H: WarmHost> fmt::Debug for WarmFaaslets<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WarmFaaslets").field("proto", &self.proto).finish_non_exhaustive()
    }
}

impl<H: WarmHost> fmt::Debug for WarmFaaslet<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WarmFaaslet").field("memory", self.memory()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
