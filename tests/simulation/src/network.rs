//! The network: connections with latency and bandwidth, gossip that is relayed after a verdict, requests and responses
//! with timeouts, ban scores. It models what `threads/p2p` makes of libp2p, with the real encoding of every message.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use ::bitcoin::block::Header;
use ::bitcoin::hashes::{sha256, Hash as _};
use p2pool_core::node::{Event, NetworkCommand};
use p2pool_core::peer::{GossipId, GossipVerdict, InboundId, PeerHandle, RequestFailed, RequestId};
use p2pool_core::share::Share;
use p2pool_core::sharechain::AHEAD_MAX_S;
use p2pool_core::units::Bits;
use p2pool_core::wire::{BlockAnnouncement, Frame as _, GossipShare, Misbehaviour, Request, Response, BAN_THRESHOLD};

use crate::engine::{Action, Simulation};
use crate::invariants::{Invariant, PlantedBug};

/// A request without a response has failed after this long.
const REQUEST_TIMEOUT_MS: u64 = 30_000;
/// Requests of a node to one peer that may be in flight.
const REQUESTS_PER_PEER_MAX: usize = 8;
/// Requests of a peer that a node serves at once.
const SERVED_PER_PEER_MAX: usize = 8;
/// A connection between nodes that cannot reach each other any more breaks after this long: pings fail.
const PING_TIMEOUT_MS: u64 = 20_000;
/// A message is kept this long for its verdict.
const VERDICT_MS: u64 = (AHEAD_MAX_S as u64 + 10) * 1_000;
/// The same message is not looked at again within this time.
const REMEMBERED_MS: u64 = VERDICT_MS + 30_000;
/// Messages that wait for a verdict.
pub const WAITING_MAX: usize = 512;
/// Gossip and requests are refused while so many events wait for the node.
const OFFERED_MAX: usize = 256;
/// A ban lasts this long.
const BAN_MS: u64 = 24 * 3_600_000;
/// Every this often a peer's ban score goes down by one.
const FORGIVE_MS: u64 = 30_000;
/// A node with too few outbound connections dials again after this long.
const DIAL_EVERY_MS: u64 = 3_000;
/// The bootnode. It is always dialled, once a minute, because it can rejoin two halves of a network.
const BOOTNODE: usize = 0;
const BOOTNODE_EVERY_MS: u64 = 60_000;
/// Connections that a node has at most: in all, with one netgroup, and inbound.
const CONNECTIONS_MAX: usize = 100;
const NETGROUP_MAX: usize = 8;
const INBOUND_MAX: usize = 80;
/// Inbound peers that may stay; a later one has to leave after some time, unless there is room by then.
const INBOUND_PERMANENT: usize = INBOUND_MAX - 8;
const TEMPORARY_MS: u64 = 10_000;
/// Shares that a peer may send at once, and milliseconds in which one more is allowed.
const SHARES_BURST: u64 = 100;
const SHARES_INTERVAL_MS: u64 = 50;
/// A peer is blamed for too many messages once per this time.
const BLAME_INTERVAL_MS: u64 = 1_000;
/// Bytes of a message's frame, and of the announcement that a message is there.
const FRAME_BYTES: usize = 60;

/// A gossiped message.
pub struct Gossip {
    /// Names it: a share's digest, or the hash of an announcement.
    pub id: GossipId,
    bytes: Vec<u8>,
    is_block: bool,
    /// Decoded by the first that receives it: the same bytes give the same share.
    share: OnceCell<Option<Arc<Share>>>,
}

impl Gossip {
    /// A share in its real encoding.
    pub fn share(share: &Arc<Share>) -> Self {
        let bytes = GossipShare { share: Arc::clone(share) }.encode();
        Self { id: GossipId(share.digest().0), bytes, is_block: false, share: OnceCell::new() }
    }

    /// The announcement of a block, or bytes that claim to be one.
    pub fn block(bytes: Vec<u8>) -> Self {
        let id = GossipId(sha256::Hash::hash(&bytes).to_byte_array());
        Self { id, bytes, is_block: true, share: OnceCell::new() }
    }

    /// Bytes that claim to be a share.
    pub fn malformed(bytes: Vec<u8>) -> Self {
        Self { is_block: false, ..Self::block(bytes) }
    }

    fn decode(&self) -> Option<Arc<Share>> {
        self.share.get_or_init(|| GossipShare::decode(&self.bytes).ok().map(|gossip| gossip.share)).clone()
    }
}

/// What travels on a connection.
pub enum Payload {
    Gossip(Rc<Gossip>),
    /// That a message is there; it is fetched if it has not come another way.
    Have(Rc<Gossip>),
    Request(RequestId, Vec<u8>),
    Response(RequestId, Vec<u8>),
}

impl Payload {
    fn len(&self) -> usize {
        FRAME_BYTES
            + match self {
                Self::Gossip(gossip) => gossip.bytes.len(),
                Self::Have(_) => 0,
                Self::Request(_, bytes) | Self::Response(_, bytes) => bytes.len(),
            }
    }
}

/// One end of a connection.
pub struct End {
    /// The node.
    pub host: usize,
    /// How this node names the other.
    pub peer: PeerHandle,
    /// When the line towards the other end is free.
    free_at_ms: u64,
    /// Requests of this node in flight.
    requests: BTreeMap<RequestId, u64>,
    /// Requests of the other that this node serves.
    served: usize,
    /// When the token bucket for shares from the other is full again.
    shares_full_at_ms: u64,
    blamed_at_ms: u64,
}

/// A connection of two nodes.
pub struct Connection {
    /// The dialer first.
    pub ends: [End; 2],
    pub is_open: bool,
    latency_ms: f64,
    is_mesh: bool,
}

/// A message that waits for its verdict.
pub struct Waiting {
    gossip: Rc<Gossip>,
    from: PeerHandle,
    until_ms: u64,
}

/// One node's view of the network.
#[derive(Default)]
pub struct Peers {
    /// Its open connections.
    pub connections: BTreeMap<PeerHandle, usize>,
    next_serial: u64,
    seen: BTreeMap<GossipId, u64>,
    /// Messages that wait for the node's verdict.
    pub waiting: BTreeMap<GossipId, Waiting>,
    inbound: BTreeMap<InboundId, (PeerHandle, RequestId)>,
    next_inbound: u64,
    /// Ban score of other nodes, and when it was last counted.
    scores: BTreeMap<usize, (u32, u64)>,
    /// Until when nodes are banned.
    pub bans: BTreeMap<usize, u64>,
    /// Bytes sent and received.
    pub bytes: (u64, u64),
}

impl Peers {
    /// Another node is a stranger again.
    pub fn forget(&mut self, host: usize) {
        self.bans.remove(&host);
        self.scores.remove(&host);
    }

    /// What a restart leaves: bans, and the numbers that are never used twice.
    pub fn after_restart(&mut self) -> Self {
        let Self { next_serial, bans, bytes, .. } = std::mem::take(self);
        Self { next_serial, bans, bytes, ..Self::default() }
    }
}

impl Simulation {
    /// The network performs a node's command.
    pub fn network_command(&mut self, host: usize, command: NetworkCommand) {
        match command {
            NetworkCommand::Announce(share) => {
                if self.withhold(host, &share) {
                    return;
                }
                self.checks.announced(&share, host, &self.hosts[host], self.now_ms);
                self.publish(host, Gossip::share(&share));
            }
            NetworkCommand::AnnounceBlock(announcement) => self.publish(host, Gossip::block(announcement.encode())),
            NetworkCommand::Verdict { gossip, verdict } => {
                if let Some(waiting) = self.hosts[host].peers.waiting.remove(&gossip) {
                    if verdict == GossipVerdict::Accept {
                        self.allow_again(host, waiting.from);
                        self.relay(host, &waiting.gossip, Some(waiting.from));
                    }
                }
            }
            NetworkCommand::Penalize { peer, misbehaviour } => self.penalize(host, peer, misbehaviour),
            NetworkCommand::Request { peer, id, request } => self.request(host, peer, id, &request),
            NetworkCommand::Respond { to, response } => {
                let Some((peer, id)) = self.hosts[host].peers.inbound.remove(&to) else { return };
                self.respond(host, peer, id, response);
            }
        }
    }

    /// Sends a message of this node to all its peers.
    pub fn publish(&mut self, host: usize, gossip: Gossip) {
        if self.planted == Some(PlantedBug::SkipAnnouncements) {
            return;
        }
        let gossip = Rc::new(gossip);
        self.hosts[host].peers.seen.insert(gossip.id, self.now_ms + REMEMBERED_MS);
        let connections: Vec<usize> = self.hosts[host].peers.connections.values().copied().collect();
        for connection in connections {
            self.send(connection, host, Payload::Gossip(Rc::clone(&gossip)));
        }
    }

    /// Passes a message on: to some at once, to the others that it is there.
    fn relay(&mut self, host: usize, gossip: &Rc<Gossip>, from: Option<PeerHandle>) {
        if self.is_silent(host) {
            return;
        }
        let others: Vec<usize> = self.hosts[host]
            .peers
            .connections
            .iter()
            .filter(|(peer, _)| Some(**peer) != from)
            .map(|(_, connection)| *connection)
            .collect();
        for connection in others {
            let payload = match self.connections[connection].is_mesh {
                true => Payload::Gossip(Rc::clone(gossip)),
                false => Payload::Have(Rc::clone(gossip)),
            };
            self.send(connection, host, payload);
        }
    }

    /// Puts a message on the line.
    fn send(&mut self, connection: usize, from: usize, payload: Payload) {
        let len = payload.len();
        let settings = self.scenario.network;
        let is_gossip = matches!(payload, Payload::Gossip(_));
        let is_lazy = matches!(payload, Payload::Have(_));
        let line = &mut self.connections[connection];
        if !line.is_open {
            return;
        }
        let (sender, receiver) = match line.ends[0].host == from {
            true => (0, 1),
            false => (1, 0),
        };
        let end = &mut line.ends[sender];
        let start = end.free_at_ms.max(self.now_ms);
        end.free_at_ms = start + (len as f64 * 1_000.0 / settings.bytes_per_s) as u64;
        let mut delay_ms = line.latency_ms + self.random.unit() * settings.jitter_ms;
        if is_lazy {
            // Up to the next heartbeat, and there and back again.
            delay_ms += 2.0 * line.latency_ms + self.random.unit() * 1_000.0;
        }
        let at_ms = end.free_at_ms + 1 + delay_ms as u64;
        self.hosts[from].peers.bytes.0 += len as u64;
        if is_gossip && self.random.chance(settings.loss) {
            return;
        }
        if let Payload::Gossip(gossip) = &payload {
            if self.random.chance(settings.duplication) {
                let again = Payload::Gossip(Rc::clone(gossip));
                let later = at_ms + self.random.below(300_000);
                self.schedule(later, Action::Deliver { connection, end: receiver, payload: again });
            }
        }
        self.schedule(at_ms, Action::Deliver { connection, end: receiver, payload });
    }

    /// A message arrives.
    pub fn deliver(&mut self, connection: usize, end: usize, payload: Payload) {
        let line = &self.connections[connection];
        if !line.is_open || self.are_apart(line.ends[0].host, line.ends[1].host) {
            return;
        }
        let (host, peer) = (line.ends[end].host, line.ends[end].peer);
        let sender = line.ends[1 - end].host;
        match payload {
            Payload::Have(gossip) => {
                if !self.has_seen(host, &gossip.id) {
                    // The message itself, which `send` has not counted.
                    self.hosts[sender].peers.bytes.0 += gossip.bytes.len() as u64;
                    self.hosts[host].peers.bytes.1 += (gossip.bytes.len() + FRAME_BYTES) as u64;
                    self.on_gossip(connection, end, gossip);
                }
            }
            Payload::Gossip(gossip) => {
                self.hosts[host].peers.bytes.1 += (gossip.bytes.len() + FRAME_BYTES) as u64;
                if !self.has_seen(host, &gossip.id) {
                    self.on_gossip(connection, end, gossip);
                }
            }
            Payload::Request(id, bytes) => {
                self.hosts[host].peers.bytes.1 += (bytes.len() + FRAME_BYTES) as u64;
                self.on_request(connection, end, peer, id, &bytes);
            }
            Payload::Response(id, bytes) => {
                self.hosts[host].peers.bytes.1 += (bytes.len() + FRAME_BYTES) as u64;
                if self.connections[connection].ends[end].requests.remove(&id).is_none() {
                    return;
                }
                let response = Response::decode(&bytes).map_err(|error| {
                    self.penalize(host, peer, Misbehaviour::from(&error));
                    RequestFailed::Malformed
                });
                self.push(host, Event::Response { peer, id, response });
            }
        }
    }

    fn has_seen(&self, host: usize, id: &GossipId) -> bool {
        self.hosts[host].peers.seen.get(id).is_some_and(|until| *until > self.now_ms)
    }

    fn on_gossip(&mut self, connection: usize, end: usize, gossip: Rc<Gossip>) {
        let (host, peer) = (self.connections[connection].ends[end].host, self.connections[connection].ends[end].peer);
        if self.hosts[host].node.is_none() {
            return;
        }
        self.hosts[host].peers.seen.insert(gossip.id, self.now_ms + REMEMBERED_MS);
        if !self.take_allowance(connection, end) {
            return;
        }
        let event = match gossip.is_block {
            false => match gossip.decode() {
                Some(share) => {
                    self.hostile_saw(host, &share);
                    Event::ShareGossiped { peer, share }
                }
                None => return self.penalize(host, peer, Misbehaviour::Malformed),
            },
            true => match BlockAnnouncement::decode_header(&gossip.bytes) {
                Ok(header) if has_claimed_work(&header) => {
                    Event::BlockAnnounced { peer, gossip: gossip.id, header, announcement: gossip.bytes.clone() }
                }
                Ok(_) => return self.penalize(host, peer, Misbehaviour::FalseBlock),
                Err(error) => return self.penalize(host, peer, Misbehaviour::from(&error)),
            },
        };
        if self.planted == Some(PlantedBug::RelayBeforeVerdict) {
            self.relay(host, &gossip, Some(peer));
        }
        if self.hosts[host].inbox.len() >= OFFERED_MAX {
            return;
        }
        let waiting = &mut self.hosts[host].peers.waiting;
        if waiting.len() >= WAITING_MAX && self.planted != Some(PlantedBug::KeepWaiting) {
            let oldest = waiting.iter().min_by_key(|(_, waiting)| waiting.until_ms).map(|(id, _)| *id);
            oldest.and_then(|oldest| waiting.remove(&oldest));
        }
        waiting.insert(gossip.id, Waiting { gossip, from: peer, until_ms: self.now_ms + VERDICT_MS });
        if self.planted == Some(PlantedBug::RepeatGossip) {
            if let Event::ShareGossiped { share, .. } = &event {
                let again: Vec<Event> =
                    (0..8_000).map(|_| Event::ShareGossiped { peer, share: Arc::clone(share) }).collect();
                self.hosts[host].inbox.extend(again);
            }
        }
        self.push(host, event);
    }

    /// Takes one of the shares that a peer may send; blames it if there is none.
    fn take_allowance(&mut self, connection: usize, end: usize) -> bool {
        let now_ms = self.now_ms;
        let account = &mut self.connections[connection].ends[end];
        let full_at = account.shares_full_at_ms.max(now_ms) + SHARES_INTERVAL_MS;
        if full_at - now_ms <= SHARES_INTERVAL_MS * SHARES_BURST {
            account.shares_full_at_ms = full_at;
            return true;
        }
        let (host, peer) = (account.host, account.peer);
        if now_ms >= account.blamed_at_ms {
            account.blamed_at_ms = now_ms + BLAME_INTERVAL_MS;
            self.penalize(host, peer, Misbehaviour::TooManyRequests);
        }
        false
    }

    fn allow_again(&mut self, host: usize, peer: PeerHandle) {
        let Some(connection) = self.hosts[host].peers.connections.get(&peer) else { return };
        let ends = &mut self.connections[*connection].ends;
        if let Some(end) = ends.iter_mut().find(|end| end.host == host) {
            end.shares_full_at_ms = end.shares_full_at_ms.saturating_sub(SHARES_INTERVAL_MS);
        }
    }

    fn request(&mut self, host: usize, peer: PeerHandle, id: RequestId, request: &Request) {
        let Some(connection) = self.hosts[host].peers.connections.get(&peer).copied() else {
            let response = Err(RequestFailed::Disconnected);
            return self.push(host, Event::Response { peer, id, response });
        };
        if self.planted == Some(PlantedBug::SkipAnnouncements) && matches!(request, Request::Inventory { .. }) {
            return;
        }
        let now_ms = self.now_ms;
        let Some(end) = self.connections[connection].ends.iter_mut().find(|end| end.host == host) else { return };
        if end.requests.len() >= REQUESTS_PER_PEER_MAX {
            return self.push(host, Event::Response { peer, id, response: Err(RequestFailed::TooMany) });
        }
        end.requests.insert(id, now_ms);
        self.schedule(now_ms + REQUEST_TIMEOUT_MS, Action::RequestTimeout { connection, host, id });
        self.send(connection, host, Payload::Request(id, request.encode()));
    }

    fn on_request(&mut self, connection: usize, end: usize, peer: PeerHandle, id: RequestId, bytes: &[u8]) {
        let host = self.connections[connection].ends[end].host;
        if self.hosts[host].node.is_none() {
            return;
        }
        let request = match Request::decode(bytes) {
            Ok(request) => request,
            Err(error) => return self.penalize(host, peer, Misbehaviour::from(&error)),
        };
        let is_busy = request != Request::Status
            && (self.connections[connection].ends[end].served >= SERVED_PER_PEER_MAX
                || self.hosts[host].inbox.len() >= OFFERED_MAX);
        if is_busy {
            return self.send(connection, host, Payload::Response(id, Response::Busy.encode()));
        }
        self.connections[connection].ends[end].served += 1;
        let peers = &mut self.hosts[host].peers;
        let inbound = InboundId(peers.next_inbound);
        peers.next_inbound += 1;
        peers.inbound.insert(inbound, (peer, id));
        self.push(host, Event::Request { peer, id: inbound, request });
    }

    fn respond(&mut self, host: usize, peer: PeerHandle, id: RequestId, mut response: Response) {
        if let Response::BlockTransactions(given) = &response {
            self.checks.transactions_given += given.len();
            if self.planted == Some(PlantedBug::KeepTransactions) {
                response = Response::Unknown;
            }
        }
        let Some(connection) = self.hosts[host].peers.connections.get(&peer).copied() else { return };
        if let Some(end) = self.connections[connection].ends.iter_mut().find(|end| end.host == host) {
            end.served = end.served.saturating_sub(1);
        }
        let Some((bytes, after_ms)) = self.edit_response(host, response) else { return };
        match after_ms {
            0 => self.send(connection, host, Payload::Response(id, bytes)),
            _ => self.schedule(
                self.now_ms + after_ms,
                Action::SendLate { connection, host, payload: Payload::Response(id, bytes) },
            ),
        }
    }

    /// A response that was held back leaves.
    pub fn send_late(&mut self, connection: usize, host: usize, payload: Payload) {
        self.send(connection, host, payload);
    }

    /// The time for a response is over.
    pub fn request_timeout(&mut self, connection: usize, host: usize, id: RequestId) {
        let Some(end) = self.connections[connection].ends.iter_mut().find(|end| end.host == host) else { return };
        let peer = end.peer;
        if end.requests.remove(&id).is_some() {
            self.penalize(host, peer, Misbehaviour::Late);
            self.push(host, Event::Response { peer, id, response: Err(RequestFailed::TimedOut) });
        }
    }

    /// Counts a misbehaviour; enough of them ban the peer.
    fn penalize(&mut self, host: usize, peer: PeerHandle, misbehaviour: Misbehaviour) {
        let score_added = misbehaviour.ban_score();
        let Some(connection) = self.hosts[host].peers.connections.get(&peer).copied() else { return };
        if score_added == 0 {
            return;
        }
        let ends = &self.connections[connection].ends;
        let other = if ends[0].host == host { ends[1].host } else { ends[0].host };
        let now_ms = self.now_ms;
        let score = self.hosts[host].peers.scores.entry(other).or_insert((0, now_ms));
        let forgiven = ((now_ms - score.1) / FORGIVE_MS) as u32;
        *score = (score.0.saturating_sub(forgiven) + score_added, now_ms);
        let total = score.0;
        if self.is_traced {
            self.trace(host, &format!("penalises node {other} for: it {misbehaviour}; score {total}"));
        }
        if total < BAN_THRESHOLD {
            return;
        }
        self.hosts[host].peers.bans.insert(other, now_ms + BAN_MS);
        if self.hosts[host].is_honest() && self.hosts[other].is_honest() {
            let detail = format!("node {host} bans node {other}, which {misbehaviour}");
            self.checks.violated(Invariant::NoHonestBan, now_ms, detail);
        }
        self.disconnect(connection);
    }

    /// Whether a partition keeps two nodes apart.
    pub fn are_apart(&self, one: usize, other: usize) -> bool {
        self.groups.as_ref().is_some_and(|groups| groups[one] != groups[other])
    }

    /// A node looks for more peers.
    pub fn dial(&mut self, host: usize, boot: u32) {
        if self.hosts[host].node.is_none() || self.hosts[host].boot != boot {
            return;
        }
        let outbound = self.hosts[host].peers.connections.values();
        let outbound = outbound.filter(|connection| self.connections[**connection].ends[0].host == host).count();
        if outbound < self.scenario.network.outbound && self.hosts[host].peers.connections.len() < CONNECTIONS_MAX {
            let candidates: Vec<usize> = (0..self.hosts.len()).filter(|other| self.can_dial(host, *other)).collect();
            if let Some(other) = self.random.pick(&candidates) {
                self.connect(host, other);
            }
        } else if self.can_dial(host, BOOTNODE) && self.random.chance(DIAL_EVERY_MS as f64 / BOOTNODE_EVERY_MS as f64) {
            self.connect(host, BOOTNODE);
        }
        let next = self.now_ms + if outbound + 1 < self.scenario.network.outbound { 300 } else { DIAL_EVERY_MS };
        self.schedule_about(next, 500, Action::Dial { host, boot });
    }

    fn can_dial(&self, host: usize, other: usize) -> bool {
        let (one, two) = (&self.hosts[host], &self.hosts[other]);
        let is_banned = |from: &crate::host::Host, whom: usize| {
            from.peers.bans.get(&whom).is_some_and(|until| *until > self.now_ms)
        };
        host != other
            && two.node.is_some()
            && two.settings.is_reachable
            && !self.are_apart(host, other)
            && !is_banned(one, other)
            && !is_banned(two, host)
            && two.peers.connections.len() < CONNECTIONS_MAX
            && self.inbound(other).count() < INBOUND_MAX
            && self.with_netgroup(host, two.settings.netgroup) < NETGROUP_MAX
            && self.with_netgroup(other, one.settings.netgroup) < NETGROUP_MAX
            && !one.peers.connections.values().any(|connection| {
                let ends = &self.connections[*connection].ends;
                ends[0].host == other || ends[1].host == other
            })
    }

    /// Connections that others have opened to a node.
    fn inbound(&self, host: usize) -> impl Iterator<Item = usize> + '_ {
        let connections = self.hosts[host].peers.connections.values().copied();
        connections.filter(move |connection| self.connections[*connection].ends[1].host == host)
    }

    /// Number of connections of a node with a netgroup.
    fn with_netgroup(&self, host: usize, netgroup: u32) -> usize {
        let connections = self.hosts[host].peers.connections.values();
        let others = connections.flat_map(|connection| &self.connections[*connection].ends);
        others.filter(|end| end.host != host && self.hosts[end.host].settings.netgroup == netgroup).count()
    }

    /// The time of a peer without a permanent slot is over.
    pub fn leave_slot(&mut self, connection: usize) {
        let host = self.connections[connection].ends[1].host;
        // Connections are numbered in order.
        if self.inbound(host).filter(|other| *other < connection).count() >= INBOUND_PERMANENT {
            self.disconnect(connection);
        }
    }

    fn connect(&mut self, host: usize, other: usize) {
        let (from, to) = self.scenario.network.latency_ms;
        let latency_ms = self.random.between(from, to);
        let at = self.connections.len();
        let mesh = |simulation: &Self, host: usize| {
            let connections = simulation.hosts[host].peers.connections.values();
            connections.filter(|connection| simulation.connections[**connection].is_mesh).count()
        };
        let (one, two) = (mesh(self, host), mesh(self, other));
        let aim = self.scenario.network.mesh;
        let is_mesh = (one < aim && two < 2 * aim) || (two < aim && one < 2 * aim);
        let mut serial = |host: usize| {
            let peers = &mut self.hosts[host].peers;
            peers.next_serial += 1;
            peers.next_serial
        };
        let serials = [serial(host), serial(other)];
        let netgroup = |host: usize| self.hosts[host].settings.netgroup;
        let handles = [PeerHandle::new(netgroup(other), serials[0]), PeerHandle::new(netgroup(host), serials[1])];
        let end = |host: usize, peer: PeerHandle| End {
            host,
            peer,
            free_at_ms: 0,
            requests: BTreeMap::new(),
            served: 0,
            shares_full_at_ms: 0,
            blamed_at_ms: 0,
        };
        let ends = [end(host, handles[0]), end(other, handles[1])];
        self.connections.push(Connection { ends, is_open: true, latency_ms, is_mesh });
        for (host, peer) in [(host, handles[0]), (other, handles[1])] {
            self.hosts[host].peers.connections.insert(peer, at);
            self.push(host, Event::PeerConnected { peer });
        }
        if self.inbound(other).count() > INBOUND_PERMANENT {
            self.schedule(self.now_ms + TEMPORARY_MS, Action::LeaveSlot { connection: at });
        }
    }

    /// Ends a connection: what was requested on it has failed, then both nodes hear of it.
    pub fn disconnect(&mut self, connection: usize) {
        if !std::mem::replace(&mut self.connections[connection].is_open, false) {
            return;
        }
        for end in 0..2 {
            let End { host, peer, .. } = self.connections[connection].ends[end];
            let requests = std::mem::take(&mut self.connections[connection].ends[end].requests);
            for id in requests.into_keys() {
                self.push(host, Event::Response { peer, id, response: Err(RequestFailed::Disconnected) });
            }
            self.hosts[host].peers.connections.remove(&peer);
            if self.planted != Some(PlantedBug::ForgetDisconnects) {
                self.push(host, Event::PeerDisconnected { peer });
            }
        }
    }

    /// Ends all connections of a node.
    pub fn disconnect_all(&mut self, host: usize) {
        let connections: Vec<usize> = self.hosts[host].peers.connections.values().copied().collect();
        connections.into_iter().for_each(|connection| self.disconnect(connection));
    }

    /// A partition begins: connections across it break when pings fail.
    pub fn begin_partition(&mut self, groups: Vec<u8>) {
        self.groups = Some(groups);
        self.schedule(self.now_ms + PING_TIMEOUT_MS, Action::BreakAcross);
    }

    /// All nodes reach each other again.
    pub fn end_partition(&mut self) {
        if self.groups.take().is_some() {
            self.partitioned_ms = self.now_ms;
        }
    }

    /// Connections between nodes that do not reach each other break.
    pub fn break_across(&mut self) {
        for connection in 0..self.connections.len() {
            let ends = &self.connections[connection].ends;
            if self.connections[connection].is_open && self.are_apart(ends[0].host, ends[1].host) {
                self.disconnect(connection);
            }
        }
    }

    /// Forgets messages whose time is over.
    pub fn forget_gossip(&mut self, host: usize) {
        let now_ms = self.now_ms;
        let forgets_verdicts = self.planted != Some(PlantedBug::KeepWaiting);
        let peers = &mut self.hosts[host].peers;
        peers.seen.retain(|_, until| *until > now_ms);
        if forgets_verdicts {
            peers.waiting.retain(|_, waiting| waiting.until_ms > now_ms);
        }
    }
}

/// Whether a header has the work that it claims itself.
fn has_claimed_work(header: &Header) -> bool {
    let hash = header.block_hash().to_byte_array();
    Bits(header.bits.to_consensus()).target().is_ok_and(|target| target.is_met_by(&hash))
}
