//! The swarm: every protocol of this network on one TCP connection per peer.

use std::sync::Arc;
use std::time::Duration;

use libp2p::core::upgrade::Version;
use libp2p::core::Transport as _;
use libp2p::identity::Keypair;
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::NetworkBehaviour;
use libp2p::{connection_limits, identify, mdns, noise, ping, tcp, yamux, Swarm, SwarmBuilder};
use log::warn;
use p2pool_core::metrics::Metrics;

use crate::codec::SyncCodec;
use crate::connection_gater::Doorkeeper;
use crate::dht::Dht;
use crate::error::P2pError;
use crate::gossip::Gossip;
use crate::names::{self, Names};
use crate::peers::Places;
use crate::traffic::Counted;

/// Connections in all.
pub const CONNECTIONS_MAX: u32 = 100;
/// Connections of our own making.
const OUTBOUND_MAX: u32 = 50;
/// Connections that others made: strangers alone never fill all places.
pub const INBOUND_MAX: u32 = 80;
/// So many of them may stay. The others are visitors, so that a bootnode helps newcomers however many know it.
pub const PLACES: Places = Places { lasting: INBOUND_MAX as usize - 8, visit: Duration::from_secs(10) };
/// Connections with one peer: two nodes that dial each other at the same moment have two for a while.
const PER_PEER_MAX: u32 = 2;
/// Connections under way, in each direction: handshakes cost more than they cost the other side.
pub const PENDING_MAX: u32 = 32;
/// Time to connect and shake hands.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Streams of a connection at once, both directions: gossip, DHT, identify, ping and [`SYNC_STREAMS_MAX`]. Each may
/// buffer 256 KiB.
const STREAMS_MAX: usize = 64;
/// Streams of a connection that are not yet assigned to a protocol.
const NEGOTIATING_MAX: usize = 16;
/// Questions and answers under way on one connection, both directions.
const SYNC_STREAMS_MAX: usize = 24;
/// Peers are pinged this often; a peer that does not answer in the time below, nor the next ping, is gone.
const PING_INTERVAL: Duration = Duration::from_secs(15);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// A machine that acknowledges nothing for so long is gone: as long as for a ping, which is why there is always something
/// to acknowledge. Without it the system keeps a connection for a quarter of an hour after the other end fell silent, and
/// a goodbye that waits behind unsent bytes would keep it open as long.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED_MAX: Duration = PING_TIMEOUT;
/// Connections are never closed for having been quiet: a share comes twice a minute at most, and questions are rare.
const IDLE_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3_600);

/// Where the system says how names are looked up; a small appliance may have none.
const RESOLVER_FILE: &str = "/etc/resolv.conf";

/// Every protocol.
#[derive(NetworkBehaviour)]
pub struct Behaviour {
    /// First, for it turns people away before others take note of them.
    pub door: Doorkeeper,
    /// How many in all.
    pub limits: connection_limits::Behaviour,
    /// Shares and found blocks.
    pub gossip: Gossip,
    /// Questions and answers.
    pub sync: request_response::Behaviour<SyncCodec>,
    /// Who is there.
    pub dht: Dht,
    /// What a peer speaks and where it listens.
    pub identify: identify::Behaviour,
    /// Whether it still lives.
    pub ping: ping::Behaviour,
    /// Who is on the local network.
    pub mdns: Toggle<mdns::tokio::Behaviour>,
}

/// What differs between nodes.
pub struct Setup {
    /// Who we are.
    pub key: Keypair,
    /// Which chain.
    pub names: Names,
    /// Who may come in.
    pub door: Doorkeeper,
    /// Whether to look on the local network.
    pub mdns: bool,
    /// Whether to answer in the DHT although nobody has seen us reachable.
    pub dht_server: bool,
    /// Deadline of a question, from the asker's and the answerer's side.
    pub request_timeout: Duration,
    /// Where bytes on the wire are counted.
    pub metrics: Arc<Metrics>,
}

fn limits() -> connection_limits::ConnectionLimits {
    connection_limits::ConnectionLimits::default()
        .with_max_established(Some(CONNECTIONS_MAX))
        .with_max_established_outgoing(Some(OUTBOUND_MAX))
        .with_max_established_incoming(Some(INBOUND_MAX))
        .with_max_established_per_peer(Some(PER_PEER_MAX))
        .with_max_pending_incoming(Some(PENDING_MAX))
        .with_max_pending_outgoing(Some(PENDING_MAX))
}

fn behaviour(setup: Setup) -> Result<Behaviour, P2pError> {
    let our_id = setup.key.public().to_peer_id();
    let mdns = setup
        .mdns
        .then(|| mdns::tokio::Behaviour::new(mdns::Config::default(), our_id))
        .transpose()
        .map_err(|error| failed(&error))?;
    let identify = identify::Config::new(setup.names.identify.clone(), setup.key.public())
        .with_agent_version(names::agent())
        .with_push_listen_addr_updates(true);
    let sync = request_response::Config::default()
        .with_request_timeout(setup.request_timeout)
        .with_max_concurrent_streams(SYNC_STREAMS_MAX);
    Ok(Behaviour {
        limits: connection_limits::Behaviour::new(limits()),
        gossip: Gossip::new(&setup.names)?,
        sync: request_response::Behaviour::new([(setup.names.sync.clone(), ProtocolSupport::Full)], sync),
        dht: Dht::new(our_id, setup.names.dht.clone(), setup.dht_server),
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::new(ping::Config::new().with_interval(PING_INTERVAL).with_timeout(PING_TIMEOUT)),
        mdns: mdns.into(),
        door: setup.door,
    })
}

fn failed(what: &dyn std::fmt::Display) -> P2pError {
    P2pError::Setup(what.to_string())
}

/// Has the system give up a connection whose other end has fallen silent.
fn impatient(stream: tcp::tokio::TcpStream) -> tcp::tokio::TcpStream {
    #[cfg(target_os = "linux")]
    if let Err(error) = socket2::SockRef::from(&stream.0).set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX)) {
        warn!("a connection will be kept for long after its other end falls silent: {error}");
    }
    stream
}

/// Builds the swarm; a tokio runtime must be at hand.
///
/// # Errors
/// Something of the system's is missing that no setting of ours brings.
pub fn swarm(setup: Setup) -> Result<Swarm<Behaviour>, P2pError> {
    let key = setup.key.clone();
    let prologue = setup.names.noise_prologue.clone();
    let metrics = Arc::clone(&setup.metrics);
    let behaviour = behaviour(setup)?;
    let builder = SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        // Not `with_tcp`, which leaves no place for the counters.
        .with_other_transport(|key: &Keypair| -> Result<_, Box<dyn std::error::Error + Send + Sync>> {
            let mut muxer = yamux::Config::default();
            muxer.set_max_num_streams(STREAMS_MAX);
            Ok(tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
                .map(move |stream, _| {
                    let stream = impatient(stream);
                    Counted::new(stream, Arc::clone(&metrics))
                })
                .upgrade(Version::V1Lazy)
                .authenticate(noise::Config::new(key)?.with_prologue(prologue))
                .multiplex(muxer))
        })
        .map_err(|error| failed(&error))?;
    // The builder's types differ with and without names.
    macro_rules! finish {
        ($builder:expr) => {
            $builder
                .with_behaviour(|_| behaviour)
                .map_err(|error| failed(&error))?
                .with_swarm_config(|config| {
                    config
                        .with_idle_connection_timeout(IDLE_TIMEOUT)
                        .with_max_negotiating_inbound_streams(NEGOTIATING_MAX)
                })
                .with_connection_timeout(CONNECT_TIMEOUT)
                .build()
        };
    }
    Ok(match std::fs::metadata(RESOLVER_FILE) {
        Ok(_) => finish!(builder.with_dns().map_err(|error| failed(&error))?),
        Err(error) => {
            warn!("{RESOLVER_FILE}: {error}; bootnodes are reached by IP address only, not by name");
            finish!(builder)
        }
    })
}
