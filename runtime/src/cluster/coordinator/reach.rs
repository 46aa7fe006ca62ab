//! Whether the nodes of a job can reach each other, as far as their addresses tell.

use std::net::SocketAddr;

use super::core::Node;

/// Why some of these nodes can never talk to each other; none if nothing speaks against it.
///
/// A node that listens on its machine's loopback only, because it was told to, is for nodes of that machine. A
/// node that has joined from elsewhere, or over another address, will look for it in vain.
pub(super) fn separated(nodes: &[&Node]) -> Option<String> {
    let hidden = nodes.iter().find(|node| all_loopback(&node.info.addresses))?;
    let outside = nodes.iter().find(|node| !any_loopback(&node.addresses))?;
    let (hidden, outside) = (&hidden.info.host, &outside.info.host);
    Some(format!(
        "{hidden} listens on its own machine's loopback address only, where {outside} cannot reach it; \
         start the node on {hidden} with `--listen` and an address that the others reach, or without \
         `--listen` on all"
    ))
}

fn all_loopback(addresses: &[String]) -> bool {
    !addresses.is_empty() && addresses.iter().all(|address| is_loopback(address))
}

fn any_loopback(addresses: &[String]) -> bool {
    addresses.iter().any(|address| is_loopback(address))
}

fn is_loopback(address: &str) -> bool {
    address.parse().is_ok_and(|address: SocketAddr| address.ip().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::message::NodeInfo;

    /// A node that listens there, and is looked for there.
    fn node(host: &str, listens: &str, found: &str) -> Node {
        let info = NodeInfo {
            host: host.into(),
            workers: 1,
            slots: None,
            process: 1,
            addresses: vec![listens.into()],
        };
        Node { info, addresses: vec![found.into()], draining: false }
    }

    #[test]
    fn only_a_node_that_hides_is_separated_from_those_elsewhere() {
        let hidden = node("hidden", "127.0.0.1:5", "127.0.0.1:5");
        let beside = node("beside", "0.0.0.0:6", "127.0.0.1:6");
        let outside = node("outside", "0.0.0.0:7", "10.0.0.7:7");
        let v6 = node("six", "[::1]:8", "[::1]:8");
        for together in
            [&[&hidden, &v6][..], &[&hidden, &beside], &[&beside, &outside], &[&outside]]
        {
            assert_eq!(separated(together), None);
        }
        for apart in [[&hidden, &outside], [&outside, &hidden], [&v6, &outside]] {
            let reason = separated(&apart).expect("they cannot talk");
            assert!(reason.contains("outside cannot reach it"), "{reason}");
            assert!(reason.contains("--listen"), "{reason}");
        }
    }
}
