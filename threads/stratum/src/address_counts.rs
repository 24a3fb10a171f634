//! How many sessions an address has. Private addresses are a farm's own network and, unless told, not counted.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Counts sessions by public address.
#[derive(Debug)]
pub struct AddressCounts {
    counts: HashMap<IpAddr, usize>,
    private_exempt: bool,
}

impl AddressCounts {
    /// No sessions yet; `private_exempt` tells whether private addresses are not counted.
    pub fn new(private_exempt: bool) -> Self {
        Self { counts: HashMap::new(), private_exempt }
    }

    /// Counts a session in; false if the address has `max` already.
    pub fn enter(&mut self, address: IpAddr, max: usize) -> bool {
        let Some(group) = self.group(address) else { return true };
        let count = self.counts.entry(group).or_insert(0);
        if *count >= max {
            return false;
        }
        *count += 1;
        true
    }

    /// Sessions of an address; none if it is exempt.
    pub fn count(&self, address: IpAddr) -> usize {
        self.group(address).and_then(|group| self.counts.get(&group)).copied().unwrap_or_default()
    }

    /// Counts a session out.
    pub fn leave(&mut self, address: IpAddr) {
        let Some(group) = self.group(address) else { return };
        if let Some(count) = self.counts.get_mut(&group) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&group);
            }
        }
    }

    /// What is counted as one: an IPv4 address, or the 64-bit network that an IPv6 customer has; none if exempt.
    fn group(&self, address: IpAddr) -> Option<IpAddr> {
        let (group, is_private) = match address.to_canonical() {
            IpAddr::V4(address) => (IpAddr::V4(address), is_private_v4(address)),
            IpAddr::V6(address) => {
                let network = Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX));
                (IpAddr::V6(network), is_private_v6(address))
            }
        };
        (!(is_private && self.private_exempt)).then_some(group)
    }
}

/// Loopback, private (RFC 1918), link-local, and what providers share among customers (RFC 6598).
fn is_private_v4(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    address.is_loopback() || address.is_private() || address.is_link_local() || (first == 100 && second & 0xc0 == 64)
}

/// Loopback, link-local, and unique local (RFC 4193).
fn is_private_v6(address: Ipv6Addr) -> bool {
    address.is_loopback() || address.is_unicast_link_local() || address.is_unique_local()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_addresses_are_counted() {
        let mut addresses = AddressCounts::new(true);
        let one: IpAddr = "203.0.113.7".parse().unwrap();
        let mapped: IpAddr = "::ffff:203.0.113.7".parse().unwrap();
        let other: IpAddr = "203.0.113.8".parse().unwrap();
        assert!(addresses.enter(one, 2) && addresses.enter(mapped, 2));
        assert!(!addresses.enter(one, 2) && !addresses.enter(mapped, 2));
        assert!(addresses.enter(other, 2));
        addresses.leave(one);
        assert!(addresses.enter(one, 2));
        for address in [one, mapped, other] {
            addresses.leave(address);
        }
        assert!(addresses.counts.is_empty());
    }

    #[test]
    fn an_ipv6_network_counts_as_one() {
        let mut addresses = AddressCounts::new(true);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(addresses.enter(address("2001:db8::1"), 1));
        assert!(!addresses.enter(address("2001:db8::ffff:0:0:2"), 1));
        assert!(addresses.enter(address("2001:db8:0:1::1"), 1));
    }

    #[test]
    fn private_ranges_are_exempt() {
        let exempt = [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "::1",
            "fe80::1",
            "fd00::1",
            "::ffff:192.168.1.1",
        ];
        let counted = ["8.8.8.8", "172.32.0.1", "100.63.0.1", "100.128.0.1", "192.169.0.1", "2001:db8::1", "fec0::1"];
        for text in exempt {
            assert_eq!(AddressCounts::new(true).group(text.parse().unwrap()), None, "{text}");
            assert!(AddressCounts::new(false).group(text.parse().unwrap()).is_some(), "{text}");
        }
        for text in counted {
            assert!(AddressCounts::new(true).group(text.parse().unwrap()).is_some(), "{text}");
        }
    }
}
