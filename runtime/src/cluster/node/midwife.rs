//! A node's part in spawning processes on the nodes of a job: what its ranks want is asked of the coordinator, and what comes
//! here is prepared, made, and let run or given up when the coordinator says so.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use faasm_mpi_engine::dynamic::HostShare;
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_engine::group::Group;
use faasm_mpi_shim::spawn_port::{Newborns, SpawnRequest};
use faasm_mpi_shim::world::Kin;
use faasm_transport::NodeId;
use parking_lot::Mutex;

use super::fetch::Programs;
use super::protos::send_chunks;
use crate::checkpoint::SavedDir;
use crate::cluster::codec::Outbox;
use crate::cluster::message::{Dir, ToCoordinator};
use crate::cluster::offer::Offer;
use crate::cluster::spawn::{Germ, Nest, SpawnAsk, SpawnNews, SpawnOrder, Tribe, Wanted};
use crate::host::wasi::Preopen;
use crate::job::{JobShared, Waiter};
use crate::launch::{Brood, Described, ProgramSpawner, Seed, SpawnedPrograms, check_room, opened};

/// See the module's documentation.
pub(super) struct Midwife {
    job: u32,
    /// The number of this node in the job.
    node: u32,
    spawner: Arc<ProgramSpawner>,
    programs: Arc<Programs>,
    heard: Arc<Heard>,
    calls: Mutex<Calls>,
    births: Mutex<HashMap<u32, Birth>>,
}

/// The programs that the coordinator has from this node.
#[derive(Debug)]
pub(super) struct Heard {
    outbox: Arc<Outbox>,
    sent: Mutex<HashSet<[u8; 32]>>,
}

/// The calls of ranks of this node that wait.
#[derive(Default)]
struct Calls {
    waiting: HashMap<u32, Call>,
    last: u32,
}

struct Call {
    waiter: Waiter,
    /// Context of the intercommunicator.
    context: u32,
    /// For each program its bytes, unless the job began with it, and its directories, which are open here.
    programs: Vec<(Option<Bytes>, Arc<[Preopen]>)>,
}

/// Processes that come to this node.
enum Birth {
    Preparing,
    Ready(SpawnedPrograms),
    /// Others can send to them.
    Settled(Brood),
}

impl Heard {
    pub(super) fn new(outbox: Arc<Outbox>) -> Self {
        Self { outbox, sent: Mutex::default() }
    }

    /// The way there.
    pub(super) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Sends the bytes of a program after `offer`, unless they were sent before.
    pub(super) fn send(&self, hash: [u8; 32], bytes: &Bytes, offer: impl FnOnce()) {
        let mut sent = self.sent.lock();
        if sent.insert(hash) {
            offer();
            // Under the lock: whoever finds it sent may speak of it.
            send_chunks(&self.outbox, hash, bytes);
        }
    }

    /// A program came from the coordinator.
    fn got(&self, hash: [u8; 32]) {
        self.sent.lock().insert(hash);
    }
}

impl std::fmt::Debug for Midwife {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Midwife").field("job", &self.job).finish_non_exhaustive()
    }
}

impl Midwife {
    /// For job `job`, of which this is the node with the number `node`.
    pub(super) fn new(
        (job, node): (u32, u32),
        spawner: Arc<ProgramSpawner>,
        (programs, heard): (Arc<Programs>, Arc<Heard>),
    ) -> Self {
        let (calls, births) = Default::default();
        Self { job, node, spawner, programs, heard, calls, births }
    }

    /// Has processes spawned for a rank of this node, which waits for them.
    pub(super) fn ask(&self, waiter: Waiter, request: SpawnRequest) {
        if let Err((waiter, error)) = self.try_ask(waiter, request) {
            waiter.give(Err(error));
        }
    }

    /// Carries an order out for the ranks of `shared`.
    pub(super) fn obey(self: &Arc<Self>, shared: &Arc<JobShared>, order: SpawnOrder) {
        match order {
            SpawnOrder::Prepare { birth, nest } => self.prepare(shared.clone(), birth, nest),
            SpawnOrder::Settle { birth, tribe } => {
                let settled = self.settle(shared, birth, *tribe);
                self.answer(birth, settled);
            }
            SpawnOrder::Begin { birth } => self.end(birth, Brood::begin),
            SpawnOrder::Drop { birth } => self.end(birth, Brood::give_up),
            SpawnOrder::Done { call, group } => self.done(call, Group::new(group)),
            SpawnOrder::Failed { call, why } => {
                self.done(call, Err(MpiError::new(ErrorClass::Spawn, why)));
            }
        }
    }

    /// What was prepared is there, or is given up.
    fn end(&self, birth: u32, end: impl FnOnce(Brood)) {
        let birth = self.births.lock().remove(&birth);
        if let Some(Birth::Settled(brood)) = birth {
            end(brood);
        }
    }

    /// A rank of this node has its processes, or none.
    fn done(&self, call: u32, group: Result<Group>) {
        let call = self.calls.lock().waiting.remove(&call);
        if let Some(Call { waiter, context, .. }) = call {
            waiter.give(group.map(|group| Newborns { context, group }));
        }
    }

    fn try_ask(
        &self,
        waiter: Waiter,
        request: SpawnRequest,
    ) -> std::result::Result<(), (Waiter, MpiError)> {
        let SpawnRequest { programs, parents } = request;
        let world = waiter.job().world();
        let described = programs.into_iter().map(|program| self.spawner.describe(program));
        let described = described.collect::<Result<Vec<Described>>>();
        let contexts = world.new_context().and_then(|own| Ok([own, world.new_context()?]));
        let (described, contexts) = match (described, contexts) {
            (Ok(described), Ok(contexts)) => (described, contexts),
            (Err(error), _) | (_, Err(error)) => return Err((waiter, error)),
        };
        let here = waiter.job().processor_name().to_owned();
        let parents = parents.iter().collect();
        let programs: Vec<Wanted> = described.iter().map(wanted).collect();
        for Described { seed, bytes, .. } in &described {
            if let Some(bytes) = bytes.as_ref().filter(|_| !self.spawner.has(&seed.hash)) {
                let offer = Offer { hash: seed.hash, bytes: seed.bytes };
                self.heard.send(seed.hash, bytes, || self.tell(SpawnNews::Offer(offer)));
            }
        }
        let kept = described.into_iter().map(|one| (one.bytes, one.preopens)).collect();
        let mut calls = self.calls.lock();
        calls.last = calls.last.wrapping_add(1);
        let call = calls.last;
        calls.waiting.insert(call, Call { waiter, context: contexts[1], programs: kept });
        drop(calls);
        let ask = SpawnAsk { call, here, contexts, parents, programs };
        self.tell(SpawnNews::Ask(Box::new(ask)));
        Ok(())
    }

    /// Gets ready for processes, in a thread.
    fn prepare(self: &Arc<Self>, shared: Arc<JobShared>, birth: u32, nest: Box<Nest>) {
        self.births.lock().insert(birth, Birth::Preparing);
        let midwife = self.clone();
        let work = move || {
            let ready = midwife.get_ready(&shared, *nest);
            let mut births = midwife.births.lock();
            // It may have been given up meanwhile.
            let Some(state) = births.get_mut(&birth) else { return };
            let ready = ready.map(|ready| *state = Birth::Ready(ready));
            if ready.is_err() {
                births.remove(&birth);
            }
            drop(births);
            midwife.answer(birth, ready);
        };
        let thread = std::thread::Builder::new().name(format!("faasm-births-{}", self.job));
        if let Err(cause) = thread.spawn(work) {
            self.births.lock().remove(&birth);
            self.answer(birth, Err(format!("no thread can be had ({cause}); check `ulimit -u`")));
        }
    }

    fn get_ready(
        &self,
        shared: &Arc<JobShared>,
        nest: Nest,
    ) -> std::result::Result<SpawnedPrograms, String> {
        nest.check().map_err(|wrong| format!("what is wanted is wrong: {wrong}"))?;
        let living = shared.local_ranks().count() as u64;
        let more = nest.programs.iter().map(|(_, _, processes)| u64::from(*processes)).sum();
        let name = nest.programs.first().map_or("", |(_, germ, _)| &*germ.name);
        check_room((living, more), name).map_err(|error| error.to_string())?;
        let mut ready = SpawnedPrograms::new();
        for (app, germ, processes) in nest.programs {
            let (own, preopens) = self.own((nest.asker, app), &germ)?;
            let hash = germ.program.hash;
            let program = || match own.or_else(|| shared.births().program(&hash)) {
                Some(bytes) => Ok(bytes),
                None => self.fetch(&germ),
            };
            let seed = seed(&germ, processes);
            let is_known = self.spawner.has(&hash) || self.spawner.has_linked(&hash);
            let _alone = (!is_known).then(|| self.programs.compile_alone(&hash));
            let one = self.spawner.get_ready(shared.births(), seed, preopens, program)?;
            ready.insert(app, one);
        }
        self.spawner.try_out(shared, &ready).map_err(|error| error.detail)?;
        Ok(ready)
    }

    /// What a rank of this node brought along, if it is one that wants these processes; else their directories, opened here.
    fn own(
        &self,
        (asker, app): ((u32, u32), u32),
        germ: &Germ,
    ) -> std::result::Result<(Option<Bytes>, Arc<[Preopen]>), String> {
        if asker.0 == self.node
            && let Some(call) = self.calls.lock().waiting.get(&asker.1)
            && let Some(program) = call.programs.get(app as usize)
        {
            return Ok(program.clone());
        }
        Ok((None, opened(&dirs(germ))?))
    }

    fn fetch(&self, germ: &Germ) -> std::result::Result<Bytes, String> {
        let Offer { hash, bytes } = germ.program;
        let fetched = self.programs.bytes(&germ.name, hash, bytes)?;
        self.heard.got(hash);
        Ok(fetched)
    }

    /// Makes the processes, so that others can send to them.
    fn settle(
        &self,
        shared: &Arc<JobShared>,
        birth: u32,
        tribe: Tribe,
    ) -> std::result::Result<(), String> {
        let state = self.births.lock().remove(&birth);
        let Some(Birth::Ready(ready)) = state else {
            return Err("nothing was prepared".to_owned());
        };
        let brood = self.hatch(shared, &ready, tribe).map_err(|error| error.detail)?;
        self.births.lock().insert(birth, Birth::Settled(brood));
        Ok(())
    }

    fn hatch(
        &self,
        shared: &Arc<JobShared>,
        ready: &SpawnedPrograms,
        tribe: Tribe,
    ) -> Result<Brood> {
        let Tribe { contexts: [context, parent_context], parents, group, apps } = tribe;
        let (group, parents) = (Group::new(group)?, Group::new(parents)?);
        let supervisor = self.spawner.supervisor(shared)?;
        let local: Vec<u32> =
            group.iter().filter(|number| shared.world().node(*number) == self.node).collect();
        let prepared: u64 = ready.values().map(|ready| u64::from(ready.processes())).sum();
        if local.len() as u64 != prepared {
            let why = format!("{} processes come, and {prepared} were prepared", local.len());
            return Err(MpiError::new(ErrorClass::Spawn, why));
        }
        let lanes = self.spawner.lanes(local.len() as u32);
        let lanes: BTreeMap<u32, u32> = local.iter().copied().zip(lanes).collect();
        let kin = Kin { context, group, parent_context, parents, app_numbers: apps };
        let make_room = || shared.add_ranks(local.iter().copied());
        let family = shared.world().add_kin(kin, &lanes, make_room)?;
        self.spawner.hatch(shared, ready, (family, supervisor))
    }

    fn answer(&self, birth: u32, done: std::result::Result<(), String>) {
        self.tell(match done {
            Ok(()) => SpawnNews::Able { birth },
            Err(why) => SpawnNews::Unable { birth, why },
        });
    }

    fn tell(&self, news: SpawnNews) {
        let message = ToCoordinator::Spawn { job: self.job, news };
        self.heard.outbox.send(NodeId::COORDINATOR, &message);
    }
}

fn wanted(Described { seed, hosts, .. }: &Described) -> Wanted {
    let Seed { name, hash, bytes, args, dirs, processes } = seed.clone();
    let dir = |SavedDir { host, guest, read_only }| Dir { host, guest, read_only };
    let dirs = dirs.into_iter().map(dir).collect();
    let germ = Germ { name, program: Offer { hash, bytes }, args, dirs };
    let share = |HostShare { name, slots }: &HostShare| (name.clone(), *slots);
    let hosts = hosts.as_ref().map(|hosts| hosts.iter().map(share).collect());
    Wanted { germ, processes, hosts }
}

fn dirs(germ: &Germ) -> Vec<SavedDir> {
    let dir = |Dir { host, guest, read_only }| SavedDir { host, guest, read_only };
    germ.dirs.iter().cloned().map(dir).collect()
}

fn seed(germ: &Germ, processes: u32) -> Seed {
    let Germ { name, program: Offer { hash, bytes }, args, .. } = germ.clone();
    Seed { name, hash, bytes, args, dirs: dirs(germ), processes }
}
