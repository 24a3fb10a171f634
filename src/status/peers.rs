//! The connected peers, as the network thread publishes them.

use std::sync::Arc;

use crate::units::UnixTime;

/// Snapshot of the peer-to-peer network, made by the network thread every few seconds.
#[derive(Clone, Debug, Default)]
pub struct PeersStatus {
    /// Peer id of this node; empty before the first snapshot.
    pub our_id: String,
    /// Multiaddresses that this node listens on, each with its peer id.
    pub listening: Vec<String>,
    /// Ways to find peers.
    pub discovery: PeerDiscovery,
    pub peers: Vec<PeerStatus>,
    /// Banned and graylisted peers and addresses, those whose end is last first.
    pub bans: Vec<BanStatus>,
    /// Number of known peers that turned this node away because they are full.
    pub full: usize,
    /// Another running node has this node's identity.
    pub duplicate: Option<DuplicateIdentity>,
    /// How others get through to this node.
    pub reach: ReachStatus,
}

/// How other nodes get through to this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReachStatus {
    pub reachability: Reachability,
    /// Port that peers connect to, on this machine; 0 if it does not listen.
    pub port: u16,
    /// Whether peers are dialled through a proxy, so that no address of this node is announced but a hidden service's.
    pub has_proxy: bool,
    /// Addresses at which this node is announced to be reachable.
    pub addresses: Vec<String>,
    /// Whether the router forwards the port because this node asked it to (UPnP).
    pub is_mapped: bool,
    /// Peers that relay connections to this node.
    pub relays: usize,
    /// Peers that this node relays connections to.
    pub relayed_for: usize,
}

/// Whether other nodes can connect to this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reachability {
    /// Not found out yet.
    #[default]
    Unknown,
    /// They can.
    Reachable,
    /// Only through the peers that relay for it, or by a hole through its router that both sides make.
    Relayed,
    /// They cannot.
    OutboundOnly,
}

/// Proof that another running node has this node's identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DuplicateIdentity {
    pub since: UnixTime,
    /// Path of this node's identity file.
    pub file: String,
}

/// The ways in which this node can find peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerDiscovery {
    /// Bootnodes are configured.
    pub bootnodes: bool,
    /// mDNS is on: peers on the local network.
    pub mdns: bool,
    /// Peers are known from earlier connections.
    pub known: bool,
}

impl PeersStatus {
    /// Returns the number of bans in force.
    pub fn banned(&self) -> usize {
        self.bans.iter().filter(|ban| ban.kind == BanKind::Banned).count()
    }
}

impl PeerDiscovery {
    /// Whether there is any way: a node without one mines solo on purpose, or waits for peers to connect.
    pub const fn any(self) -> bool {
        self.bootnodes || self.mdns || self.known
    }
}

/// A connected peer. Its texts are untrusted, but bounded and without control characters.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    pub id: Arc<str>,
    pub address: Arc<str>,
    /// Which side opened the connection.
    pub direction: Direction,
    /// How the connection was made.
    pub route: Route,
    /// Round-trip time of the last ping in microseconds; `None` before the first.
    pub latency_us: Option<u64>,
    /// When it connected.
    pub connected_since: UnixTime,
    /// Agent version; empty before the peer has identified itself.
    pub agent: Arc<str>,
    /// The operator added it by its address.
    pub is_added: bool,
}

/// A peer id, an address or a site that is banned or graylisted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BanStatus {
    /// The peer id, the IPv4 address, or the IPv6 /64 or /48.
    pub subject: String,
    pub kind: BanKind,
    /// Bounded and without control characters.
    pub reason: String,
    pub until: UnixTime,
}

/// What a peer id or address may not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BanKind {
    /// It may not connect.
    Banned,
    /// Its address may have one connection.
    Graylisted,
}

/// How a connection was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Route {
    /// One side dialled the other.
    #[default]
    Direct,
    /// A third node relays it.
    Relayed,
    /// Directly, after a third node relayed it (hole punching).
    Punched,
}

/// Which side opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The peer did.
    Inbound,
    /// This node did.
    Outbound,
}

impl Direction {
    /// Returns the name for the API and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}
