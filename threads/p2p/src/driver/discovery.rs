//! Finding others and being found.

use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::DialError;
use libp2p::{identify, mdns, Multiaddr, PeerId};
use log::{debug, warn};
use p2pool_core::status::Direction;
use std::net::IpAddr;
use std::time::Instant;

use super::Node;
use crate::address::{ip_of, is_plain, may_advertise, split_peer_id, without_peer_id};
use crate::dht::ADDRESSES_PER_PEER_MAX;

/// Addresses of ours that we tell others, beside those we listen on.
const EXTERNAL_MAX: usize = 4;

impl Node {
    pub(super) fn dial(&mut self, now: Instant) {
        let peers = &self.peers;
        for (id, addresses) in self.dialer.due(now, peers.outbound(), |id| peers.get(id).is_some()) {
            let opts = DialOpts::peer_id(id).condition(PeerCondition::DisconnectedAndNotDialing).addresses(addresses);
            if let Err(error) = self.swarm.dial(opts.build()) {
                self.on_dial_failed(Some(id), &error);
            }
        }
    }

    pub(super) fn on_dial_failed(&mut self, peer: Option<PeerId>, error: &DialError) {
        let Some(peer) = peer else { return };
        debug!("{peer} cannot be reached: {error}");
        if matches!(error, DialError::LocalPeerId { .. }) {
            return self.dialer.forget(&peer);
        }
        if !self.dialer.failed(&peer, Instant::now()) {
            return;
        }
        if self.swarm.behaviour().door.is_banned(&peer) {
            warn!("bootnode {peer} is banned, for it broke the rules; it is tried again when the ban is over");
        } else {
            warn!(
                "bootnode {peer} cannot be reached, or is on another chain; it is tried again and again: {}",
                brief(error)
            );
        }
    }

    /// Identify brought a peer's addresses and protocols, and ours as it sees us.
    pub(super) fn on_identified(&mut self, id: PeerId, info: &identify::Info) {
        let Some((ip, direction)) = self.peers.get(&id).map(|peer| (peer.ip, peer.direction)) else { return };
        let addresses: Vec<Multiaddr> = info
            .listen_addrs
            .iter()
            .filter(|address| is_plain(address) && may_advertise(ip, address))
            .filter_map(|address| match split_peer_id(address.clone()) {
                // Some add their id, which had better be theirs.
                Some((claimed, address)) => (claimed == id).then_some(address),
                None => Some(address.clone()),
            })
            .take(ADDRESSES_PER_PEER_MAX)
            .collect();
        let is_server = info.protocols.contains(&self.names.dht);
        self.swarm.behaviour_mut().dht.set_addresses(id, if is_server { &addresses } else { &[] });
        self.dialer.learn(id, addresses, Instant::now(), self.time());
        self.consider_external(&info.observed_addr, direction);
    }

    /// A peer told where it sees us. Strangers who dialled us may say what they like; whom we dialled we chose, and an
    /// address of our own interface needs nobody's word. With an address that others can reach the DHT answers others'
    /// questions and is told of to them.
    fn consider_external(&mut self, observed: &Multiaddr, direction: Direction) {
        let Some(address) = external(observed, &self.listening, self.dht_server, direction) else { return };
        if self.swarm.external_addresses().count() >= EXTERNAL_MAX {
            return;
        }
        if !self.swarm.external_addresses().any(|known| *known == address) {
            debug!("others can reach this node at {address}");
            self.swarm.add_external_address(address);
        }
    }

    /// All libp2p programs of a local network answer to one name. Nodes of other chains and other programs fail the
    /// handshake, which holds the chain's id, and are left alone for longer after each try.
    pub(super) fn on_mdns(&mut self, event: mdns::Event) {
        let mdns::Event::Discovered(found) = event else { return };
        for (peer, address) in found {
            if ip_of(&address).is_some() {
                self.dialer.found_nearby(peer, without_peer_id(&address), Instant::now());
            }
        }
    }
}

/// Where others can reach us, as a peer sees us at `observed`.
fn external(
    observed: &Multiaddr,
    listening: &[Multiaddr],
    dht_server: bool,
    direction: Direction,
) -> Option<Multiaddr> {
    let ip = ip_of(observed)?;
    let is_interface = listening.iter().any(|address| ip_of(address) == Some(ip));
    let is_believed = dht_server && direction == Direction::Outbound;
    if !is_interface && !is_believed {
        return None;
    }
    Some(Multiaddr::from(ip).with(Protocol::Tcp(listen_port(ip, listening)?)))
}

/// The port we listen on for addresses of this kind.
fn listen_port(ip: IpAddr, listening: &[Multiaddr]) -> Option<u16> {
    listening.iter().find_map(|address| {
        let mut parts = address.iter();
        match (parts.next()?, parts.next()?) {
            (Protocol::Ip4(_), Protocol::Tcp(port)) if ip.is_ipv4() => Some(port),
            (Protocol::Ip6(_), Protocol::Tcp(port)) if ip.is_ipv6() => Some(port),
            _ => None,
        }
    })
}

/// The first cause in one line; the library's own text has several.
fn brief(error: &DialError) -> String {
    match error {
        DialError::Transport(errors) => errors
            .first()
            .map(|(address, error)| format!("{address}: {error}"))
            .unwrap_or_else(|| "no address".to_owned()),
        other => other.to_string(),
    }
    .chars()
    .filter(|char| !char.is_control())
    .take(200)
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_are_where_we_listen_and_elsewhere_only_on_the_operators_word() {
        let at = |text: &str| text.parse::<Multiaddr>().unwrap();
        let listening = [at("/ip4/192.168.1.7/tcp/9171"), at("/ip4/127.0.0.1/tcp/9171")];
        // Seen from a port that we do not listen on, behind a router.
        let (inside, outside) = (at("/ip4/192.168.1.7/tcp/40000"), at("/ip4/9.9.9.9/tcp/50000"));
        let seen = |observed: &Multiaddr, dht_server, direction| external(observed, &listening, dht_server, direction);
        let (by_chosen, by_stranger) = (Direction::Outbound, Direction::Inbound);
        for (dht_server, direction) in [(false, by_stranger), (false, by_chosen), (true, by_stranger)] {
            assert_eq!(seen(&inside, dht_server, direction), Some(at("/ip4/192.168.1.7/tcp/9171")));
            assert_eq!(seen(&outside, dht_server, direction), None);
        }
        assert_eq!(seen(&outside, true, by_chosen), Some(at("/ip4/9.9.9.9/tcp/9171")));
        assert_eq!(seen(&at("/ip6/2001:db8::1/tcp/1"), true, by_chosen), None, "we do not listen on IPv6");
        assert_eq!(seen(&at("/dns4/example.org/tcp/1"), true, by_chosen), None);
    }
}
