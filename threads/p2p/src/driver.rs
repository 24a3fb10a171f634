//! The node's part in the network: what the swarm and the chain thread tell it, and what it does about it.

mod discovery;
mod gossip;
mod peers;
mod request_slots;
mod requests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, Swarm};
use log::{debug, error, info};
use p2pool_channels::ToNetwork;
use p2pool_core::metrics::Metrics;
use p2pool_core::node::NetworkCommand;
use p2pool_core::status::{LooksBy, PeersStatus};
use p2pool_core::units::UnixTime;

use crate::behaviour::{Behaviour, BehaviourEvent};
use crate::connection_gater::Clock;
use crate::dialer::Dialer;
use crate::names::Names;
use crate::outbox::Outbox;
use crate::peers::{Peers, Places};
use crate::state_file::Saved;

use gossip::Verdicts;
use requests::Questions;
#[cfg(test)]
pub use requests::ASKED_PER_PEER_MAX;

/// Name of the file of bans in the chain's folder.
pub const BANS_FILE: &str = "bans";
/// Name of the file of known peers in the chain's folder.
pub const PEERS_FILE: &str = "peers";
/// Known peers are saved this often at most; bans at once.
const SAVE_INTERVAL: Duration = Duration::from_secs(30);
/// Onlookers are told this often at least.
const PUBLISH_INTERVAL: Duration = Duration::from_secs(2);

/// The node, run by the network thread.
pub struct Node {
    swarm: Swarm<Behaviour>,
    names: Names,
    bans_file: Saved,
    peers_file: Saved,
    clock: Clock,
    dht_server: bool,
    places: Places,
    outbox: Outbox,
    peers: Peers,
    dialer: Dialer,
    verdicts: Verdicts,
    questions: Questions,
    listening: Vec<Multiaddr>,
    status: Arc<ArcSwap<PeersStatus>>,
    metrics: Arc<Metrics>,
    published: Instant,
    saved: Instant,
    /// Somebody has let us in, and the log says so.
    joined: bool,
    /// Something that onlookers see has changed.
    news: bool,
}

/// What a node is made of.
pub struct Parts {
    /// The swarm, listening.
    pub swarm: Swarm<Behaviour>,
    /// The chain's names.
    pub names: Names,
    /// The chain's folder.
    pub dir: PathBuf,
    /// The time.
    pub clock: Clock,
    /// Whether the operator says that this node can be reached.
    pub dht_server: bool,
    /// How many others may stay.
    pub places: Places,
    /// To the chain thread.
    pub outbox: Outbox,
    /// Whom to dial.
    pub dialer: Dialer,
    /// What onlookers see.
    pub status: Arc<ArcSwap<PeersStatus>>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

impl Node {
    /// Puts a node together.
    pub fn new(parts: Parts) -> Self {
        let now = Instant::now();
        Self {
            swarm: parts.swarm,
            names: parts.names,
            bans_file: Saved::new(parts.dir.join(BANS_FILE)),
            peers_file: Saved::new(parts.dir.join(PEERS_FILE)),
            clock: parts.clock,
            dht_server: parts.dht_server,
            places: parts.places,
            outbox: parts.outbox,
            peers: Peers::default(),
            dialer: parts.dialer,
            verdicts: Verdicts::default(),
            questions: Questions::default(),
            listening: Vec::new(),
            status: parts.status,
            metrics: parts.metrics,
            published: now,
            saved: now,
            joined: false,
            news: true,
        }
    }

    /// The swarm, to be awaited.
    pub fn swarm(&mut self) -> &mut Swarm<Behaviour> {
        &mut self.swarm
    }

    /// The way to the chain thread.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Takes a message from the chain thread.
    pub fn take(&mut self, message: ToNetwork) {
        // The sender has signalled a stop by another way, see `thread`.
        let ToNetwork::Command(command) = message else { return };
        match command {
            NetworkCommand::Announce(share) => self.announce(&share),
            NetworkCommand::AnnounceBlock(block) => self.announce_block(&block),
            NetworkCommand::Verdict { gossip, verdict } => self.judge(gossip, verdict),
            NetworkCommand::Penalize { peer, offence } => self.penalize_token(peer, offence),
            NetworkCommand::Request { peer, id, request } => self.ask(peer, id, request),
            NetworkCommand::Respond { to, response } => self.answer(to, response),
        }
    }

    /// Takes an event of the swarm.
    pub fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            SwarmEvent::ConnectionEstablished { peer_id, endpoint, num_established, .. } => {
                self.on_connected(peer_id, &endpoint, num_established.get());
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established, cause, .. } => {
                debug!("a connection with {peer_id} ended: {cause:?}");
                if num_established == 0 {
                    self.on_gone(&peer_id);
                }
            }
            SwarmEvent::OutgoingConnectionError { peer_id, error, .. } => self.on_dial_failed(peer_id, &error),
            SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => {
                debug!("{send_back_addr} could not connect: {error}");
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                info!("listening on {address}/p2p/{}", self.swarm.local_peer_id());
                self.listening.push(address);
                self.news = true;
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.listening.retain(|listening| *listening != address);
                self.news = true;
            }
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                if let Err(error) = reason {
                    error!("no longer listening on {addresses:?}: {error}");
                }
                self.listening.retain(|listening| !addresses.contains(listening));
                self.news = true;
            }
            _ => {}
        }
    }

    fn on_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Gossip(event) => self.on_gossip(event),
            BehaviourEvent::Sync(event) => self.on_sync(event),
            BehaviourEvent::Identify(event) => self.on_identify(event),
            BehaviourEvent::Ping(event) => self.on_ping(&event),
            BehaviourEvent::Mdns(event) => self.on_mdns(event),
            BehaviourEvent::Dht(event) => log::trace!("dht: {event:?}"),
            BehaviourEvent::Door(never) | BehaviourEvent::Limits(never) => match never {},
        }
    }

    /// What is due by time.
    pub fn tick(&mut self, now: Instant) {
        let time = self.time();
        self.verdicts_overdue(now);
        self.swarm.behaviour_mut().door.bans.expire(time);
        self.tell_points();
        self.note_deafness();
        self.end_visits(now);
        self.dial(now);
        self.save(now, false);
        if self.news || now.duration_since(self.published) >= PUBLISH_INTERVAL {
            self.publish(now);
        }
    }

    /// Saves what the next start should know; at the end `all` of it.
    pub fn save(&mut self, now: Instant, all: bool) {
        let bans = &mut self.swarm.behaviour_mut().door.bans;
        if bans.take_changed() {
            self.news = true;
            self.bans_file.outdated();
        }
        self.bans_file.save(|| bans.to_text(), now, all);
        if !all && now.duration_since(self.saved) < SAVE_INTERVAL {
            return;
        }
        self.saved = now;
        let time = self.time();
        self.dialer.still_connected(self.peers.ids(), time, all);
        if self.dialer.take_changed() {
            self.peers_file.outdated();
        }
        self.peers_file.save(|| self.dialer.to_text(), now, all);
    }

    fn publish(&mut self, now: Instant) {
        self.published = now;
        self.news = false;
        let our_id = self.swarm.local_peer_id().to_string();
        self.status.store(Arc::new(PeersStatus {
            listening: self.listening.iter().map(|address| format!("{address}/p2p/{our_id}")).collect(),
            looks_by: LooksBy { known: self.dialer.knows_others(), ..self.status.load().looks_by },
            peers: self.peers.statuses(),
            banned: self.swarm.behaviour().door.bans.len(),
            our_id,
        }));
    }

    fn time(&self) -> UnixTime {
        (self.clock)()
    }
}
