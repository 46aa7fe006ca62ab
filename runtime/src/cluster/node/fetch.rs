//! Getting a job's programs to a node: from its own cache, or from the coordinator in chunks; and other things that are known
//! by their hash.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use faasm_transport::NodeId;
use faasm_transport::error::Shortage;
use faasm_vm::ContentHash;
use parking_lot::Mutex;

use super::protos::Waiting;
use crate::cluster::codec::Outbox;
use crate::cluster::message::{App, CHUNK_BYTES_MAX, MODULE_BYTES_MAX, Movable, ToCoordinator};
use crate::error::Error;
use crate::module::{Module, Variant};
use crate::runtime::Runtime;

/// Chunks that are asked for before the first has come.
const CHUNKS_AHEAD: u64 = 8;
/// Compiled programs that are kept in memory for further jobs.
const MODULES_MAX: usize = 16;

/// The programs of a node.
#[derive(Debug)]
pub(super) struct Programs {
    runtime: Runtime,
    pub(super) outbox: Arc<Outbox>,
    shelf: Mutex<Shelf>,
    arriving: Mutex<HashMap<[u8; 32], flume::Sender<Chunk>>>,
    /// Held by the one who fetches what hashes to that.
    turns: Mutex<HashMap<[u8; 32], Arc<Mutex<()>>>>,
    pub(super) waiting: Waiting,
}

/// The programs that are ready, the ones used last at the end.
#[derive(Debug, Default)]
struct Shelf {
    slots: Vec<(Key, Slot)>,
}

/// A program, once it is compiled; locked by the one who sees to that.
type Slot = Arc<Mutex<Option<Module>>>;

/// A program by its hash, whether it is in the variant whose stack can be taken, and whether in the one whose atomic
/// operations are another node's.
type Key = ([u8; 32], Movable, bool);

type Chunk = (u64, Bytes);

impl Programs {
    pub(super) fn new(runtime: Runtime, outbox: Arc<Outbox>) -> Self {
        let (shelf, arriving, turns, waiting) = Default::default();
        Self { runtime, outbox, shelf, arriving, turns, waiting }
    }

    /// The program, compiled. May take as long as fetching and compiling it; of several callers
    /// one does that, and the others wait.
    pub(super) fn get(
        self: &Arc<Self>,
        app: &App,
        (movable, forwards): (Movable, bool),
    ) -> Result<Module, String> {
        let slot = self.shelf.lock().slot((app.module, movable, forwards));
        let mut slot = slot.lock();
        if let Some(module) = &*slot {
            return Ok(module.named(&app.name));
        }
        let bytes = self.bytes(&app.name, app.module, app.bytes)?;
        // Nodes of one machine share the cache of compiled code: one of them compiles.
        let lock = self.runtime.programs().lock(&app.module);
        let load = |is_migratable| {
            let variant = match (forwards, is_migratable) {
                (true, _) => Variant::Forwarding,
                (false, true) => Variant::Migratable,
                (false, false) => Variant::Plain,
            };
            self.runtime.load_variant(&app.name, &bytes, variant)
        };
        let module = match load(movable != Movable::No) {
            Err(Error::Module(why)) if movable == Movable::IfPossible => {
                tracing::info!("{why}; it is tried without");
                load(false)
            }
            loaded => loaded,
        };
        let module = module.map_err(|error| error.to_string())?;
        drop(lock);
        self.share_proto(&module);
        *slot = Some(module.clone());
        Ok(module)
    }

    /// Until it is dropped no other node of this machine compiles the program with this hash, if they share a cache.
    pub(super) fn compile_alone(&self, hash: &[u8; 32]) -> Option<impl Sized + use<>> {
        self.runtime.programs().lock(hash)
    }

    /// Bytes of a program have arrived.
    pub(super) fn arrived(&self, module: [u8; 32], offset: u64, bytes: Bytes) {
        if let Some(waiting) = self.arriving.lock().get(&module) {
            // Whoever waited has given up.
            let _ = waiting.send((offset, bytes));
        }
    }

    /// The coordinator is gone: nothing arrives any more.
    pub(super) fn stop(&self) {
        self.arriving.lock().clear();
        self.waiting.lock().clear();
    }

    /// So many bytes, which are called so and hash to that.
    pub(super) fn bytes(&self, name: &str, hash: [u8; 32], len: u64) -> Result<Bytes, String> {
        let store = self.runtime.programs();
        let turn = self.turns.lock().entry(hash).or_default().clone();
        let _turn = turn.lock();
        if let Some(bytes) = store.read(&hash) {
            return Ok(bytes);
        }
        let (sender, chunks) = flume::unbounded();
        self.arriving.lock().insert(hash, sender);
        let fetched = self.fetch(name, (hash, len), &chunks);
        self.arriving.lock().remove(&hash);
        self.turns.lock().retain(|_, turn| Arc::strong_count(turn) > 1);
        let bytes = fetched?;
        if let Err(cause) = store.write(&hash, &bytes) {
            tracing::warn!(
                "{} cannot be kept ({}) and is fetched again by the next job; make room in the cache \
                 directory, or name another one in FAASM_CACHE_DIR",
                name,
                Shortage(&cause)
            );
        }
        Ok(bytes)
    }

    fn fetch(
        &self,
        name: &str,
        (module, len): ([u8; 32], u64),
        chunks: &flume::Receiver<Chunk>,
    ) -> Result<Bytes, String> {
        if len > MODULE_BYTES_MAX {
            return Err(format!("{name} is too long to be sent"));
        }
        let step = CHUNK_BYTES_MAX as u64;
        let want = |offset: u64| {
            if offset < len {
                self.outbox.send(NodeId::COORDINATOR, &ToCoordinator::Want { module, offset });
            }
        };
        (0..CHUNKS_AHEAD).for_each(|ahead| want(ahead * step));
        let mut bytes = BytesMut::with_capacity(len as usize);
        while (bytes.len() as u64) < len {
            let gone = |_| format!("{name} did not arrive: the coordinator is gone");
            let (offset, chunk) = chunks.recv().map_err(gone)?;
            let expected = (len - bytes.len() as u64).min(step);
            if offset != bytes.len() as u64 || chunk.len() as u64 != expected {
                return Err(format!("{name} arrived in pieces that do not fit"));
            }
            bytes.extend_from_slice(&chunk);
            want(offset + CHUNKS_AHEAD * step);
        }
        let bytes = bytes.freeze();
        if *ContentHash::of(&bytes).as_bytes() != module {
            return Err(format!("{name} arrived damaged"));
        }
        Ok(bytes)
    }
}

impl Shelf {
    /// The place of a program, which counts as used now.
    fn slot(&mut self, key: Key) -> Slot {
        let entry = match self.slots.iter().position(|(known, _)| *known == key) {
            Some(index) => self.slots.remove(index),
            None => (key, Arc::default()),
        };
        let slot = entry.1.clone();
        self.slots.push(entry);
        if self.slots.len() > MODULES_MAX {
            self.slots.remove(0);
        }
        slot
    }
}
