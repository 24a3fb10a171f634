//! Protocol and topic names. Each contains the chain's id.

use libp2p::gossipsub::IdentTopic;
use libp2p::StreamProtocol;
use p2pool_core::params::ChainId;

/// Version of all protocols between nodes but those below. A new message, or a new form of shares, needs a new version
/// of its protocol; nodes speak the old one beside it for a time, and leave out there what it has no form for.
pub const PROTOCOL_VERSION: &str = "2.0.0";
/// Version of the protocol of envelopes, which nodes of all versions of the rules understand (rules, section 10).
const ENVELOPES_VERSION: &str = "1.0.0";
/// Version of the protocol by which a relay names others that it relays for, see `relays`.
const RELAYED_VERSION: &str = "1.0.0";
/// Version of the protocol by which a node says that it is full, see `full`.
const FULL_VERSION: &str = "1.0.0";
/// Version of the protocol of statements, see `instance`.
const INSTANCE_VERSION: &str = "1.0.0";

/// The protocol and topic names of one chain.
#[derive(Clone, Debug)]
pub struct Names {
    /// Gossip topic of shares.
    pub shares: IdentTopic,
    /// Gossip topic of found Bitcoin blocks.
    pub blocks: IdentTopic,
    /// Protocol of requests and responses.
    pub sync: StreamProtocol,
    /// Protocol of requests for envelopes.
    pub envelopes: StreamProtocol,
    /// Protocol of statements of instances.
    pub instance: StreamProtocol,
    /// Protocol by which a relay names others that it relays for.
    pub relayed: StreamProtocol,
    /// Protocol by which a node says that it is full.
    pub full: StreamProtocol,
    /// Protocol of the DHT by which nodes discover each other.
    pub dht: StreamProtocol,
    /// Protocol version that identify announces.
    pub identify: String,
    /// Mixed into the Noise handshake, which therefore fails between nodes of different chains, however they found each
    /// other.
    pub noise_prologue: Vec<u8>,
}

impl Names {
    /// Builds the names of a chain.
    pub fn new(chain_id: &ChainId) -> Self {
        let prefix = chain_id.prefix();
        let name_of = |what: &str, version: &str| format!("/p2pool/{what}/{version}/{prefix}");
        let name = |what: &str| name_of(what, PROTOCOL_VERSION);
        let protocol = |name| StreamProtocol::try_from_owned(name).expect("the name has a leading slash");
        Self {
            shares: IdentTopic::new(name("shares")),
            blocks: IdentTopic::new(name("blocks")),
            sync: protocol(name("sync")),
            envelopes: protocol(name_of("envelopes", ENVELOPES_VERSION)),
            instance: protocol(name_of("instance", INSTANCE_VERSION)),
            relayed: protocol(name_of("relayed", RELAYED_VERSION)),
            full: protocol(name_of("full", FULL_VERSION)),
            dht: protocol(name("dht")),
            identify: name("node"),
            noise_prologue: [name("noise").as_bytes(), &chain_id.0].concat(),
        }
    }
}

/// Returns the agent version that identify announces.
pub fn agent() -> String {
    format!("p2pool/{}", env!("CARGO_PKG_VERSION"))
}
