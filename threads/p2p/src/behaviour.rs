//! The swarm: all protocols of this network on one TCP connection per peer.

use std::sync::Arc;
use std::time::Duration;

use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::upgrade::Version;
use libp2p::core::Transport as _;
use libp2p::identity::Keypair;
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::NetworkBehaviour;
use libp2p::{connection_limits, identify, mdns, noise, ping, relay, tcp, PeerId, StreamProtocol, Swarm, SwarmBuilder};
use log::warn;
use p2pool_core::config::{AddressKind, Config};
use p2pool_core::metrics::Metrics;

use crate::codec::{BytesCodec, StatementCodec, SyncCodec};
use crate::connection_gater::ConnectionGater;
use crate::dht::Dht;
use crate::error::P2pError;
use crate::full::Full;
use crate::gossip::Gossip;
use crate::muxer;
use crate::names::{self, Names};
use crate::one_connection::{OneConnection, PeerLimits};
use crate::origin::TorAddresses;
use crate::peers::InboundSlots;
use crate::proxy::ProxiedTcp;
use crate::reach::Reach;
use crate::reachability::{NAMED_WANTED, NAMES_LEN_MAX};
use crate::traffic::CountedStream;

/// Connected peers in total.
pub const CONNECTIONS_MAX: u32 = 100;
/// Peers with an outbound connection.
const OUTBOUND_MAX: u32 = 50;
/// Peers with an inbound connection. Fewer than [`CONNECTIONS_MAX`], so that inbound peers alone never use up all
/// connections.
pub const INBOUND_MAX: u32 = 80;
/// Connected peers that a relay named, or that it named this node to, whether a hole was made or not.
const RELAYED_MAX: usize = 2 * NAMED_WANTED;
/// Inbound slots of peers that may stay. The other eight are for newcomers until one of all peers is evicted.
pub const INBOUND_SLOTS: InboundSlots =
    InboundSlots { permanent: INBOUND_MAX as usize - 8, temporary: 8, temporary_for: Duration::from_secs(10) };
/// Connections per peer: the one in use, and replaced ones that are being closed. That takes up to [`UNACKNOWLEDGED_MAX`]
/// if the other end is gone and bytes wait for it.
const PER_PEER_MAX: u32 = 4;
/// Connections with those that are being closed. After an outage all peers may return while this node closes the
/// connections that they had.
const ESTABLISHED_MAX: u32 = 2 * CONNECTIONS_MAX;
/// Inbound ones of these. Peers can keep connections from closing by reading slowly, and must not keep this node from
/// dialling others.
const ESTABLISHED_INBOUND_MAX: u32 = 2 * INBOUND_MAX;
/// Pending connections in each direction. A handshake costs this node more than the other side.
pub const PENDING_MAX: u32 = 32;
/// Timeout of connecting and the handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Streams per connection whose protocol is being negotiated.
const NEGOTIATING_MAX: usize = 16;
/// Requests in flight per connection in both directions.
const SYNC_STREAMS_MAX: usize = 24;
/// The same for requests for envelopes: one in each direction, and one that is late.
const ENVELOPES_STREAMS_MAX: usize = 3;
/// The same for statements of instances: one in each direction, and one that is late.
const INSTANCE_STREAMS_MAX: usize = 3;
/// The same for names of relayed peers.
const RELAYED_STREAMS_MAX: usize = 3;
/// Time between pings. A peer that does not respond to two in a row within [`PING_TIMEOUT`] each is disconnected: on a slow
/// line, a response of a megabyte may be ahead of the ping.
const PING_INTERVAL: Duration = Duration::from_secs(15);
const PING_TIMEOUT: Duration = Duration::from_secs(60);
/// A connection on which nothing is acknowledged for this long is closed; pings make sure that there is always something
/// to acknowledge. By default Linux keeps a connection for a quarter of an hour after the other end fell silent, and as
/// long one that is being closed with unsent bytes.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(20);
/// Idle connections are kept: shares come every half a minute, and requests are rare.
const IDLE_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3_600);

/// Resolver configuration of the system. A small appliance may have none.
const RESOLVER_FILE: &str = "/etc/resolv.conf";

/// Who may connect, and all protocols.
#[derive(NetworkBehaviour)]
pub struct Behaviour {
    /// First, because it refuses connections before the other behaviours see them.
    pub gater: ConnectionGater,
    /// Limits the number of pending connections, and of those that are being closed.
    pub limits: connection_limits::Behaviour,
    /// What runs on the one connection that each peer has.
    pub peers: OneConnection<Protocols>,
    /// Reachability. Last, because it must not see connections that the others refuse.
    pub reach: Reach,
}

/// The protocols between connected peers.
#[derive(NetworkBehaviour)]
pub struct Protocols {
    /// Gossip of shares and found blocks.
    pub gossip: Gossip,
    /// Requests and responses.
    pub sync: request_response::Behaviour<SyncCodec>,
    /// Requests for envelopes and their responses.
    pub envelopes: request_response::Behaviour<SyncCodec>,
    /// Statements of instances.
    pub instance: request_response::Behaviour<StatementCodec>,
    /// Names of peers that a relay relays for.
    pub relayed: request_response::Behaviour<BytesCodec<NAMES_LEN_MAX>>,
    /// Says and hears that a node is full.
    pub full: Full,
    /// Peer discovery.
    pub dht: Dht,
    /// Exchanges protocols, agent versions and listen addresses.
    pub identify: identify::Behaviour,
    /// Detects dead connections and measures latency.
    pub ping: ping::Behaviour,
    /// Peer discovery on the local network.
    pub mdns: Toggle<mdns::tokio::Behaviour>,
}

fn limits() -> connection_limits::ConnectionLimits {
    connection_limits::ConnectionLimits::default()
        .with_max_established(Some(ESTABLISHED_MAX))
        .with_max_established_incoming(Some(ESTABLISHED_INBOUND_MAX))
        .with_max_established_per_peer(Some(PER_PEER_MAX))
        .with_max_pending_incoming(Some(PENDING_MAX))
        .with_max_pending_outgoing(Some(PENDING_MAX))
}

fn behaviour(
    config: &Config,
    key: &Keypair,
    names: &Names,
    gater: ConnectionGater,
    relay_client: relay::client::Behaviour,
    request_timeout: Duration,
) -> Result<Behaviour, P2pError> {
    let our_id = key.public().to_peer_id();
    let mdns = config
        .mdns
        .then(|| mdns::tokio::Behaviour::new(mdns::Config::default(), our_id))
        .transpose()
        .map_err(|error| failed(&error))?;
    let identify = identify::Config::new(names.identify.clone(), key.public())
        .with_agent_version(names::agent())
        .with_hide_listen_addrs(config.proxy.is_some())
        // The driver keeps addresses; the library's cache would have it dial any that peers name.
        .with_cache_size(0)
        .with_push_listen_addr_updates(true);
    let requests = |protocol: &StreamProtocol, streams_max| {
        let config = request_response::Config::default()
            .with_request_timeout(request_timeout)
            .with_max_concurrent_streams(streams_max);
        request_response::Behaviour::new([(protocol.clone(), ProtocolSupport::Full)], config)
    };
    let protocols = Protocols {
        gossip: Gossip::new(names, TorAddresses::new(config))?,
        sync: requests(&names.sync, SYNC_STREAMS_MAX),
        envelopes: requests(&names.envelopes, ENVELOPES_STREAMS_MAX),
        instance: request_response::Behaviour::new(
            [(names.instance.clone(), ProtocolSupport::Full)],
            request_response::Config::default().with_max_concurrent_streams(INSTANCE_STREAMS_MAX),
        ),
        relayed: request_response::Behaviour::new(
            [(names.relayed.clone(), ProtocolSupport::Full)],
            request_response::Config::default().with_max_concurrent_streams(RELAYED_STREAMS_MAX),
        ),
        full: Full::new(names.full.clone()),
        dht: Dht::new(our_id, names.dht.clone(), config.dht_server, dials_onion(config), TorAddresses::new(config)),
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::new(ping::Config::new().with_interval(PING_INTERVAL).with_timeout(PING_TIMEOUT)),
        mdns: mdns.into(),
    };
    let limits_of_peers = PeerLimits {
        inbound: config.max_inbound.min(INBOUND_MAX as usize),
        outbound: OUTBOUND_MAX as usize,
        total: CONNECTIONS_MAX as usize,
        relayed: RELAYED_MAX,
    };
    Ok(Behaviour {
        gater,
        limits: connection_limits::Behaviour::new(limits()),
        peers: OneConnection::new(protocols, our_id, limits_of_peers, names.full.clone()),
        reach: Reach::new(our_id, relay_client, config.upnp, TorAddresses::new(config)),
    })
}

/// Whether peers at hidden services are dialled.
pub fn dials_onion(config: &Config) -> bool {
    config.proxy.as_ref().is_some_and(|proxy| proxy.only != Some(AddressKind::Ip))
}

fn failed(what: &dyn std::fmt::Display) -> P2pError {
    P2pError::Setup(what.to_string())
}

/// Has the system close a connection whose other end has fallen silent.
fn with_tcp_user_timeout(stream: tcp::tokio::TcpStream) -> tcp::tokio::TcpStream {
    #[cfg(target_os = "linux")]
    if let Err(error) = socket2::SockRef::from(&stream.0).set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX)) {
        warn!("TCP_USER_TIMEOUT not set, dead connections are noticed late: {error}");
    }
    stream
}

/// Adds byte counters, encryption and streams to TCP.
fn upgraded<T>(
    tcp: T,
    noise: noise::Config,
    muxer: muxer::Config,
    metrics: Arc<Metrics>,
) -> Boxed<(PeerId, StreamMuxerBox)>
where
    T: libp2p::Transport<Output = tcp::tokio::TcpStream> + Send + Unpin + 'static,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
    T::Error: Send + Sync + 'static,
{
    tcp.map(move |stream, _| CountedStream::new(with_tcp_user_timeout(stream), Arc::clone(&metrics)))
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(muxer)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .boxed()
}

/// Builds the swarm. Must be called inside a tokio runtime.
///
/// # Errors
/// The operating system or libp2p refuses something that no setting changes.
pub fn build_swarm(
    config: &Config,
    key: Keypair,
    names: &Names,
    gater: ConnectionGater,
    request_timeout: Duration,
    muxer: muxer::Config,
    metrics: Arc<Metrics>,
) -> Result<Swarm<Behaviour>, P2pError> {
    let (prologue, proxy) = (names.noise_prologue.clone(), config.proxy.clone());
    let (relay_transport, relay_client) = relay::client::new(key.public().to_peer_id());
    let behaviour = behaviour(config, &key, names, gater, relay_client, request_timeout)?;
    let builder = SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        // Not `with_tcp`, which has no place for the byte counters.
        .with_other_transport(|key: &Keypair| -> Result<_, Box<dyn std::error::Error + Send + Sync>> {
            let noise = noise::Config::new(key)?.with_prologue(prologue);
            let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
            let tcp = match proxy {
                None => upgraded(tcp, noise.clone(), muxer.clone(), metrics),
                Some(proxy) => upgraded(ProxiedTcp::new(tcp, proxy), noise.clone(), muxer.clone(), metrics),
            };
            let relayed = relay_transport
                .upgrade(Version::V1Lazy)
                .authenticate(noise)
                .multiplex(muxer)
                .map(|(peer, muxer): (PeerId, _), _| (peer, StreamMuxerBox::new(muxer)));
            // The relay's transport refuses other addresses than its own, TCP would dial the relay instead.
            Ok(relayed.or_transport(tcp).map(|either, _| either.into_inner()))
        })
        .map_err(|error| failed(&error))?;
    // The type of the builder differs with and without DNS.
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
    if config.proxy.is_some() {
        // Names are left to the proxy.
        return Ok(finish!(builder));
    }
    Ok(match std::fs::metadata(RESOLVER_FILE) {
        Ok(_) => finish!(builder.with_dns().map_err(|error| failed(&error))?),
        Err(error) => {
            warn!("{RESOLVER_FILE} unreadable, bootnodes can only be given by IP address: {error}");
            finish!(builder)
        }
    })
}

#[cfg(test)]
mod tests {
    use libp2p::core::transport::PortUse;
    use libp2p::core::{ConnectedPoint, Endpoint};
    use libp2p::swarm::behaviour::ConnectionEstablished;
    use libp2p::swarm::{ConnectionId, FromSwarm};
    use libp2p::{Multiaddr, PeerId};

    use super::*;

    #[test]
    fn inbound_connections_that_do_not_end_leave_room_to_dial() {
        let mut limits = connection_limits::Behaviour::new(limits());
        let address: Multiaddr = "/ip4/192.0.2.1/tcp/9171".parse().unwrap();
        let endpoint = ConnectedPoint::Listener { local_addr: address.clone(), send_back_addr: address.clone() };
        let mut accept = |number: usize| {
            let (connection_id, peer_id) = (ConnectionId::new_unchecked(number), PeerId::random());
            limits.handle_established_inbound_connection(connection_id, peer_id, &address, &address).ok()?;
            let made = ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint: &endpoint,
                failed_addresses: &[],
                other_established: 0,
            };
            limits.on_swarm_event(FromSwarm::ConnectionEstablished(made));
            Some(())
        };
        let accepted = (0..1_000).map_while(&mut accept).count();
        assert_eq!(accepted, ESTABLISHED_INBOUND_MAX as usize);
        let (id, role, port) = (ConnectionId::new_unchecked(2_000), Endpoint::Dialer, PortUse::Reuse);
        let dialled = limits.handle_established_outbound_connection(id, PeerId::random(), &address, role, port);
        assert!(dialled.is_ok());
    }
}
