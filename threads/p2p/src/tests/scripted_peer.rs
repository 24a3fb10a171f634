//! A peer that speaks the wire directly, on the chain of these tests.

use libp2p::StreamProtocol;
pub use p2pool_test_hostile::names::Names;
pub use p2pool_test_hostile::scripted_peer::{Kind, Reply, Stranger};

use super::support::{params, TestNode};

pub fn names() -> Names {
    Names::of(&params().chain_id())
}

/// One that asks and answers.
pub fn asking() -> Kind {
    Kind::of(&params().chain_id()).mute()
}

/// One that gossips.
pub fn gossiping() -> Kind {
    Kind::of(&params().chain_id()).on(StreamProtocol::new("/nothing"))
}

/// Connects, and goes on until the node has noticed.
pub fn meet(stranger: &mut Stranger, node: &TestNode) {
    stranger.connect(&node.address).unwrap();
    let id = stranger.id.to_string();
    stranger.live_until("the node's welcome", || node.knows(&id).then_some(()));
}
