//! Peer discovery: dialling, advertised addresses, the local network.

use std::net::IpAddr;
use std::time::Instant;

use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::DialError;
use libp2p::{identify, mdns, Multiaddr, PeerId};
use log::{debug, warn};
use p2pool_core::netgroup::is_own_network;
use p2pool_core::status::Direction;

use super::SwarmDriver;
use crate::address::{ip_of, is_onion, is_plain, is_relayed, may_advertise, split_peer_id, without_peer_id};
use crate::dht::{Heard, ADDRESSES_PER_PEER_MAX};
use crate::dialer::Purpose;
use crate::identity;

/// External addresses that this node advertises beside those it listens on.
pub(super) const EXTERNAL_MAX: usize = 4;
/// Characters of a dial error that are logged.
const REASON_LEN_MAX: usize = 200;

impl SwarmDriver {
    pub(super) fn dial(&mut self, now: Instant) {
        let peers = &self.peers;
        let is_connected = |id: &PeerId| peers.get(id).is_some();
        for (id, addresses) in self.dialer.due(now, peers.outbound(), identity::random, is_connected) {
            let opts = DialOpts::peer_id(id).condition(PeerCondition::DisconnectedAndNotDialing).addresses(addresses);
            let opts = opts.build();
            let connection = opts.connection_id();
            match self.swarm.dial(opts) {
                Ok(()) => drop(self.dials.insert(connection)),
                Err(error) => self.on_dial_failed(Some(id), &error),
            }
        }
    }

    pub(super) fn on_dial_failed(&mut self, peer: Option<PeerId>, error: &DialError) {
        let Some(peer) = peer else { return };
        debug!("dial of peer {peer} failed: {error}");
        // The peer has connected meanwhile, or another dial of it, perhaps by the DHT, is under way.
        // This node's own limits say nothing about the peer, unless it is banned.
        let is_own_limit = matches!(error, DialError::Denied { .. }) && !self.swarm.behaviour().gater.is_banned(&peer);
        if self.peers.get(&peer).is_some() || matches!(error, DialError::DialPeerConditionFalse(_)) {
            return self.dialer.dial_ended(&peer, Instant::now());
        }
        if is_own_limit {
            return self.dialer.dial_denied(&peer, Instant::now());
        }
        if matches!(error, DialError::LocalPeerId { .. }) {
            return self.dialer.forget(&peer);
        }
        if !self.dialer.dial_failed(&peer, Instant::now()) {
            return;
        }
        if self.swarm.behaviour().gater.is_banned(&peer) {
            warn!("bootnode {peer} is banned, retrying when the ban ends");
        } else {
            warn!("bootnode {peer} unreachable or on another chain, retrying: {}", reason(error));
        }
    }

    /// Takes the addresses and protocols that a peer advertises, and the address at which it sees this node.
    pub(super) fn on_identified(&mut self, id: PeerId, info: &identify::Info) {
        let Some((ip, direction)) = self.peers.get(&id).map(|peer| (peer.origin.ip, peer.direction)) else { return };
        let addresses: Vec<Multiaddr> = info
            .listen_addrs
            .iter()
            .filter(|address| is_onion(address) || is_plain(address) && may_advertise(ip, address))
            .filter_map(|address| match split_peer_id(address.clone()) {
                // Some implementations append the peer id, which must be the peer's own.
                Some((claimed, address)) => (claimed == id).then_some(address),
                None => Some(address.clone()),
            })
            .take(ADDRESSES_PER_PEER_MAX)
            .collect();
        let is_unlisted = direction == Direction::Outbound && self.dialer.purpose(&id) == Purpose::Unlisted;
        let is_listed = info.protocols.contains(&self.names.dht) && !is_unlisted;
        self.swarm.behaviour_mut().peers.inner.dht.set_addresses(id, if is_listed { &addresses } else { &[] });
        let dialled = addresses.into_iter().filter(|address| self.is_dialled(address)).collect();
        self.dialer.add_advertised(id, ip, dialled, Instant::now(), self.time());
        self.consider_external(&info.observed_addr, direction);
        self.on_identified_reach(id, info);
    }

    /// Remembers a node that the DHT has heard of.
    pub(super) fn on_heard(&mut self, heard: Heard) {
        if self.peers.get(&heard.peer).is_none() && !self.swarm.behaviour().gater.is_banned(&heard.peer) {
            let dialled = heard.addresses.into_iter().filter(|address| self.is_dialled(address)).collect();
            self.dialer.add_heard(heard.peer, dialled, Instant::now());
        }
    }

    /// Whether addresses of this kind are dialled: with a proxy, the operator may have chosen one kind.
    fn is_dialled(&self, address: &Multiaddr) -> bool {
        if is_onion(address) {
            self.dials_onion
        } else {
            self.dials_ip
        }
    }

    /// Advertises the address at which a peer sees this node, if it can be believed. With an external address this node
    /// serves the DHT.
    fn consider_external(&mut self, observed: &Multiaddr, direction: Direction) {
        if !self.reach.finds_out() {
            return;
        }
        let Some(address) = external(observed, &self.listening, self.is_dht_server, direction) else { return };
        if self.swarm.external_addresses().filter(|known| !is_relayed(known)).count() >= EXTERNAL_MAX {
            return;
        }
        if !self.swarm.external_addresses().any(|known| *known == address) {
            debug!("external address added: {address}");
            self.swarm.add_external_address(address);
        }
    }

    /// Adds peers on the local network. All libp2p programs respond to the same mDNS query; other programs and nodes of other
    /// chains fail the handshake, and the dialer backs off.
    pub(super) fn on_mdns(&mut self, event: mdns::Event) {
        let mdns::Event::Discovered(found) = event else { return };
        for (peer, address) in found {
            if ip_of(&address).is_some() {
                self.dialer.add_local(peer, without_peer_id(&address), Instant::now());
            }
        }
    }
}

/// Returns the address at which this node is reachable if a peer sees it at `observed`.
///
/// An address of an own interface on an own network needs no confirmation. A public one may be behind a firewall: `reach`
/// decides about it. Any other is believed only from peers that this node chose to dial, and only if the operator says that it
/// is reachable.
fn external(
    observed: &Multiaddr,
    listening: &[Multiaddr],
    is_dht_server: bool,
    direction: Direction,
) -> Option<Multiaddr> {
    let ip = ip_of(observed)?;
    let is_interface = is_own_network(ip) && listening.iter().any(|address| ip_of(address) == Some(ip));
    let is_believed = is_dht_server && direction == Direction::Outbound;
    if !is_interface && !is_believed {
        return None;
    }
    Some(Multiaddr::from(ip).with(Protocol::Tcp(listen_port(ip, listening)?)))
}

/// Returns the port that this node listens on for addresses of the same family.
pub(super) fn listen_port(ip: IpAddr, listening: &[Multiaddr]) -> Option<u16> {
    listening.iter().find_map(|address| {
        let mut parts = address.iter();
        match (parts.next()?, parts.next()?) {
            (Protocol::Ip4(_), Protocol::Tcp(port)) if ip.is_ipv4() => Some(port),
            (Protocol::Ip6(_), Protocol::Tcp(port)) if ip.is_ipv6() => Some(port),
            _ => None,
        }
    })
}

/// Returns the first cause of a dial error in one line; the library's own text has several.
fn reason(error: &DialError) -> String {
    let text = match error {
        DialError::Transport(errors) => match errors.first() {
            Some((address, error)) => format!("{address}: {error}"),
            None => "no address".to_owned(),
        },
        other => other.to_string(),
    };
    text.chars().filter(|char| !char.is_control()).take(REASON_LEN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_addresses_are_external_and_others_only_if_a_dialled_peer_confirms_them_to_a_dht_server() {
        let at = |text: &str| text.parse::<Multiaddr>().unwrap();
        let listening = [at("/ip4/192.168.1.7/tcp/9171"), at("/ip4/127.0.0.1/tcp/9171")];
        // The observed port is not the one that this node listens on, as behind a router.
        let (inside, outside) = (at("/ip4/192.168.1.7/tcp/40000"), at("/ip4/9.9.9.9/tcp/50000"));
        let seen =
            |observed: &Multiaddr, is_dht_server, direction| external(observed, &listening, is_dht_server, direction);
        for (is_dht_server, direction) in
            [(false, Direction::Inbound), (false, Direction::Outbound), (true, Direction::Inbound)]
        {
            assert_eq!(seen(&inside, is_dht_server, direction), Some(at("/ip4/192.168.1.7/tcp/9171")));
            assert_eq!(seen(&outside, is_dht_server, direction), None);
        }
        let by_outbound = |observed: &str| seen(&at(observed), true, Direction::Outbound);
        assert_eq!(by_outbound("/ip4/9.9.9.9/tcp/50000"), Some(at("/ip4/9.9.9.9/tcp/9171")));
        assert_eq!(by_outbound("/ip6/2001:db8::1/tcp/1"), None, "this node does not listen on IPv6");
        assert_eq!(by_outbound("/dns4/example.org/tcp/1"), None);
    }
}
