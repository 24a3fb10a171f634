//! What a chain's protocols are called. Written apart from the node's own, so that the two must agree.

use libp2p::gossipsub::IdentTopic;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use p2pool_core::params::ChainId;

/// GossipSub's own protocol.
pub const GOSSIP: StreamProtocol = StreamProtocol::new("/meshsub/1.1.0");

/// The names of one chain.
#[derive(Clone, Debug)]
pub struct Names {
    /// Topic of shares.
    pub shares: IdentTopic,
    /// Topic of found Bitcoin blocks.
    pub blocks: IdentTopic,
    /// Questions and answers.
    pub sync: StreamProtocol,
    /// The DHT.
    pub dht: StreamProtocol,
    /// What both sides mix into the handshake.
    pub noise_prologue: Vec<u8>,
}

impl Names {
    /// The names of the chain with this id.
    pub fn of(chain: &ChainId) -> Self {
        let prefix: String = chain.0.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let name = |what: &str| format!("/p2pool/{what}/2.0.0/{prefix}");
        let protocol = |what: &str| StreamProtocol::try_from_owned(name(what)).unwrap();
        Self {
            shares: IdentTopic::new(name("shares")),
            blocks: IdentTopic::new(name("blocks")),
            sync: protocol("sync"),
            dht: protocol("dht"),
            noise_prologue: [name("noise").as_bytes(), &chain.0].concat(),
        }
    }
}

/// The node's id at the end of an address.
pub fn id_in(address: &Multiaddr) -> PeerId {
    match address.iter().last() {
        Some(Protocol::P2p(id)) => id,
        _ => panic!("{address} does not end in a node's id"),
    }
}
