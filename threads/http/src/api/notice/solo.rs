//! The notice about mining without peers.

use p2pool_core::status::PeerDiscovery;

use super::{Code, Level, Notice};
use crate::snapshot::Snapshot;

/// Explains why this node has no peers. The advice depends on how it looks for them, and on what they said.
pub fn solo(snapshot: &Snapshot) -> Notice {
    let (level, why, advice) = match snapshot.peers.discovery {
        _ if snapshot.peers.full > 0 => (
            Level::Warning,
            "the peers that respond are full",
            "Wait: they are retried. Another node in -bootnodes that can be reached helps, and so does a node of your own \
             that others can reach. Shares found meanwhile may earn less.",
        ),
        PeerDiscovery { bootnodes: true, .. } => (
            Level::Warning,
            "no peer can be reached",
            "Check that the nodes in -bootnodes are running and reachable, and that -p2p-port of this machine is reachable \
             from outside. Shares found meanwhile may earn less.",
        ),
        PeerDiscovery { known: true, .. } => (
            Level::Warning,
            "no peer can be reached",
            "Check that this machine is online: none of the known peers responds. The address of a running node in \
             -bootnodes helps. Shares found meanwhile may earn less.",
        ),
        PeerDiscovery { mdns: true, .. } => (
            Level::Warning,
            "no peer is found on the local network",
            "Nodes elsewhere are not searched for: to mine with them, give the address of one in -bootnodes. If this node \
             is meant to mine solo, -mdns=false turns this warning off.",
        ),
        PeerDiscovery { bootnodes: false, known: false, mdns: false } => (
            Level::Info,
            "this node does not look for peers",
            "No action is needed if that is intended. Otherwise give the address of another node in -bootnodes.",
        ),
    };
    let text = match (snapshot.job(), why.split_at(1)) {
        (Some(_), _) => format!("Mining solo: {why}."),
        (None, (first, rest)) => format!("{}{rest}.", first.to_uppercase()),
    };
    Notice::new(Code::Solo, level, text, advice)
}
