//! The DHT by which nodes find each other, with a watch on what it is told.

use std::net::IpAddr;
use std::task::{Context, Poll};

use libp2p::core::transport::PortUse;
use libp2p::core::Endpoint;
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig};
use libp2p::kad::{self, Mode};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use std::time::Duration;

use crate::address::{ip_of, is_plain, may_advertise};

/// The DHT looks for nodes near ourselves, and so fills its table, this often.
const REFRESH: Duration = Duration::from_secs(60);
/// Bytes of a DHT packet: twenty nodes with [`ADDRESSES_PER_PEER_MAX`] addresses each, of 70 bytes at most.
const PACKET_LEN_MAX: usize = 16 << 10;
/// Addresses of one node, here and in what others tell of it.
pub const ADDRESSES_PER_PEER_MAX: usize = 8;

type Inner = kad::Behaviour<MemoryStore>;

/// Kademlia with bounds on what one node may have it tell others, and on where others may have us dial.
pub struct Dht {
    inner: Inner,
    /// Where the connected peers are.
    connected: Vec<(ConnectionId, IpAddr)>,
}

impl Dht {
    /// The DHT of this name.
    pub fn new(our_id: PeerId, name: StreamProtocol, is_server: bool) -> Self {
        let mut config = kad::Config::new(name);
        config
            .set_periodic_bootstrap_interval(Some(REFRESH))
            .set_max_packet_size(PACKET_LEN_MAX)
            // Whom we know is told by identify; and nothing is ever stored: the DHT only finds nodes.
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
        Self { inner, connected: Vec::new() }
    }

    /// A node can be reached at these addresses and at no others. The library's own list of a node only grows.
    pub fn set_addresses(&mut self, peer: PeerId, addresses: &[Multiaddr]) {
        let whole = |address: &Multiaddr| address.clone().with_p2p(peer).ok();
        let wanted: Vec<Multiaddr> = addresses.iter().take(ADDRESSES_PER_PEER_MAX).filter_map(whole).collect();
        let known = self.addresses(&peer);
        if known.len() == wanted.len() && known.iter().all(|address| wanted.contains(address)) {
            return;
        }
        self.inner.remove_peer(&peer);
        for address in wanted {
            self.inner.add_address(&peer, address);
        }
    }

    /// Forgets a node.
    pub fn forget(&mut self, peer: &PeerId) {
        self.inner.remove_peer(peer);
    }

    /// The addresses of a node in the table.
    fn addresses(&mut self, peer: &PeerId) -> Vec<Multiaddr> {
        let Some(bucket) = self.inner.kbucket(*peer) else { return Vec::new() };
        let entry = bucket.iter().find(|entry| entry.node.key.preimage() == peer);
        entry.map(|entry| entry.node.value.iter().cloned().collect()).unwrap_or_default()
    }

    /// Whether to dial where the DHT says that a node is. Who said so is not known by then: any of those we are connected
    /// with, so one of them at least must be somebody who may.
    fn is_worth_dialling(&self, address: &Multiaddr) -> bool {
        is_plain(address) && self.connected.iter().any(|(_, from)| may_advertise(Some(*from), address))
    }
}

impl NetworkBehaviour for Dht {
    type ConnectionHandler = <Inner as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = kad::Event;

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
        let mut told = self.inner.handle_pending_outbound_connection(connection, peer, addresses, role)?;
        // What is in the table has been looked at, see `driver::discovery`.
        let known = peer.map(|peer| self.addresses(&peer)).unwrap_or_default();
        told.retain(|address| known.contains(address) || self.is_worth_dialling(address));
        told.truncate(ADDRESSES_PER_PEER_MAX);
        Ok(told)
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
                let ip = ip_of(made.endpoint.get_remote_address());
                self.connected.extend(ip.map(|ip| (made.connection_id, ip)));
            }
            FromSwarm::ConnectionClosed(closed) => self.connected.retain(|(id, _)| *id != closed.connection_id),
            _ => {}
        }
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        self.inner.on_connection_handler_event(peer, connection, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.inner.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dht(is_server: bool) -> Dht {
        Dht::new(PeerId::random(), StreamProtocol::new("/test"), is_server)
    }

    fn at(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn only_who_can_be_reached_answers_unless_the_operator_says_so() {
        assert_eq!(dht(false).inner.mode(), Mode::Client);
        assert_eq!(dht(true).inner.mode(), Mode::Server);
    }

    #[test]
    fn what_a_node_says_of_itself_takes_the_place_of_what_it_said() {
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
        let longest = at("/ip6/2001:db8:ffff:ffff:ffff:ffff:ffff:ffff/tcp/65535").with_p2p(PeerId::random()).unwrap();
        // Field numbers and lengths of the protobuf, the node's id and kind of connection included.
        let node = ADDRESSES_PER_PEER_MAX * (longest.len() + 4) + 64;
        assert!(20 * node < PACKET_LEN_MAX, "{}", 20 * node);
    }

    fn connect(dht: &mut Dht, number: usize, from: &str) {
        let id = ConnectionId::new_unchecked(number);
        dht.connected.push((id, from.parse().unwrap()));
    }

    #[test]
    fn strangers_send_us_neither_into_our_own_network_nor_to_name_servers() {
        let mut dht = dht(false);
        connect(&mut dht, 1, "8.8.8.8");
        assert!(dht.is_worth_dialling(&at("/ip4/9.9.9.9/tcp/9171")));
        for bad in
            ["/ip4/192.168.1.1/tcp/80", "/ip4/127.0.0.1/tcp/8332", "/dns4/example.org/tcp/80", "/ip4/9.9.9.9/udp/53"]
        {
            assert!(!dht.is_worth_dialling(&at(bad)), "{bad}");
        }
        connect(&mut dht, 2, "192.168.1.7");
        assert!(dht.is_worth_dialling(&at("/ip4/192.168.1.1/tcp/80")));
        assert!(!dht.is_worth_dialling(&at("/ip4/127.0.0.1/tcp/8332")));
    }
}
