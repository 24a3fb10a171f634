//! `/api/v1/peers`: the connected peers.

use p2pool_core::status::{PeerStatus, PeersStatus, ReachStatus, Reachability, Route};
use p2pool_core::units::UnixTime;
use serde::Serialize;

use crate::snapshot::Snapshot;

/// All connected peers.
#[derive(Serialize)]
pub struct PeersDocument {
    our_peer_id: String,
    /// Multiaddresses that this node listens on.
    listening: Vec<String>,
    count: usize,
    full: usize,
    banned: usize,
    reach: Reach,
    peers: Vec<Peer>,
}

/// How other nodes get through to this node.
#[derive(Serialize)]
pub struct Reach {
    state: &'static str,
    /// What that means, and what the operator can do.
    advice: String,
    /// Multiaddresses at which this node is announced.
    addresses: Vec<String>,
    port_mapped: bool,
    relays: usize,
    relayed_for: usize,
}

impl Reach {
    pub fn new(reach: &ReachStatus) -> Self {
        let ReachStatus { reachability, port, has_proxy, addresses, is_mapped, relays, relayed_for } = reach;
        let forward = format!("To be reachable, forward TCP port {port} of the router to this machine.");
        let (state, advice) = match reachability {
            Reachability::Unknown => ("unknown", "Not found out yet whether other nodes can connect.".to_owned()),
            Reachability::Reachable => ("reachable", "Other nodes can connect to this node.".to_owned()),
            Reachability::Relayed => {
                let peers = if *relays == 1 { "1 peer".to_owned() } else { format!("{relays} peers") };
                ("relayed", format!("Behind a router: other nodes connect through {peers}. {forward}"))
            }
            Reachability::OutboundOnly if *has_proxy => {
                let advice = "Behind a proxy, this node only connects to others. To be reachable, make a hidden service of Tor and \
                              give its name with -onion-address.";
                ("outbound_only", advice.to_owned())
            }
            Reachability::OutboundOnly if *port == 0 => {
                ("outbound_only", "This node accepts no connections (-no-listen).".to_owned())
            }
            Reachability::OutboundOnly => (
                "outbound_only",
                format!("No other node can connect to this node, it only connects to others. {forward}"),
            ),
        };
        Self {
            state,
            advice,
            addresses: addresses.clone(),
            port_mapped: *is_mapped,
            relays: *relays,
            relayed_for: *relayed_for,
        }
    }
}

/// A connected peer.
#[derive(Serialize)]
pub struct Peer {
    id: String,
    latency_us: Option<u64>,
    address: String,
    direction: &'static str,
    route: &'static str,
    agent: String,
    connected_secs: u32,
}

impl Peer {
    /// Lists all connected peers.
    pub fn list(peers: &PeersStatus, now: UnixTime) -> Vec<Self> {
        let peer = |peer: &PeerStatus| Self {
            id: peer.id.to_string(),
            latency_us: peer.latency_us,
            address: peer.address.to_string(),
            direction: peer.direction.name(),
            route: match peer.route {
                Route::Direct => "direct",
                Route::Relayed => "relayed",
                Route::Punched => "punched",
            },
            agent: peer.agent.to_string(),
            connected_secs: now.since(peer.connected_since),
        };
        peers.peers.iter().map(peer).collect()
    }
}

impl PeersDocument {
    pub fn new(snapshot: &Snapshot) -> Self {
        let peers = &snapshot.peers;
        Self {
            our_peer_id: peers.our_id.clone(),
            listening: peers.listening.clone(),
            count: peers.peers.len(),
            full: peers.full,
            banned: peers.banned(),
            reach: Reach::new(&peers.reach),
            peers: Peer::list(peers, snapshot.now),
        }
    }
}
