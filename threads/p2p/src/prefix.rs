//! Where addresses are: which are one neighbourhood, which are only our own network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libp2p::multiaddr::Protocol;
use libp2p::Multiaddr;

/// A neighbourhood: whoever has one address in it easily gets the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Prefix {
    /// An IPv4 /24.
    V4([u8; 3]),
    /// An IPv6 /48.
    V6([u16; 3]),
}

impl Prefix {
    /// An address's neighbourhood; none for loopback, link-local and private ranges, whose nodes are our own.
    pub fn of(address: IpAddr) -> Option<Self> {
        if is_own_network(address) {
            return None;
        }
        Some(match address {
            IpAddr::V4(v4) => {
                let [a, b, c, _] = v4.octets();
                Self::V4([a, b, c])
            }
            IpAddr::V6(v6) => {
                let [a, b, c, ..] = v6.segments();
                Self::V6([a, b, c])
            }
        })
    }
}

/// The address that begins a multiaddr; an IPv4 address in IPv6 clothes counts as what it is.
pub fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(v4) => Some(IpAddr::V4(v4)),
        Protocol::Ip6(v6) => Some(v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)),
        _ => None,
    }
}

/// Whether an address is no public one.
pub fn is_own_network(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_own_network_v4(v4),
        IpAddr::V6(v6) => is_own_network_v6(v6),
    }
}

fn is_own_network_v4(v4: Ipv4Addr) -> bool {
    let [a, b, ..] = v4.octets();
    // A provider's own network (RFC 6598), which overlay networks use too; networks for examples (RFC 5737) and for
    // measurements (RFC 2544), which laboratories use and nobody on the Internet has.
    let is_shared = a == 100 && b & 0xc0 == 64;
    let is_laboratory = v4.is_documentation() || (a == 198 && b & 0xfe == 18);
    v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_unspecified() || is_shared || is_laboratory
}

fn is_own_network_v6(v6: Ipv6Addr) -> bool {
    v6.is_loopback() || v6.is_unspecified() || v6.is_unique_local() || v6.is_unicast_link_local()
}

/// Whether an address is a plain one of an IP address and a TCP port, with or without the node's id: whatever else could
/// be in one is of no use here, and has no bounds.
pub fn is_plain(address: &Multiaddr) -> bool {
    let mut parts = address.iter();
    let is_start = matches!(parts.next(), Some(Protocol::Ip4(_) | Protocol::Ip6(_)));
    let is_port = matches!(parts.next(), Some(Protocol::Tcp(_)));
    is_start && is_port && matches!(parts.next(), None | Some(Protocol::P2p(_))) && parts.next().is_none()
}

/// Whether a node at `from` may tell us that a node can be reached at `address`: strangers do not send us to hosts
/// of our own network, nor our neighbours to our own ports.
pub fn is_credible(address: &Multiaddr, from: Option<IpAddr>) -> bool {
    let Some(target) = ip_of(address) else { return false };
    if target.is_unspecified() || target.is_multicast() {
        return false;
    }
    if target.is_loopback() {
        return from.is_some_and(|from| from.is_loopback());
    }
    !is_own_network(target) || from.is_some_and(is_own_network)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn neighbourhoods_are_24_and_48_bits_wide() {
        assert_eq!(Prefix::of(ip("8.8.8.8")), Prefix::of(ip("8.8.8.200")));
        assert_ne!(Prefix::of(ip("8.8.8.8")), Prefix::of(ip("8.8.9.8")));
        assert_eq!(Prefix::of(ip("2001:db8:1:2::1")), Prefix::of(ip("2001:db8:1:ffff::9")));
        assert_ne!(Prefix::of(ip("2001:db8:1::1")), Prefix::of(ip("2001:db8:2::1")));
    }

    #[test]
    fn our_own_network_has_no_neighbourhood() {
        for own in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.1.1",
            "172.16.0.1",
            "169.254.1.1",
            "100.64.0.1",
            "192.0.2.1",
            "198.19.0.1",
            "::1",
            "fe80::1",
            "fd00::1",
        ] {
            assert_eq!(Prefix::of(ip(own)), None, "{own}");
        }
        for public in ["100.128.0.1", "192.0.3.1", "198.20.0.1"] {
            assert!(Prefix::of(ip(public)).is_some(), "{public}");
        }
    }

    #[test]
    fn ipv4_in_ipv6_is_ipv4() {
        let address: Multiaddr = "/ip6/::ffff:8.8.8.8/tcp/1".parse().unwrap();
        assert_eq!(ip_of(&address), Some(ip("8.8.8.8")));
        assert_eq!(ip_of(&"/dns4/example.org/tcp/1".parse().unwrap()), None);
    }

    #[test]
    fn plain_addresses_are_short() {
        let peer = libp2p::PeerId::random();
        for (address, expected) in [
            ("/ip4/8.8.8.8/tcp/1".to_owned(), true),
            (format!("/ip6/2001:db8::1/tcp/1/p2p/{peer}"), true),
            ("/ip4/8.8.8.8".to_owned(), false),
            ("/ip4/8.8.8.8/udp/1".to_owned(), false),
            ("/dns4/example.org/tcp/1".to_owned(), false),
            ("/ip4/8.8.8.8/tcp/1/ws".to_owned(), false),
            (format!("/ip4/8.8.8.8/tcp/1/p2p/{peer}/p2p-circuit"), false),
        ] {
            assert_eq!(is_plain(&address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn strangers_do_not_send_us_into_our_own_network() {
        let at = |text: &str| text.parse::<Multiaddr>().unwrap();
        let stranger = Some(ip("8.8.8.8"));
        assert!(is_credible(&at("/ip4/9.9.9.9/tcp/1"), stranger));
        assert!(!is_credible(&at("/ip4/192.168.1.1/tcp/1"), stranger));
        assert!(!is_credible(&at("/ip4/127.0.0.1/tcp/1"), stranger));
        assert!(!is_credible(&at("/ip4/0.0.0.0/tcp/1"), stranger));
        assert!(is_credible(&at("/ip4/192.168.1.1/tcp/1"), Some(ip("192.168.1.7"))));
        assert!(!is_credible(&at("/ip4/127.0.0.1/tcp/1"), Some(ip("192.168.1.7"))));
        assert!(is_credible(&at("/ip4/127.0.0.1/tcp/1"), Some(ip("127.0.0.1"))));
    }
}
