//! Latency, rate and bandwidth of a link, for tuning.
//!
//! `link_bench both` measures between two endpoints of this process. Over a network start
//! `link_bench listen AUTHORITY ADDR` on one side, which makes the authority's file if there is
//! none, and `link_bench dial AUTHORITY ADDR` with a copy of the file on the other. A last word
//! `latency`, `rate` or `bandwidth` measures only that. `link_bench cost` has one thread drive both
//! ends and measures its processor time.
//!
//! `link_bench listen-many AUTHORITY ADDR N` and `dial-many` measure the bandwidth of N endpoints on each side together, each
//! with a socket, a connection and a thread of its own: what several connections for a pair of nodes would give.

use std::{
    env, error,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use faasm_transport::{
    Authority, Endpoint, EndpointConfig, Envelope, Event, Handler, Lane, NodeId, Payload,
};

type Outcome<T> = Result<T, Box<dyn error::Error>>;
type Test = fn(&Peer, &Endpoint);

const HOUR: Duration = Duration::from_secs(3600);
const ROUND_TRIPS: u64 = 20_000;
const BURST: u64 = 64;
const BURSTS: u64 = 2_000;
const FRAME_BYTES: usize = 256 << 10;
const FRAMES: u64 = 8_000;
/// Bytes that may be on their way, as the runtime bounds what it pulls.
const BACKLOG_BYTES_MAX: usize = 8 << 20;
/// Kinds of messages.
const PING: u16 = 0;
const LAST: u16 = 1;
const MORE: u16 = 2;

/// Answers what asks for an answer and counts the answers.
#[derive(Default)]
struct Peer {
    endpoint: OnceLock<Endpoint>,
    is_up: AtomicBool,
    is_gone: AtomicBool,
    is_listener: bool,
    answers: AtomicU64,
}

impl Handler for Peer {
    fn message(&self, from: NodeId, _lane: Lane, envelope: &Envelope, _payload: Payload<'_>) {
        if !self.is_listener {
            self.answers.fetch_add(1, Ordering::Release);
        } else if envelope.kind != MORE
            && let Some(endpoint) = self.endpoint.get()
        {
            endpoint.send(from, Lane::Message, envelope, &[0; 8]);
        }
    }

    fn event(&self, event: Event) {
        match event {
            Event::PeerUp(_) => self.is_up.store(true, Ordering::Release),
            // The listener waits for as long as it takes.
            Event::PeerLost { node, .. }
                if self.is_listener && !self.is_up.load(Ordering::Acquire) =>
            {
                if let Some(endpoint) = self.endpoint.get() {
                    endpoint.add_peer(node, &[]);
                }
            }
            Event::PeerLost { .. } | Event::PeerLeft(_) => {
                self.is_gone.store(true, Ordering::Release);
            }
            _ => {}
        }
    }
}

fn main() -> Outcome<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["both", ..] => both(),
        ["cost"] => cost(),
        ["listen", authority, addr] => listen(&load_or_make(Path::new(authority))?, addr.parse()?),
        ["dial", authority, addr, ..] => {
            dial(&Authority::load(Path::new(authority))?, addr.parse()?)
        }
        ["listen-many", authority, addr, count] => {
            let authority = load_or_make(Path::new(authority))?;
            listen_many(&authority, addr.parse()?, count.parse()?)
        }
        ["dial-many", authority, addr, count] => {
            let authority = Authority::load(Path::new(authority))?;
            dial_many(&authority, addr.parse()?, count.parse()?)
        }
        _ => Err("usage: link_bench both | cost | listen AUTHORITY ADDR | dial AUTHORITY ADDR | \
                 listen-many AUTHORITY ADDR N | dial-many AUTHORITY ADDR N"
            .into()),
    }
}

fn load_or_make(path: &Path) -> Outcome<Authority> {
    if !path.exists() {
        Authority::new()?.save(path)?;
    }
    Ok(Authority::load(path)?)
}

fn both() -> Outcome<()> {
    let authority = Authority::new()?;
    let (listener, addr) = start(&authority, 0, (Ipv4Addr::LOCALHOST, 0).into(), true)?;
    listener.endpoint.get().ok_or("no endpoint")?.add_peer(NodeId(1), &[]);
    let thread = thread::spawn(move || serve(&listener));
    dial(&authority, addr)?;
    thread.join().map_err(|_| "the listener failed")?;
    Ok(())
}

/// Processor time of both ends together, which a busy machine changes little.
fn cost() -> Outcome<()> {
    let authority = Authority::new()?;
    let (listener, addr) = start(&authority, 0, (Ipv4Addr::LOCALHOST, 0).into(), true)?;
    let (dialler, _) = start(&authority, 1, (Ipv4Addr::LOCALHOST, 0).into(), false)?;
    let here = listener.endpoint.get().ok_or("no endpoint")?;
    let there = dialler.endpoint.get().ok_or("no endpoint")?;
    here.add_peer(NodeId(1), &[]);
    there.add_peer(NodeId(0), &[addr]);
    let settled = Instant::now() + Duration::from_millis(500);
    while Instant::now() < settled || !dialler.is_up.load(Ordering::Acquire) {
        here.poll();
        there.poll();
    }
    let turn = || {
        here.poll();
        there.poll();
    };
    let answers = || dialler.answers.load(Ordering::Acquire);
    let began = thread_time();
    for round in 1..=ROUND_TRIPS {
        there.send(NodeId(0), Lane::Message, &kind(PING), &[0; 8]);
        while answers() < round {
            turn();
        }
    }
    let each = (thread_time() - began).as_secs_f64() / ROUND_TRIPS as f64 / 2.0;
    println!("a message alone: {:.2} us of both ends", each * 1e6);
    let (before, began) = (answers(), thread_time());
    for burst in 1..=BURSTS {
        for number in 1..=BURST {
            let kind = kind(if number == BURST { LAST } else { MORE });
            there.send(NodeId(0), Lane::Message, &kind, &[0; 8]);
        }
        while answers() < before + burst {
            turn();
        }
    }
    let each = (thread_time() - began).as_secs_f64() / (BURST * BURSTS) as f64;
    println!("a message of a burst: {:.2} us of both ends", each * 1e6);
    let bytes = Bytes::from(vec![1; FRAME_BYTES]);
    let (before, began) = (answers(), thread_time());
    for number in 1..=FRAMES {
        while there.backlog_bytes(NodeId(0), Lane::Bulk) >= BACKLOG_BYTES_MAX / 8 {
            turn();
        }
        let kind = kind(if number == FRAMES { LAST } else { MORE });
        there.send_bytes(NodeId(0), Lane::Bulk, &kind, bytes.clone());
    }
    while answers() == before {
        turn();
    }
    let megabytes = FRAMES as f64 * FRAME_BYTES as f64 / 1e6;
    let each = (thread_time() - began).as_secs_f64() / megabytes;
    println!("a megabyte: {:.0} us of both ends", each * 1e6);
    println!("{:?}", there.link_stats(NodeId(0)));
    Ok(())
}

fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

fn listen(authority: &Authority, addr: SocketAddr) -> Outcome<()> {
    let (listener, addr) = start(authority, 0, addr, true)?;
    println!("listening at {addr}");
    listener.endpoint.get().ok_or("no endpoint")?.add_peer(NodeId(1), &[]);
    serve(&listener);
    process::exit(0);
}

/// Polls as an idle worker does.
fn serve(peer: &Peer) {
    let Some(endpoint) = peer.endpoint.get() else { return };
    while !peer.is_gone.load(Ordering::Acquire) {
        if !endpoint.poll() {
            std::hint::spin_loop();
        }
    }
}

fn dial(authority: &Authority, addr: SocketAddr) -> Outcome<()> {
    let any = match addr {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let (peer, _) = start(authority, 1, any, false)?;
    let endpoint = peer.endpoint.get().ok_or("no endpoint")?;
    endpoint.add_peer(NodeId(0), &[addr]);
    while !peer.is_up.load(Ordering::Acquire) {
        endpoint.poll();
        if peer.is_gone.load(Ordering::Acquire) {
            return Err("the listener cannot be reached".into());
        }
    }
    // The search for the largest datagram goes on for a moment.
    let settled = Instant::now() + Duration::from_millis(300);
    while Instant::now() < settled {
        endpoint.poll();
    }
    let wanted = env::args().next_back().unwrap_or_default();
    let tests: [(&str, Test); 3] = [("latency", latency), ("rate", rate), ("bandwidth", bandwidth)];
    let is_one = tests.iter().any(|(name, _)| *name == wanted);
    for (_, test) in tests.iter().filter(|(name, _)| !is_one || *name == wanted) {
        test(&peer, endpoint);
    }
    println!("{:?}", endpoint.link_stats(NodeId(0)));
    endpoint.shutdown(Duration::from_secs(5));
    Ok(())
}

fn start(
    authority: &Authority,
    node: u32,
    bind: SocketAddr,
    is_listener: bool,
) -> Outcome<(Arc<Peer>, SocketAddr)> {
    let identity = authority.issue(NodeId(node), HOUR)?;
    let peer = Arc::new(Peer { is_listener, ..Peer::default() });
    let endpoint =
        Endpoint::quic(EndpointConfig::new(bind, NodeId(node), identity), Arc::clone(&peer) as _)?;
    let addr = endpoint.local_addr().ok_or("no address")?;
    peer.endpoint.set(endpoint).map_err(|_| "an endpoint already")?;
    Ok((peer, addr))
}

fn wait(peer: &Peer, endpoint: &Endpoint, answers: u64) {
    while peer.answers.load(Ordering::Acquire) < answers {
        if !endpoint.poll() {
            std::hint::spin_loop();
        }
        assert!(!peer.is_gone.load(Ordering::Acquire), "the listener is gone");
    }
}

fn latency(peer: &Peer, endpoint: &Endpoint) {
    let mut times = Vec::new();
    let before = peer.answers.load(Ordering::Acquire);
    for round in 1..=ROUND_TRIPS {
        let began = Instant::now();
        endpoint.send(NodeId(0), Lane::Message, &kind(PING), &[0; 8]);
        wait(peer, endpoint, before + round);
        times.push(began.elapsed());
    }
    times.sort_unstable();
    let at = |part: usize| times[times.len() * part / 100].as_secs_f64() * 1e6 / 2.0;
    println!("latency one way: median {:.2} us, 10 % {:.2}, 90 % {:.2}", at(50), at(10), at(90));
}

fn rate(peer: &Peer, endpoint: &Endpoint) {
    let before = peer.answers.load(Ordering::Acquire);
    let began = Instant::now();
    for burst in 1..=BURSTS {
        for number in 1..=BURST {
            let kind = kind(if number == BURST { LAST } else { MORE });
            endpoint.send(NodeId(0), Lane::Message, &kind, &[0; 8]);
        }
        wait(peer, endpoint, before + burst);
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("rate: {:.0} messages/s", (BURST * BURSTS) as f64 / seconds);
}

fn bandwidth(peer: &Peer, endpoint: &Endpoint) {
    let bytes = Bytes::from(vec![1; FRAME_BYTES]);
    let before = peer.answers.load(Ordering::Acquire);
    let began = Instant::now();
    for number in 1..=FRAMES {
        while endpoint.backlog_bytes(NodeId(0), Lane::Bulk) >= BACKLOG_BYTES_MAX {
            endpoint.poll();
        }
        let kind = kind(if number == FRAMES { LAST } else { MORE });
        endpoint.send_bytes(NodeId(0), Lane::Bulk, &kind, bytes.clone());
    }
    wait(peer, endpoint, before + 1);
    let seconds = began.elapsed().as_secs_f64();
    println!("bandwidth: {:.0} MB/s", FRAMES as f64 * FRAME_BYTES as f64 / 1e6 / seconds);
}

fn nth(addr: SocketAddr, index: u16) -> SocketAddr {
    SocketAddr::new(addr.ip(), addr.port() + index)
}

fn listen_many(authority: &Authority, addr: SocketAddr, count: u16) -> Outcome<()> {
    let mut listeners = Vec::new();
    for index in 0..count {
        let (listener, _) = start(authority, 0, nth(addr, index), true)?;
        listener.endpoint.get().ok_or("no endpoint")?.add_peer(NodeId(1), &[]);
        listeners.push(listener);
    }
    // The others' own threads drive them.
    serve(listeners.first().ok_or("no endpoint")?);
    process::exit(0);
}

fn dial_many(authority: &Authority, addr: SocketAddr, count: u16) -> Outcome<()> {
    let mut peers = Vec::new();
    for index in 0..count {
        let (peer, _) = start(authority, 1, (Ipv4Addr::UNSPECIFIED, 0).into(), false)?;
        peer.endpoint.get().ok_or("no endpoint")?.add_peer(NodeId(0), &[nth(addr, index)]);
        peers.push(peer);
    }
    thread::sleep(Duration::from_millis(500));
    let ends: Vec<&Endpoint> = peers.iter().filter_map(|peer| peer.endpoint.get()).collect();
    let first = *ends.first().ok_or("no endpoint")?;
    let backlog = |end: &&&Endpoint| end.backlog_bytes(NodeId(0), Lane::Bulk);
    let bytes = Bytes::from(vec![1; FRAME_BYTES]);
    let began = Instant::now();
    for _ in 0..FRAMES {
        let idlest = loop {
            let idlest = ends.iter().min_by_key(backlog).ok_or("no endpoint")?;
            if backlog(&idlest) < BACKLOG_BYTES_MAX / usize::from(count) {
                break idlest;
            }
            first.poll();
        };
        idlest.send_bytes(NodeId(0), Lane::Bulk, &kind(MORE), bytes.clone());
    }
    for end in &ends {
        end.send_bytes(NodeId(0), Lane::Bulk, &kind(LAST), bytes.clone());
    }
    for peer in &peers {
        wait(peer, first, 1);
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "bandwidth of {count}: {:.0} MB/s",
        FRAMES as f64 * FRAME_BYTES as f64 / 1e6 / seconds
    );
    Ok(())
}

fn kind(kind: u16) -> Envelope {
    Envelope { kind, ..Envelope::default() }
}
