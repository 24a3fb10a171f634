//! Who is connected with whom: dialling, slots, disconnects, partitions.

use std::collections::BTreeMap;

use p2pool_core::node::Event;
use p2pool_core::peer::{PeerHandle, RequestFailed};

use super::{Connection, End};
use crate::engine::{Action, Simulation};
use crate::invariants::PlantedBug;

/// A connection between nodes that cannot reach each other any more breaks after this long: pings fail.
const PING_TIMEOUT_MS: u64 = 20_000;
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
/// A newcomer of a full node leaves a second after the DHT has responded to it, which it asks as soon as it is connected; one that
/// asks nothing leaves after two seconds too while newcomers take all slots.
const TEMPORARY_MS: u64 = 2_000;
/// Nodes of which all are looked at for each dial.
const CANDIDATES_MAX: usize = 1_000;

impl Simulation {
    /// Whether a partition keeps two nodes apart.
    pub fn are_apart(&self, one: usize, other: usize) -> bool {
        self.groups.as_ref().is_some_and(|groups| groups[one] & groups[other] == 0)
    }

    /// A node looks for more peers.
    pub fn dial(&mut self, host: usize, boot: u32) {
        if self.hosts[host].node.is_none() || self.hosts[host].boot != boot {
            return;
        }
        let outbound = self.hosts[host].peers.connections.values();
        let outbound = outbound.filter(|connection| self.connections[**connection].ends[0].host == host).count();
        if outbound < self.scenario.network.outbound && self.hosts[host].peers.connections.len() < CONNECTIONS_MAX {
            if let Some(other) = self.candidate(host) {
                self.connect(host, other);
            }
        } else if self.can_dial(host, BOOTNODE) && self.random.chance(DIAL_EVERY_MS as f64 / BOOTNODE_EVERY_MS as f64) {
            self.connect(host, BOOTNODE);
        }
        let next = self.now_ms + if outbound + 1 < self.scenario.network.outbound { 300 } else { DIAL_EVERY_MS };
        self.schedule_about(next, 500, Action::Dial { host, boot });
    }

    /// Draws a node to dial. In a large pool only a few are looked at: with all of them, each dial takes time for each node.
    fn candidate(&mut self, host: usize) -> Option<usize> {
        if self.hosts.len() > CANDIDATES_MAX {
            let drawn = self.random.below(self.hosts.len() as u64) as usize;
            return Some(drawn).filter(|other| self.can_dial(host, *other));
        }
        let candidates: Vec<usize> = (0..self.hosts.len()).filter(|other| self.can_dial(host, *other)).collect();
        self.random.pick(&candidates)
    }

    /// Number of connections on which a node gets messages at once.
    pub fn mesh_size(&self, host: usize) -> usize {
        let connections = self.hosts[host].peers.connections.values();
        connections.filter(|connection| self.connections[**connection].is_mesh).count()
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
        let (one, two) = (self.mesh_size(host), self.mesh_size(other));
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
            if self.listens(host) {
                self.push(host, Event::PeerConnected { peer });
            }
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
            if self.planted != Some(PlantedBug::ForgetDisconnects) && self.listens(host) {
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
    pub fn begin_partition(&mut self, groups: Vec<u8>, for_ms: u64) {
        self.groups = Some(groups);
        self.partition_ends_ms = self.now_ms + for_ms;
        self.schedule(self.partition_ends_ms, Action::EndPartition);
        self.schedule(self.now_ms + PING_TIMEOUT_MS, Action::BreakAcross);
    }

    /// All nodes reach each other again, unless another partition has begun meanwhile.
    pub fn partition_is_over(&mut self) {
        if self.now_ms >= self.partition_ends_ms {
            self.end_partition();
        }
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
}
