//! Free TCP ports, kept from other tests.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

/// Ports below those that the system gives to outgoing connections (32768 and up on Linux): a node that is down
/// for a moment must find its port free when it comes back.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;
/// Picks before giving up; one is nearly always enough.
const ATTEMPTS_MAX: usize = 1_000;

/// A TCP port that was free when it was picked. No other test on this machine gets it while this value lives, even while
/// its server is down for a moment.
#[derive(Debug)]
pub struct Port {
    number: u16,
    /// The mark that the port is taken: the UDP port of the same number, which no server of these tests uses. The
    /// system frees it with the process, however that ends.
    _mark: UdpSocket,
}

impl Port {
    /// Picks one. A process that is no test may still snatch it before it is listened on.
    pub fn reserve() -> Self {
        for _ in 0..ATTEMPTS_MAX {
            // A hasher made with fresh random keys is the standard library's source of randomness.
            let random = RandomState::new().build_hasher().finish();
            let number = FIRST + u16::try_from(random % u64::from(COUNT)).unwrap_or_default();
            if let Some(port) = Self::take(number) {
                return port;
            }
        }
        panic!("no free TCP port among {FIRST}..{}", FIRST + COUNT);
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }

    fn take(number: u16) -> Option<Self> {
        // Marked first: a look at somebody's port while its server is down must not be in that server's way.
        let mark = UdpSocket::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, number)).ok()?;
        Some(Self { number, _mark: mark })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_port_can_be_listened_on_and_is_given_to_nobody_else() {
        let port = Port::reserve();
        assert!(Port::take(port.number()).is_none(), "it is reserved, although nothing listens on it yet");
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port.number())).expect("it is this test's");
        drop(listener);
        assert!(Port::take(port.number()).is_none(), "its server is down for a moment");
    }

    #[test]
    fn a_port_somebody_listens_on_is_not_taken() {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        assert!(Port::take(listener.local_addr().unwrap().port()).is_none());
    }

    #[test]
    fn a_port_is_free_again_when_it_is_dropped() {
        let number = Port::reserve().number();
        // Another test may be given it at once, but not each of them again and again.
        crate::wait_for("the port", std::time::Duration::from_secs(10), || Port::take(number));
    }
}
