//! Garbage on every protocol: refused, blamed, and in the end its sender banned.

use libp2p::gossipsub::MessageAuthenticity;
use libp2p::identity::Keypair;
use libp2p::StreamProtocol;
use p2pool_core::node::{Event, NetworkCommand};
use p2pool_core::wire::limits::{REQUEST_LEN_MAX, SHARE_MESSAGE_LEN_MAX};
use p2pool_core::wire::{Frame as _, GossipShare, Offence, Response};

use super::scripted_peer::{asking, gossiping, meet, names, Kind, Reply, Stranger};
use super::support::{share, until, TestNode};
use crate::bans::BAN_S;
use crate::driver::BANS_FILE;

/// Sends each until shown out; the node must be well afterwards.
fn send_until_shown_out(kind: Kind, garbage: &[Vec<u8>]) {
    let node = TestNode::start(&[]);
    let mut stranger = Stranger::new(kind);
    meet(&mut stranger, &node);
    for bytes in garbage {
        let sent = stranger.send(&node.address, bytes.clone());
        let answer = stranger.answer(sent);
        assert!(answer.unwrap_or_default().len() < 100);
    }
    stranger.await_shown_out();
    until("the ban", || (node.status.load().banned == 1).then_some(()));
    assert!(node.file(BANS_FILE).contains(&stranger.id.to_string()));
    let friend = TestNode::start(&[&node.address]);
    node.await_peer(&friend.id());
}

#[test]
fn malformed_questions_ban() {
    send_until_shown_out(asking(), &[vec![0xff; 100], vec![]]);
}

#[test]
fn oversize_questions_ban() {
    send_until_shown_out(asking(), &[vec![0; REQUEST_LEN_MAX + 1], vec![0; 8 << 20]]);
}

#[test]
fn bytes_that_are_no_gossip_ban() {
    let protocol = StreamProtocol::new("/meshsub/1.1.0");
    // The first streams may break; one that breaks again and again has no excuse.
    let garbage = [vec![0xff; 5_000], vec![0x0a; 100], vec![0xff; 3], vec![0xff; 5_000]];
    send_until_shown_out(Kind { protocol, ..asking() }, &garbage);
}

fn gossip_until_shown_out(kind: Kind, messages: &[Vec<u8>]) {
    let node = TestNode::start(&[]);
    let mut stranger = Stranger::new(kind);
    meet(&mut stranger, &node);
    stranger.join();
    for bytes in messages {
        stranger.gossip(&names().shares, bytes.clone());
    }
    stranger.await_shown_out();
    assert!(!node.inbox.try_iter().any(|message| matches!(message, Event::ShareGossiped { .. })));
}

#[test]
fn malformed_shares_ban() {
    let mut trailing = GossipShare { share: share(1) }.encode();
    trailing.push(0);
    gossip_until_shown_out(gossiping(), &[trailing, vec![0xa1, 0, 0x40]]);
}

#[test]
fn oversize_shares_ban() {
    gossip_until_shown_out(gossiping(), &[vec![1; SHARE_MESSAGE_LEN_MAX + 1], vec![2; 900_000]]);
}

#[test]
fn gossip_with_a_signature_is_not_listened_to() {
    let node = TestNode::start(&[]);
    let key = Keypair::generate_ed25519();
    let kind = Kind { gossip: Some(MessageAuthenticity::Signed(key.clone())), ..gossiping() };
    let mut stranger = Stranger::with_key(kind, key);
    meet(&mut stranger, &node);
    stranger.join();
    let peer = node.expect_up();
    for nonce in 0..4 {
        stranger.gossip(&names().shares, GossipShare { share: share(nonce) }.encode());
    }
    // Half a ban for that; the other half for one more offence.
    stranger.live_until("the node's ban", || {
        node.send(NetworkCommand::Penalize { peer, offence: Offence::TooManyRequests });
        (node.status.load().banned == 1).then_some(())
    });
    assert!(!node.inbox.try_iter().any(|message| matches!(message, Event::ShareGossiped { .. })));
}

#[test]
fn a_ban_outlives_a_restart_and_ends() {
    let node = TestNode::start(&[]);
    let key = Keypair::generate_ed25519();
    let again = || Stranger::with_key(asking(), key.clone());
    let mut stranger = again();
    meet(&mut stranger, &node);
    let peer = node.expect_up();
    node.send(NetworkCommand::Penalize { peer, offence: Offence::FalseChain });
    stranger.await_shown_out();
    assert_eq!(node.expect_down(), peer);
    assert!(!again().is_welcome_at(&node.address));

    let node = node.into_next(&[]).go();
    assert!(!again().is_welcome_at(&node.address));
    until("the ban", || (node.status.load().banned == 1).then_some(()));
    node.advance_clock(BAN_S);
    until("the end of the ban", || (node.status.load().banned == 0).then_some(()));
    let mut stranger = again();
    meet(&mut stranger, &node);
    assert_eq!(node.file(BANS_FILE), "");
}

#[test]
fn points_of_ours_are_no_finding_of_the_gossips() {
    let node = TestNode::start(&[]);
    let mut stranger = Stranger::new(asking());
    meet(&mut stranger, &node);
    let peer = node.expect_up();
    let offence = || node.send(NetworkCommand::Penalize { peer, offence: Offence::TooManyRequests });
    // Below what GossipSub goes deaf at, and below a ban.
    (0..19).for_each(|_| offence());
    stranger.live_until("all are counted", || (node.metrics().peer_misbehaviours.get() >= 19).then_some(()));
    assert_eq!((node.metrics().peer_misbehaviours.get(), node.status.load().banned), (19, 0));
    offence();
    stranger.await_shown_out();
    until("the ban", || (node.status.load().banned == 1).then_some(()));
    assert!(node.file(BANS_FILE).trim_end().ends_with(&Offence::TooManyRequests.to_string()));
}

#[test]
fn offences_of_the_gone_are_nothing() {
    let node = TestNode::start(&[]);
    node.send(NetworkCommand::Penalize { peer: p2pool_core::peer::PeerHandle(7), offence: Offence::FalseChain });
    let mut stranger = Stranger::new(asking());
    stranger.reply(|_| Reply::bytes(Response::Unknown.encode()));
    meet(&mut stranger, &node);
    node.expect_up();
    assert_eq!(node.status.load().banned, 0);
}
