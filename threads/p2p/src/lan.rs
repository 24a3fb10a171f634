//! Statements of this node's instance on the local network, by multicast DNS: two nodes with one identity in one house hear
//! of each other without a third node. libp2p's mDNS ignores records with the own peer id.

use std::io::Result;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId};
use log::{debug, warn};
use p2pool_core::token_bucket::{Rate, TokenBucket};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::UdpSocket;

use crate::address::ip_of;
use crate::instance::STATEMENT_LEN;

const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const PORT: u16 = 5_353;
/// Time between two statements: two nodes notice each other within a minute or two.
const INTERVAL: Duration = Duration::from_secs(60);
/// Shortest such time, for a statement that has changed: an exchange between any number of instances stays slow.
const INTERVAL_MIN: Duration = Duration::from_secs(1);
/// Statements that are judged. Any host of the local network may send some, and each takes a signature check.
const JUDGED: Rate = Rate { burst: 10, interval: Duration::from_millis(200) };
/// Longest packet that is read. Longer ones are of others.
const PACKET_LEN_MAX: usize = 512;

/// A DNS response with one TXT record of this name, up to the length of its data: flags of an authoritative response, no
/// question, one answer, `_p2pool-instance._udp.local`, TXT, class IN, valid for two minutes.
const HEAD: &[u8] = b"\0\0\x84\0\0\0\0\x01\0\0\0\0\x10_p2pool-instance\x04_udp\x05local\0\0\x10\0\x01\0\0\0\x78";

/// Returns a packet: the record has two strings, the peer id and the statement.
fn packet(our_id: &PeerId, statement: &[u8]) -> Vec<u8> {
    let strings = [our_id.to_bytes(), statement.to_vec()];
    // Both are below 256 bytes.
    let data: Vec<u8> = strings.iter().flat_map(|string| [&[string.len() as u8], &string[..]].concat()).collect();
    [HEAD, &(data.len() as u16).to_be_bytes(), &data].concat()
}

/// Returns the statement in a packet that was sent for this peer id.
fn statement_in<'a>(received: &'a [u8], our_id: &PeerId) -> Option<&'a [u8]> {
    let (_, statement) = received.split_at_checked(received.len().checked_sub(STATEMENT_LEN)?)?;
    (packet(our_id, statement) == received).then_some(statement)
}

/// Sends and receives statements on all local networks.
pub struct Lan {
    socket: UdpSocket,
    our_id: PeerId,
    /// Addresses of this machine, one for each local network.
    interfaces: Vec<Ipv4Addr>,
    sent_at: Option<Instant>,
    /// The statement or the networks have changed since the last was sent.
    has_news: bool,
    judged: TokenBucket<Instant>,
}

impl Lan {
    /// Opens the socket beside those of other programs that use mDNS. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The system refuses it.
    pub fn open(our_id: PeerId, now: Instant) -> Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_reuse_address(true)?;
        #[cfg(unix)]
        socket.set_reuse_port(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)).into())?;
        let socket = UdpSocket::from_std(socket.into())?;
        let judged = TokenBucket::new(JUDGED, now);
        Ok(Self { socket, our_id, interfaces: Vec::new(), sent_at: None, has_news: false, judged })
    }

    /// Takes part in the network of an address that this node listens on.
    pub fn join(&mut self, listening: &Multiaddr) {
        let Some(address) = interface(listening).filter(|address| !self.interfaces.contains(address)) else { return };
        match self.socket.join_multicast_v4(GROUP, address) {
            Ok(()) => {
                self.interfaces.push(address);
                self.has_news = true;
            }
            Err(error) => debug!("mDNS not available at {address}: {error}"),
        }
    }

    /// Leaves the network of an address that this node no longer listens on.
    pub fn leave(&mut self, listening: &Multiaddr) {
        let Some(address) = interface(listening) else { return };
        self.interfaces.retain(|joined| *joined != address);
        // Fails if the interface is gone.
        let _ = self.socket.leave_multicast_v4(GROUP, address);
    }

    /// Has the statement sent soon, because it has changed.
    pub const fn send_soon(&mut self) {
        self.has_news = true;
    }

    /// Sends the statement if it is due.
    pub fn tick(&mut self, statement: impl FnOnce() -> Vec<u8>, now: Instant) {
        let interval = if self.has_news { INTERVAL_MIN } else { INTERVAL };
        if self.interfaces.is_empty() || self.sent_at.is_some_and(|at| now.duration_since(at) < interval) {
            return;
        }
        (self.sent_at, self.has_news) = (Some(now), false);
        let packet = packet(&self.our_id, &statement());
        let socket = SockRef::from(&self.socket);
        for address in &self.interfaces {
            let sent = socket.set_multicast_if_v4(address);
            let sent = sent.and_then(|()| socket.send_to(&packet, &SocketAddrV4::new(GROUP, PORT).into()));
            if let Err(error) = sent {
                debug!("mDNS not sent at {address}: {error}");
            }
        }
    }

    /// Waits for a statement for this node's peer id, perhaps its own. Forever without a socket.
    pub async fn next_statement(lan: &mut Option<Self>) -> Vec<u8> {
        let mut buffer = [0; PACKET_LEN_MAX];
        loop {
            let Some(Self { socket, our_id, judged, .. }) = lan else { return std::future::pending().await };
            match socket.recv(&mut buffer).await {
                Ok(len) => {
                    let statement = buffer.get(..len).and_then(|received| statement_in(received, our_id));
                    if let Some(statement) = statement.filter(|_| judged.take(Instant::now())) {
                        return statement.to_vec();
                    }
                }
                Err(error) => {
                    warn!("mDNS no longer received, another node with this identity may go unnoticed: {error}");
                    *lan = None;
                }
            }
        }
    }
}

/// Returns the address by which a local network is joined.
fn interface(listening: &Multiaddr) -> Option<Ipv4Addr> {
    match ip_of(listening)? {
        std::net::IpAddr::V4(address) if !address.is_loopback() && !address.is_unspecified() => Some(address),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_packets_for_this_peer_id_are_read() {
        let (our_id, statement) = (PeerId::random(), vec![9; STATEMENT_LEN]);
        let sent = packet(&our_id, &statement);
        assert!(sent.len() < PACKET_LEN_MAX);
        assert_eq!(statement_in(&sent, &our_id), Some(&statement[..]));
        assert_eq!(statement_in(&sent, &PeerId::random()), None);
        for index in 0..sent.len() - STATEMENT_LEN {
            let mut changed = sent.clone();
            changed[index] ^= 1;
            assert_eq!(statement_in(&changed, &our_id), None, "byte {index}");
        }
        for len in 0..sent.len() {
            assert_eq!(statement_in(&sent[..len], &our_id), None);
        }
    }

    #[test]
    fn local_networks_are_joined_by_ipv4_addresses_of_this_machine() {
        let at = |text: &str| interface(&text.parse().unwrap());
        assert_eq!(at("/ip4/192.168.1.7/tcp/9171"), Some(Ipv4Addr::new(192, 168, 1, 7)));
        for other in ["/ip4/127.0.0.1/tcp/9171", "/ip4/0.0.0.0/tcp/9171", "/ip6/fe80::1/tcp/9171", "/dns4/a/tcp/1"] {
            assert_eq!(at(other), None, "{other}");
        }
    }
}
