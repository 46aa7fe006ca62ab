//! A node's Proto-Faaslets: made here when it is this node's turn, else fetched by their hash (see `coordinator::protos`).

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use faasm_transport::{Lane, NodeId};
use faasm_vm::{ContentHash, Proto};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::fetch::Programs;
use crate::cluster::codec::Outbox;
use crate::cluster::message::{CHUNK_BYTES_MAX, PROTO_BYTES_MAX, ToCoordinator};
use crate::cluster::offer::{Offer, ProtoMade, ProtoName, ProtoTurn};
use crate::module::{Module, ProtoMaker, ProtoSource, Turn};

/// Bytes on their way to the coordinator beyond which no more are sent.
const BACKLOG_BYTES_MAX: usize = 4 << 20;
/// Pause where there are so many.
const PAUSE: Duration = Duration::from_millis(2);

/// The first ranks of programs that wait to hear how they come by their proto.
pub(super) type Waiting = Mutex<HashMap<ProtoName, oneshot::Sender<Turn>>>;

/// Where the ranks of one program ask.
#[derive(Debug)]
struct Source {
    programs: Weak<Programs>,
    name: ProtoName,
}

impl ProtoSource for Source {
    fn ask(&self) -> oneshot::Receiver<Turn> {
        let (sender, receiver) = oneshot::channel();
        if let Some(programs) = self.programs.upgrade() {
            // Who asked before and did not wait for the answer is not told any more.
            programs.waiting.lock().insert(self.name, sender);
            programs
                .outbox
                .send(NodeId::COORDINATOR, &ToCoordinator::ProtoWanted { name: self.name });
        }
        receiver
    }
}

impl Programs {
    /// From now on the program's proto may come from another node.
    pub(super) fn share_proto(self: &Arc<Self>, module: &Module) {
        let (programs, is_migratable) = (Arc::downgrade(self), module.is_migratable());
        let name = ProtoName { module: *module.content_hash().as_bytes(), is_migratable };
        module.share_proto(Arc::new(Source { programs, name }));
    }

    /// The coordinator has said how to come by a proto.
    pub(super) fn proto_answered(self: &Arc<Self>, name: ProtoName, turn: ProtoTurn) {
        let waiting = self.waiting.lock().remove(&name);
        match turn {
            ProtoTurn::Make => {
                let outbox = self.outbox.clone();
                let maker = ProtoMaker::new(move |proto| offer(&outbox, name, proto));
                // Where nobody waits any more the maker is dropped, and says so.
                let _ = waiting.map(|waiting| waiting.send(Turn::Make(maker)));
            }
            ProtoTurn::Ready(offered) => {
                let Some(waiting) = waiting else { return };
                let programs = self.clone();
                let fetch = move || {
                    let turn = programs.fetch_proto(offered).unwrap_or_else(|why| {
                        tracing::warn!("{why}; this node makes a Proto-Faaslet of its own");
                        Turn::Make(ProtoMaker::alone())
                    });
                    // Its job may have ended.
                    let _ = waiting.send(turn);
                };
                // Without a thread who waits hears that the channel is gone, and makes one.
                in_thread(fetch);
            }
        }
    }

    fn fetch_proto(&self, offer: Offer) -> Result<Turn, String> {
        if offer.bytes > PROTO_BYTES_MAX {
            return Err("a Proto-Faaslet is too long to be fetched".to_owned());
        }
        let bytes = self.bytes("a Proto-Faaslet", offer.hash, offer.bytes)?;
        let proto = Proto::decode(&bytes);
        proto.map(Turn::Take).map_err(|error| format!("a Proto-Faaslet cannot be used: {error}"))
    }
}

/// Sends the coordinator what was offered; waits while much is on its way.
pub(super) fn send_chunks(way: &Outbox, hash: [u8; 32], bytes: &[u8]) {
    for (index, chunk) in bytes.chunks(CHUNK_BYTES_MAX).enumerate() {
        while way.endpoint().backlog_bytes(NodeId::COORDINATOR, Lane::Control) > BACKLOG_BYTES_MAX {
            std::thread::sleep(PAUSE);
        }
        way.chunk(NodeId::COORDINATOR, hash, (index * CHUNK_BYTES_MAX) as u64, chunk);
    }
}

/// Tells the coordinator of a proto that was made here, or that there will be none.
fn offer(outbox: &Arc<Outbox>, name: ProtoName, proto: Option<&Proto>) {
    let tell = move |way: &Outbox, made| {
        way.send(NodeId::COORDINATOR, &ToCoordinator::ProtoMade { name, made });
    };
    let Some(proto) = proto.cloned() else { return tell(outbox, ProtoMade::Nothing) };
    let way = outbox.clone();
    let send = move || {
        let bytes = match proto.encode() {
            Ok(bytes) if bytes.len() as u64 <= PROTO_BYTES_MAX => bytes,
            Ok(_) => return tell(&way, ProtoMade::Unsendable),
            Err(error) => {
                tracing::warn!(%error, "a Proto-Faaslet cannot be sent: each node makes its own");
                return tell(&way, ProtoMade::Unsendable);
            }
        };
        let hash = *ContentHash::of(&bytes).as_bytes();
        let offer = Offer { hash, bytes: bytes.len() as u64 };
        tell(&way, ProtoMade::Offered(offer));
        send_chunks(&way, hash, &bytes);
    };
    if !in_thread(send) {
        tell(outbox, ProtoMade::Unsendable);
    }
}

/// Does something that takes long; false if no thread can be had.
fn in_thread(work: impl FnOnce() + Send + 'static) -> bool {
    let started = std::thread::Builder::new().name("faasm-proto".to_owned()).spawn(work);
    if let Err(error) = &started {
        tracing::warn!(%error, "no thread can be had for a Proto-Faaslet; check `ulimit -u`");
    }
    started.is_ok()
}
