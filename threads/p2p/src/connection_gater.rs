//! Decides who may connect: no banned peer, and not too many from one netgroup.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use libp2p::core::transport::PortUse;
use libp2p::core::Endpoint;
use libp2p::swarm::{
    dummy, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use p2pool_core::netgroup::{subscriber, Netgroup};
use p2pool_core::units::UnixTime;
use thiserror::Error;

use crate::bans::{BanSubject, Bans};
use crate::origin::{Origin, TorAddresses};
use crate::rate_limits::{Action, NetgroupLimiter};

/// Connected peers of one netgroup (IPv4 /24, IPv6 /48) in both directions, and as many inbound handshakes. The few nodes of
/// a farm behind one address fit; to fill a node's hundred connections, an attacker needs thirteen netgroups.
pub const CONNECTIONS_PER_NETGROUP_MAX: usize = 8;
/// Established connections of one netgroup, with those that its peers have replaced. A peer that reads slowly can keep a
/// replaced connection from closing for hours, so these count as well.
const ESTABLISHED_PER_NETGROUP_MAX: usize = 2 * CONNECTIONS_PER_NETGROUP_MAX;
/// How many times as much inbound connections of an anonymous netgroup may have: its part of the slots, and newcomers until one
/// of them is evicted, see `peers`.
const ANONYMOUS_FACTOR: usize = 4;
/// Inbound handshakes of an anonymous netgroup: half of all.
const ANONYMOUS_PENDING_MAX: usize = 2 * CONNECTIONS_PER_NETGROUP_MAX;

/// The system's clock, or a test's.
pub type Clock = Arc<dyn Fn() -> UnixTime + Send + Sync>;

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The peer or its address is banned.
    #[error("banned")]
    Banned,
    /// Another peer at its address, which is graylisted, is connected.
    #[error("another peer at its graylisted address is connected")]
    Graylisted,
    /// Its netgroup has [`CONNECTIONS_PER_NETGROUP_MAX`] connections.
    #[error("too many connections from its netgroup")]
    NetgroupFull,
    /// Its netgroup has connected too often lately.
    #[error("connection attempts from its netgroup too frequent")]
    TooFrequent,
}

/// A connection that counts for its netgroup.
struct Counted {
    netgroup: Netgroup,
    /// Its address, as it is counted, see [`subscriber`]; `None` if it is not known.
    address: Option<IpAddr>,
    /// The peer at the other end; `None` during the handshake.
    peer: Option<PeerId>,
}

/// Refuses connections. It is the first behaviour of the swarm, so that no other sees a refused peer.
pub struct ConnectionGater {
    /// The banned peers and addresses.
    pub bans: Bans,
    clock: Clock,
    /// Netgroups of pending inbound connections and of all established ones.
    counted: HashMap<ConnectionId, Counted>,
    attempts: NetgroupLimiter,
    tor: TorAddresses,
    /// Dials of peers that the operator added: neither banned nor limited.
    pub exempt: HashSet<ConnectionId>,
}

impl ConnectionGater {
    /// Starts with the bans of an earlier run.
    pub fn new(bans: Bans, clock: Clock, tor: TorAddresses) -> Self {
        let (counted, attempts) = (HashMap::new(), NetgroupLimiter::default());
        Self { bans, clock, counted, attempts, tor, exempt: HashSet::new() }
    }

    /// Whether a peer is banned now.
    pub fn is_banned(&self, peer: &PeerId) -> bool {
        self.bans.is_banned(&BanSubject::Peer(*peer), (self.clock)())
    }

    fn check_peer(&self, peer: &PeerId) -> Result<(), ConnectionDenied> {
        if self.is_banned(peer) {
            return Err(ConnectionDenied::new(Refusal::Banned));
        }
        Ok(())
    }

    /// Checks the other end of a connection and counts it for its netgroup. `peer` is who is at the other end, once
    /// that is known. Several connections of one peer count once: a peer may return before this node notices that its last
    /// connection is dead, and all peers of a netgroup do after an outage.
    fn admit(
        &mut self,
        connection: ConnectionId,
        origin: Origin,
        peer: Option<PeerId>,
    ) -> Result<(), ConnectionDenied> {
        let time = (self.clock)();
        if origin.ip.is_some_and(|ip| self.bans.is_banned_at(ip, time)) {
            return Err(ConnectionDenied::new(Refusal::Banned));
        }
        let Some(netgroup) = origin.netgroup else { return Ok(()) };
        let is_graylisted = origin.ip.is_some_and(|ip| self.bans.is_graylisted_at(ip, time));
        let address = origin.ip.map(subscriber);
        let is_other = |other: &Counted| other.address == address && other.peer.is_some() && other.peer != peer;
        if is_graylisted && self.counted.values().any(is_other) {
            return Err(ConnectionDenied::new(Refusal::Graylisted));
        }
        // As many entries as the swarm allows connections: few enough to count.
        let of_netgroup = self.counted.iter().filter(|(id, other)| **id != connection && other.netgroup == netgroup);
        let (pending_max, factor) = match netgroup.is_anonymous() {
            true => (ANONYMOUS_PENDING_MAX, ANONYMOUS_FACTOR),
            false => (CONNECTIONS_PER_NETGROUP_MAX, 1),
        };
        let is_full = match peer {
            None => of_netgroup.filter(|(_, other)| other.peer.is_none()).count() >= pending_max,
            Some(_) => {
                let established: Vec<PeerId> = of_netgroup.filter_map(|(_, other)| other.peer).collect();
                let others: HashSet<&PeerId> = established.iter().filter(|other| Some(**other) != peer).collect();
                others.len() >= factor * CONNECTIONS_PER_NETGROUP_MAX
                    || established.len() >= factor * ESTABLISHED_PER_NETGROUP_MAX
            }
        };
        if is_full {
            return Err(ConnectionDenied::new(Refusal::NetgroupFull));
        }
        self.counted.insert(connection, Counted { netgroup, address, peer });
        Ok(())
    }

    /// Checks how often a netgroup has connected to this node.
    fn check_frequency(&mut self, origin: Origin, now: Instant) -> Result<(), ConnectionDenied> {
        if !self.attempts.take(origin.netgroup, Action::Connect, now) {
            return Err(ConnectionDenied::new(Refusal::TooFrequent));
        }
        Ok(())
    }
}

impl NetworkBehaviour for ConnectionGater {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let origin = Origin::inbound(local, remote, &self.tor);
        self.check_frequency(origin, Instant::now())?;
        self.admit(connection, origin, None)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.check_peer(&peer)?;
        self.admit(connection, Origin::inbound(local, remote, &self.tor), Some(peer))?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if let Some(peer) = peer {
            self.check_peer(&peer)?;
        }
        Ok(Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if self.exempt.contains(&connection) {
            return Ok(dummy::ConnectionHandler);
        }
        self.check_peer(&peer)?;
        let origin = Origin::at(address, &self.tor);
        // Inbound strangers must not keep this node from dialling others that are reached the same way.
        if !origin.netgroup.is_some_and(Netgroup::is_anonymous) {
            self.admit(connection, origin, Some(peer))?;
        }
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        let ended = match event {
            FromSwarm::ConnectionClosed(closed) => closed.connection_id,
            FromSwarm::DialFailure(failure) => failure.connection_id,
            FromSwarm::ListenFailure(failure) => failure.connection_id,
            _ => return,
        };
        self.counted.remove(&ended);
        self.exempt.remove(&ended);
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use p2pool_core::config::Config;
    use p2pool_core::params::{ChainParams, Network};
    use p2pool_core::wire::Misbehaviour;

    use super::*;

    const NOW: UnixTime = UnixTime(1_700_000_000);
    /// Connections that a netgroup may make at once, and the time after which it may make another.
    const BURST: usize = 4 * CONNECTIONS_PER_NETGROUP_MAX;
    const INTERVAL: Duration = Duration::from_secs(5);

    fn gater() -> ConnectionGater {
        ConnectionGater::new(Bans::default(), Arc::new(|| NOW), TorAddresses::default())
    }

    fn id(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    /// A connection attempt from an address; why it is refused.
    fn attempt(gater: &mut ConnectionGater, number: usize, from: &str) -> Option<Refusal> {
        let local = "/ip4/192.0.2.1/tcp/9171".parse().unwrap();
        let remote = format!("{from}/tcp/{}", 1_000 + number).parse().unwrap();
        let denied = gater.handle_pending_inbound_connection(id(number), &local, &remote).err()?;
        Some(denied.downcast::<Refusal>().unwrap())
    }

    #[test]
    fn each_netgroup_has_its_own_connection_limit() {
        let mut gater = gater();
        for number in 0..CONNECTIONS_PER_NETGROUP_MAX {
            assert_eq!(attempt(&mut gater, number, &format!("/ip4/8.8.8.{number}")), None);
        }
        assert_eq!(attempt(&mut gater, 100, "/ip4/8.8.8.99"), Some(Refusal::NetgroupFull));
        assert_eq!(attempt(&mut gater, 101, "/ip6/::ffff:8.8.8.99"), Some(Refusal::NetgroupFull));
        assert_eq!(attempt(&mut gater, 102, "/ip4/8.8.9.99"), None);
        gater.counted.remove(&id(3));
        assert_eq!(attempt(&mut gater, 103, "/ip4/8.8.8.99"), None);
        assert_eq!(attempt(&mut gater, 104, "/ip4/8.8.8.99"), Some(Refusal::NetgroupFull));
    }

    /// A connection whose handshake has succeeded; why it is refused.
    fn establish(gater: &mut ConnectionGater, number: usize, from: &str, peer: PeerId) -> Option<Refusal> {
        let local = "/ip4/192.0.2.1/tcp/9171".parse().unwrap();
        let remote = format!("{from}/tcp/{}", 1_000 + number).parse().unwrap();
        let denied = gater.handle_established_inbound_connection(id(number), peer, &local, &remote).err()?;
        Some(denied.downcast::<Refusal>().unwrap())
    }

    #[test]
    fn all_peers_of_a_full_netgroup_may_return_before_their_dead_connections_are_closed() {
        let mut gater = gater();
        let peers: Vec<PeerId> = (0..CONNECTIONS_PER_NETGROUP_MAX).map(|_| PeerId::random()).collect();
        for round in 0..2 {
            for (number, peer) in peers.iter().enumerate() {
                let number = 100 * round + number;
                assert_eq!(attempt(&mut gater, number, "/ip4/8.8.8.8"), None);
                assert_eq!(establish(&mut gater, number, "/ip4/8.8.8.8", *peer), None);
            }
        }
        assert_eq!(attempt(&mut gater, 300, "/ip4/8.8.8.8"), None, "it is not yet known which peer this is");
        assert_eq!(establish(&mut gater, 300, "/ip4/8.8.8.8", PeerId::random()), Some(Refusal::NetgroupFull));
        assert_eq!(gater.counted.len(), 2 * peers.len() + 1);
    }

    #[test]
    fn connections_that_do_not_end_give_a_netgroup_no_more_of_them() {
        let mut gater = gater();
        let peers: Vec<PeerId> = (0..CONNECTIONS_PER_NETGROUP_MAX).map(|_| PeerId::random()).collect();
        for number in 0..ESTABLISHED_PER_NETGROUP_MAX {
            assert_eq!(establish(&mut gater, number, "/ip4/8.8.8.8", peers[number % peers.len()]), None);
        }
        assert_eq!(establish(&mut gater, 100, "/ip4/8.8.8.8", peers[0]), Some(Refusal::NetgroupFull));
        assert_eq!(establish(&mut gater, 101, "/ip4/8.8.9.8", PeerId::random()), None);
        gater.counted.remove(&id(0));
        assert_eq!(establish(&mut gater, 102, "/ip4/8.8.8.8", peers[0]), None);
    }

    #[test]
    fn a_netgroup_that_connects_too_often_has_to_wait() {
        let (mut gater, now) = (gater(), Instant::now());
        for number in 0..BURST {
            assert_eq!(attempt(&mut gater, number, "/ip4/8.8.8.8"), None);
            gater.counted.remove(&id(number));
        }
        assert_eq!(attempt(&mut gater, 100, "/ip4/8.8.8.99"), Some(Refusal::TooFrequent));
        assert_eq!(attempt(&mut gater, 101, "/ip4/8.8.9.8"), None);
        let origin = Origin::at(&"/ip4/8.8.8.8/tcp/1".parse().unwrap(), &TorAddresses::default());
        assert!(gater.check_frequency(origin, now + INTERVAL * 2).is_ok());
        // Outbound connections are not limited in frequency.
        assert!(gater.admit(id(102), origin, Some(PeerId::random())).is_ok());
    }

    #[test]
    fn ipv6_netgroups_are_48_bits_wide() {
        let mut gater = gater();
        for number in 0..CONNECTIONS_PER_NETGROUP_MAX {
            assert_eq!(attempt(&mut gater, number, &format!("/ip6/2001:db8:1:{number}::1")), None);
        }
        assert_eq!(attempt(&mut gater, 100, "/ip6/2001:db8:1:ffff::1"), Some(Refusal::NetgroupFull));
        assert_eq!(attempt(&mut gater, 101, "/ip6/2001:db8:2::1"), None);
    }

    #[test]
    fn own_networks_are_exempt() {
        let mut gater = gater();
        for number in 0..100 {
            assert_eq!(attempt(&mut gater, number, "/ip4/127.0.0.1"), None);
            assert_eq!(attempt(&mut gater, 1_000 + number, "/ip4/192.168.1.2"), None);
        }
    }

    #[test]
    fn strangers_through_tor_have_limits_of_their_own_and_keep_no_dial_from_others() {
        let mut config = Config::for_tests(ChainParams::standard(Network::Regtest), "/nowhere");
        let onion = "/onion3/vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd:9171";
        config.external_addresses = vec![onion.to_owned()];
        let mut gater = gater();
        gater.tor = TorAddresses::new(&config);
        let pending = (0..100).take_while(|number| attempt(&mut gater, *number, "/ip4/127.0.0.1").is_none()).count();
        assert_eq!(pending, ANONYMOUS_PENDING_MAX);
        gater.counted.clear();
        let connected = |number: &usize| establish(&mut gater, *number, "/ip4/127.0.0.1", PeerId::random()).is_none();
        assert_eq!((0..100).take_while(connected).count(), ANONYMOUS_FACTOR * CONNECTIONS_PER_NETGROUP_MAX);
        assert_eq!(establish(&mut gater, 200, "/ip4/8.8.8.8", PeerId::random()), None);
        assert_eq!(establish(&mut gater, 201, "/ip4/192.168.1.2", PeerId::random()), None);
        let (onion, peer) = (onion.parse().unwrap(), PeerId::random());
        let dialled =
            gater.handle_established_outbound_connection(id(202), peer, &onion, Endpoint::Dialer, PortUse::Reuse);
        assert!(dialled.is_ok());
    }

    #[test]
    fn a_graylisted_address_has_one_connection() {
        let (mut gater, one) = (gater(), PeerId::random());
        gater.bans.penalize(PeerId::random(), Some([8, 8, 8, 8].into()), Misbehaviour::FalseChain, NOW);
        assert_eq!(establish(&mut gater, 1, "/ip4/8.8.8.8", one), None);
        assert_eq!(establish(&mut gater, 2, "/ip4/8.8.8.8", PeerId::random()), Some(Refusal::Graylisted));
        assert_eq!(establish(&mut gater, 3, "/ip4/8.8.8.8", one), None, "it replaces its connection");
        assert_eq!(establish(&mut gater, 4, "/ip4/8.8.8.9", PeerId::random()), None);
    }

    #[test]
    fn a_ban_refuses_the_peer_id_and_the_address() {
        let mut gater = gater();
        let peer = PeerId::random();
        let mut misbehave = || gater.bans.penalize(peer, Some([8, 8, 8, 8].into()), Misbehaviour::FalseChain, NOW);
        assert!(misbehave() && misbehave());
        assert_eq!(attempt(&mut gater, 1, "/ip4/8.8.8.8"), Some(Refusal::Banned));
        assert_eq!(attempt(&mut gater, 2, "/ip4/8.8.8.9"), None);
        assert!(gater.check_peer(&peer).is_err());
        assert!(gater.check_peer(&PeerId::random()).is_ok());
    }
}
