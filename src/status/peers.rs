//! The other nodes, as onlookers see them.

use std::sync::Arc;

use crate::units::UnixTime;

/// The network of nodes at one moment; the network thread makes a new one every few seconds.
#[derive(Clone, Debug, Default)]
pub struct PeersStatus {
    /// This node's own id; empty before the network thread's first look.
    pub our_id: String,
    /// Where this node listens, as multiaddrs ending in its id.
    pub listening: Vec<String>,
    /// How it finds others.
    pub looks_by: LooksBy,
    /// Connected nodes.
    pub peers: Vec<PeerStatus>,
    /// Nodes and addresses that are banned now.
    pub banned: usize,
}

/// The ways that a node has to find others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LooksBy {
    /// Some are given to it to start from.
    pub bootnodes: bool,
    /// It asks the local network.
    pub mdns: bool,
    /// It knows some from before.
    pub known: bool,
}

impl LooksBy {
    /// Whether there is any: a node without is meant to be alone, or to be found.
    pub const fn any(self) -> bool {
        self.bootnodes || self.mdns || self.known
    }
}

/// One connected node. Its texts are a stranger's: bounded, without control characters, otherwise as given.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    /// Its id.
    pub id: Arc<str>,
    /// Where it is.
    pub address: Arc<str>,
    /// Who dialled whom.
    pub direction: Direction,
    /// What its last ping took; none before the first.
    pub latency_us: Option<u64>,
    /// When it connected.
    pub connected_since: UnixTime,
    /// What it says it runs; empty until it said so.
    pub agent: Arc<str>,
}

/// Who dialled whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It dialled us.
    Inbound,
    /// We dialled it.
    Outbound,
}
