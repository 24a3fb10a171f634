//! Which addresses of a peer are kept and dialled first.

use libp2p::Multiaddr;

use crate::address::{ip_of, is_unreachable};

/// How good an address is; the worst are dropped first. A peer may advertise anything, so what this node has found out
/// itself ranks first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Configured for a bootnode.
    Configured,
    /// The last dial of it succeeded.
    Dialled,
    /// On the Internet.
    Public,
    /// On an own network, or a DNS name.
    Own,
    /// On this machine.
    Loopback,
    /// Reported by the DHT alone, anywhere: neither the peer nor a dial has confirmed it.
    Heard,
}

impl Rank {
    pub fn of(address: &Multiaddr) -> Self {
        match ip_of(address) {
            Some(ip) if ip.is_loopback() => Self::Loopback,
            Some(ip) if !is_unreachable(ip) => Self::Public,
            _ => Self::Own,
        }
    }
}
