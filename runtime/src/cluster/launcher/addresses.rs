//! On which addresses other machines may find this one.
//!
//! The kernel's tables are read: no address is asked for by name, because many machines have their
//! own name on the loopback interface.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};

/// This machine's name.
pub fn this_host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Whether a name or an address of a host list means the machine that we run on.
pub fn is_this_machine(host: &str) -> bool {
    let own = this_host();
    let short = own.split('.').next() == Some(host);
    if host == "localhost" || host == own || short {
        return true;
    }
    let address: Option<IpAddr> = host.parse().ok();
    address.is_some_and(|address| address.is_loopback() || local_addresses().contains(&address))
}

/// This machine's addresses in the order in which another one should try them: IPv4, IPv6, and the
/// loopback last.
pub fn local_addresses() -> Vec<IpAddr> {
    // A machine without one of both protocols lacks its table.
    let v4 = std::fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    let v6 = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let mut all: Vec<IpAddr> = ipv4_of(&v4).into_iter().map(IpAddr::V4).collect();
    all.extend(ipv6_of(&v6).into_iter().map(IpAddr::V6));
    all.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
    all
}

/// Our address on the way to a host, if that can be found out; nothing is sent.
pub fn address_towards(host: &str) -> Option<IpAddr> {
    let address = (host, ANY_PORT).to_socket_addrs().ok()?.next()?;
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(address).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

/// The addresses in the kernel's routing table that are the machine's own.
fn ipv4_of(fib_trie: &str) -> Vec<Ipv4Addr> {
    let mut found = Vec::new();
    let mut last = None;
    for line in fib_trie.lines() {
        let line = line.trim();
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<Ipv4Addr>().ok();
        } else if line == "/32 host LOCAL"
            && let Some(address) = last
            && !address.is_loopback()
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}

/// The addresses that other machines can use without naming an interface.
fn ipv6_of(if_inet6: &str) -> Vec<Ipv6Addr> {
    let address = |line: &str| {
        let digits = line.split_whitespace().next()?;
        let address = u128::from_str_radix(digits, 16).ok().map(Ipv6Addr::from_bits)?;
        let is_usable = !address.is_loopback() && !address.is_unicast_link_local();
        (digits.len() == 32 && is_usable).then_some(address)
    };
    if_inet6.lines().filter_map(address).collect()
}

/// A port is needed to look up an address; nothing is sent to it.
const ANY_PORT: u16 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses_are_read_from_the_kernels_tables() {
        let fib_trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n\
            \x20    |-- 10.1.2.3\n        /32 host LOCAL\n     |-- 10.1.2.255\n        /32 link BROADCAST\n\
            \x20    |-- 127.0.0.1\n        /32 host LOCAL\nLocal:\n     |-- 10.1.2.3\n        /32 host LOCAL\n";
        assert_eq!(ipv4_of(fib_trie), [Ipv4Addr::new(10, 1, 2, 3)]);
        let if_inet6 = "00000000000000000000000000000001 01 80 10 80       lo\n\
            fe80000000000000021122fffe334455 02 40 20 80     eth0\n\
            20010db8000000000000000000000007 02 40 00 80     eth0\ngarbage\n";
        assert_eq!(ipv6_of(if_inet6), [Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7)]);
        assert!(ipv4_of("garbage").is_empty() && ipv6_of("").is_empty());
    }

    #[test]
    fn this_machine_knows_itself() {
        assert!(is_this_machine("localhost") && is_this_machine("127.0.0.1"));
        assert!(is_this_machine(&this_host()) && is_this_machine("::1"));
        assert!(!is_this_machine("node.invalid") && !is_this_machine("192.0.2.1"));
        let addresses = local_addresses();
        assert_eq!(addresses.last(), Some(&IpAddr::V4(Ipv4Addr::LOCALHOST)));
        assert_eq!(address_towards("127.0.0.1"), Some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    }
}
