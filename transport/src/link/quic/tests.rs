use std::{
    collections::HashMap,
    net::Ipv4Addr,
    sync::OnceLock,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;

use super::*;
use crate::{
    bootstrap::{Build, join},
    config::{FRAME_PAYLOAD_BYTES_MAX, Identity, Timing},
    handler::{Event, LostReason},
    payload::Payload,
    random::Random,
    tls::{Authority, node_key},
};

mod refusal;

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Keeps what it is told.
#[derive(Default)]
struct Recorder {
    seen: Mutex<Seen>,
    changed: Condvar,
    /// Sends every message back over this link.
    echo: OnceLock<std::sync::Weak<QuicLink>>,
}

#[derive(Default)]
struct Seen {
    messages: HashMap<(NodeId, Lane), Vec<(Envelope, Bytes)>>,
    count: usize,
    events: Vec<Event>,
}

impl Handler for Recorder {
    fn message(&self, from: NodeId, lane: Lane, envelope: &Envelope, payload: Payload<'_>) {
        let bytes = payload.into_bytes();
        if let Some(link) = self.echo.get().and_then(std::sync::Weak::upgrade) {
            link.send(from, lane, envelope, Sent::Kept(bytes));
            return;
        }
        let mut seen = self.seen.lock();
        seen.count += 1;
        seen.messages.entry((from, lane)).or_default().push((*envelope, bytes));
        self.changed.notify_all();
    }

    fn event(&self, event: Event) {
        self.seen.lock().events.push(event);
        self.changed.notify_all();
    }
}

impl Recorder {
    /// Waits until what was seen is as wanted.
    fn wait<T>(&self, what: &str, mut wanted: impl FnMut(&Seen) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = self.seen.lock();
        loop {
            if let Some(found) = wanted(&seen) {
                return found;
            }
            let timed_out = self.changed.wait_until(&mut seen, deadline).timed_out();
            assert!(!timed_out, "waited for {what}; saw {} {:?}", seen.count, seen.events);
        }
    }

    fn wait_event(&self, what: &str, wanted: impl Fn(&Event) -> bool) -> Event {
        self.wait(what, |seen| seen.events.iter().find(|event| wanted(event)).cloned())
    }

    fn wait_up(&self, node: u32) {
        self.wait_event("a peer", |event| *event == Event::PeerUp(NodeId(node)));
    }

    fn wait_count(&self, count: usize) {
        self.wait("messages", |seen| (seen.count >= count).then_some(()));
    }
}

struct Node {
    link: Arc<QuicLink>,
    handler: Arc<Recorder>,
}

fn quick() -> Timing {
    Timing {
        heartbeat_interval: Duration::from_millis(100),
        lost_after: Duration::from_secs(2),
        redial_interval: Duration::from_millis(10),
    }
}

fn config(node: u32, identity: Identity, timing: Timing) -> EndpointConfig {
    let mut config = EndpointConfig::new((Ipv4Addr::LOCALHOST, 0).into(), NodeId(node), identity);
    config.timing = timing;
    config
}

fn start(authority: &Authority, node: u32, timing: Timing) -> Node {
    let identity = authority.issue(NodeId(node), HOUR).expect("an identity");
    start_with(config(node, identity, timing), None)
}

/// Also with a certificate that this node itself would not use.
fn start_with(config: EndpointConfig, admission: Option<Admission>) -> Node {
    let handler = Arc::new(Recorder::default());
    let link = QuicLink::start_unchecked(config, admission, Arc::clone(&handler) as _);
    Node { link: Arc::new(link.expect("a link")), handler }
}

fn cluster(count: u32, timing: Timing) -> Vec<Node> {
    let authority = Authority::new().expect("an authority");
    let nodes: Vec<Node> = (0..count).map(|node| start(&authority, node, timing)).collect();
    for a in &nodes {
        for b in &nodes {
            if a.link.node() != b.link.node() {
                a.link.add_peer(b.link.node(), &[b.link.local_addr()]);
            }
        }
    }
    for a in &nodes {
        for b in 0..count {
            if a.link.node() != NodeId(b) {
                a.handler.wait_up(b);
            }
        }
    }
    nodes
}

fn envelope(number: usize) -> Envelope {
    Envelope { tag: i32::try_from(number).expect("small"), ..Envelope::default() }
}

fn payload(random: &mut Random, bytes_max: usize) -> Bytes {
    let length = random.below(bytes_max);
    let first = random.next().to_le_bytes();
    (0..length).map(|at| first[at % 8].wrapping_add(at as u8)).collect()
}

/// What each node received from each other is what that one sent, lane by lane.
fn assert_received(node: &Node, from: u32, sent: &[Vec<Bytes>; 3]) {
    let count = sent.iter().map(Vec::len).sum();
    node.handler.wait("all messages of a node", |seen| {
        let lanes = Lane::ALL.iter().map(|lane| (NodeId(from), *lane));
        let received: usize = lanes.filter_map(|key| seen.messages.get(&key)).map(Vec::len).sum();
        (received >= count).then_some(())
    });
    let mut seen = node.handler.seen.lock();
    for (lane, sent) in Lane::ALL.into_iter().zip(sent) {
        let received = seen.messages.remove(&(NodeId(from), lane)).unwrap_or_default();
        assert_eq!(received.len(), sent.len());
        for (number, ((envelope, bytes), expected)) in received.iter().zip(sent).enumerate() {
            assert_eq!(envelope.tag, i32::try_from(number).expect("small"), "in order");
            assert!(bytes == expected, "message {number} of {lane:?} was changed");
        }
    }
}

fn exchange(nodes: &[Node], messages: usize, bytes_max: usize, mut between: impl FnMut(usize)) {
    let count = nodes.len();
    let mut random = Random::new(17);
    let mut sent: Vec<Vec<[Vec<Bytes>; 3]>> = vec![vec![Default::default(); count]; count];
    for number in 0..messages {
        between(number);
        for (from, node) in nodes.iter().enumerate() {
            for to in (0..count).filter(|to| *to != from) {
                let lane = Lane::ALL[random.below(3)];
                let bytes = payload(&mut random, bytes_max);
                let list = &mut sent[from][to][lane as usize];
                let envelope = envelope(list.len());
                list.push(bytes.clone());
                let to = nodes[to].link.node();
                if random.chance(50) {
                    node.link.send(to, lane, &envelope, Sent::Copied(&bytes));
                } else {
                    node.link.send(to, lane, &envelope, Sent::Kept(bytes));
                }
            }
        }
    }
    for (to, node) in nodes.iter().enumerate() {
        for from in (0..count).filter(|from| *from != to) {
            assert_received(node, from as u32, &sent[from][to]);
        }
    }
}

#[test]
fn two_nodes_exchange_messages_in_order() {
    exchange(&cluster(2, Timing::default()), 2000, 3000, |_| {});
}

#[test]
fn three_nodes_exchange_messages_of_all_sizes() {
    exchange(&cluster(3, Timing::default()), 100, 300_000, |_| {});
}

#[test]
fn a_polling_thread_does_the_work_of_the_endpoints() {
    let nodes = cluster(2, Timing::default());
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for node in &nodes {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    if !node.link.poll() {
                        thread::yield_now();
                    }
                }
                node.link.rest();
            });
        }
        exchange(&nodes, 1000, 20_000, |_| {});
        is_over.store(true, Ordering::Relaxed);
    });
    exchange(&nodes, 10, 1000, |_| {});
}

#[test]
fn many_threads_send_at_once() {
    let nodes = cluster(2, Timing::default());
    thread::scope(|scope| {
        for source in 0..4 {
            let link = &nodes[0].link;
            scope.spawn(move || {
                for number in 0..500 {
                    let envelope = Envelope { source, ..envelope(number) };
                    link.send(NodeId(1), Lane::Message, &envelope, Sent::Copied(b"x"));
                }
            });
        }
    });
    nodes[1].handler.wait_count(2000);
    let seen = nodes[1].handler.seen.lock();
    let messages = &seen.messages[&(NodeId(0), Lane::Message)];
    for source in 0..4 {
        let tags = messages.iter().filter(|(envelope, _)| envelope.source == source);
        assert!(tags.map(|(envelope, _)| envelope.tag).eq(0..500), "each sender's order is kept");
    }
}

#[test]
fn a_hundred_megabytes_arrive_and_are_acknowledged() {
    let nodes = cluster(2, Timing::default());
    let bytes: Bytes = (0..FRAME_PAYLOAD_BYTES_MAX).map(|at| (at * 7) as u8).collect();
    for number in 0..100 {
        nodes[0].link.send(NodeId(1), Lane::Bulk, &envelope(number), Sent::Kept(bytes.clone()));
    }
    nodes[1].handler.wait_count(100);
    let seen = nodes[1].handler.seen.lock();
    assert!(seen.messages[&(NodeId(0), Lane::Bulk)].iter().all(|(_, got)| *got == bytes));
    drop(seen);
    let deadline = Instant::now() + PATIENCE;
    while nodes[0].link.backlog_bytes(NodeId(1), Lane::Bulk) > 0 {
        assert!(Instant::now() < deadline, "it is not acknowledged");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_handler_may_answer_while_it_is_called() {
    let nodes = cluster(2, Timing::default());
    nodes[1].handler.echo.set(Arc::downgrade(&nodes[1].link)).expect("once");
    for number in 0..500 {
        nodes[0].link.send(NodeId(1), Lane::Message, &envelope(number), Sent::Copied(b"ping"));
    }
    nodes[0].handler.wait_count(500);
}

#[test]
fn broken_connections_are_resumed_without_loss() {
    let nodes = cluster(2, Timing::default());
    exchange(&nodes, 1000, 5000, |number| {
        if number % 200 == 100 {
            let side = &nodes[number / 200 % 2].link;
            side.shared.command(Command::Sever(NodeId(1 - side.node().0)));
            thread::sleep(Duration::from_millis(20));
        }
    });
    for node in &nodes {
        let seen = node.handler.seen.lock();
        assert_eq!(seen.events.len(), 1, "only the first connection is told: {:?}", seen.events);
    }
}

#[test]
fn a_node_that_leaves_delivers_everything_first() {
    let nodes = cluster(2, Timing::default());
    for number in 0..300 {
        let bytes = Bytes::from(vec![7; 10_000]);
        nodes[1].link.send(NodeId(0), Lane::Bulk, &envelope(number), Sent::Kept(bytes));
    }
    nodes[1].link.shutdown(PATIENCE);
    let left = nodes[0].handler.wait_event("a leave", |event| !matches!(event, Event::PeerUp(_)));
    assert_eq!(left, Event::PeerLeft(NodeId(1)));
    assert_eq!(nodes[0].handler.seen.lock().count, 300);
}

#[test]
fn a_node_that_ends_is_lost_at_once() {
    let mut nodes = cluster(2, Timing::default());
    drop(nodes.pop());
    let lost = nodes[0].handler.wait_event("a loss", |event| !matches!(event, Event::PeerUp(_)));
    assert_eq!(lost, Event::PeerLost { node: NodeId(1), reason: LostReason::Ended });
    // What is sent to it is dropped.
    nodes[0].link.send(NodeId(1), Lane::Message, &envelope(0), Sent::Copied(b"x"));
    assert_eq!(nodes[0].link.backlog_bytes(NodeId(1), Lane::Message), 0);
}

#[test]
fn a_node_that_falls_silent_is_lost_in_time() {
    let nodes = cluster(2, quick());
    let began = Instant::now();
    // As if its machine stood still: nothing is read, no timer runs.
    let stopped = nodes[1].link.shared.driver.lock();
    let lost = nodes[0].handler.wait_event("a loss", |event| !matches!(event, Event::PeerUp(_)));
    assert!(
        matches!(lost, Event::PeerLost { node: NodeId(1), reason: LostReason::Silent(_) }),
        "{lost:?}"
    );
    assert!(began.elapsed() >= quick().lost_after / 2);
    drop(stopped);
}

#[test]
fn nobody_at_the_address_is_unreachable() {
    let authority = Authority::new().expect("an authority");
    let node = start(&authority, 1, quick());
    node.link.add_peer(NodeId(0), &[(Ipv4Addr::LOCALHOST, 9).into()]);
    let lost = node.handler.wait_event("a loss", |_| true);
    assert!(
        matches!(lost, Event::PeerLost { node: NodeId(0), reason: LostReason::Unreachable(_) }),
        "{lost:?}"
    );
}

#[test]
fn a_member_that_comes_early_waits_to_be_added() {
    let authority = Authority::new().expect("an authority");
    // No sign of life tells of what was left unread.
    let silent = Timing { heartbeat_interval: HOUR, lost_after: HOUR * 2, ..quick() };
    let nodes = [start(&authority, 0, silent), start(&authority, 1, silent)];
    nodes[1].link.add_peer(NodeId(0), &[nodes[0].link.local_addr()]);
    nodes[1].link.send(NodeId(0), Lane::Message, &envelope(0), Sent::Copied(b"early"));
    let said_hello = || {
        let driver = nodes[0].link.shared.driver.lock();
        driver.early.values().any(|link| !link.conn.lock().inbound.is_empty())
    };
    let deadline = Instant::now() + PATIENCE;
    while !said_hello() {
        assert!(Instant::now() < deadline, "the member has not come");
        thread::sleep(Duration::from_millis(1));
    }
    nodes[0].link.add_peer(NodeId(1), &[]);
    nodes[0].handler.wait_count(1);
    nodes[1].handler.wait_up(0);
}

#[test]
fn garbage_is_counted_and_harmless() {
    let nodes = cluster(2, Timing::default());
    let stranger = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let mut random = Random::new(3);
    for _ in 0..2000 {
        let mut bytes: Vec<u8> = payload(&mut random, 1500).to_vec();
        // Half of it looks like the beginning of a handshake.
        if let [first, _, _, _, version, ..] = bytes.as_mut_slice()
            && random.chance(50)
        {
            (*first, *version) = (0xc0, 1);
            bytes[1..4].fill(0);
        }
        for node in &nodes {
            // A full buffer loses it.
            let _ = stranger.send_to(&bytes, node.link.local_addr());
        }
    }
    exchange(&nodes, 200, 1000, |_| {});
    for node in &nodes {
        assert!(node.link.shared.counters.ignored.0.load(Ordering::Relaxed) > 0);
        assert!(node.link.shared.driver.lock().links.len() < 300, "no connection was made of it");
        let seen = node.handler.seen.lock();
        assert!(!seen.events.iter().any(|event| matches!(event, Event::PeerLost { .. })));
    }
}

#[test]
fn a_link_outlives_its_certificates_and_a_new_one_needs_renewed_ones() {
    let authority = Authority::new().expect("an authority");
    let short = Duration::from_secs(2);
    let issue = |node, lifetime| authority.issue(NodeId(node), lifetime).expect("an identity");
    let nodes: Vec<Node> =
        (1..=2).map(|node| start_with(config(node, issue(node, short), quick()), None)).collect();
    nodes[0].link.add_peer(NodeId(2), &[]);
    nodes[1].link.add_peer(NodeId(1), &[nodes[0].link.local_addr()]);
    nodes[0].handler.wait_up(2);
    std::thread::sleep(short + Duration::from_secs(1));
    let send = |from: &Node, to| {
        from.link.send(NodeId(to), Lane::Message, &Envelope::default(), Sent::Copied(b"x"));
    };
    send(&nodes[1], 1);
    nodes[0].handler.wait_count(1);
    assert!(nodes[0].link.renew(&issue(2, HOUR)).is_err(), "another node's");
    for node in &nodes {
        node.link.renew(&issue(node.link.node().0, HOUR)).expect("a new one");
    }
    nodes[1].link.shared.command(Command::Sever(NodeId(1)));
    send(&nodes[1], 1);
    nodes[0].handler.wait_count(2);
    send(&nodes[0], 2);
    nodes[1].handler.wait_count(1);
}
