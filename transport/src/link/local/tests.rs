//! Links of one process: order, events, and nodes that end.

use std::time::Duration;

use super::*;
use crate::{Endpoint, Payload};

/// Writes down what it is told.
#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl Handler for Log {
    fn message(&self, from: NodeId, lane: Lane, envelope: &Envelope, payload: Payload<'_>) {
        let line = format!("{} {} {} {}", from.0, lane as u8, envelope.tag, payload.len());
        self.0.lock().push(line);
    }

    fn event(&self, event: Event) {
        self.0.lock().push(format!("{event:?}"));
    }

    fn drained(&self, peer: NodeId, lane: Lane) {
        self.0.lock().push(format!("drained {} {}", peer.0, lane as u8));
    }
}

impl Log {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock())
    }
}

fn node(network: &LocalNetwork, number: u32) -> (Endpoint, Arc<Log>) {
    let log = Arc::new(Log::default());
    let endpoint = Endpoint::local(network, NodeId(number), log.clone()).expect("a free name");
    (endpoint, log)
}

fn tag(tag: i32) -> Envelope {
    Envelope { tag, ..Envelope::default() }
}

#[test]
fn what_is_sent_before_the_link_stands_waits_for_it() {
    let network = LocalNetwork::polled();
    let ((a, _), (b, seen)) = (node(&network, 1), node(&network, 2));
    a.send(NodeId(2), Lane::Message, &tag(0), b"dropped");
    a.add_peer(NodeId(2), &[]);
    a.send(NodeId(2), Lane::Message, &tag(1), b"abc");
    assert!(!b.poll());
    b.add_peer(NodeId(1), &[]);
    a.send_bytes(NodeId(2), Lane::Bulk, &tag(2), Bytes::from_static(b"abcd"));
    assert_eq!(a.backlog_bytes(NodeId(2), Lane::Bulk), 4);
    assert!(b.poll() && !b.poll());
    assert_eq!(seen.take(), ["PeerUp(NodeId(1))", "1 1 1 3", "1 2 2 4"]);
    assert_eq!(a.backlog_bytes(NodeId(2), Lane::Bulk), 0);
}

#[test]
fn a_killed_node_is_lost_and_one_that_leaves_is_not() {
    let network = LocalNetwork::polled();
    let ((a, seen), (b, _), (c, _)) = (node(&network, 1), node(&network, 2), node(&network, 3));
    for (peer, number) in [(&b, 2), (&c, 3)] {
        a.add_peer(NodeId(number), &[]);
        peer.add_peer(NodeId(1), &[]);
    }
    b.send(NodeId(1), Lane::Control, &tag(7), b"");
    b.remove_peer(NodeId(1));
    network.kill(NodeId(3));
    a.send(NodeId(3), Lane::Control, &tag(8), b"nobody");
    a.poll();
    let expected = [
        "PeerUp(NodeId(2))",
        "PeerUp(NodeId(3))",
        "2 0 7 0",
        "PeerLeft(NodeId(2))",
        "PeerLost { node: NodeId(3), reason: Ended }",
    ];
    assert_eq!(seen.take(), expected);
    assert_eq!(a.backlog_bytes(NodeId(3), Lane::Control), 0);
    assert!(Endpoint::local(&network, NodeId(1), seen).is_err());
}

#[test]
fn a_sender_of_bulk_data_is_told_when_it_may_go_on() {
    let network = LocalNetwork::polled();
    let ((a, seen), (b, _)) = (node(&network, 1), node(&network, 2));
    a.add_peer(NodeId(2), &[]);
    b.add_peer(NodeId(1), &[]);
    let chunk = Bytes::from(vec![0; 1 << 20]);
    for _ in 0..3 {
        a.send_bytes(NodeId(2), Lane::Bulk, &tag(0), chunk.clone());
    }
    b.poll();
    a.poll();
    assert_eq!(seen.take(), ["PeerUp(NodeId(2))", "drained 2 2"]);
}

#[test]
fn threads_of_the_endpoints_deliver_in_order() {
    let network = LocalNetwork::new();
    let ((a, _), (b, seen)) = (node(&network, 1), node(&network, 2));
    a.add_peer(NodeId(2), &[]);
    b.add_peer(NodeId(1), &[]);
    (0..1000).for_each(|number| a.send(NodeId(2), Lane::Message, &tag(number), b"x"));
    a.shutdown(Duration::from_secs(60));
    b.shutdown(Duration::from_secs(60));
    let mut expected = vec!["PeerUp(NodeId(1))".to_owned()];
    expected.extend((0..1000).map(|number| format!("1 1 {number} 1")));
    let seen = seen.take();
    assert_eq!(seen[..expected.len()], expected);
}
