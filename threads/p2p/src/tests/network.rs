//! Discovery, reconnects, separation of chains, and the stop of a node.

use std::time::{Duration, Instant};

use libp2p::Multiaddr;
use p2pool_channels::InboxFull;
use p2pool_core::node::NetworkCommand;
use p2pool_core::params::ChainParams;
use p2pool_core::status::{Direction, PeerDiscovery};
use p2pool_core::wire::Misbehaviour;
use p2pool_test_bitcoind::{skip, Port};

use super::scripted_peer::{connect, requesting, Names, PeerConfig, ScriptedPeer};
use super::support::{params, read, share, until, Start, TestNode};
use crate::driver::PEERS_FILE;
use crate::peers::InboundSlots;

#[test]
fn a_third_node_discovers_the_second_through_the_bootnode() {
    let boot = TestNode::start(&[]);
    let second = TestNode::start(&[&boot.address]);
    second.await_peer(&boot.id());
    let third = TestNode::start(&[&boot.address]);
    third.await_peer(&second.id());
    second.await_peer(&third.id());
}

#[test]
fn the_dht_gives_no_node_more_outbound_connections_than_it_wants() {
    let boot = TestNode::start(&[]);
    let nodes: Vec<TestNode> = (0..20).map(|_| TestNode::start(&[&boot.address])).collect();
    let count = |node: &TestNode, is_counted: fn(Direction) -> bool| {
        node.status.load().peers.iter().filter(|peer| is_counted(peer.direction)).count()
    };
    until("all nodes to have enough connections", || nodes.iter().all(|node| count(node, |_| true) > 8).then_some(()));
    let outbound: Vec<usize> =
        nodes.iter().map(|node| count(node, |direction| direction == Direction::Outbound)).collect();
    assert!(outbound.iter().all(|count| *count <= nodes[0].start.config.max_outbound), "{outbound:?}");
}

#[test]
fn a_new_node_at_a_full_bootnode_discovers_others_and_is_evicted() {
    // It leaves because it knows others, not because its time is over.
    let slots = InboundSlots { permanent: 1, temporary: 8, temporary_for: Duration::from_secs(3_600) };
    let boot = Start { slots, ..Start::with(&[]) }.go();
    let second = TestNode::start(&[&boot.address]);
    second.await_peer(&boot.id());
    let third = TestNode::start(&[&boot.address]);
    third.await_peer(&second.id());
    third.await_no_peer(&boot.id());
    assert!(third.has_peer(&second.id()) && second.has_peer(&boot.id()));
}

#[test]
fn the_status_shows_how_a_node_finds_peers() {
    let discovery = |start: &Start| {
        let (p2p, _inbox) = start.open().unwrap();
        let status = p2p.status().load_full();
        assert_eq!(p2p.looks_for_peers(), status.discovery.any());
        status.discovery
    };
    let mut start = Start::with(&[]);
    assert_eq!(discovery(&start), PeerDiscovery::default());
    start.config.mdns = true;
    assert_eq!(discovery(&start), PeerDiscovery { mdns: true, ..PeerDiscovery::default() });

    let one = TestNode::start(&[]);
    let two = TestNode::start(&[&one.address]);
    // A peer that was found is known from then on.
    until("each node to know the other", || {
        let (one, two) = (one.status.load().discovery, two.status.load().discovery);
        (one.known && two.bootnodes).then_some(())
    });
    assert!(!one.status.load().discovery.bootnodes);
}

#[test]
fn the_status_shows_the_connected_peers() {
    let mut start = Start::with(&[]);
    start.config.dht_server = true;
    let one = start.go();
    let two = TestNode::start(&[&one.address]);
    let seen = until("agent and latency of the peer", || {
        let status = two.status.load();
        let peer = status.peers.first()?.clone();
        (!peer.agent.is_empty() && peer.latency_us.is_some()).then_some(peer)
    });
    assert_eq!(*seen.id, *one.id());
    assert_eq!(seen.direction, Direction::Outbound);
    assert!(seen.agent.starts_with("p2pool/"), "{}", seen.agent);
    assert_eq!(format!("{}/p2p/{}", seen.address, one.id()), one.address.to_string());
    assert!(seen.latency_us.unwrap() < 5_000_000);
    let other_side = one.status.load().peers.first().unwrap().direction;
    assert_eq!(other_side, Direction::Inbound);
    assert_eq!(two.status.load().our_id, two.id());
}

#[test]
fn a_restarted_node_reconnects_with_the_same_peer_id() {
    let one = TestNode::start(&[]);
    let two = TestNode::start(&[&one.address]);
    one.await_peer(&two.id());
    let (id, first) = (two.id(), one.expect_connected());
    let next = two.stop_for_restart(&[]);
    assert_eq!(one.expect_disconnected(), first);
    one.await_no_peer(&id);
    assert!(read(next.dir.path(), PEERS_FILE).contains(&one.id()));
    let two = next.go();
    assert_eq!(two.id(), id);
    one.await_peer(&id);
    assert_ne!(one.expect_connected(), first, "no handle is used twice");
}

#[test]
fn nodes_on_a_local_network_discover_only_nodes_of_their_chain() {
    let start = |params: ChainParams| {
        let mut start = Start { params, ..Start::with(&[]) };
        start.config.mdns = true;
        start.go()
    };
    let one = start(params());
    // Another machine on this network may be running the same tests.
    let garage = start(ChainParams { chain_name: format!("garage-{}", std::process::id()), ..params() });
    let two = start(params());
    let is_local = |address: &String| address.starts_with("/ip4/127.") || address.starts_with("/ip6/");
    if one.status.load().listening.iter().all(is_local) {
        return skip("a network beside loopback");
    }
    one.await_peer(&two.id());
    assert!(garage.status.load().peers.is_empty());
}

#[test]
fn a_bootnode_that_starts_late_is_connected() {
    let reserved = Port::reserve();
    let mut start = Start::with(&[]);
    start.config.p2p_port = reserved.number();
    let mut boot = start.go();
    let address = boot.address.clone();
    boot.stop();
    let early = TestNode::start(&[&address]);
    let mut start = boot.stop_for_restart(&[]);
    start.config.p2p_port = reserved.number();
    let boot = start.go();
    boot.await_peer(&early.id());
}

#[test]
fn a_banned_node_retries_its_bootnode_with_increasing_waits() {
    const LONG: Duration = Duration::from_secs(3);
    let boot = TestNode::start(&[]);
    let node = TestNode::start(&[&boot.address]);
    let peer = boot.expect_connected();
    boot.send(NetworkCommand::Penalize { peer, misbehaviour: Misbehaviour::FalseChain });
    // At first the DHT may dial as well, but each dial of the dialer doubles its wait.
    let next_disconnect = || {
        node.expect_connected();
        node.expect_disconnected();
        Instant::now()
    };
    let mut last = next_disconnect();
    let waited = (0..8).any(|_| {
        let before = std::mem::replace(&mut last, next_disconnect());
        last.duration_since(before) >= LONG
    });
    assert!(waited, "none of eight waits was {LONG:?} long");
}

fn port(address: &Multiaddr) -> u16 {
    let text = address.to_string();
    text.split('/').nth(4).unwrap().parse().unwrap()
}

#[test]
fn the_handshake_fails_between_chains() {
    let node = TestNode::start(&[]);
    let garage = ChainParams { chain_name: "garage".into(), ..params() };
    let mut foreign = ScriptedPeer::new(PeerConfig { names: Names::of(&garage.chain_id()), ..requesting() });
    let error = foreign.connect(&node.address).unwrap_err();
    assert!(error.to_string().to_lowercase().contains("handshake"), "{error}");
    // A peer of the same chain is accepted.
    let mut own = ScriptedPeer::new(requesting());
    connect(&mut own, &node);
    assert!(!node.has_peer(&foreign.id.to_string()));
}

#[test]
fn a_node_stops_quickly_even_with_a_full_inbox() {
    let one = TestNode::start(&[]);
    let mut two = TestNode::start(&[&one.address]);
    two.await_peer(&one.id());
    while two.sender.send(NetworkCommand::Announce(share(1))) != Err(InboxFull) {}
    let took = two.stop();
    // Well below the time in which the program has to stop.
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert_eq!(two.sender.send(NetworkCommand::Announce(share(1))), Err(InboxFull));
}

#[test]
fn invalid_bootnodes_and_taken_ports_are_reported_at_the_start() {
    let mut start = Start::with(&[]);
    start.config.bootnodes = vec!["/ip4/127.0.0.1/tcp/9171".into()];
    let error = start.open().err().unwrap().to_string();
    assert!(error.contains("/ip4/127.0.0.1/tcp/9171") && error.contains("/p2p/"), "{error}");

    let node = TestNode::start(&[]);
    let mut start = Start::with(&[]);
    start.config.p2p_port = port(&node.address);
    let error = start.open().err().unwrap().to_string();
    assert!(error.contains(&port(&node.address).to_string()), "{error}");
}

#[test]
fn both_ends_count_the_same_bytes() {
    let one = TestNode::start(&[]);
    let two = TestNode::start(&[&one.address]);
    two.await_peer(&one.id());
    until("both ends to agree", || {
        let bytes = |node: &TestNode| (node.metrics().p2p_bytes_in.get(), node.metrics().p2p_bytes_out.get());
        let ((one_in, one_out), (two_in, two_out)) = (bytes(&one), bytes(&two));
        // A handshake alone takes some hundred bytes.
        ((one_in, one_out) == (two_out, two_in) && one_in > 500 && one_out > 500).then_some(())
    });
}
