//! Groups of peers: what one party easily obtains together, and which networks are the operator's own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Peers that one party easily has together. Limits per netgroup bound what a party with many addresses can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Netgroup {
    /// An IPv4 /24.
    V4([u8; 3]),
    /// An IPv6 /48.
    V6([u16; 3]),
    /// All peers that come through Tor: a party has as many as it wants, and nothing distinguishes them.
    Tor,
    /// All hidden services that this node dialled. Those that come take none of their room.
    Onion,
    /// All peers that a relay connects: it chooses who they are, and their addresses are not known.
    Relayed,
}

impl Netgroup {
    /// Those of [`Self::is_anonymous`].
    pub const ANONYMOUS: [Self; 3] = [Self::Tor, Self::Onion, Self::Relayed];

    /// Whether its members are strangers to each other who only come the same way. The limits of such a netgroup are wider: they
    /// leave room to all others, and to honest members beside an attacker.
    pub const fn is_anonymous(self) -> bool {
        !matches!(self, Self::V4(_) | Self::V6(_))
    }

    /// Returns the netgroup of an address; `None` on an own network, whose hosts are not limited together.
    pub fn of(address: IpAddr) -> Option<Self> {
        if is_own_network(address) {
            return None;
        }
        Some(match address.to_canonical() {
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

/// Returns the address under which one subscriber is counted: an IPv4 address as it is, an IPv6 address with its last 64
/// bits cleared, because a subscriber gets at least a /64.
pub fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

/// Whether an address belongs to an own network rather than to strangers: loopback, private, link-local, reserved for
/// documentation or benchmarks, or unspecified.
pub fn is_own_network(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => is_own_network_v4(v4),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unspecified() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

fn is_own_network_v4(v4: Ipv4Addr) -> bool {
    let [a, b, ..] = v4.octets();
    // RFC 5737 and RFC 2544; test networks use them, and they are not routed on the Internet.
    let is_test_network = v4.is_documentation() || (a == 198 && b & 0xfe == 18);
    v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_unspecified() || is_test_network
}

/// Whether the customers of one provider share an address (RFC 6598): its hosts are strangers, but not reachable from the
/// Internet. Overlay networks use such addresses too.
pub fn is_shared(address: IpAddr) -> bool {
    matches!(address.to_canonical(), IpAddr::V4(v4) if v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn netgroups_are_24_and_48_bits_wide() {
        assert_eq!(Netgroup::of(ip("8.8.8.8")), Netgroup::of(ip("8.8.8.200")));
        assert_eq!(Netgroup::of(ip("8.8.8.8")), Netgroup::of(ip("::ffff:8.8.8.200")));
        assert_ne!(Netgroup::of(ip("8.8.8.8")), Netgroup::of(ip("8.8.9.8")));
        assert_eq!(Netgroup::of(ip("2001:db8:1:2::1")), Netgroup::of(ip("2001:db8:1:ffff::9")));
        assert_ne!(Netgroup::of(ip("2001:db8:1::1")), Netgroup::of(ip("2001:db8:2::1")));
    }

    #[test]
    fn a_subscriber_has_one_ipv4_address_or_one_ipv6_slash_64() {
        assert_eq!(subscriber(ip("8.8.8.8")), ip("8.8.8.8"));
        assert_eq!(subscriber(ip("::ffff:8.8.8.8")), ip("8.8.8.8"));
        assert_eq!(subscriber(ip("2001:db8::ffff:0:0:2")), ip("2001:db8::"));
        assert_ne!(subscriber(ip("2001:db8::1")), subscriber(ip("2001:db8:0:1::1")));
    }

    #[test]
    fn own_networks_have_no_netgroup() {
        for own in [
            "0.0.0.0",
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.1.1",
            "192.0.2.1",
            "198.51.100.1",
            "203.0.113.1",
            "198.18.0.1",
            "198.19.0.1",
            "::",
            "::1",
            "fe80::1",
            "fd00::1",
            "::ffff:192.168.1.1",
        ] {
            assert!(is_own_network(ip(own)), "{own}");
            assert_eq!(Netgroup::of(ip(own)), None, "{own}");
        }
        for public in [
            "8.8.8.8",
            "172.32.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "192.0.3.1",
            "192.169.0.1",
            "198.20.0.1",
            "2001:db8::1",
            "fec0::1",
        ] {
            assert!(Netgroup::of(ip(public)).is_some(), "{public}");
        }
    }
    #[test]
    fn addresses_that_customers_share_are_those_of_rfc_6598() {
        for (address, expected) in [
            ("100.64.0.1", true),
            ("::ffff:100.127.255.255", true),
            ("100.63.255.255", false),
            ("100.128.0.1", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_shared(ip(address)), expected, "{address}");
        }
    }
}
