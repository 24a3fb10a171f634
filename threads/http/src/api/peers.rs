//! `/api/peers`: the connected peers.

use p2pool_core::status::{Direction, PeerStatus, PeersStatus};
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
    banned: usize,
    peers: Vec<Peer>,
}

/// A connected peer.
#[derive(Serialize)]
pub struct Peer {
    id: String,
    latency_us: Option<u64>,
    address: String,
    direction: &'static str,
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
            direction: match peer.direction {
                Direction::Inbound => "inbound",
                Direction::Outbound => "outbound",
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
            banned: peers.banned,
            peers: Peer::list(peers, snapshot.now),
        }
    }
}
