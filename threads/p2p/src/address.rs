//! Multiaddrs: their IP address, their peer id, and which of them peers may advertise.

use std::net::IpAddr;

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use p2pool_core::netgroup::{is_own_network, is_shared};

/// Returns the IP address that a multiaddr starts with, an IPv4-mapped IPv6 address as IPv4; `None` for an address through a
/// relay, which starts with the relay's.
pub fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    if is_relayed(address) {
        return None;
    }
    match address.iter().next()? {
        Protocol::Ip4(v4) => Some(IpAddr::V4(v4)),
        Protocol::Ip6(v6) => Some(IpAddr::V6(v6).to_canonical()),
        _ => None,
    }
}

/// Whether an address leads through a relay.
pub fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::P2pCircuit)
}

/// Splits an address that ends in a peer id.
pub fn split_peer_id(mut address: Multiaddr) -> Option<(PeerId, Multiaddr)> {
    match address.pop()? {
        Protocol::P2p(peer) if !address.is_empty() => Some((peer, address)),
        _ => None,
    }
}

/// Returns an address without the peer id that it may end in.
pub fn without_peer_id(address: &Multiaddr) -> Multiaddr {
    split_peer_id(address.clone()).map_or_else(|| address.clone(), |(_, address)| address)
}

/// Whether an address consists of an IP address, a TCP port and at most a peer id. Other multiaddrs are of no use here and
/// have no length limit.
pub fn is_plain(address: &Multiaddr) -> bool {
    let mut parts = address.iter();
    let is_ip = matches!(parts.next(), Some(Protocol::Ip4(_) | Protocol::Ip6(_)));
    let is_tcp = matches!(parts.next(), Some(Protocol::Tcp(_)));
    is_ip && is_tcp && matches!(parts.next(), None | Some(Protocol::P2p(_))) && parts.next().is_none()
}

/// Whether an address is that of a hidden service, with at most a peer id.
pub fn is_onion(address: &Multiaddr) -> bool {
    let mut parts = address.iter();
    let is_onion = matches!(parts.next(), Some(Protocol::Onion3(_)));
    is_onion && matches!(parts.next(), None | Some(Protocol::P2p(_))) && parts.next().is_none()
}

/// Whether a peer at `from` may advertise `address`: a peer on the Internet must not make this node dial hosts of an own
/// network, nor a peer on an own network its loopback ports.
pub fn may_advertise(from: Option<IpAddr>, address: &Multiaddr) -> bool {
    let Some(target) = ip_of(address) else { return false };
    if target.is_unspecified() || target.is_multicast() {
        return false;
    }
    if target.is_loopback() {
        return from.is_some_and(|from| from.is_loopback());
    }
    !is_unreachable(target) || from.is_some_and(is_unreachable)
}

/// Whether an address cannot be reached from the Internet.
pub fn is_unreachable(ip: IpAddr) -> bool {
    is_own_network(ip) || is_shared(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn mapped_ipv4_addresses_are_ipv4() {
        assert_eq!(ip_of(&address("/ip6/::ffff:8.8.8.8/tcp/1")), Some(ip("8.8.8.8")));
        assert_eq!(ip_of(&address("/dns4/example.org/tcp/1")), None);
    }

    #[test]
    fn a_relayed_address_has_not_the_ip_address_of_the_relay() {
        let relayed = address(&format!("/ip4/8.8.8.8/tcp/1/p2p/{}/p2p-circuit", PeerId::random()));
        assert_eq!(ip_of(&relayed), None);
        assert!(!may_advertise(Some(ip("9.9.9.9")), &relayed));
    }

    #[test]
    fn peer_ids_are_split_off() {
        let peer = PeerId::random();
        let plain = address("/ip4/8.8.8.8/tcp/9171");
        assert_eq!(split_peer_id(address(&format!("{plain}/p2p/{peer}"))), Some((peer, plain.clone())));
        assert_eq!(split_peer_id(plain), None);
        assert_eq!(split_peer_id(address(&format!("/p2p/{peer}"))), None);
    }

    #[test]
    fn plain_addresses_have_an_ip_address_a_tcp_port_and_at_most_a_peer_id() {
        let peer = PeerId::random();
        for (text, expected) in [
            ("/ip4/8.8.8.8/tcp/1".to_owned(), true),
            (format!("/ip6/2001:db8::1/tcp/1/p2p/{peer}"), true),
            ("/ip4/8.8.8.8".to_owned(), false),
            ("/ip4/8.8.8.8/udp/1".to_owned(), false),
            ("/dns4/example.org/tcp/1".to_owned(), false),
            ("/ip4/8.8.8.8/tcp/1/ws".to_owned(), false),
            (format!("/ip4/8.8.8.8/tcp/1/p2p/{peer}/p2p-circuit"), false),
        ] {
            assert_eq!(is_plain(&address(&text)), expected, "{text}");
        }
    }

    #[test]
    fn public_peers_cannot_advertise_addresses_of_own_networks() {
        let may = |from: &str, text: &str| may_advertise(Some(ip(from)), &address(text));
        assert!(may("8.8.8.8", "/ip4/9.9.9.9/tcp/1"));
        assert!(!may("8.8.8.8", "/ip4/192.168.1.1/tcp/1"));
        assert!(!may("8.8.8.8", "/ip4/127.0.0.1/tcp/1"));
        assert!(!may("8.8.8.8", "/ip4/0.0.0.0/tcp/1"));
        assert!(!may("8.8.8.8", "/ip4/100.64.0.1/tcp/1") && may("100.64.0.2", "/ip4/100.64.0.1/tcp/1"));
        assert!(may("192.168.1.7", "/ip4/192.168.1.1/tcp/1"));
        assert!(!may("192.168.1.7", "/ip4/127.0.0.1/tcp/1"));
        assert!(may("127.0.0.1", "/ip4/127.0.0.1/tcp/1"));
    }
}
