//! Where a node listens, what it announces, and peers that the operator added.

use std::net::SocketAddr;

use libp2p::Multiaddr;
use p2pool_core::node::NetworkCommand;
use p2pool_core::status::Reachability;
use p2pool_core::wire::Misbehaviour;
use p2pool_test_bitcoind::Port;

use super::support::{until, Start, TestNode};
use crate::address::split_peer_id;
use crate::driver::{BANS_FILE, PEERS_FILE};

/// The address of a node without its peer id.
fn place(node: &TestNode) -> String {
    split_peer_id(node.address.clone()).unwrap().1.to_string()
}

#[test]
fn an_added_peer_needs_no_id_is_never_banned_and_is_connected_again() {
    let port = Port::reserve();
    let mut start = Start::with(&[]);
    start.config.p2p_port = port.number();
    let added = start.go();
    let mut start = Start::with(&[]);
    start.config.added_peers = vec![place(&added)];
    let node = start.go();
    node.await_peer(&added.id());
    let handle = node.expect_connected();
    let misbehaviour = Misbehaviour::FalseChain;
    node.send(NetworkCommand::Penalize { peer: handle, misbehaviour });
    let other = TestNode::start(&[&node.address]);
    let other_handle = node.expect_connected();
    node.send(NetworkCommand::Penalize { peer: other_handle, misbehaviour });
    until("the ban of the other", || node.file(BANS_FILE).contains(&other.id()).then_some(()));
    assert!(node.has_peer(&added.id()) && !node.file(BANS_FILE).contains(&added.id()));
    let id = added.id();
    let mut start = added.stop_for_restart(&[]);
    node.await_no_peer(&id);
    start.config.p2p_port = port.number();
    let _added = start.go();
    node.await_peer(&id);
}

#[test]
fn a_node_listens_where_it_is_told_and_dials_ipv6() {
    let mut start = Start::with(&[]);
    start.config.p2p_bind = Some(vec![SocketAddr::from(([127, 0, 0, 1], 0)), "[::1]:0".parse().unwrap()]);
    let one = start.go();
    let listening = until("both addresses", || {
        let listening = one.status.load().listening.clone();
        (listening.len() == 2).then_some(listening)
    });
    let by_ipv6: Multiaddr =
        listening.iter().find(|address| address.starts_with("/ip6/::1/")).unwrap().parse().unwrap();
    let two = TestNode::start(&[&by_ipv6]);
    two.await_peer(&one.id());
    assert!(two.status.load().peers[0].address.starts_with("/ip6/::1/"));
}

#[test]
fn a_node_that_does_not_listen_connects_to_others() {
    let one = TestNode::start(&[]);
    let mut start = Start::with(&[&one.address]);
    start.config.p2p_bind = Some(Vec::new());
    let (p2p, _inbox) = start.open().unwrap();
    let (sender, status) = (p2p.sender(), p2p.status());
    let thread = std::thread::spawn(move || p2p.run());
    until("the peer", || (status.load().peers.len() == 1).then_some(()));
    let status = status.load();
    assert!(status.listening.is_empty());
    assert_eq!((status.reach.reachability, status.reach.port), (Reachability::OutboundOnly, 0));
    sender.send(p2pool_channels::ToNetwork::Stop).unwrap();
    thread.join().unwrap();
}

#[test]
fn an_external_address_is_announced() {
    let mut start = Start::with(&[]);
    start.config.external_addresses = vec!["/ip4/20.0.0.1/tcp/9171".to_owned()];
    let one = start.go();
    assert_eq!(one.status.load().reach.addresses, ["/ip4/20.0.0.1/tcp/9171"]);
    until("the reachability", || (one.status.load().reach.reachability == Reachability::Reachable).then_some(()));
    let mut two = TestNode::start(&[&one.address]);
    two.await_peer(&one.id());
    until("identify", || (!two.status.load().peers.first()?.agent.is_empty()).then_some(()));
    two.stop();
    let known = two.file(PEERS_FILE);
    assert!(known.contains(&format!("/ip4/20.0.0.1/tcp/9171/p2p/{}", one.id())), "{known}");
}
