//! Comings and goings, standing and bans.

use libp2p::core::ConnectedPoint;
use libp2p::{identify, ping, PeerId};
use log::{debug, info, warn};
use p2pool_core::node::Event;
use p2pool_core::peer::PeerHandle;
use p2pool_core::status::Direction;
use p2pool_core::wire::Offence;
use std::sync::Arc;
use std::time::Instant;

use super::Node;
use crate::address::without_peer_id;
use crate::peers::Acts;

impl Node {
    pub(super) fn on_connected(&mut self, id: PeerId, endpoint: &ConnectedPoint, connections: u32) {
        let (time, now) = (self.time(), Instant::now());
        // Addresses that were dialled end in the peer's id.
        let address = without_peer_id(endpoint.get_remote_address());
        if endpoint.is_dialer() {
            self.dialer.reached(id, &address, now, time);
        } else {
            self.dialer.connected(&id, false, now, time);
        }
        if connections > 1 {
            return;
        }
        let direction = if endpoint.is_dialer() { Direction::Outbound } else { Direction::Inbound };
        let peer = self.peers.add(id, &address, direction, time, now);
        debug!("{id} at {} connected ({direction:?})", peer.address());
        let up = Event::PeerConnected { peer: peer.token };
        self.outbox.send(up);
        self.news = true;
    }

    pub(super) fn on_gone(&mut self, id: &PeerId) {
        self.questions_of_gone(id);
        if self.dialer.disconnected(id, Instant::now()) {
            warn!("bootnode {id} soon ended our connection: it may be full, or have banned us; it is tried again and again");
        }
        if let Some(peer) = self.peers.remove(id) {
            debug!("{id} at {} is gone", peer.address());
            self.outbox.send(Event::PeerDisconnected { peer: peer.token });
            if self.peers.len() == 0 && std::mem::take(&mut self.joined) {
                info!("no longer connected to any node");
            }
        }
        self.news = true;
    }

    pub(super) fn on_identify(&mut self, event: identify::Event) {
        match event {
            identify::Event::Received { peer_id, info, .. } if info.protocol_version != self.names.identify => {
                self.penalize(&peer_id, Offence::OtherChain);
            }
            identify::Event::Received { peer_id, .. } if !self.peers.take(&peer_id, Acts::Identify, Instant::now()) => {
                self.blame_for_rate(&peer_id);
            }
            identify::Event::Received { peer_id, info, .. } => {
                if let Some(peer) = self.peers.get_mut(&peer_id) {
                    peer.runs(&info.agent_version);
                    self.news = true;
                    // Who turns us away does so before it says what it is.
                    if !std::mem::replace(&mut self.joined, true) {
                        info!("connected to the network: {peer_id} at {}", peer.address());
                    }
                }
                self.on_identified(peer_id, &info);
            }
            identify::Event::Error { peer_id, error, .. } => debug!("{peer_id} does not say what it is: {error}"),
            _ => {}
        }
    }

    pub(super) fn on_ping(&mut self, event: &ping::Event) {
        match &event.result {
            Ok(latency) => {
                if let Some(peer) = self.peers.get_mut(&event.peer) {
                    peer.pinged(*latency);
                }
            }
            // Another program of the same chain; it is alive.
            Err(ping::Failure::Unsupported) => debug!("{} knows no ping", event.peer),
            // Of whatever kind: once a stream has failed the next one is not even agreed on, which is no timeout by name.
            Err(error) => {
                debug!("{} answers no ping: {error}", event.peer);
                self.swarm.close_connection(event.connection);
            }
        }
    }

    pub(super) fn penalize_token(&mut self, peer: PeerHandle, offence: Offence) {
        if let Some(id) = self.peers.id(peer) {
            self.penalize(&id, offence);
        }
    }

    /// Doing something too often is one offence a second at most.
    pub(super) fn blame_for_rate(&mut self, id: &PeerId) {
        if self.peers.get_mut(id).is_some_and(|peer| peer.allowances.blame.take(Instant::now())) {
            self.penalize(id, Offence::TooManyRequests);
        }
    }

    /// So are all answers that were left unread at the same time: a slow line has several under way.
    pub(super) fn blame_for_unread(&mut self, id: &PeerId) {
        if self.peers.get_mut(id).is_some_and(|peer| peer.allowances.unread.take(Instant::now())) {
            self.penalize(id, Offence::Unread);
        }
    }

    /// Notes an offence; enough of them and the peer is shown the door, and its neighbours at the same address with it.
    pub(super) fn penalize(&mut self, id: &PeerId, offence: Offence) {
        if offence.points() == 0 {
            return;
        }
        let time = self.time();
        let ip = self.peers.get(id).and_then(|peer| peer.ip);
        let place = self.peers.get(id).map_or_else(|| "?".into(), |peer| Arc::clone(peer.address()));
        let behaviour = self.swarm.behaviour_mut();
        let banned = behaviour.door.bans.penalize(*id, ip, offence, time);
        let points = behaviour.door.bans.points(*id, time);
        self.metrics.peer_misbehaviours.inc();
        if !banned {
            debug!("peer {id} at {place} {offence}: {points} points");
            return;
        }
        self.metrics.peer_bans.inc();
        warn!("peer {id} at {place} {offence}: banned for a day");
        self.show_out_the_banned(id);
        self.news = true;
    }

    fn show_out_the_banned(&mut self, culprit: &PeerId) {
        let time = self.time();
        let behaviour = self.swarm.behaviour_mut();
        let bans = &behaviour.door.bans;
        let out: Vec<PeerId> = self
            .peers
            .iter_mut()
            .filter(|(id, peer)| *id == culprit || peer.ip.is_some_and(|ip| bans.is_banned_at(ip, time)))
            .map(|(id, _)| *id)
            .collect();
        for id in out {
            self.dialer.forget(&id);
            self.swarm.behaviour_mut().dht.forget(&id);
            // An error says that it is gone already.
            let _ = self.swarm.disconnect_peer_id(id);
        }
    }

    /// Newcomers may come in even when all places are taken, and leave again when they have learned of others.
    pub(super) fn end_visits(&mut self, now: Instant) {
        for id in self.peers.overstaying(self.places, now) {
            debug!("{id} has visited us for long enough");
            // An error says that it is gone already.
            let _ = self.swarm.disconnect_peer_id(id);
        }
    }
}
