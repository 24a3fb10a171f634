//! A scripted peer on the chain of these tests.

use libp2p::StreamProtocol;
pub use p2pool_test_hostile::names::Names;
pub use p2pool_test_hostile::scripted_peer::{PeerConfig, Reply, ScriptedPeer};

use super::support::{params, TestNode};

pub fn names() -> Names {
    Names::of(&params().chain_id())
}

/// A peer that sends and receives requests.
pub fn requesting() -> PeerConfig {
    PeerConfig::of(&params().chain_id()).without_gossip()
}

/// A peer that gossips.
pub fn gossiping() -> PeerConfig {
    PeerConfig::of(&params().chain_id()).with_protocol(StreamProtocol::new("/none"))
}

/// Connects, and runs until the node lists the peer.
pub fn connect(peer: &mut ScriptedPeer, node: &TestNode) {
    peer.connect(&node.address).unwrap();
    let id = peer.id.to_string();
    peer.run_until("the node to list the peer", || node.has_peer(&id).then_some(()));
}
