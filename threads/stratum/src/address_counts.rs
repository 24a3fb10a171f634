//! Counts connections per address. Addresses on own networks, such as a farm's, may be exempt.

use std::collections::HashMap;
use std::net::IpAddr;

use p2pool_core::netgroup::{is_own_network, is_shared, subscriber};

/// Number of connections by address.
#[derive(Debug)]
pub struct AddressCounts {
    counts: HashMap<IpAddr, usize>,
    private_exempt: bool,
}

impl AddressCounts {
    /// Starts without connections; `private_exempt` exempts addresses on own networks.
    pub fn new(private_exempt: bool) -> Self {
        Self { counts: HashMap::new(), private_exempt }
    }

    /// Adds a connection; false if the address has `max` already.
    pub fn enter(&mut self, address: IpAddr, max: usize) -> bool {
        let Some(group) = self.group(address) else { return true };
        let count = self.counts.entry(group).or_insert(0);
        if *count >= max {
            return false;
        }
        *count += 1;
        true
    }

    /// Number of connections from an address; zero if it is exempt.
    pub fn count(&self, address: IpAddr) -> usize {
        self.group(address).and_then(|group| self.counts.get(&group)).copied().unwrap_or_default()
    }

    /// Removes a connection.
    pub fn leave(&mut self, address: IpAddr) {
        let Some(group) = self.group(address) else { return };
        if let Some(count) = self.counts.get_mut(&group) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&group);
            }
        }
    }

    /// The subscriber that an address is counted for; `None` if it is exempt.
    fn group(&self, address: IpAddr) -> Option<IpAddr> {
        (!(self.private_exempt && (is_own_network(address) || is_shared(address)))).then(|| subscriber(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_addresses_are_counted() {
        let mut addresses = AddressCounts::new(true);
        let one: IpAddr = "8.8.8.7".parse().unwrap();
        let mapped: IpAddr = "::ffff:8.8.8.7".parse().unwrap();
        let other: IpAddr = "8.8.8.8".parse().unwrap();
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
    fn an_ipv6_slash_64_counts_as_one_address() {
        let mut addresses = AddressCounts::new(true);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(addresses.enter(address("2001:db8::1"), 1));
        assert!(!addresses.enter(address("2001:db8::ffff:0:0:2"), 1));
        assert!(addresses.enter(address("2001:db8:0:1::1"), 1));
    }

    #[test]
    fn own_networks_may_be_exempt() {
        for text in ["127.0.0.1", "192.168.1.1", "::1", "fd00::1", "::ffff:192.168.1.1"] {
            assert_eq!(AddressCounts::new(true).group(text.parse().unwrap()), None, "{text}");
            assert!(AddressCounts::new(false).group(text.parse().unwrap()).is_some(), "{text}");
        }
        assert!(AddressCounts::new(true).group("8.8.8.8".parse().unwrap()).is_some());
    }
}
