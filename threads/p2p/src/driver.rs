//! The driver of the swarm: acts on events of the swarm and on commands of the chain thread.

mod added;
mod discovery;
mod gossip;
mod identity;
mod open;
mod orders;
mod pacing;
mod peers;
mod reach;
mod request_slots;
mod requests;
pub mod slots;
mod subscriptions;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use libp2p::swarm::{ConnectionId, SwarmEvent};
use libp2p::{Multiaddr, Swarm};
use log::{debug, error};
use p2pool_channels::ToNetwork;
use p2pool_core::metrics::Metrics;
use p2pool_core::node::NetworkCommand;
use p2pool_core::status::{DuplicateIdentity, PeerDiscovery, PeersStatus};
use p2pool_core::token_bucket::TokenBucket;
use p2pool_core::units::UnixTime;

use crate::added_peers::AddedPeers;
use crate::address::{ip_of, is_relayed};
use crate::behaviour::{Behaviour, BehaviourEvent, ProtocolsEvent};
use crate::buckets::Key;
use crate::connection_gater::Clock;
use crate::dht::DhtEvent;
use crate::dialer::Dialer;
use crate::instance::{OwnInstance, Statements};
use crate::lan::Lan;
use crate::muxer;
use crate::names::Names;
use crate::origin::TorAddresses;
use crate::outbox::Outbox;
use crate::peers::{InboundSlots, Peers};
use crate::reach::default_ip;
use crate::reachability::ReachState;
use crate::state_file::StateFile;

use gossip::PendingVerdicts;
pub use open::Tuning;
#[cfg(test)]
pub use open::{BANS_FILE, PEERS_FILE};
#[cfg(test)]
pub use requests::OUTBOUND_PER_PEER_MAX;
use requests::{Protocol, Requests};
use slots::FullSlots;
use subscriptions::Reconnects;

/// Shortest time between two writes of the known peers. New anchors are written at once.
const SAVE_INTERVAL: Duration = Duration::from_secs(30);
/// Shortest time between two writes of the bans, except those by the operator. Strangers can cause one each second, and the file
/// may have 100 KB.
const BANS_SAVE_INTERVAL: Duration = Duration::from_secs(30);
/// Longest time between two published statuses.
const PUBLISH_INTERVAL: Duration = Duration::from_secs(2);

/// The swarm and all state around it. The network thread feeds it with events.
pub struct SwarmDriver {
    /// Its next event is to be awaited.
    pub swarm: Swarm<Behaviour>,
    names: Names,
    clock: Clock,
    /// The events that wait for room in the chain thread's inbox.
    pub outbox: Outbox,
    peers: Peers,
    slots: InboundSlots,
    eviction_key: Key,
    /// Counts the unread bytes of connections.
    muxer: muxer::Config,
    full_slots: FullSlots,
    /// Bounds the warnings of bans.
    bans_logged: TokenBucket<Instant>,
    dialer: Dialer,
    /// Dials that the dialer decided on and that are under way. Others say nothing about its peers.
    dials: HashSet<ConnectionId>,
    /// Dials for the operator that are under way.
    ordered: HashMap<ConnectionId, Multiaddr>,
    pending_verdicts: PendingVerdicts,
    requests: Requests,
    reconnects: Reconnects,
    instance: OwnInstance,
    statements: Statements,
    /// The local network; `None` if mDNS is off or not available. Its next statement is to be awaited.
    pub lan: Option<Lan>,
    identity_file: PathBuf,
    /// Another running node has this node's identity.
    duplicate: Option<DuplicateIdentity>,
    /// The operator says that this node is reachable from the Internet.
    is_dht_server: bool,
    listening: Vec<Multiaddr>,
    reach: ReachState,
    added: AddedPeers,
    /// Peers are dialled through a proxy.
    has_proxy: bool,
    /// Peers at hidden services are dialled.
    dials_onion: bool,
    /// Peers at IP addresses are dialled.
    dials_ip: bool,
    tor: TorAddresses,
    bans_file: StateFile,
    peers_file: StateFile,
    saved_at: Instant,
    metrics: Arc<Metrics>,
    /// A peer has identified itself, and the log says so.
    has_joined: bool,
    /// The published status.
    pub status: Arc<ArcSwap<PeersStatus>>,
    status_changed: bool,
    published_at: Instant,
}

impl SwarmDriver {
    /// Handles a message of the inbox.
    pub fn on_message(&mut self, message: ToNetwork) {
        // A stop arrives by another channel, see `thread`.
        let ToNetwork::Command(command) = message else { return };
        match command {
            NetworkCommand::Announce(share) => self.announce_share(share),
            NetworkCommand::AnnounceBlock(block) => self.announce_block(&block),
            NetworkCommand::Verdict { gossip, verdict } => self.on_verdict(gossip, verdict),
            NetworkCommand::Penalize { peer, misbehaviour } => {
                if let Some(id) = self.peers.id(peer) {
                    self.penalize(&id, misbehaviour);
                }
            }
            NetworkCommand::Request { peer, id, request } => self.send_request(peer, id, request),
            NetworkCommand::Respond { to, response } => self.send_response(to, response),
        }
    }

    /// Handles an event of the swarm.
    pub fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, .. }
                if self.swarm.behaviour().peers.is_unused(connection_id) =>
            {
                if self.swarm.behaviour().peers.is_turned_away(connection_id) {
                    self.metrics.connections_refused.full.inc();
                }
                debug!("test of reachability with {peer_id}, or it is turned away: inbound slots full");
            }
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.added.connected(peer_id, connection_id, Instant::now());
                self.ordered_ended(connection_id, Ok(peer_id));
                self.on_connected(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                debug!("connection to {peer_id} closed: {cause:?}");
                self.added_ended(connection_id, &"connection closed");
                // Others have been replaced.
                if self.peers.get(&peer_id).is_some_and(|peer| peer.connection == connection_id) {
                    self.on_disconnected(&peer_id);
                }
            }
            SwarmEvent::OutgoingConnectionError { peer_id, connection_id, error } => {
                self.added_ended(connection_id, &error);
                self.ordered_ended(connection_id, Err(&error));
                if self.dials.remove(&connection_id) {
                    self.on_dial_failed(peer_id, &error);
                }
            }
            SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => {
                self.count_refusal(&error);
                debug!("inbound connection from {send_back_addr} failed: {error}");
            }
            SwarmEvent::NewListenAddr { address, listener_id } if is_relayed(&address) => {
                self.on_relayed_address(listener_id, &address);
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                // One that others can use, and not those of all interfaces.
                let is_useful = self.listening.is_empty() || ip_of(&address) == default_ip();
                let level = if is_useful { log::Level::Info } else { log::Level::Debug };
                log::log!(level, "listening on {address}/p2p/{}", self.swarm.local_peer_id());
                if let Some(lan) = &mut self.lan {
                    lan.join(&address);
                }
                self.listening.push(address);
                self.status_changed = true;
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                if let Some(lan) = &mut self.lan {
                    lan.leave(&address);
                }
                self.listening.retain(|listening| *listening != address);
                if !is_relayed(&address) {
                    self.unannounce(&address);
                }
                self.status_changed = true;
            }
            SwarmEvent::ListenerClosed { listener_id, reason, .. } if self.on_relay_ended(listener_id) => {
                debug!("no longer reachable through a relay: {reason:?}");
            }
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                if let Err(error) = reason {
                    error!("no longer listening on {addresses:?}: {error}");
                }
                if let Some(lan) = &mut self.lan {
                    addresses.iter().for_each(|address| lan.leave(address));
                }
                self.listening.retain(|listening| !addresses.contains(listening));
                self.status_changed = true;
            }
            _ => {}
        }
    }

    fn on_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Peers(event) => match event {
                ProtocolsEvent::Gossip(event) => self.on_gossip(event),
                ProtocolsEvent::Sync(event) => self.on_request_event(Protocol::Sync, event),
                ProtocolsEvent::Envelopes(event) => self.on_request_event(Protocol::Envelopes, event),
                ProtocolsEvent::Identify(event) => self.on_identify(event),
                ProtocolsEvent::Ping(event) => self.on_ping(&event),
                ProtocolsEvent::Mdns(event) => self.on_mdns(event),
                ProtocolsEvent::Instance(event) => self.on_statement_event(event),
                ProtocolsEvent::Relayed(event) => self.on_relayed_event(event),
                ProtocolsEvent::Full(event) => self.on_full(event),
                ProtocolsEvent::Dht(DhtEvent::Heard(heard)) => self.on_heard(heard),
                ProtocolsEvent::Dht(DhtEvent::Inner(event)) => log::trace!("dht: {event:?}"),
            },
            BehaviourEvent::Reach(event) => self.on_reach(event),
            BehaviourEvent::Gater(never) | BehaviourEvent::Limits(never) => match never {},
        }
    }

    /// Does what is due. Called several times a second.
    pub fn tick(&mut self, now: Instant) {
        let time = self.time();
        self.pending_verdicts.expire(now);
        self.swarm.behaviour_mut().gater.bans.expire(time);
        self.report_ban_scores();
        self.penalize_graylisted();
        self.tick_slots(now);
        self.reconnect_unsubscribed(now);
        self.check_identity(now);
        self.check_reach(now);
        self.dial_added(now);
        self.dial(now);
        self.save(now, false);
        if self.status_changed || now.duration_since(self.published_at) >= PUBLISH_INTERVAL {
            self.publish(now);
        }
    }

    /// Writes bans and known peers if they have changed; `force` ignores all intervals.
    pub fn save(&mut self, now: Instant, force: bool) {
        let bans = &mut self.swarm.behaviour_mut().gater.bans;
        if bans.take_changed() {
            self.status_changed = true;
            self.bans_file.is_dirty = true;
        }
        self.bans_file.save(|| bans.to_text(), now, force);
        if !force && !self.dialer.update_anchors(now) && now.duration_since(self.saved_at) < SAVE_INTERVAL {
            return;
        }
        self.saved_at = now;
        let time = self.time();
        self.dialer.mark_still_connected(self.peers.iter().map(|(id, _)| id), time, force);
        if self.dialer.take_changed() {
            self.peers_file.is_dirty = true;
        }
        self.peers_file.save(|| self.dialer.to_text(), now, force);
    }

    fn publish(&mut self, now: Instant) {
        self.published_at = now;
        self.status_changed = false;
        let gossip = &self.swarm.behaviour().peers.inner.gossip;
        let shares = self.names.shares.hash();
        let subscribed = gossip.speakers(&shares).filter(|(_, is_subscribed)| *is_subscribed).count();
        self.metrics.peers_subscribed.set(subscribed as i64);
        self.metrics.peers_unread.set(self.muxer.unread_len() as i64);
        self.count_reach(now);
        for (metrics, topic) in
            [(&self.metrics.share_gossip, &self.names.shares), (&self.metrics.block_gossip, &self.names.blocks)]
        {
            metrics.mesh_peers.set(gossip.inner.mesh_peers(&topic.hash()).count() as i64);
        }
        let our_id = self.swarm.local_peer_id().to_string();
        self.status.store(Arc::new(PeersStatus {
            listening: self.listening.iter().map(|address| format!("{address}/p2p/{our_id}")).collect(),
            discovery: PeerDiscovery { known: self.dialer.knows_other_peers(), ..self.status.load().discovery },
            peers: self.peers.statuses(|id| self.added.contains(id)),
            duplicate: self.duplicate.clone(),
            bans: self.swarm.behaviour().gater.bans.statuses(self.time()),
            full: self.dialer.full(),
            reach: self.reach_status(now),
            our_id,
        }));
    }

    fn time(&self) -> UnixTime {
        (self.clock)()
    }
}
