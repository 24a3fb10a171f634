//! What peers of one neighbourhood may do together, also one that comes again and again under new names.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::Instant;

use p2pool_core::netgroup::Netgroup;

use crate::peers::{Acts, Allowances};

/// A neighbourhood may do as much as this many peers: half of those that may be connected from it.
const PEERS_WORTH: u32 = 4;
/// Neighbourhoods remembered; beyond that those who have done nothing lately are forgotten.
const REMEMBERED_MAX: usize = 1_024;

/// The allowances of neighbourhoods.
#[derive(Debug, Default)]
pub struct Neighbours {
    allowances: HashMap<Netgroup, Allowances>,
    /// Seeded by the system: nobody can choose an address whose neighbourhood has another's number.
    hasher: RandomState,
}

impl Neighbours {
    /// A number of 24 bits by which the chain thread knows a neighbourhood; zero for our own network.
    pub fn number(&self, ip: Option<IpAddr>) -> u32 {
        let Some(prefix) = ip.and_then(Netgroup::of) else { return 0 };
        // Two with one number share a part of the shelves: no harm.
        (self.hasher.hash_one(prefix) >> 40).max(1) as u32
    }

    /// Takes one of what a neighbourhood may do; false if there is none left. Our own network may do as it likes.
    pub fn take(&mut self, ip: Option<IpAddr>, act: Acts, now: Instant) -> bool {
        let Some(prefix) = ip.and_then(Netgroup::of) else { return true };
        if !self.allowances.contains_key(&prefix) && self.allowances.len() >= REMEMBERED_MAX {
            self.allowances.retain(|_, allowances| !allowances.are_full(now));
        }
        self.allowances.entry(prefix).or_insert_with(|| Allowances::of(PEERS_WORTH, now)).take(act, now)
    }

    /// Gives back one that was taken for something useful.
    pub fn give_back(&mut self, ip: Option<IpAddr>, act: Acts) {
        if let Some(allowances) = ip.and_then(Netgroup::of).and_then(|prefix| self.allowances.get_mut(&prefix)) {
            allowances.give_back(act);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn neighbours_share_what_they_may_do() {
        let (mut neighbours, now) = (Neighbours::default(), Instant::now());
        let mut taken = 0;
        while neighbours.take(ip("8.8.8.8"), Acts::Request, now) {
            taken += 1;
        }
        assert_eq!(taken, 400, "as much as four peers");
        assert!(!neighbours.take(ip("8.8.8.200"), Acts::Request, now));
        assert!(neighbours.take(ip("8.8.8.200"), Acts::Share, now), "other things are counted apart");
        assert!(neighbours.take(ip("8.8.9.8"), Acts::Request, now));
        assert!((0..1_000).all(|_| neighbours.take(ip("192.168.1.1"), Acts::Request, now)));
        neighbours.give_back(ip("8.8.8.1"), Acts::Request);
        assert!(neighbours.take(ip("8.8.8.8"), Acts::Request, now));
    }

    #[test]
    fn numbers_tell_neighbourhoods_apart() {
        let neighbours = Neighbours::default();
        assert_eq!(neighbours.number(ip("8.8.8.8")), neighbours.number(ip("8.8.8.9")));
        assert_eq!(neighbours.number(ip("10.0.0.1")), 0);
        assert_eq!(neighbours.number(None), 0);
        let numbers: std::collections::HashSet<u32> =
            (0..100).map(|third| neighbours.number(ip(&format!("8.8.{third}.8")))).collect();
        assert!(numbers.len() > 95 && numbers.iter().all(|number| (1..1 << 24).contains(number)));
    }

    #[test]
    fn memory_of_neighbourhoods_is_bounded() {
        let (mut neighbours, now) = (Neighbours::default(), Instant::now());
        let later = now + std::time::Duration::from_secs(60);
        for number in 0..5_000_u32 {
            let address = IpAddr::from((0x0800_0000 + number * 256).to_be_bytes());
            neighbours.take(Some(address), Acts::Request, if number < 3_000 { now } else { later });
        }
        assert!(neighbours.allowances.len() <= 3_000);
    }
}
