//! What this chain's nodes call themselves and their protocols: every name holds the chain's id.

use libp2p::gossipsub::IdentTopic;
use libp2p::StreamProtocol;
use p2pool_core::params::ChainId;

/// Version of everything nodes say to each other.
pub const PROTOCOL_VERSION: &str = "2.0.0";

/// The names of one chain.
#[derive(Clone, Debug)]
pub struct Names {
    /// Topic of shares.
    pub shares: IdentTopic,
    /// Topic of found Bitcoin blocks.
    pub blocks: IdentTopic,
    /// Questions and answers.
    pub sync: StreamProtocol,
    /// The DHT by which nodes find each other.
    pub dht: StreamProtocol,
    /// What identify says that we speak.
    pub identify: String,
    /// Mixed into the Noise handshake: with another chain's node it fails, so that not even mDNS or a bootnode of
    /// another chain brings the two together.
    pub noise_prologue: Vec<u8>,
}

impl Names {
    /// The names of the chain with this id.
    ///
    /// # Errors
    /// None for any id: a stream protocol's name needs a leading slash, which these have.
    pub fn new(chain_id: &ChainId) -> Result<Self, libp2p::swarm::InvalidProtocol> {
        let prefix = chain_id.prefix();
        let name = |what: &str| format!("/p2pool/{what}/{PROTOCOL_VERSION}/{prefix}");
        Ok(Self {
            shares: IdentTopic::new(name("shares")),
            blocks: IdentTopic::new(name("blocks")),
            sync: StreamProtocol::try_from_owned(name("sync"))?,
            dht: StreamProtocol::try_from_owned(name("dht"))?,
            identify: name("node"),
            noise_prologue: [name("noise").as_bytes(), &chain_id.0].concat(),
        })
    }
}

/// What this node says it runs.
pub fn agent() -> String {
    format!("p2pool/{}", env!("CARGO_PKG_VERSION"))
}
