//! Finding each other, coming back, staying apart, ending.

use std::time::{Duration, Instant};

use libp2p::Multiaddr;
use p2pool_channels::InboxFull;
use p2pool_core::node::NetworkCommand;
use p2pool_core::params::ChainParams;
use p2pool_core::status::{Direction, PeerDiscovery};
use p2pool_core::wire::Offence;
use p2pool_test_bitcoind::{skip, Port};

use super::scripted_peer::{asking, meet, Kind, Names, Stranger};
use super::support::{params, until, Start, TestNode};
use crate::driver::PEERS_FILE;
use crate::peers::InboundSlots;

#[test]
fn a_third_node_finds_the_second_by_the_bootnode_alone() {
    let boot = TestNode::start(&[]);
    let second = TestNode::start(&[&boot.address]);
    second.await_peer(&boot.id());
    let third = TestNode::start(&[&boot.address]);
    third.await_peer(&second.id());
    second.await_peer(&third.id());
}

#[test]
fn a_newcomer_at_a_full_bootnode_finds_others_and_makes_room() {
    let slots = InboundSlots { permanent: 1, temporary_for: Duration::from_secs(3) };
    let boot = Start { slots, ..Start::with(&[]) }.go();
    let second = TestNode::start(&[&boot.address]);
    second.await_peer(&boot.id());
    let third = TestNode::start(&[&boot.address]);
    third.await_peer(&second.id());
    third.await_without(&boot.id());
    assert!(third.knows(&second.id()) && second.knows(&boot.id()));
}

#[test]
fn onlookers_see_how_a_node_finds_others() {
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
    // Who was found is known from then on.
    until("each knows the other", || {
        let (one, two) = (one.status.load().discovery, two.status.load().discovery);
        (one.known && two.bootnodes).then_some(())
    });
    assert!(!one.status.load().discovery.bootnodes);
}

#[test]
fn onlookers_see_who_is_there() {
    let mut start = Start::with(&[]);
    start.config.dht_server = true;
    let one = start.go();
    let two = TestNode::start(&[&one.address]);
    let seen = until("agent and latency of a peer", || {
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
fn a_restarted_node_comes_back_by_itself_as_the_same_peer() {
    let one = TestNode::start(&[]);
    let two = TestNode::start(&[&one.address]);
    one.await_peer(&two.id());
    let (id, first) = (two.id(), one.expect_up());
    let next = two.into_next(&[]);
    assert_eq!(one.expect_down(), first);
    one.await_without(&id);
    assert!(super::support::read(next.dir.path(), PEERS_FILE).contains(&one.id()));
    let two = next.go();
    assert_eq!(two.id(), id);
    one.await_peer(&id);
    assert_ne!(one.expect_up(), first, "no number is used twice");
}

#[test]
fn nodes_of_a_local_network_find_each_other_and_no_other_chains() {
    let start = |params: ChainParams| {
        let mut start = Start { params, ..Start::with(&[]) };
        start.config.mdns = true;
        start.go()
    };
    let one = start(params());
    // Others of this network may run these tests just now.
    let garage = start(ChainParams { chain_name: format!("garage-{}", std::process::id()), ..params() });
    let two = start(params());
    let is_alone = |address: &String| address.starts_with("/ip4/127.") || address.starts_with("/ip6/");
    if one.status.load().listening.iter().all(is_alone) {
        return skip("a network beside loopback");
    }
    one.await_peer(&two.id());
    assert!(garage.status.load().peers.is_empty());
}

#[test]
fn a_bootnode_that_comes_late_is_found() {
    let reserved = Port::reserve();
    let mut start = Start::with(&[]);
    start.config.p2p_port = reserved.number();
    let mut boot = start.go();
    let address = boot.address.clone();
    boot.stop();
    let early = TestNode::start(&[&address]);
    let mut start = boot.into_next(&[]);
    start.config.p2p_port = reserved.number();
    let boot = start.go();
    boot.await_peer(&early.id());
}

#[test]
fn who_is_shown_out_after_the_handshake_comes_back_later_each_time() {
    const LONG: Duration = Duration::from_secs(3);
    let boot = TestNode::start(&[]);
    let node = TestNode::start(&[&boot.address]);
    let peer = boot.expect_up();
    boot.send(NetworkCommand::Penalize { peer, offence: Offence::FalseChain });
    // The DHT may try as well at the beginning; but each try of the dialer's makes it wait twice as long.
    let shown_out = || {
        node.expect_up();
        node.expect_down();
        Instant::now()
    };
    let mut last = shown_out();
    let waited = (0..8).any(|_| {
        let before = std::mem::replace(&mut last, shown_out());
        last.duration_since(before) >= LONG
    });
    assert!(waited, "it came nine times and never waited for {LONG:?}");
}

fn port(address: &Multiaddr) -> u16 {
    let text = address.to_string();
    text.split('/').nth(4).unwrap().parse().unwrap()
}

#[test]
fn another_chain_fails_the_handshake() {
    let node = TestNode::start(&[]);
    let garage = ChainParams { chain_name: "garage".into(), ..params() };
    let mut foreign = Stranger::new(Kind { names: Names::of(&garage.chain_id()), ..asking() });
    let error = foreign.connect(&node.address).unwrap_err();
    assert!(error.to_string().to_lowercase().contains("handshake"), "{error}");
    // While one of the same chain is let in.
    let mut own = Stranger::new(asking());
    meet(&mut own, &node);
    assert!(!node.knows(&foreign.id.to_string()));
}

#[test]
fn a_node_stops_soon_whatever_its_inbox() {
    let one = TestNode::start(&[]);
    let mut two = TestNode::start(&[&one.address]);
    two.await_peer(&one.id());
    while two.sender.send(NetworkCommand::Announce(super::support::share(1))) != Err(InboxFull) {}
    let took = two.stop();
    // Well below what the program's stop may take.
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert_eq!(two.sender.send(NetworkCommand::Announce(super::support::share(1))), Err(InboxFull));
}

#[test]
fn what_cannot_work_is_said_at_the_start() {
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
fn every_byte_on_the_wire_is_counted_at_both_ends() {
    let one = TestNode::start(&[]);
    let two = TestNode::start(&[&one.address]);
    two.await_peer(&one.id());
    until("both ends to agree", || {
        let bytes = |node: &TestNode| (node.metrics().p2p_bytes_in.get(), node.metrics().p2p_bytes_out.get());
        let ((one_in, one_out), (two_in, two_out)) = (bytes(&one), bytes(&two));
        // A handshake alone takes some hundred.
        ((one_in, one_out) == (two_out, two_in) && one_in > 500 && one_out > 500).then_some(())
    });
}
