//! Names of a chain's protocols. Written independently of the nodes' code, so that the two must agree.

use libp2p::gossipsub::IdentTopic;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use p2pool_core::params::ChainId;

/// The protocol of GossipSub.
pub const GOSSIP: StreamProtocol = StreamProtocol::new("/meshsub/1.1.0");

/// The protocol and topic names of one chain.
#[derive(Clone, Debug)]
pub struct Names {
    /// Gossip topic of shares.
    pub shares: IdentTopic,
    /// Gossip topic of found Bitcoin blocks.
    pub blocks: IdentTopic,
    /// Protocol of requests and responses.
    pub sync: StreamProtocol,
    /// Protocol of the DHT.
    pub dht: StreamProtocol,
    /// Protocol version that identify announces.
    pub identify: String,
    /// What both sides mix into the Noise handshake.
    pub noise_prologue: Vec<u8>,
}

impl Names {
    /// Builds the names of a chain.
    pub fn of(chain: &ChainId) -> Self {
        let prefix = chain.prefix();
        let name = |what: &str| format!("/p2pool/{what}/2.0.0/{prefix}");
        let protocol = |what: &str| StreamProtocol::try_from_owned(name(what)).unwrap();
        Self {
            shares: IdentTopic::new(name("shares")),
            blocks: IdentTopic::new(name("blocks")),
            sync: protocol("sync"),
            dht: protocol("dht"),
            identify: name("node"),
            noise_prologue: [name("noise").as_bytes(), &chain.0].concat(),
        }
    }
}

/// Returns the peer id at the end of an address.
pub fn peer_id_of(address: &Multiaddr) -> PeerId {
    match address.iter().last() {
        Some(Protocol::P2p(id)) => id,
        _ => panic!("{address} does not end in a peer id"),
    }
}
