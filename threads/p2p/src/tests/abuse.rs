//! Garbage on every protocol: nodes refuse it and ban its sender.

use libp2p::gossipsub::MessageAuthenticity;
use libp2p::identity::Keypair;
use libp2p::StreamProtocol;
use p2pool_core::node::{Event, NetworkCommand};
use p2pool_core::wire::limits::{REQUEST_LEN_MAX, SHARE_MESSAGE_LEN_MAX};
use p2pool_core::wire::{Frame as _, GossipShare, Misbehaviour, Response};

use super::scripted_peer::{connect, gossiping, names, requesting, PeerConfig, Reply, ScriptedPeer};
use super::support::{share, until, TestNode};
use crate::bans::BAN_S;
use crate::driver::BANS_FILE;

/// Sends garbage and waits for the ban. The node must still accept other peers.
fn send_until_banned(config: PeerConfig, garbage: &[Vec<u8>]) {
    let node = TestNode::start(&[]);
    let mut remote = ScriptedPeer::new(config);
    connect(&mut remote, &node);
    for bytes in garbage {
        let sent = remote.send_request(&node.address, bytes.clone());
        let response = remote.response(sent);
        assert!(response.unwrap_or_default().len() < 100);
    }
    remote.await_disconnect();
    until("the ban", || (node.status.load().banned() == 1).then_some(()));
    assert!(node.file(BANS_FILE).contains(&remote.id.to_string()));
    let other = TestNode::start(&[&node.address]);
    node.await_peer(&other.id());
}

#[test]
fn malformed_requests_ban() {
    send_until_banned(requesting(), &[vec![0xff; 100], vec![]]);
}

#[test]
fn oversized_requests_ban() {
    send_until_banned(requesting(), &[vec![0; REQUEST_LEN_MAX + 1], vec![0; 8 << 20]]);
}

#[test]
fn bytes_that_are_no_gossip_ban() {
    let protocol = StreamProtocol::new("/meshsub/1.1.0");
    // A first broken stream is tolerated, repeated ones are not.
    let garbage = [vec![0xff; 5_000], vec![0x0a; 100], vec![0xff; 3], vec![0xff; 5_000]];
    send_until_banned(PeerConfig { protocol, ..requesting() }, &garbage);
}

fn gossip_until_banned(config: PeerConfig, messages: &[Vec<u8>]) {
    let node = TestNode::start(&[]);
    let mut remote = ScriptedPeer::new(config);
    connect(&mut remote, &node);
    remote.join_mesh();
    for bytes in messages {
        remote.gossip(&names().shares, bytes.clone());
    }
    remote.await_disconnect();
    assert!(!node.inbox.try_iter().any(|message| matches!(message, Event::ShareGossiped { .. })));
}

#[test]
fn malformed_shares_ban() {
    let mut trailing = GossipShare { share: share(1) }.encode();
    trailing.push(0);
    gossip_until_banned(gossiping(), &[trailing, vec![0xa1, 0, 0x40]]);
}

#[test]
fn oversized_shares_ban() {
    gossip_until_banned(gossiping(), &[vec![1; SHARE_MESSAGE_LEN_MAX + 1], vec![2; 400_000]]);
}

#[test]
fn signed_gossip_is_ignored_and_scored() {
    let node = TestNode::start(&[]);
    let key = Keypair::generate_ed25519();
    let config = PeerConfig { gossip: Some(MessageAuthenticity::Signed(key.clone())), ..gossiping() };
    let mut remote = ScriptedPeer::with_key(config, key);
    connect(&mut remote, &node);
    remote.join_mesh();
    let peer = node.expect_connected();
    for nonce in 0..4 {
        remote.gossip(&names().shares, GossipShare { share: share(nonce) }.encode());
    }
    // Graylisting gives half the ban score, these penalties give the rest.
    remote.run_until("the ban", || {
        node.send(NetworkCommand::Penalize { peer, misbehaviour: Misbehaviour::TooManyRequests });
        (node.status.load().banned() == 1).then_some(())
    });
    assert!(!node.inbox.try_iter().any(|message| matches!(message, Event::ShareGossiped { .. })));
}

#[test]
fn a_ban_survives_a_restart_and_ends() {
    let node = TestNode::start(&[]);
    let key = Keypair::generate_ed25519();
    let same_peer = || ScriptedPeer::with_key(requesting(), key.clone());
    let mut remote = same_peer();
    connect(&mut remote, &node);
    let peer = node.expect_connected();
    node.send(NetworkCommand::Penalize { peer, misbehaviour: Misbehaviour::FalseChain });
    remote.await_disconnect();
    assert_eq!(node.expect_disconnected(), peer);
    assert!(!same_peer().is_accepted_by(&node.address));
    assert_eq!(node.metrics().connections_refused.banned.get(), 1);

    let node = node.stop_for_restart(&[]).go();
    assert!(!same_peer().is_accepted_by(&node.address));
    until("the ban", || (node.status.load().banned() == 1).then_some(()));
    node.advance_clock(BAN_S);
    until("the end of the ban", || (node.status.load().banned() == 0).then_some(()));
    let mut remote = same_peer();
    connect(&mut remote, &node);
    assert_eq!(node.file(BANS_FILE), "");
}

#[test]
fn a_graylist_entry_caused_by_the_ban_score_is_not_penalised_again() {
    let node = TestNode::start(&[]);
    let mut remote = ScriptedPeer::new(requesting());
    connect(&mut remote, &node);
    let peer = node.expect_connected();
    let penalize = || node.send(NetworkCommand::Penalize { peer, misbehaviour: Misbehaviour::TooManyRequests });
    // More than the graylist threshold, less than a ban.
    (0..19).for_each(|_| penalize());
    remote.run_until("all penalties", || (node.metrics().peer_misbehaviours.get() >= 19).then_some(()));
    assert_eq!((node.metrics().peer_misbehaviours.get(), node.status.load().banned()), (19, 0));
    penalize();
    remote.await_disconnect();
    until("the ban", || (node.status.load().banned() == 1).then_some(()));
    assert!(node.file(BANS_FILE).trim_end().ends_with(&Misbehaviour::TooManyRequests.to_string()));
}

#[test]
fn penalties_for_unknown_peers_are_ignored() {
    let node = TestNode::start(&[]);
    node.send(NetworkCommand::Penalize {
        peer: p2pool_core::peer::PeerHandle(7),
        misbehaviour: Misbehaviour::FalseChain,
    });
    let mut remote = ScriptedPeer::new(requesting());
    remote.set_responder(|_| Reply::bytes(Response::Unknown.encode()));
    connect(&mut remote, &node);
    node.expect_connected();
    assert_eq!(node.status.load().banned(), 0);
}
