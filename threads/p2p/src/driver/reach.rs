//! Acts on what is known of this node's reachability: announces addresses, reserves relays, dials peers through them.

use std::time::Instant;

use libp2p::autonat::{self, NatStatus, OutboundProbeEvent};
use libp2p::core::transport::ListenerId;
use libp2p::core::ConnectedPoint;
use libp2p::multiaddr::Protocol;
use libp2p::request_response::{self, Message};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::ConnectionId;
use libp2p::{identify, relay, upnp, Multiaddr, PeerId};
use log::{debug, info};
use p2pool_core::status::{Direction, ReachStatus, Reachability, Route};

use super::discovery::{listen_port, EXTERNAL_MAX};
use super::SwarmDriver;
use crate::address::{ip_of, is_plain, is_relayed, is_unreachable, without_peer_id};
use crate::identity;
use crate::rate_limits::Action;
use crate::reach::ReachEvent;
use crate::reachability::{circuit, RelayCandidate, NAMED_WANTED};

/// Addresses that a relay gives this node: those at which the relay is reachable.
const ADDRESSES_PER_RELAY_MAX: u32 = 16;

impl SwarmDriver {
    /// Returns how a new connection was made, before it replaces another of the same peer.
    pub(super) fn route_of(&self, id: &PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) -> Route {
        let was_relayed = self.peers.get(id).is_some_and(|peer| peer.route != Route::Direct);
        if endpoint.is_relayed() {
            Route::Relayed
        } else if was_relayed || self.swarm.behaviour().reach.punch.inner.has_dialled(connection) {
            Route::Punched
        } else {
            Route::Direct
        }
    }

    /// Takes note of a new direct connection: it may test this node, or show that this node is reachable.
    pub(super) fn on_direct(&mut self, id: PeerId, endpoint: &ConnectedPoint, now: Instant) {
        match endpoint {
            _ if !self.reach.finds_out() => {}
            ConnectedPoint::Dialer { .. } => {
                self.swarm.behaviour_mut().reach.tests.inner.add_server(id, None);
            }
            ConnectedPoint::Listener { local_addr, send_back_addr } => {
                let is_public = |address| ip_of(address).is_some_and(|ip| !is_unreachable(ip));
                if is_public(local_addr) && is_public(send_back_addr) {
                    self.reach.inbound(now);
                    self.announce(local_addr.clone());
                }
            }
        }
    }

    /// Forgets what was agreed on a connection that has ended.
    pub(super) fn reach_disconnected(&mut self, id: &PeerId) {
        self.reach.disconnected(id);
        self.swarm.behaviour_mut().reach.tests.inner.remove_server(id);
    }

    /// Takes what a peer says about relaying, and the address at which a peer that this node dialled sees it: the candidate
    /// for holes.
    pub(super) fn on_identified_reach(&mut self, id: PeerId, info: &identify::Info) {
        self.reach.set_offer(id, info.protocols.contains(&relay::HOP_PROTOCOL_NAME));
        let is_chosen =
            |peer: &crate::peers::Peer| peer.direction == Direction::Outbound && peer.route == Route::Direct;
        if self.peers.get(&id).is_some_and(is_chosen) && is_plain(&info.observed_addr) {
            let observed = without_peer_id(&info.observed_addr);
            let Some(ip) = ip_of(&observed).filter(|ip| !is_unreachable(*ip)) else { return };
            self.reach.observed(id, ip);
            // The first connections may be dialled before this node listens, from another port than holes are made from.
            let kept = listen_port(ip, &self.listening).map(|port| Multiaddr::from(ip).with(Protocol::Tcp(port)));
            let punch = &mut self.swarm.behaviour_mut().reach.punch.inner;
            punch.add_candidate(&observed);
            if let Some(kept) = kept.filter(|kept| *kept != observed) {
                punch.add_candidate(&kept);
            }
        }
    }

    pub(super) fn on_reach(&mut self, event: ReachEvent) {
        match event {
            ReachEvent::Tests(event) => self.on_test(event),
            ReachEvent::Upnp(event) => self.on_upnp(event),
            ReachEvent::Relay(relay::Event::ReservationReqAccepted { src_peer_id, .. }) => {
                debug!("relaying for peer {src_peer_id}");
                if self.peers.get(&src_peer_id).is_some() {
                    self.reach.relay_for(src_peer_id);
                }
            }
            ReachEvent::Relay(event) => debug!("relay: {event:?}"),
            ReachEvent::RelayClient(event) => debug!("relay client: {event:?}"),
            ReachEvent::Punch(event) => match event.result {
                Ok(_) => debug!("hole to peer {} made", event.remote_peer_id),
                Err(error) => debug!("no hole to peer {}, it stays relayed: {error}", event.remote_peer_id),
            },
        }
    }

    fn on_test(&mut self, event: autonat::Event) {
        let peers = &mut self.swarm.behaviour_mut().peers;
        match event {
            autonat::Event::OutboundProbe(OutboundProbeEvent::Request { peer, .. }) => {
                peers.expect_test(peer, Instant::now());
            }
            autonat::Event::OutboundProbe(event) => {
                debug!("test of reachability: {event:?}");
                peers.end_test(matches!(event, OutboundProbeEvent::Response { .. }));
                if let OutboundProbeEvent::Response { address, peer, .. } = event {
                    if ip_of(&address).is_some_and(|ip| self.reach.is_confirmed(&peer, ip)) {
                        self.announce(without_peer_id(&address));
                    }
                }
                let status = self.swarm.behaviour().reach.tests.inner.nat_status();
                self.reach.tested(match status {
                    NatStatus::Public(_) => Some(true),
                    NatStatus::Private => Some(false),
                    NatStatus::Unknown => None,
                });
            }
            event => debug!("test of reachability: {event:?}"),
        }
    }

    fn on_upnp(&mut self, event: upnp::Event) {
        match event {
            upnp::Event::NewExternalAddr { external_addr, .. } => {
                info!("router forwards {external_addr} to this node (UPnP)");
                self.reach.is_mapped = true;
                // The address is announced when a test has shown that it leads here.
                self.swarm.behaviour_mut().reach.tests.inner.probe_address(external_addr);
            }
            upnp::Event::ExpiredExternalAddr { external_addr, .. } => {
                info!("router no longer forwards {external_addr} to this node (UPnP)");
                self.reach.is_mapped = false;
            }
            upnp::Event::GatewayNotFound => debug!("no router with UPnP found"),
            upnp::Event::NonRoutableGateway => info!("router has no public address, UPnP does not help"),
        }
        self.status_changed = true;
    }

    /// Announces a public address that has shown to be reachable, if its port is one that this node listens on.
    fn announce(&mut self, address: Multiaddr) {
        let port = |address: &Multiaddr| {
            address.iter().find_map(|part| match part {
                Protocol::Tcp(port) => Some(port),
                _ => None,
            })
        };
        let is_public = ip_of(&address).is_some_and(|ip| !is_unreachable(ip));
        let is_ours = self.listening.iter().any(|listening| port(listening) == port(&address));
        if !is_plain(&address) || !is_public || !is_ours || self.reach.announced.contains(&address) {
            return;
        }
        // Those of interfaces, and of each family one of the router: addresses of home lines change.
        let is_interface = |address: &Multiaddr| self.listening.iter().any(|other| ip_of(other) == ip_of(address));
        if !is_interface(&address) {
            let family = |address: &Multiaddr| ip_of(address).map(|ip| ip.is_ipv4());
            let is_old = |other: &mut Multiaddr| !is_interface(other) && family(other) == family(&address);
            let old: Vec<Multiaddr> = self.reach.announced.extract_if(.., is_old).collect();
            for old in old {
                self.swarm.remove_external_address(&old);
            }
        }
        if self.reach.announced.len() >= EXTERNAL_MAX {
            return;
        }
        info!("reachable at {address}");
        self.swarm.add_external_address(address.clone());
        self.reach.announced.push(address);
        self.status_changed = true;
    }

    /// Notes that an interface has lost its address.
    pub(super) fn unannounce(&mut self, listening: &Multiaddr) {
        let is_gone = |address: &mut Multiaddr| ip_of(address) == ip_of(listening);
        let gone: Vec<Multiaddr> = self.reach.announced.extract_if(.., is_gone).collect();
        for address in gone {
            self.swarm.remove_external_address(&address);
        }
    }

    /// Notes an address of this node through a relay.
    pub(super) fn on_relayed_address(&mut self, listener: ListenerId, address: &Multiaddr) {
        self.status_changed = true;
        match self.reach.relay_agreed(listener) {
            Some((_, 1)) => info!("reachable through a relay: {address}"),
            Some((relay, count)) if count > ADDRESSES_PER_RELAY_MAX => {
                debug!("relay {relay} gives addresses without end");
                self.disconnect(relay);
            }
            _ => debug!("another address through a relay: {address}"),
        }
    }

    /// Notes that a listener has ended. Returns whether it was one through a relay.
    pub(super) fn on_relay_ended(&mut self, listener: ListenerId) -> bool {
        self.status_changed = true;
        self.reach.relay_ended(listener)
    }

    /// Reports changes, reserves relays and looks for peers behind them.
    pub(super) fn check_reach(&mut self, now: Instant) {
        self.swarm.behaviour_mut().peers.close_unused(now);
        if let Some(reachability) = self.reach.take_changed(now) {
            self.on_reachability(reachability);
        }
        let candidates = self.peers.iter().filter(|(id, peer)| {
            peer.direction == Direction::Outbound && peer.route == Route::Direct && self.reach.offers(id)
        });
        let candidates = candidates.filter_map(|(id, peer)| {
            let (address, netgroup) = (peer.address.parse().ok()?, peer.origin.netgroup);
            Some(RelayCandidate { id: *id, address, netgroup })
        });
        for relay in self.reach.wanted_relays(candidates.collect(), now) {
            let listening = self.swarm.listen_on(circuit(&relay.address, &relay.id));
            let listener = listening.inspect_err(|error| debug!("relay {} not asked: {error}", relay.id)).ok();
            self.reach.relay_asked(relay, listener, now);
        }
        if let Some(relay) = self.reach.names_due(self.named(), now) {
            self.swarm.behaviour_mut().peers.inner.relayed.send_request(&relay, Vec::new());
        }
    }

    /// Number of peers that are connected because a relay named them, or this node to them.
    fn named(&self) -> usize {
        self.peers.iter().filter(|(_, peer)| peer.route != Route::Direct).count()
    }

    fn on_reachability(&mut self, reachability: Reachability) {
        let is_reachable = reachability == Reachability::Reachable;
        let status =
            if is_reachable && self.reach.finds_out() { relay::Status::Enable } else { relay::Status::Disable };
        self.swarm.behaviour_mut().reach.relay.set_status(Some(status));
        self.status_changed = true;
        if is_reachable || reachability == Reachability::Unknown {
            return;
        }
        for address in std::mem::take(&mut self.reach.announced) {
            self.swarm.remove_external_address(&address);
        }
        if reachability == Reachability::OutboundOnly && self.reach.finds_out() {
            let port = self.reach_status(Instant::now()).port;
            info!("not reachable from the Internet: forward TCP port {port} of the router to this machine");
        }
    }

    pub(super) fn on_relayed_event(&mut self, event: request_response::Event<Vec<u8>, Vec<u8>>) {
        let request_response::Event::Message { peer, message, .. } = event else {
            return log::trace!("relayed: {event:?}");
        };
        match message {
            Message::Request { channel, .. } => {
                if !self.may(&peer, Action::Identify) {
                    return;
                }
                let [random, ..] = identity::random().map(u64::from);
                let names = self.reach.names_for(&peer, random);
                // Fails if the peer has disconnected.
                let _ = self.swarm.behaviour_mut().peers.inner.relayed.send_response(channel, names);
            }
            Message::Response { response, .. } => self.dial_named(&peer, &response),
        }
    }

    /// Dials peers that a relay has named, through it.
    fn dial_named(&mut self, relay: &PeerId, response: &[u8]) {
        let our_id = *self.swarm.local_peer_id();
        let missing = NAMED_WANTED.saturating_sub(self.named());
        let named = self.reach.named(relay, response).into_iter();
        let new: Vec<(PeerId, Multiaddr)> =
            named.filter(|(id, _)| *id != our_id && self.peers.get(id).is_none()).take(missing).collect();
        for (id, address) in new {
            debug!("dialling peer {id} through relay {relay}");
            let opts = DialOpts::peer_id(id).condition(PeerCondition::DisconnectedAndNotDialing);
            if let Err(error) = self.swarm.dial(opts.addresses(vec![address]).build()) {
                debug!("peer {id} not dialled through relay {relay}: {error}");
            }
        }
    }

    pub(super) fn reach_status(&self, now: Instant) -> ReachStatus {
        let port = self.listening.iter().find_map(|address| {
            address.iter().find_map(|part| match part {
                Protocol::Tcp(port) => Some(port),
                _ => None,
            })
        });
        ReachStatus {
            reachability: self.reach.reachability(now),
            port: port.unwrap_or_default(),
            has_proxy: self.has_proxy,
            addresses: self
                .swarm
                .external_addresses()
                .filter(|address| !is_relayed(address) && !ip_of(address).is_some_and(is_unreachable))
                .map(ToString::to_string)
                .collect(),
            is_mapped: self.reach.is_mapped,
            relays: self.reach.relays(),
            relayed_for: self.reach.relayed_for(),
        }
    }

    pub(super) fn count_reach(&self, now: Instant) {
        let with = |route| self.peers.iter().filter(|(_, peer)| peer.route == route).count() as i64;
        self.metrics.reachable.set((self.reach.reachability(now) == Reachability::Reachable).into());
        self.metrics.relays.set(self.reach.relays() as i64);
        self.metrics.relayed_for.set(self.reach.relayed_for() as i64);
        self.metrics.peers_relayed.set(with(Route::Relayed));
        self.metrics.peers_punched.set(with(Route::Punched));
    }
}
