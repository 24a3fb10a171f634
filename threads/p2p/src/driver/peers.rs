//! Connections, misbehaviour and bans.

use std::sync::Arc;
use std::time::Instant;

use libp2p::core::ConnectedPoint;
use libp2p::swarm::{ConnectionId, ListenError};
use libp2p::{identify, ping, PeerId};
use log::{debug, log, warn, Level};
use p2pool_core::node::Event;
use p2pool_core::status::{Direction, Route};
use p2pool_core::wire::Misbehaviour;

use super::SwarmDriver;
use crate::address::without_peer_id;
use crate::connection_gater::Refusal;
use crate::dialer::Purpose;
use crate::origin::Origin;
use crate::peers::{OverLimit, Peer};
use crate::rate_limits::Action;

/// What a peer does beyond its rate limits is one misbehaviour a second, and one for so many.
const OVER_LIMIT_STEP: u32 = 100;

impl SwarmDriver {
    /// Handles a new connection. If the peer was connected, it replaces the old one, which is being closed: the peer may
    /// have been started again, so nothing of the old connection remains.
    pub(super) fn on_connected(&mut self, id: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        let (time, now) = (self.time(), Instant::now());
        // Addresses that were dialled end in the peer id.
        let address = without_peer_id(match endpoint {
            ConnectedPoint::Listener { local_addr, .. } if endpoint.is_relayed() => local_addr,
            _ => endpoint.get_remote_address(),
        });
        let direction = if endpoint.is_dialer() { Direction::Outbound } else { Direction::Inbound };
        let route = self.route_of(&id, connection, endpoint);
        let is_dial = self.dials.remove(&connection);
        // The dialer could not use the other routes again.
        match (route, direction) {
            (Route::Direct, Direction::Outbound) => {
                self.dialer.outbound_connected(id, &address, now, time);
                if is_dial && self.dialer.purpose(&id) == Purpose::Feeler && self.peers.get(&id).is_none() {
                    debug!("peer {id} can be reached: {address}");
                    self.dialer.feeler_ended(&id);
                    return self.disconnect(id);
                }
            }
            (Route::Direct, Direction::Inbound) => self.dialer.inbound_connected(&id, now, time),
            (Route::Relayed | Route::Punched, _) if is_dial => self.dialer.dial_ended(&id, now),
            (Route::Relayed | Route::Punched, _) => {}
        }
        let replaced = self.remove_peer(&id);
        if let Some(old) = &replaced {
            self.metrics.peer_connections_replaced.inc();
            debug!("peer {id} connected again: its connection from {} is replaced", old.address);
        }
        let origin = Origin::of(endpoint, &self.tor);
        let mut peer = Peer::new(id, connection, &address, origin, direction, time, now);
        peer.route = route;
        if let Some(old) = replaced.filter(|old| old.direction == direction) {
            peer.keep_slot_of(&old);
        }
        let handle = self.peers.add(id, peer);
        debug!("peer {id} connected: {address}, {direction:?}, {route:?}, handle {handle}");
        if route == Route::Direct {
            self.on_direct(id, endpoint, now);
        }
        self.outbox.send(Event::PeerConnected { peer: handle });
        self.send_statement(&id);
        self.status_changed = true;
        self.evict(now);
    }

    /// Removes a peer and all that is in flight on its connection.
    fn remove_peer(&mut self, id: &PeerId) -> Option<Peer> {
        self.end_requests_of(id);
        self.reach_disconnected(id);
        let peer = self.peers.remove(id)?;
        self.outbox.send(Event::PeerDisconnected { peer: peer.handle });
        Some(peer)
    }

    /// Handles the end of a peer's connection.
    pub(super) fn on_disconnected(&mut self, id: &PeerId) {
        if self.dialer.disconnected(id, Instant::now()) {
            warn!("bootnode {id} closed the connection, retrying: it may have banned this node, or have no slot");
        }
        if let Some(peer) = self.remove_peer(id) {
            debug!("peer {id} disconnected: {}", peer.address);
            if self.peers.len() == 0 && std::mem::take(&mut self.has_joined) {
                log!(self.full_slots.level(), "last peer disconnected");
            }
        }
        self.status_changed = true;
    }

    pub(super) fn on_identify(&mut self, event: identify::Event) {
        match event {
            identify::Event::Received { peer_id, info, .. } if info.protocol_version != self.names.identify => {
                self.penalize(&peer_id, Misbehaviour::OtherChain);
            }
            identify::Event::Received { peer_id, info, .. } if self.may(&peer_id, Action::Identify) => {
                if let Some(peer) = self.peers.get_mut(&peer_id) {
                    peer.set_agent(&info.agent_version);
                    self.status_changed = true;
                    // A peer that refuses this node does so before it identifies itself.
                    if !std::mem::replace(&mut self.has_joined, true) {
                        log!(self.full_slots.level(), "connected to the network: {peer_id} at {}", peer.address);
                    }
                }
                self.on_identified(peer_id, &info);
            }
            identify::Event::Error { peer_id, error, .. } => debug!("identify failed for peer {peer_id}: {error}"),
            _ => {}
        }
    }

    pub(super) fn on_ping(&mut self, event: &ping::Event) {
        match &event.result {
            Ok(latency) => {
                if let Some(peer) = self.peers.get_mut(&event.peer) {
                    peer.latency = Some(*latency);
                    peer.latency_min = Some(peer.latency_min.map_or(*latency, |min| min.min(*latency)));
                }
            }
            // Another implementation; it is alive.
            Err(ping::Failure::Unsupported) => debug!("peer {} does not support ping", event.peer),
            // Any other failure: once a stream has failed, the next one fails in negotiation, which is not called a timeout.
            Err(error) => {
                debug!("ping failed for peer {}, closing the connection: {error}", event.peer);
                self.swarm.close_connection(event.connection);
            }
        }
    }

    /// Whether a peer may do something within its rate limits and those of its netgroup. It is penalised for exceeding its own.
    pub(super) fn may(&mut self, id: &PeerId, action: Action) -> bool {
        let taken = self.peers.take(id, action, Instant::now());
        if taken == Err(OverLimit::Peer) {
            self.penalize_excess(id);
        }
        taken.is_ok()
    }

    /// Penalises a peer for exceeding its own rate limits, if it is time for that.
    pub(super) fn penalize_excess(&mut self, id: &PeerId) {
        let is_penalised = |peer: &mut Peer| {
            peer.over_limit = peer.over_limit.wrapping_add(1);
            peer.rate_penalty.take(Instant::now()) || peer.over_limit.is_multiple_of(OVER_LIMIT_STEP)
        };
        if self.peers.get_mut(id).is_some_and(is_penalised) {
            self.penalize(id, Misbehaviour::TooManyRequests);
        }
    }

    /// Penalises a peer for not reading a response.
    pub(super) fn penalize_unread(&mut self, id: &PeerId) {
        if self.peers.get_mut(id).is_some_and(|peer| peer.unread_penalty.take(Instant::now())) {
            self.penalize(id, Misbehaviour::Unread);
        }
    }

    /// Adds to a peer's ban score. If that bans it, it is disconnected, as are other peers at the same address.
    pub(super) fn penalize(&mut self, id: &PeerId, misbehaviour: Misbehaviour) {
        if misbehaviour.ban_score() == 0 {
            return;
        }
        if self.added.contains(id) {
            return debug!("added peer {id} misbehaved, which is not held against it: {misbehaviour}");
        }
        let time = self.time();
        let (ip, address) = match self.peers.get(id) {
            Some(peer) => (peer.origin.ip, Arc::clone(&peer.address)),
            None => (None, "unknown address".into()),
        };
        let bans = &mut self.swarm.behaviour_mut().gater.bans;
        let is_banned = bans.penalize(*id, ip, misbehaviour, time);
        self.metrics.peer_misbehaviours.inc();
        if !is_banned {
            let score = bans.score(*id, time);
            return debug!("peer {id} at {address} misbehaved: {misbehaviour} (ban score {score})");
        }
        self.metrics.peer_bans.inc();
        // Peer ids cost nothing, and through Tor no address is banned with them.
        let level = if self.bans_logged.take(Instant::now()) { Level::Warn } else { Level::Debug };
        log!(level, "peer {id} at {address} banned for 24 h: {misbehaviour}");
        self.disconnect_banned();
        self.status_changed = true;
    }

    pub(super) fn disconnect_banned(&mut self) {
        let time = self.time();
        let gater = &self.swarm.behaviour().gater;
        let is_banned_at = |ip| gater.bans.is_banned_at(ip, time);
        let banned =
            self.peers.iter().filter(|(id, peer)| gater.is_banned(id) || peer.origin.ip.is_some_and(is_banned_at));
        let banned: Vec<PeerId> = banned.map(|(id, _)| *id).filter(|id| !self.added.contains(id)).collect();
        for id in banned {
            self.dialer.forget(&id);
            self.swarm.behaviour_mut().peers.inner.dht.remove(&id);
            self.disconnect(id);
        }
    }

    /// Counts an inbound connection that failed if it was refused.
    pub(super) fn count_refusal(&self, error: &ListenError) {
        let ListenError::Denied { cause } = error else { return };
        let counters = &self.metrics.connections_refused;
        let counter = match cause.downcast_ref::<Refusal>() {
            Some(Refusal::Banned) => &counters.banned,
            Some(Refusal::Graylisted) => &counters.graylisted,
            Some(Refusal::NetgroupFull) => &counters.netgroup_full,
            Some(Refusal::TooFrequent) => &counters.too_frequent,
            // The limits of the swarm.
            None => &counters.full,
        };
        counter.inc();
    }

    pub(super) fn disconnect(&mut self, id: PeerId) {
        // An error means that it has disconnected already.
        let _ = self.swarm.disconnect_peer_id(id);
    }
}
