//! Opens a driver: loads its files, builds the swarm, listens.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use crossbeam_channel::Sender;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, Swarm};
use log::warn;
use p2pool_channels::ToChain;
use p2pool_core::config::{AddressKind, Config};
use p2pool_core::metrics::Metrics;
use p2pool_core::status::{PeerDiscovery, PeersStatus};
use p2pool_core::token_bucket::{Rate, TokenBucket};
use p2pool_core::units::UnixTime;

use super::gossip::PendingVerdicts;
use super::requests::Requests;
use super::slots::FullSlots;
use super::subscriptions::Reconnects;
use super::{SwarmDriver, BANS_SAVE_INTERVAL};
use crate::added_peers::AddedPeers;
use crate::address::split_peer_id;
use crate::bans::Bans;
use crate::behaviour::{build_swarm, dials_onion, Behaviour, INBOUND_SLOTS};
use crate::buckets::Key;
use crate::connection_gater::{Clock, ConnectionGater};
use crate::dialer::Dialer;
use crate::error::P2pError;
use crate::identity;
use crate::instance::{OwnInstance, Statements};
use crate::lan::Lan;
use crate::muxer;
use crate::names::Names;
use crate::origin::TorAddresses;
use crate::outbox::Outbox;
use crate::peers::{InboundSlots, Peers};
use crate::reachability::ReachState;
use crate::state_file::{self, StateFile};

/// Name of the file of bans in the chain's folder.
pub const BANS_FILE: &str = "bans";
/// Warnings of bans, of which strangers with new peer ids could cause a hundred thousand a day.
const BANS_LOGGED: Rate = Rate { burst: 60, interval: Duration::from_secs(60) };
/// Name of the file of known peers in the chain's folder.
pub const PEERS_FILE: &str = "peers";
/// Timeout of a request, on both sides: a megabyte at 300 kbit/s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// What only tests change.
pub struct Tuning {
    /// The system's clock, for bans and saved times.
    pub clock: Clock,
    /// Timeout of requests, on both sides.
    pub request_timeout: Duration,
    /// How many inbound peers may stay.
    pub slots: InboundSlots,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            clock: Arc::new(|| UnixTime::from(SystemTime::now())),
            request_timeout: REQUEST_TIMEOUT,
            slots: INBOUND_SLOTS,
        }
    }
}

impl SwarmDriver {
    /// Loads identity, bans and known peers from the chain's folder and listens. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// A file cannot be read, a bootnode's address is malformed, or the port is taken.
    pub fn open(
        config: &Config,
        to_chain: Sender<ToChain>,
        metrics: Arc<Metrics>,
        tuning: Tuning,
    ) -> Result<Self, P2pError> {
        let mut bootnodes = parse_bootnodes(config)?;
        let Config { params, chain_dir, .. } = config;
        let key = identity::load_or_generate(chain_dir)?;
        let our_id = key.public().to_peer_id();
        remove_own(&mut bootnodes, our_id);
        let names = Names::new(&params.chain_id());
        let bans = load_bans(chain_dir, (tuning.clock)())?;
        let known = load_text(&chain_dir.join(PEERS_FILE))?;
        let gater = ConnectionGater::new(bans, Arc::clone(&tuning.clock), TorAddresses::new(config));
        let now = Instant::now();
        let random = identity::random;
        let identity_file = chain_dir.join(identity::FILE_NAME);
        let instance = OwnInstance::new(key.clone(), params.chain_id(), random(), random(), now);
        let lan = config.mdns.then(|| open_lan(our_id, now)).flatten();
        // One for all connections, which share its bound on memory.
        let muxer = muxer::Config::default();
        let counted = Arc::clone(&metrics);
        let mut swarm = build_swarm(config, key, &names, gater, tuning.request_timeout, muxer.clone(), counted)?;
        match &config.p2p_bind {
            None => listen(&mut swarm, config.p2p_port)?,
            Some(addresses) => listen_at(&mut swarm, addresses)?,
        }
        for external in parse(&config.external_addresses)? {
            swarm.add_external_address(external);
        }
        let added = parse(&config.added_peers)?;
        let has_bootnodes = !bootnodes.is_empty() || !added.is_empty();
        let discovery = PeerDiscovery { bootnodes: has_bootnodes, mdns: config.mdns, known: !known.is_empty() };
        let listens = config.p2p_bind.as_ref().is_none_or(|addresses| !addresses.is_empty());
        let is_assured = config.dht_server || !config.external_addresses.is_empty();
        let outbox = Outbox::new(to_chain);
        swarm.behaviour_mut().peers.inner.gossip.room = Some(outbox.room());
        let status = PeersStatus { our_id: our_id.to_string(), discovery, ..Default::default() };
        Ok(Self {
            swarm,
            names,
            clock: tuning.clock,
            outbox,
            peers: Peers::default(),
            slots: tuning.slots.of_at_most(config.max_inbound),
            eviction_key: Key(random()),
            muxer,
            full_slots: FullSlots::new(now),
            bans_logged: TokenBucket::new(BANS_LOGGED, now),
            dialer: Dialer::new(our_id, Key(random()), config.max_outbound, bootnodes, &known, now),
            dials: HashSet::new(),
            ordered: HashMap::new(),
            pending_verdicts: PendingVerdicts::default(),
            requests: Requests::new(config.max_upload_per_s, now),
            reconnects: Reconnects::new(now),
            instance,
            statements: Statements::default(),
            lan,
            identity_file: std::path::absolute(&identity_file).unwrap_or(identity_file),
            duplicate: None,
            is_dht_server: config.dht_server,
            listening: Vec::new(),
            reach: ReachState::new(is_assured, config.proxy.is_none() && listens),
            added: AddedPeers::new(added, now),
            has_proxy: config.proxy.is_some(),
            dials_onion: dials_onion(config),
            dials_ip: config.proxy.as_ref().is_none_or(|proxy| proxy.only != Some(AddressKind::Onion)),
            tor: TorAddresses::new(config),
            bans_file: StateFile::new(chain_dir.join(BANS_FILE), BANS_SAVE_INTERVAL),
            // Asked to write seldom.
            peers_file: StateFile::new(chain_dir.join(PEERS_FILE), Duration::ZERO),
            saved_at: now,
            metrics,
            has_joined: false,
            status: Arc::new(ArcSwap::from_pointee(status)),
            status_changed: true,
            published_at: now,
        })
    }
}

/// Opens the exchange of statements on the local network, without which the node works as well.
fn open_lan(our_id: PeerId, now: Instant) -> Option<Lan> {
    let opened = Lan::open(our_id, now);
    opened.inspect_err(|error| warn!("mDNS not available, a node with this identity may go unnoticed: {error}")).ok()
}

/// Listens on all IPv4 and IPv6 addresses. A machine without IPv6 does without.
fn listen(swarm: &mut Swarm<Behaviour>, port: u16) -> Result<(), P2pError> {
    let failed = |error: &dyn Display| P2pError::Listen { port, error: error.to_string() };
    // libp2p sets SO_REUSEPORT, so that it can dial from the port it listens on: a second node on the same port would
    // silently get half of the first one's connections. A socket without it reveals that the port is taken.
    drop(TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).map_err(|error| failed(&error))?);
    let any = |ip: Protocol<'static>| Multiaddr::empty().with(ip).with(Protocol::Tcp(port));
    swarm.listen_on(any(Protocol::Ip4(Ipv4Addr::UNSPECIFIED))).map_err(|error| failed(&error))?;
    if let Err(error) = swarm.listen_on(any(Protocol::Ip6(Ipv6Addr::UNSPECIFIED))) {
        warn!("IPv6 not available, listening on IPv4 only: {error}");
    }
    Ok(())
}

/// Listens on the addresses that the operator named.
fn listen_at(swarm: &mut Swarm<Behaviour>, addresses: &[SocketAddr]) -> Result<(), P2pError> {
    for address in addresses {
        let failed =
            |error: &dyn Display| P2pError::Listen { port: address.port(), error: format!("{address}: {error}") };
        drop(TcpListener::bind(address).map_err(|error| failed(&error))?);
        let multiaddr = Multiaddr::from(address.ip()).with(Protocol::Tcp(address.port()));
        swarm.listen_on(multiaddr).map_err(|error| failed(&error))?;
    }
    Ok(())
}

fn parse(addresses: &[String]) -> Result<Vec<Multiaddr>, P2pError> {
    addresses.iter().map(|text| text.parse().map_err(|_| P2pError::Address(text.clone()))).collect()
}

fn parse_bootnodes(config: &Config) -> Result<Vec<(PeerId, Multiaddr)>, P2pError> {
    config
        .bootnodes
        .iter()
        .map(|text| text.parse().ok().and_then(split_peer_id).ok_or_else(|| P2pError::Bootnode(text.clone())))
        .collect()
}

/// Removes this node's own address from the bootnodes: every bootnode starts with the same list.
fn remove_own(bootnodes: &mut Vec<(PeerId, Multiaddr)>, our_id: PeerId) {
    let count = bootnodes.len();
    bootnodes.retain(|(peer, _)| *peer != our_id);
    if bootnodes.is_empty() && count > 0 {
        warn!("the only bootnode is this node's own address: give another node's with -bootnodes to find the pool");
    }
}

fn load_text(path: &Path) -> Result<String, P2pError> {
    let bytes = state_file::read(path).map_err(|error| P2pError::File { path: path.to_owned(), error })?;
    Ok(String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned())
}

fn load_bans(chain_dir: &Path, now: UnixTime) -> Result<Bans, P2pError> {
    let path = chain_dir.join(BANS_FILE);
    let (bans, malformed) = Bans::from_text(&load_text(&path)?, now);
    if malformed > 0 {
        warn!("{}: {malformed} malformed lines ignored", path.display());
    }
    Ok(bans)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_address_is_no_bootnode() {
        let node = |peer| (peer, "/ip4/192.0.2.1/tcp/9171".parse::<Multiaddr>().unwrap());
        let (us, other) = (PeerId::random(), PeerId::random());
        let mut bootnodes = vec![node(us), node(other), node(us)];
        remove_own(&mut bootnodes, us);
        assert_eq!(bootnodes, [node(other)]);
        let mut bootnodes = vec![node(us)];
        remove_own(&mut bootnodes, us);
        assert!(bootnodes.is_empty());
    }
}
