//! The DHT by which nodes discover each other, with limits on what it learns.
//!
//! The library dials every node that it hears of, and its connections stay. Here it asks only the peers that are connected;
//! the others are reported, and the dialer decides.

use std::collections::{HashMap, VecDeque};
use std::task::{ready, Context, Poll};
use std::time::{Duration, Instant};

use libp2p::core::transport::PortUse;
use libp2p::core::Endpoint;
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig};
use libp2p::kad::{self, Mode};
use libp2p::swarm::behaviour::DialFailure;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{
    CloseConnection, ConnectionDenied, ConnectionId, DialError, FromSwarm, NetworkBehaviour, NotifyHandler, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use p2pool_core::token_bucket::{Rate, TokenBucket};

use crate::address::{is_onion, is_plain, is_relayed, may_advertise, without_peer_id};
use crate::origin::{Origin, TorAddresses};
use crate::rate_limits::{Action, RateLimiter, SharedBucket};

/// Interval of lookups of this node's own id, which fill the routing table.
const REFRESH: Duration = Duration::from_secs(60);
/// Bytes of a DHT packet: twenty nodes with [`ADDRESSES_PER_PEER_MAX`] addresses of at most 80 bytes each.
const PACKET_LEN_MAX: usize = 16 << 10;
/// Messages that a connection may send whatever others send: twice what a node needs that looks for others.
const OWN: Rate = Rate { burst: 60, interval: Duration::from_secs(3) };
/// Messages that all connections may send beyond that. A response has up to [`PACKET_LEN_MAX`], mostly a fifth of it.
const BEYOND: Rate = Rate { burst: 1_200, interval: Duration::from_millis(50) };
/// Those of one netgroup: an eighth, so that few netgroups do not send what all may.
const BEYOND_OF_NETGROUP: Rate = Rate { burst: 150, interval: Duration::from_millis(400) };
/// Addresses kept per node.
pub const ADDRESSES_PER_PEER_MAX: usize = 8;

type Inner = kad::Behaviour<MemoryStore>;
/// What the library's handler of a connection reports.
type Message = THandlerOutEvent<Inner>;

/// Kademlia with limits on the addresses that a node may spread and on those that peers can make this node dial.
pub struct Dht {
    inner: Inner,
    /// The connected peers.
    connected: HashMap<ConnectionId, Origin>,
    /// Addresses of hidden services are dialled, by a proxy.
    dials_onion: bool,
    tor: TorAddresses,
    /// Nodes to be reported.
    heard: VecDeque<Heard>,
    /// Connections to be closed.
    closing: VecDeque<(PeerId, ConnectionId)>,
    connection_limiters: HashMap<ConnectionId, (RateLimiter, TokenBucket<Instant>)>,
    beyond: SharedBucket,
    /// When this node first responded to a request on a connection.
    responded_at: HashMap<ConnectionId, Instant>,
}

/// A node that the DHT has heard of, and is not connected.
#[derive(Debug)]
pub struct Heard {
    pub peer: PeerId,
    pub addresses: Vec<Multiaddr>,
}

/// An event of [`Dht`].
#[derive(Debug)]
pub enum DhtEvent {
    /// A node to dial.
    Heard(Heard),
    /// An event of the library.
    Inner(Box<kad::Event>),
}

impl Dht {
    /// Joins the DHT of this name, as a server from the start or once an external address is known.
    pub fn new(our_id: PeerId, name: StreamProtocol, is_server: bool, dials_onion: bool, tor: TorAddresses) -> Self {
        let mut config = kad::Config::new(name);
        config
            .set_periodic_bootstrap_interval(Some(REFRESH))
            .set_max_packet_size(PACKET_LEN_MAX)
            // Addresses come from identify. No records are stored: the DHT only finds nodes.
            .set_kbucket_inserts(kad::BucketInserts::Manual)
            .set_record_filtering(kad::StoreInserts::FilterBoth)
            .set_provider_publication_interval(None)
            .set_replication_interval(None)
            .set_publication_interval(None);
        let nothing = MemoryStoreConfig { max_records: 0, max_provided_keys: 0, ..MemoryStoreConfig::default() };
        let mut inner = Inner::with_config(our_id, MemoryStore::with_config(our_id, nothing), config);
        if is_server {
            inner.set_mode(Some(Mode::Server));
        }
        Self {
            inner,
            connected: HashMap::new(),
            dials_onion,
            tor,
            heard: VecDeque::new(),
            closing: VecDeque::new(),
            connection_limiters: HashMap::new(),
            beyond: SharedBucket::new(BEYOND, BEYOND_OF_NETGROUP, Instant::now()),
            responded_at: HashMap::new(),
        }
    }

    /// Returns when this node first responded to a request on a connection: since then the peer knows other nodes.
    pub fn responded_at(&self, connection: ConnectionId) -> Option<Instant> {
        self.responded_at.get(&connection).copied()
    }

    /// Replaces the addresses of a node, whereas the library only adds to them.
    pub fn set_addresses(&mut self, peer: PeerId, addresses: &[Multiaddr]) {
        let whole = |address: &Multiaddr| address.clone().with_p2p(peer).ok();
        let wanted: Vec<Multiaddr> = addresses.iter().take(ADDRESSES_PER_PEER_MAX).filter_map(whole).collect();
        let known = self.addresses(&peer);
        if known.len() == wanted.len() && known.iter().all(|address| wanted.contains(address)) {
            return;
        }
        // A new entry of the table has the library look for others at once, so the old one is changed.
        for address in &wanted {
            self.inner.add_address(&peer, address.clone());
        }
        for address in known.iter().filter(|address| !wanted.contains(address)) {
            self.inner.remove_address(&peer, address);
        }
    }

    /// Removes a node.
    pub fn remove(&mut self, peer: &PeerId) {
        self.inner.remove_peer(peer);
    }

    /// Returns the addresses of a node in the routing table.
    fn addresses(&mut self, peer: &PeerId) -> Vec<Multiaddr> {
        let Some(bucket) = self.inner.kbucket(*peer) else { return Vec::new() };
        let entry = bucket.iter().find(|entry| entry.node.key.preimage() == peer);
        entry.map(|entry| entry.node.value.iter().cloned().collect()).unwrap_or_default()
    }

    /// Whether to dial an address that a DHT lookup returned. It is not known which peer it came from, so at least one
    /// connected peer must be allowed to advertise it.
    fn may_dial(&self, address: &Multiaddr) -> bool {
        if is_onion(address) {
            return self.dials_onion;
        }
        is_plain(address) && self.connected.values().any(|from| from.ip.is_some() && may_advertise(from.ip, address))
    }

    /// Takes a token of a connection, and one of its netgroup and of all for what is beyond [`OWN`]. False if one has none: what
    /// the peer sent is ignored, and because the library would keep the stream of a request without a response, the connection is
    /// closed. What others send closes none that sends little.
    fn admit(&mut self, peer: PeerId, connection: ConnectionId, now: Instant) -> bool {
        let netgroup = self.connected.get(&connection).and_then(|origin| origin.netgroup);
        let new = || (RateLimiter::new(1, now), TokenBucket::new(OWN, now));
        let (limiter, own) = self.connection_limiters.entry(connection).or_insert_with(new);
        let is_admitted = limiter.take(Action::Dht, now) && (own.take(now) || self.beyond.take(netgroup, now));
        if !is_admitted && !self.closing.contains(&(peer, connection)) {
            log::debug!("peer {peer} is disconnected: too many messages of the DHT");
            self.closing.push_back((peer, connection));
        }
        is_admitted
    }

    /// Returns the addresses of a node that may be dialled.
    fn addresses_to_dial(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        let mut addresses = self.inner.handle_pending_outbound_connection(connection, peer, addresses, role)?;
        // `driver::discovery` has checked the addresses in the routing table.
        let known = peer.map(|peer| self.addresses(&peer)).unwrap_or_default();
        addresses.retain(|address| (known.contains(address) && !is_onion(address)) || self.may_dial(address));
        addresses.truncate(ADDRESSES_PER_PEER_MAX);
        Ok(addresses)
    }

    /// Reports a node that the library would dial, and ends that dial.
    fn report(&mut self, dial: &DialOpts) {
        let Some(peer) = dial.get_peer_id() else { return };
        let connection_id = dial.connection_id();
        let addresses = self.addresses_to_dial(connection_id, Some(peer), &[], Endpoint::Dialer).unwrap_or_default();
        if !addresses.is_empty() {
            let plain = addresses.iter().map(without_peer_id).collect();
            self.heard.push_back(Heard { peer, addresses: plain });
        }
        let failure = DialFailure { peer_id: Some(peer), error: &DialError::Aborted, connection_id };
        self.inner.on_swarm_event(FromSwarm::DialFailure(failure));
    }
}

/// Whether a message ends a request of this node, which decides how many there are. The handler reports none without one.
const fn is_response(message: &Message) -> bool {
    matches!(message, Message::FindNodeRes { .. } | Message::QueryError { .. })
}

impl NetworkBehaviour for Dht {
    type ConnectionHandler = <Inner as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = DhtEvent;

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
        self.addresses_to_dial(connection, peer, addresses, role)
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
        match &event {
            FromSwarm::ConnectionEstablished(made) => {
                self.connected.insert(made.connection_id, Origin::of(made.endpoint, &self.tor));
            }
            FromSwarm::ConnectionClosed(closed) => {
                self.connected.remove(&closed.connection_id);
                self.connection_limiters.remove(&closed.connection_id);
                self.responded_at.remove(&closed.connection_id);
            }
            // A node that is reachable only through relays would cost them more than it is worth as a server.
            FromSwarm::ExternalAddrConfirmed(confirmed) if is_relayed(confirmed.addr) => return,
            _ => {}
        }
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        if is_response(&event) || self.admit(peer, connection, Instant::now()) {
            self.inner.on_connection_handler_event(peer, connection, event);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<DhtEvent, THandlerInEvent<Self>>> {
        loop {
            if let Some((peer_id, connection)) = self.closing.pop_front() {
                let connection = CloseConnection::One(connection);
                return Poll::Ready(ToSwarm::CloseConnection { peer_id, connection });
            }
            if let Some(heard) = self.heard.pop_front() {
                return Poll::Ready(ToSwarm::GenerateEvent(DhtEvent::Heard(heard)));
            }
            match ready!(self.inner.poll(cx)) {
                ToSwarm::Dial { opts } => self.report(&opts),
                event => {
                    // Of what the library sends, responses alone name the connection, and its rare changes of mode.
                    if let ToSwarm::NotifyHandler { handler: NotifyHandler::One(connection), .. } = &event {
                        self.responded_at.entry(*connection).or_insert_with(Instant::now);
                    }
                    return Poll::Ready(event.map_out(|event| DhtEvent::Inner(Box::new(event))));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dht(is_server: bool) -> Dht {
        Dht::new(PeerId::random(), StreamProtocol::new("/test"), is_server, false, TorAddresses::default())
    }

    fn at(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_node_is_a_dht_client_unless_it_is_configured_as_server() {
        assert_eq!(dht(false).inner.mode(), Mode::Client);
        assert_eq!(dht(true).inner.mode(), Mode::Server);
    }

    #[test]
    fn new_addresses_of_a_node_replace_the_old_ones() {
        let (mut dht, peer) = (dht(false), PeerId::random());
        for round in 0..100_u8 {
            let addresses: Vec<Multiaddr> =
                (0..=ADDRESSES_PER_PEER_MAX).map(|n| at(&format!("/ip4/9.9.{round}.{n}/tcp/1"))).collect();
            dht.set_addresses(peer, &addresses);
            let expected: Vec<Multiaddr> =
                addresses[..ADDRESSES_PER_PEER_MAX].iter().map(|a| a.clone().with_p2p(peer).unwrap()).collect();
            assert_eq!(dht.addresses(&peer), expected);
        }
        dht.set_addresses(peer, &[]);
        assert!(dht.addresses(&peer).is_empty());
    }

    #[test]
    fn twenty_nodes_with_all_their_addresses_fit_a_packet() {
        let onion = "vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd";
        let longest = at(&format!("/onion3/{onion}:65535")).with_p2p(PeerId::random()).unwrap();
        // Includes field numbers and lengths of the protobuf, the node's id and its kind of connection.
        let node = ADDRESSES_PER_PEER_MAX * (longest.len() + 4) + 64;
        assert!(20 * node < PACKET_LEN_MAX, "{}", 20 * node);
    }

    fn connect(dht: &mut Dht, number: usize, from: &str) {
        let origin = Origin::at(&at(&format!("/ip4/{from}/tcp/1")), &TorAddresses::default());
        dht.connected.insert(ConnectionId::new_unchecked(number), origin);
    }

    #[test]
    fn public_peers_cannot_make_this_node_dial_own_networks_or_names() {
        let mut dht = dht(false);
        connect(&mut dht, 1, "8.8.8.8");
        assert!(dht.may_dial(&at("/ip4/9.9.9.9/tcp/9171")));
        for bad in
            ["/ip4/192.168.1.1/tcp/80", "/ip4/127.0.0.1/tcp/8332", "/dns4/example.org/tcp/80", "/ip4/9.9.9.9/udp/53"]
        {
            assert!(!dht.may_dial(&at(bad)), "{bad}");
        }
        let onion = at("/onion3/vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd:9171");
        assert!(!dht.may_dial(&onion));
        dht.dials_onion = true;
        assert!(dht.may_dial(&onion));
        connect(&mut dht, 2, "192.168.1.7");
        assert!(dht.may_dial(&at("/ip4/192.168.1.1/tcp/80")));
        assert!(!dht.may_dial(&at("/ip4/127.0.0.1/tcp/8332")));
    }

    #[test]
    fn a_connection_and_its_netgroup_may_send_so_much() {
        let (mut dht, peer, now) = (dht(true), PeerId::random(), Instant::now());
        let mut taken_by = |number: usize, from: &str| {
            connect(&mut dht, number, from);
            (0..1_000).take_while(|_| dht.admit(peer, ConnectionId::new_unchecked(number), now)).count()
        };
        assert_eq!(taken_by(1, "192.168.1.7"), 600);
        let mut beyond = |numbers: std::ops::Range<usize>, from: fn(usize) -> String| -> usize {
            let taken: Vec<usize> = numbers.map(|number| taken_by(number, &from(number))).collect();
            assert!(taken.iter().all(|taken| *taken >= 60), "{taken:?}");
            taken.iter().map(|taken| taken - 60).sum()
        };
        let of_all = 1_200 - (600 - 60);
        assert_eq!(beyond(2..20, |_| "8.8.8.8".to_owned()), 150);
        assert_eq!(beyond(20..50, |number| format!("8.8.{number}.8")), of_all - 150);
        assert_eq!(dht.closing.len(), 49, "each is closed, once");
    }

    #[test]
    fn two_netgroups_do_not_take_from_others_what_all_may_send() {
        let (mut dht, now) = (dht(true), Instant::now());
        let mut sends = |number: usize, from: &str, messages: usize, now: Instant| {
            connect(&mut dht, number, from);
            let (peer, connection) = (PeerId::random(), ConnectionId::new_unchecked(number));
            (0..messages).all(|_| dht.admit(peer, connection, now))
        };
        for second in 0..60 {
            let now = now + Duration::from_secs(second);
            for number in 1..=16 {
                sends(number, if number % 2 == 0 { "8.8.8.8" } else { "9.9.9.9" }, 600, now);
            }
        }
        assert!(sends(17, "7.7.7.7", 60 + 150, now + Duration::from_secs(60)), "its connection stays");
    }

    #[test]
    fn strangers_through_tor_and_through_relays_do_not_take_from_others_what_all_may_send() {
        let (mut dht, now) = (dht(true), Instant::now());
        let mut sends = |number: usize, netgroup, messages: usize, now: Instant| {
            let (peer, connection) = (PeerId::random(), ConnectionId::new_unchecked(number));
            dht.connected.insert(connection, Origin { ip: None, netgroup });
            (0..messages).all(|_| dht.admit(peer, connection, now))
        };
        use p2pool_core::netgroup::Netgroup;
        let strangers = [Netgroup::Tor, Netgroup::Relayed];
        for second in 0..60 {
            for number in 1..=4 {
                sends(number, Some(strangers[number % 2]), 600, now + Duration::from_secs(second));
            }
        }
        let honest = Netgroup::of([7, 7, 7, 7].into());
        assert!(sends(17, honest, 60 + 150, now + Duration::from_secs(60)), "its connection stays");
    }

    #[test]
    fn responses_to_this_node_close_no_connection() {
        let (mut dht, peer) = (dht(false), PeerId::random());
        connect(&mut dht, 1, "8.8.8.8");
        let (connection, query_id) = (ConnectionId::new_unchecked(1), dht.inner.get_closest_peers(peer));
        while dht.admit(peer, connection, Instant::now()) {}
        dht.closing.clear();
        for _ in 0..1_000 {
            let response = Message::FindNodeRes { closer_peers: Vec::new(), query_id };
            dht.on_connection_handler_event(peer, connection, response);
        }
        assert!(dht.closing.is_empty());
    }

    #[test]
    fn what_others_of_a_netgroup_did_closes_no_connection_of_a_peer() {
        let (mut dht, now) = (dht(true), Instant::now());
        let mut sent_by = |number: usize, messages: usize| {
            connect(&mut dht, number, "8.8.8.8");
            let (peer, connection) = (PeerId::random(), ConnectionId::new_unchecked(number));
            (0..messages).all(|_| dht.admit(peer, connection, now))
        };
        // Together they send all that their netgroup may.
        assert!((1..=8).any(|number| !sent_by(number, 600)));
        assert!(sent_by(9, 60), "responses to this node perhaps");
        assert!(!sent_by(9, 1));
    }
}
