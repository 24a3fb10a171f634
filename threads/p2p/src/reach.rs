//! Reachability behind routers: tests of it (AutoNAT), port mapping (UPnP), relays, and holes through two routers (DCUtR).
//!
//! All of it is libp2p's own. The wrappers here keep peers from choosing what this node dials and announces: the driver
//! decides which addresses are announced, and gives hole punching its candidates.

use std::collections::{HashSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::num::NonZeroU32;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use libp2p::core::transport::PortUse;
use libp2p::core::Endpoint;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NewExternalAddrCandidate, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use libp2p::{autonat, dcutr, relay, upnp, Multiaddr, PeerId};
use p2pool_core::token_bucket::Rate;
use thiserror::Error;

use crate::address::{ip_of, is_plain, is_relayed, may_advertise};
use crate::behaviour::INBOUND_MAX;
use crate::guarded::Guarded;
use crate::origin::{Origin, TorAddresses};
use crate::rate_limits::SharedBucket;

/// Peers that this node relays for at most: as many as may be connected. A reservation is an entry in a table.
const RESERVATIONS_MAX: usize = INBOUND_MAX as usize;
/// A reservation lasts as long as the connection that it is made on; this is the longest that the protocol can express
/// without doubt. (If it ended while the peer renews it, libp2p-relay 0.22 could panic.)
const RESERVATION_TIME: Duration = Duration::from_secs(365 * 24 * 3_600);
/// Relayed connections in all. Most last some seconds, until both sides have made a hole.
const CIRCUITS_MAX: usize = 16;
/// Relayed connections that one peer opens: one to each of the others that it wants, see `reachability`.
const CIRCUITS_PER_PEER_MAX: usize = 4;
/// Longest time of a relayed connection. Peers that cannot make a hole open the next.
const CIRCUIT_TIME_MAX: Duration = Duration::from_secs(3_600);
/// Bytes of a relayed connection in both directions. Gossip of shares takes some hundred KB an hour, a found block up to 1 MB.
const CIRCUIT_BYTES_MAX: u64 = 4 << 20;
/// Relayed connections that one peer, or one netgroup, opens at once, and the time until it may open one more: 80 MiB in an hour.
/// A peer opens four when it starts.
const CIRCUITS_BURST: NonZeroU32 = NonZeroU32::new(8).expect("8 > 0");
const CIRCUIT_INTERVAL: Duration = Duration::from_secs(300);
/// Relayed connections that all open: 1 GiB in an hour, if each is used up.
const CIRCUITS: Rate = Rate { burst: 64, interval: Duration::from_secs(20) };

/// Time before the first test: a node has peers by then.
const TEST_DELAY: Duration = Duration::from_secs(5);
/// Time between tests until three in a row had the same result.
const TEST_INTERVAL: Duration = Duration::from_secs(20);
/// Time between tests after that.
const TEST_INTERVAL_LONG: Duration = Duration::from_secs(15 * 60);
/// One peer is asked at most once in this time.
const TEST_INTERVAL_PER_PEER: Duration = Duration::from_secs(60);
/// Tests for others in the same time: each is a dial of the address that the peer has.
const TESTS_FOR_OTHERS_MAX: usize = 30;
const TESTS_PER_PEER_MAX: usize = 2;
/// Ports of a peer that one test dials, one after the other.
const TEST_ADDRESSES_MAX: usize = 4;

/// Addresses at which a peer may ask to be dialled for a hole. libp2p offers up to 20, this node far fewer.
const PUNCH_ADDRESSES_MAX: usize = 20;

/// Dials for holes that are under way at once, an eighth of all. A relayed peer may ask for one after the other, of addresses that
/// never respond.
const PENDING_PUNCHES_MAX: usize = 4;
/// Dials for holes that are remembered: some 100 bytes of each. libp2p-dcutr 0.15 forgets none.
const PUNCHES_REMEMBERED_MAX: usize = 1_024;

/// All that makes this node reachable.
#[derive(NetworkBehaviour)]
pub struct Reach {
    /// Relays for others.
    pub relay: relay::Behaviour,
    /// Has others relay for this node.
    pub relay_client: Guarded<relay::client::Behaviour>,
    /// Turns relayed connections into direct ones.
    pub punch: Guarded<HolePunching>,
    /// Tests whether this node is reachable, and others.
    pub tests: Unannounced<autonat::Behaviour>,
    /// Port mapping.
    pub upnp: Toggle<Unannounced<upnp::tokio::Behaviour>>,
}

/// Limits the relayed connections that one netgroup opens, and all. The library's own limiter counts each of the countless addresses
/// of an IPv6 network, and all that come through Tor as one of an own network.
fn circuit_limiter(tor: TorAddresses) -> impl FnMut(PeerId, &Multiaddr, Instant) -> bool + Send {
    let rate = Rate { burst: CIRCUITS_BURST.get(), interval: CIRCUIT_INTERVAL };
    let mut bucket = SharedBucket::new(CIRCUITS, rate, Instant::now());
    move |_, address, now| bucket.take(Origin::at(address, &tor).netgroup, now)
}

impl Reach {
    /// Must be called inside a tokio runtime.
    pub fn new(our_id: PeerId, relay_client: relay::client::Behaviour, upnp: bool, tor: TorAddresses) -> Self {
        let relay = relay::Config {
            max_reservations: RESERVATIONS_MAX,
            // One connection is in use, others are being closed.
            max_reservations_per_peer: 1,
            reservation_duration: RESERVATION_TIME,
            max_circuits: CIRCUITS_MAX,
            max_circuits_per_peer: CIRCUITS_PER_PEER_MAX,
            max_circuit_duration: CIRCUIT_TIME_MAX,
            max_circuit_bytes: CIRCUIT_BYTES_MAX,
            circuit_src_rate_limiters: Vec::new(),
            ..relay::Config::default()
        };
        let mut relay = relay.circuit_src_per_peer(CIRCUITS_BURST, CIRCUIT_INTERVAL);
        relay.circuit_src_rate_limiters.push(Box::new(circuit_limiter(tor)));
        let mut relay = relay::Behaviour::new(our_id, relay);
        // The driver enables it.
        relay.set_status(Some(relay::Status::Disable));
        let tests = autonat::Config {
            boot_delay: TEST_DELAY,
            retry_interval: TEST_INTERVAL,
            refresh_interval: TEST_INTERVAL_LONG,
            throttle_server_period: TEST_INTERVAL_PER_PEER,
            // The driver names those that this node chose to dial.
            use_connected: false,
            max_peer_addresses: TEST_ADDRESSES_MAX,
            throttle_clients_global_max: TESTS_FOR_OTHERS_MAX,
            throttle_clients_peer_max: TESTS_PER_PEER_MAX,
            throttle_clients_period: TEST_INTERVAL_PER_PEER,
            ..autonat::Config::default()
        };
        Self {
            relay,
            relay_client: Guarded::new(relay_client),
            punch: Guarded::new(HolePunching::new(our_id)),
            tests: Unannounced { inner: autonat::Behaviour::new(our_id, tests), only: None },
            upnp: Toggle::from(
                upnp.then(|| Unannounced { inner: upnp::tokio::Behaviour::default(), only: default_ip() }),
            ),
        }
    }
}

/// Returns this machine's address on the network that leads to the Internet. Others, such as those of containers, are of no
/// use to the router. No packet is sent.
pub fn default_ip() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // A documentation address (RFC 5737).
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

/// A behaviour that neither hears which addresses peers claim to see, nor announces any by itself.
pub struct Unannounced<B> {
    pub inner: B,
    /// The only address of this machine that it hears of; `None` for all.
    only: Option<IpAddr>,
}

impl<B: NetworkBehaviour> NetworkBehaviour for Unannounced<B> {
    type ConnectionHandler = B::ConnectionHandler;
    type ToSwarm = B::ToSwarm;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inner.handle_pending_inbound_connection(connection, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.inner.handle_pending_outbound_connection(connection, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_outbound_connection(connection, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        let is_of_interest = match &event {
            FromSwarm::NewExternalAddrCandidate(_) => false,
            FromSwarm::NewListenAddr(new) => self.only.is_none_or(|only| ip_of(new.addr) == Some(only)),
            _ => true,
        };
        if is_of_interest {
            self.inner.on_swarm_event(event);
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        self.inner.on_connection_handler_event(peer, connection, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            match self.inner.poll(cx) {
                Poll::Ready(ToSwarm::ExternalAddrConfirmed(_) | ToSwarm::ExternalAddrExpired(_)) => {}
                other => return other,
            }
        }
    }
}

/// Why this node makes no hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadPunch {
    #[error("the peer asks for a dial of addresses that are not its own on the Internet")]
    Addresses,
    #[error("{PENDING_PUNCHES_MAX} dials for holes are under way")]
    TooMany,
}

/// Hole punching that dials only addresses on the Internet, and forgets old attempts.
pub struct HolePunching {
    our_id: PeerId,
    inner: dcutr::Behaviour,
    /// Dials that it has asked for. It keeps something of each for ever, so it starts again after [`PUNCHES_REMEMBERED_MAX`].
    asked: usize,
    /// Direct connections that it knows. It must not hear of the end of others.
    known: HashSet<ConnectionId>,
    /// The addresses that it offers to peers, those heard last at the end.
    candidates: VecDeque<Multiaddr>,
    /// Its dials and the connections that came of them.
    dials: HashSet<ConnectionId>,
    /// Those of them that are under way.
    pending: HashSet<ConnectionId>,
}

impl HolePunching {
    fn new(our_id: PeerId) -> Self {
        Self {
            our_id,
            inner: dcutr::Behaviour::new(our_id),
            asked: 0,
            known: HashSet::new(),
            candidates: VecDeque::new(),
            dials: HashSet::new(),
            pending: HashSet::new(),
        }
    }

    /// Starts again without what it remembers of old attempts. Those under way go on; no further try follows them.
    fn forget_attempts(&mut self) {
        self.inner = dcutr::Behaviour::new(self.our_id);
        self.asked = 0;
        self.known.clear();
        for address in &self.candidates {
            let event = NewExternalAddrCandidate { addr: address };
            self.inner.on_swarm_event(FromSwarm::NewExternalAddrCandidate(event));
        }
    }

    /// Whether a connection was dialled to make a hole.
    pub fn has_dialled(&self, connection: ConnectionId) -> bool {
        self.dials.contains(&connection)
    }

    /// Takes an address at which a peer sees this node.
    pub fn add_candidate(&mut self, address: &Multiaddr) {
        self.candidates.retain(|known| known != address);
        self.candidates.push_back(address.clone());
        if self.candidates.len() > PUNCH_ADDRESSES_MAX {
            self.candidates.pop_front();
        }
        let event = NewExternalAddrCandidate { addr: address };
        self.inner.on_swarm_event(FromSwarm::NewExternalAddrCandidate(event));
    }
}

/// Whether a peer may have this node dial these addresses.
fn may_punch(addresses: &[Multiaddr]) -> bool {
    let is_good = |address: &Multiaddr| is_plain(address) && may_advertise(None, address);
    addresses.len() <= PUNCH_ADDRESSES_MAX && addresses.iter().all(is_good)
}

impl NetworkBehaviour for HolePunching {
    type ConnectionHandler = <dcutr::Behaviour as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = dcutr::Event;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if !is_relayed(local) {
            self.known.insert(connection);
        }
        self.inner.handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        _: Option<PeerId>,
        addresses: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if self.has_dialled(connection) {
            if !may_punch(addresses) {
                return Err(ConnectionDenied::new(BadPunch::Addresses));
            }
            if self.pending.len() >= PENDING_PUNCHES_MAX {
                return Err(ConnectionDenied::new(BadPunch::TooMany));
            }
            self.pending.insert(connection);
        }
        Ok(Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.pending.remove(&connection);
        if !is_relayed(address) {
            self.known.insert(connection);
        }
        self.inner.handle_established_outbound_connection(connection, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match &event {
            FromSwarm::NewExternalAddrCandidate(_) => return,
            FromSwarm::ConnectionClosed(closed) => {
                self.dials.remove(&closed.connection_id);
                if !self.known.remove(&closed.connection_id) && !closed.endpoint.is_relayed() {
                    return;
                }
                false
            }
            FromSwarm::DialFailure(failure) => {
                self.pending.remove(&failure.connection_id);
                self.dials.remove(&failure.connection_id)
            }
            _ => false,
        };
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        self.inner.on_connection_handler_event(peer, connection, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        let event = self.inner.poll(cx);
        match &event {
            Poll::Ready(ToSwarm::Dial { opts }) => {
                self.dials.insert(opts.connection_id());
                self.asked += 1;
            }
            // Nothing of it waits to be done.
            Poll::Pending if self.asked >= PUNCHES_REMEMBERED_MAX => self.forget_attempts(),
            Poll::Ready(_) | Poll::Pending => {}
        }
        event
    }
}

#[cfg(test)]
mod tests {
    use libp2p::core::ConnectedPoint;
    use libp2p::swarm::ConnectionClosed;
    use p2pool_core::config::Config;
    use p2pool_core::params::{ChainParams, Network};

    use super::*;

    #[test]
    fn holes_are_made_only_to_addresses_on_the_internet() {
        let at = |text: &str| vec![text.parse::<Multiaddr>().unwrap()];
        assert!(may_punch(&at("/ip4/8.8.8.8/tcp/9171")));
        assert!(may_punch(&at("/ip6/2a00::1/tcp/9171")));
        for bad in [
            "/ip4/192.168.1.1/tcp/80",
            "/ip4/127.0.0.1/tcp/8332",
            "/ip4/224.0.0.1/tcp/80",
            "/ip4/8.8.8.8/udp/53",
            "/dns4/example.org/tcp/80",
        ] {
            assert!(!may_punch(&at(bad)), "{bad}");
            assert!(!may_punch(&[at("/ip4/8.8.8.8/tcp/9171"), at(bad)].concat()), "{bad}");
        }
        assert!(!may_punch(&vec![at("/ip4/8.8.8.8/tcp/9171"); PUNCH_ADDRESSES_MAX + 1].concat()));
    }

    #[test]
    fn one_netgroup_opens_few_circuits_and_all_of_them_not_many() {
        let (mut limiter, now) = (circuit_limiter(TorAddresses::default()), Instant::now());
        let mut opened = |addresses: Vec<String>| {
            let mut is_opened = |address: &String| limiter(PeerId::random(), &address.parse().unwrap(), now);
            addresses.iter().filter(|address| is_opened(address)).count()
        };
        // A subscriber's /64 has countless addresses.
        let of_one = |number: u32| format!("/ip6/2a00:1:2:{:x}::{number:x}/tcp/1", number % 7);
        assert_eq!(opened((0..1_000).map(of_one).collect()), 8);
        let of_many = |number: u32| format!("/ip4/8.{}.{}.8/tcp/1", number / 250, number % 250);
        assert_eq!(opened((0..5_000).map(of_many).collect()), 64 - 8);
        assert!(limiter(PeerId::random(), &"/ip4/9.9.9.9/tcp/1".parse().unwrap(), now + CIRCUITS.interval));
    }

    #[test]
    fn strangers_through_tor_open_no_more_circuits_than_their_netgroup_may() {
        let mut config = Config::for_tests(ChainParams::standard(Network::Regtest), "/nowhere");
        let onion = "/onion3/vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd:9171";
        config.external_addresses = vec![onion.to_owned()];
        let (mut limiter, now) = (circuit_limiter(TorAddresses::new(&config)), Instant::now());
        let mut opened = |address: &str| {
            let address = address.parse().unwrap();
            (0..1_000).filter(|_| limiter(PeerId::random(), &address, now)).count()
        };
        assert_eq!(opened("/ip4/127.0.0.1/tcp/40000"), 16);
        assert_eq!(opened("/ip4/8.8.8.8/tcp/1"), 8);
        assert_eq!(opened("/ip4/192.168.1.7/tcp/1"), 64 - 16 - 8, "refused ones have taken none");
    }

    #[test]
    fn hole_punching_forgets_old_attempts_and_knows_the_connections_that_end_later() {
        let (mut punch, peer) = (HolePunching::new(PeerId::random()), PeerId::random());
        let (address, id): (Multiaddr, _) = ("/ip4/8.8.8.8/tcp/9171".parse().unwrap(), ConnectionId::new_unchecked(1));
        let endpoint = ConnectedPoint::Listener { local_addr: address.clone(), send_back_addr: address.clone() };
        punch.add_candidate(&address);
        drop(punch.handle_established_inbound_connection(id, peer, &address, &address).unwrap());
        punch.asked = PUNCHES_REMEMBERED_MAX;
        let waker = futures::task::noop_waker();
        assert!(punch.poll(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!((punch.asked, punch.candidates.len()), (0, 1));
        // The library would panic at the end of a connection that it does not know.
        let closed = ConnectionClosed {
            peer_id: peer,
            connection_id: id,
            endpoint: &endpoint,
            cause: None,
            remaining_established: 0,
        };
        punch.on_swarm_event(FromSwarm::ConnectionClosed(closed));
        for number in 0..100 {
            punch.add_candidate(&format!("/ip4/8.8.8.{number}/tcp/9171").parse().unwrap());
        }
        assert_eq!(punch.candidates.len(), PUNCH_ADDRESSES_MAX);
    }
}
