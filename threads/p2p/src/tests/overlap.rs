//! Connections of one peer that overlap: one end does not notice that a connection has ended, and both ends dial at once.

use std::time::{Duration, Instant};

use libp2p::Multiaddr;
use p2pool_core::node::{Event, NetworkCommand};
use p2pool_core::peer::{RequestFailed, RequestId};
use p2pool_core::wire::Request;
use p2pool_test_bitcoind::{Port, Relay};

use super::scripted_peer::{connect, gossiping, requesting, PeerConfig, ScriptedPeer};
use super::support::{params, share, until, Start, TestNode};
use crate::driver::PEERS_FILE;
use crate::identity;
use crate::instance::STATEMENT_LEN;
use crate::names::Names;

/// Below the time after which a dead connection is noticed by pings.
const SOON: Duration = Duration::from_secs(15);

fn port(address: &Multiaddr) -> u16 {
    address.to_string().split('/').nth(4).unwrap().parse().unwrap()
}

/// The address of a node through a relay.
fn through(relay: &Relay, node: &TestNode) -> Multiaddr {
    format!("/ip4/127.0.0.1/tcp/{}/p2p/{}", relay.port(), node.id()).parse().unwrap()
}

/// Starts a node again that knows no other way than this one.
fn restart(node: TestNode, bootnode: &Multiaddr) -> TestNode {
    let start = node.stop_for_restart(&[bootnode]);
    std::fs::remove_file(start.dir.path().join(PEERS_FILE)).unwrap();
    start.go()
}

/// Waits until a share that one node announces reaches the other. Each call has shares of its own.
fn gossip_arrives(from: &TestNode, to: &TestNode, nonces: &mut std::ops::RangeFrom<u32>) {
    let first = nonces.start;
    until("a share by gossip", || {
        from.send(NetworkCommand::Announce(share(nonces.next().unwrap())));
        to.inbox.try_iter().find_map(|event| match event {
            Event::ShareGossiped { share, .. } if share.header.nonce >= first => Some(()),
            _ => None,
        })
    });
}

#[test]
fn gossip_flows_both_ways_soon_after_a_reconnect_that_the_other_end_has_not_noticed() {
    let one = TestNode::start(&[]);
    let relay = Relay::to(port(&one.address));
    let by_relay = through(&relay, &one);
    let two = TestNode::start(&[&by_relay]);
    let mut nonces = 0..;
    let old = one.expect_connected();
    gossip_arrives(&one, &two, &mut nonces);
    gossip_arrives(&two, &one, &mut nonces);
    // The other node never responds to this one.
    let request = RequestId(7);
    one.send(NetworkCommand::Request { peer: old, id: request, request: Request::Status });
    two.expect("the request", |event| matches!(event, Event::Request { .. }).then_some(()));

    let two = restart(two, &by_relay);
    two.expect_connected();
    let begun = Instant::now();
    // The end of the old connection precedes the new one, and all that was in flight on it has failed.
    let mut failed = None;
    let gone = one.expect("the disconnect", |event| match event {
        Event::Response { peer, id, response: Err(why) } if peer == old && id == request => {
            failed = Some(why);
            None
        }
        Event::PeerDisconnected { peer } => Some(peer),
        Event::PeerConnected { .. } => panic!("connected twice"),
        _ => None,
    });
    assert_eq!((gone, failed), (old, Some(RequestFailed::Disconnected)));
    assert!(one.expect_connected() > old);
    gossip_arrives(&one, &two, &mut nonces);
    gossip_arrives(&two, &one, &mut nonces);
    let took = begun.elapsed();
    assert!(took < SOON, "{took:?}");
    assert_eq!(one.metrics().peer_connections_replaced.get(), 1);
    assert_eq!(relay.accepted(), 2);
    until("the metrics", || (one.metrics().peers_subscribed.get() == 1).then_some(()));
    until("the metrics", || (one.metrics().share_gossip.mesh_peers.get() == 1).then_some(()));
}

#[test]
fn a_dead_connection_in_the_other_direction_is_replaced_too() {
    let two_port = Port::reserve();
    let mut start = Start::with(&[]);
    start.config.p2p_port = two_port.number();
    let two = start.go();
    let relay = Relay::to(two_port.number());
    let by_relay = through(&relay, &two);
    // The first node dials, the second one returns by a direct dial.
    let one = TestNode::start(&[&by_relay]);
    let mut nonces = 0..;
    gossip_arrives(&one, &two, &mut nonces);
    gossip_arrives(&two, &one, &mut nonces);
    let mut start = two.stop_for_restart(&[&one.address]);
    start.config.p2p_port = two_port.number();
    let two = start.go();
    let begun = Instant::now();
    gossip_arrives(&one, &two, &mut nonces);
    gossip_arrives(&two, &one, &mut nonces);
    let took = begun.elapsed();
    // The first try may be taken for a simultaneous dial, the second for a response to a test of reachability; the third comes
    // after 15 s. The dead connection is not noticed before: then the first node would dial again.
    assert!(took < SOON + Duration::from_secs(5), "{took:?}");
    assert_eq!(relay.accepted(), 1);
}

#[test]
fn nodes_that_dial_each_other_at_once_keep_one_connection_and_gossip_both_ways() {
    for _ in 0..5 {
        let ports = [Port::reserve(), Port::reserve()];
        // The identities are made before the start, so that each can be the other's bootnode.
        let mut starts = [Start::with(&[]), Start::with(&[])];
        let addresses: Vec<String> = starts
            .iter()
            .zip(&ports)
            .map(|(start, port)| {
                let key = identity::load_or_generate(start.dir.path()).unwrap();
                format!("/ip4/127.0.0.1/tcp/{}/p2p/{}", port.number(), key.public().to_peer_id())
            })
            .collect();
        for (index, start) in starts.iter_mut().enumerate() {
            start.config.p2p_port = ports[index].number();
            start.config.bootnodes = vec![addresses[1 - index].clone()];
        }
        let [one, two] = starts;
        let one = std::thread::spawn(move || one.go());
        let (two, one) = (two.go(), one.join().unwrap());
        let mut nonces = 0..;
        gossip_arrives(&one, &two, &mut nonces);
        gossip_arrives(&two, &one, &mut nonces);
        // Once both have dialled, nothing changes any more.
        for node in [&one, &two] {
            until("the status", || (node.status.load().peers.len() == 1).then_some(()));
            assert!(node.metrics().peer_connections_replaced.get() <= 1);
            assert_eq!(node.metrics().peer_reconnects.get(), 0);
        }
    }
}

#[test]
fn a_peer_that_does_not_subscribe_is_disconnected_and_one_without_gossip_is_not() {
    let node = TestNode::start(&[]);
    let mut silent = ScriptedPeer::new(gossiping());
    connect(&mut silent, &node);
    let mut other = ScriptedPeer::new(requesting());
    connect(&mut other, &node);
    let begun = Instant::now();
    silent.await_disconnect();
    let took = begun.elapsed();
    assert!((Duration::from_secs(5)..Duration::from_secs(20)).contains(&took), "{took:?}");
    assert_eq!(node.metrics().peer_reconnects.get(), 1);
    assert_eq!(node.metrics().peer_misbehaviours.get(), 0);
    other.run_briefly();
    assert!(other.is_connected());
}

/// A node with the identity of another.
fn clone_of(node: &TestNode, bootnodes: &[&Multiaddr]) -> TestNode {
    let start = Start::with(bootnodes);
    std::fs::copy(node.start.dir.path().join(identity::FILE_NAME), start.dir.path().join(identity::FILE_NAME)).unwrap();
    let clone = start.go();
    assert_eq!(clone.id(), node.id());
    clone
}

fn is_duplicated(node: &TestNode) -> bool {
    let duplicate = node.status.load().duplicate.clone();
    assert_eq!(node.metrics().identity_duplicated.get(), i64::from(duplicate.is_some()));
    duplicate.is_some_and(|duplicate| {
        assert_eq!(duplicate.file, node.start.dir.path().join(identity::FILE_NAME).display().to_string());
        true
    })
}

#[test]
fn two_nodes_with_one_identity_notice_each_other_through_a_peer_that_they_share() {
    let shared = TestNode::start(&[]);
    let one = TestNode::start(&[&shared.address]);
    shared.await_peer(&one.id());
    let mut two = clone_of(&one, &[&shared.address]);
    for node in [&one, &two] {
        until("the notice", || is_duplicated(node).then_some(()));
    }
    assert!(!is_duplicated(&shared));
    // They take each other's place ever more rarely.
    let replaced = shared.metrics().peer_connections_replaced.get();
    assert!((1..20).contains(&replaced), "{replaced}");
    // One of them gets a new identity, the other is started again: both are well.
    two.stop();
    std::fs::remove_file(two.start.dir.path().join(identity::FILE_NAME)).unwrap();
    let two = two.stop_for_restart(&[&shared.address]).go();
    let one = one.stop_for_restart(&[&shared.address]).go();
    assert_ne!(one.id(), two.id());
    for node in [&one, &two] {
        shared.await_peer(&node.id());
        node.await_peer(&shared.id());
    }
    // What the shared peer still has of the old instances proves nothing.
    until("the exchange", || (shared.metrics().peers_subscribed.get() == 2).then_some(()));
    assert!(!is_duplicated(&one) && !is_duplicated(&two));
}

#[test]
fn a_node_that_is_started_again_and_again_is_not_taken_for_two() {
    let shared = TestNode::start(&[]);
    let relay = Relay::to(port(&shared.address));
    let by_relay = through(&relay, &shared);
    let mut node = TestNode::start(&[&by_relay]);
    for run in 1..=4 {
        until("the subscription", || (shared.metrics().peers_subscribed.get() == 1).then_some(()));
        node.await_peer(&shared.id());
        node = restart(node, &by_relay);
        node.await_peer(&shared.id());
        until("the replacement", || (shared.metrics().peer_connections_replaced.get() == run).then_some(()));
        assert!(!is_duplicated(&node));
    }
    until("the agent", || shared.status.load().peers.first().filter(|peer| !peer.agent.is_empty()).map(|_| ()));
    assert!(!is_duplicated(&node) && !is_duplicated(&shared));
}

#[test]
fn arbitrary_statements_get_empty_responses_and_a_flood_of_them_is_penalised() {
    let node = TestNode::start(&[]);
    let protocol = Names::new(&params().chain_id()).instance;
    let mut remote = ScriptedPeer::new(PeerConfig { protocol, ..requesting() });
    connect(&mut remote, &node);
    for statement in [vec![], vec![1; STATEMENT_LEN], vec![2; STATEMENT_LEN + 1], vec![3; 1 << 10]] {
        let sent = remote.send_request(&node.address, statement);
        assert_eq!(remote.response(sent).unwrap_or_default(), Vec::<u8>::new());
    }
    // A statement of another instance of the same peer is returned.
    let sent = remote.send_request(&node.address, vec![4; STATEMENT_LEN]);
    assert_eq!(remote.response(sent), Some(vec![1; STATEMENT_LEN]));
    assert_eq!(node.metrics().peer_misbehaviours.get(), 0);
    for _ in 0..30 {
        let sent = remote.send_request(&node.address, vec![5; STATEMENT_LEN]);
        // One by one: of concurrent ones, some are refused by the limit of streams.
        remote.response(sent);
    }
    remote.run_until("the penalty", || (node.metrics().peer_misbehaviours.get() > 0).then_some(()));
    assert!(!is_duplicated(&node));
}
