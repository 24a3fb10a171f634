//! Free TCP ports.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::net::{Ipv4Addr, TcpListener};

/// Ports below those that the system gives to outgoing connections (32768 and up on Linux): a node that is down
/// for a moment must find its port free when it comes back.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;
/// Picks before giving up; one is nearly always enough.
const ATTEMPTS_MAX: usize = 1_000;

/// A TCP port that nobody listens on now.
///
/// Another process may take it before it is used, so whoever starts a server on it must be ready to try another.
pub fn free_port() -> u16 {
    for _ in 0..ATTEMPTS_MAX {
        // A hasher made with fresh random keys is the standard library's source of randomness.
        let random = RandomState::new().build_hasher().finish();
        let port = FIRST + u16::try_from(random % u64::from(COUNT)).unwrap_or_default();
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return port;
        }
    }
    panic!("no free TCP port among {FIRST}..{}", FIRST + COUNT);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_can_be_listened_on_and_is_not_given_out_meanwhile() {
        let port = free_port();
        let _listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).expect("it was free a moment ago");
        for _ in 0..100 {
            assert_ne!(free_port(), port);
        }
    }
}
