//! Shares and blocks are relayed only after the chain thread's verdict.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::hashes::{sha256, Hash as _};
use libp2p::gossipsub::IdentTopic;
use libp2p::StreamProtocol;
use p2pool_core::node::{Event, NetworkCommand};
use p2pool_core::peer::{GossipId, GossipVerdict};
use p2pool_core::sharechain::Rule;
use p2pool_core::units::{Bits, BlockHeight};
use p2pool_core::wire::{BlockAnnouncement, Frame as _, GossipShare, Misbehaviour, ShortIds};
use p2pool_test_hostile::raw_gossip;

use super::scripted_peer::{connect, gossiping, names, requesting, PeerConfig, ScriptedPeer};
use super::support::{header, share, until, Start, TestNode};

fn bytes(nonce: u32) -> Vec<u8> {
    GossipShare { share: share(nonce) }.encode()
}

/// Two connected nodes, and a scripted peer that only the second one knows.
fn line() -> (TestNode, TestNode, ScriptedPeer) {
    let finder = TestNode::start(&[]);
    let middle = TestNode::start(&[&finder.address]);
    middle.await_peer(&finder.id());
    let mut end = ScriptedPeer::new(gossiping());
    connect(&mut end, &middle);
    end.join_mesh();
    // A node relays only once the mesh has formed, which takes a moment.
    for nonce in WARM_UP.. {
        let gossip = announce(&finder, &middle, nonce);
        middle.send(NetworkCommand::Verdict { gossip, verdict: GossipVerdict::Accept });
        if !end.collect_gossip(Duration::from_millis(100)).is_empty() {
            break;
        }
        assert!(nonce < WARM_UP + 100, "the mesh does not form");
    }
    (finder, middle, end)
}

/// Shares with this nonce or a higher one test whether the mesh has formed.
const WARM_UP: u32 = 1_000;

/// Waits for the next message that does not test the mesh.
fn next_gossip(end: &mut ScriptedPeer) -> Vec<u8> {
    loop {
        let bytes = end.next_gossip();
        match GossipShare::decode(&bytes) {
            Ok(gossip) if gossip.share.header.nonce >= WARM_UP => {}
            _ => return bytes,
        }
    }
}

/// Announces a share until it arrives. Without a mesh it is lost.
fn announce(finder: &TestNode, middle: &TestNode, nonce: u32) -> GossipId {
    let got = std::cell::RefCell::new(None);
    until("the share to arrive", || {
        finder.send(NetworkCommand::Announce(share(nonce)));
        for message in middle.inbox.try_iter() {
            if let Event::ShareGossiped { share: received, .. } = message {
                assert_eq!(received, share(nonce));
                *got.borrow_mut() = Some(GossipId(received.digest().0));
            }
        }
        *got.borrow()
    })
}

#[test]
fn a_share_is_relayed_only_after_it_is_accepted() {
    let (finder, middle, mut end) = line();
    let [first, second, third] = [1, 2, 3].map(|nonce| announce(&finder, &middle, nonce));
    let verdict = |gossip, verdict| middle.send(NetworkCommand::Verdict { gossip, verdict });
    verdict(second, GossipVerdict::Accept);
    assert_eq!(next_gossip(&mut end), bytes(2), "the first waits for its verdict");
    verdict(third, GossipVerdict::Ignore);
    verdict(first, GossipVerdict::Accept);
    assert_eq!(next_gossip(&mut end), bytes(1));
    // Ignored and rejected shares are not relayed: the next to arrive is a later one.
    let fourth = announce(&finder, &middle, 4);
    let fifth = announce(&finder, &middle, 5);
    verdict(fourth, GossipVerdict::Reject);
    verdict(fifth, GossipVerdict::Accept);
    assert_eq!(next_gossip(&mut end), bytes(5));
}

#[test]
fn a_share_arrives_once_however_often_it_is_relayed() {
    let (finder, middle, mut end) = line();
    let gossip = announce(&finder, &middle, 1);
    middle.send(NetworkCommand::Verdict { gossip, verdict: GossipVerdict::Accept });
    assert_eq!(next_gossip(&mut end), bytes(1));
    finder.send(NetworkCommand::Announce(share(1)));
    let next = announce(&finder, &middle, 2);
    middle.send(NetworkCommand::Verdict { gossip: next, verdict: GossipVerdict::Accept });
    assert_eq!(next_gossip(&mut end), bytes(2));
}

#[test]
fn rejected_shares_ban_only_with_penalties() {
    let node = TestNode::start(&[]);
    let mut remote = ScriptedPeer::new(gossiping());
    connect(&mut remote, &node);
    remote.join_mesh();
    let topic = names().shares;
    for nonce in 1..=2 {
        remote.gossip(&topic, bytes(nonce));
        let (peer, gossip, _) = remote.run_until("the share to arrive", || {
            node.inbox.try_iter().find_map(|message| match message {
                Event::ShareGossiped { peer, share } => Some((peer, GossipId(share.digest().0), share)),
                _ => None,
            })
        });
        assert_eq!(node.status.load().banned(), 0);
        node.send(NetworkCommand::Verdict { gossip, verdict: GossipVerdict::Reject });
        node.send(NetworkCommand::Penalize { peer, misbehaviour: Misbehaviour::BrokenRule(Rule::Payouts) });
    }
    remote.await_disconnect();
    until("the ban", || (node.status.load().banned() == 1).then_some(()));
}

#[test]
fn a_share_with_newer_rules_and_of_unknown_form_is_no_misbehaviour() {
    let node = TestNode::start(&[]);
    let mut remote = ScriptedPeer::new(gossiping());
    connect(&mut remote, &node);
    remote.join_mesh();
    let topic = names().shares;
    let unknown = |version: u8, nonce: u8| {
        let share = [&[nonce; 80][..], &[version], &[9; 300]].concat();
        [&[0xa1, 0, 0x59, 1, 125][..], &share].concat()
    };
    (0..5).for_each(|nonce| remote.gossip(&topic, unknown(3, nonce)));
    remote.gossip(&topic, bytes(1));
    remote.run_until("the share after them to arrive", || {
        node.inbox.try_iter().find_map(|message| matches!(message, Event::ShareGossiped { .. }).then_some(()))
    });
    assert!(node.has_peer(&remote.id.to_string()));
    // Those of the first version have a known form.
    (5..7).for_each(|nonce| remote.gossip(&topic, unknown(2, nonce)));
    remote.await_disconnect();
    until("the ban", || (node.status.load().banned() == 1).then_some(()));
}

fn block(bits: u32) -> BlockAnnouncement {
    let with = |nonce| bitcoin::block::Header { bits: bitcoin::CompactTarget::from_consensus(bits), ..header(nonce) };
    let is_met = |nonce: &u32| Bits(bits).target().unwrap().is_met_by(&with(*nonce).block_hash().to_byte_array());
    let nonce = (0..1_000).find(is_met).unwrap_or(0);
    BlockAnnouncement {
        header: with(nonce),
        height: BlockHeight(7),
        coinbase: vec![1, 2, 3].try_into().unwrap(),
        short_ids: ShortIds::default(),
    }
}

#[test]
fn a_found_block_is_relayed_like_a_share() {
    let (finder, middle, mut end) = line();
    let found = Arc::new(block(0x207f_ffff));
    let (gossip, header, announcement) = until("the block to arrive", || {
        finder.send(NetworkCommand::AnnounceBlock(Arc::clone(&found)));
        middle.inbox.try_iter().find_map(|message| match message {
            Event::BlockAnnounced { gossip, header, announcement, .. } => Some((gossip, header, announcement)),
            _ => None,
        })
    });
    assert_eq!((header, &announcement), (found.header, &found.encode()));
    middle.send(NetworkCommand::Verdict { gossip, verdict: GossipVerdict::Accept });
    assert_eq!(next_gossip(&mut end), found.encode());
    let (announced, relayed) = (&finder.metrics().block_gossip, &middle.metrics().block_gossip);
    assert_eq!((announced.announced.get(), relayed.received.get(), relayed.accepted.get()), (1, 1, 1));
}

#[test]
fn an_announcement_goes_to_a_few_peers_which_relay_it() {
    const PEERS: usize = 30;
    // GossipSub's mesh has at most 12 peers, and a heartbeat meanwhile names the message to 6 more.
    const RECEIVERS_MAX: usize = 18;
    let finder = TestNode::start(&[]);
    let peers: Vec<TestNode> = (0..PEERS).map(|_| TestNode::start(&[&finder.address])).collect();
    peers.iter().for_each(|peer| peer.await_peer(&finder.id()));
    let found = Arc::new(block(0x207f_ffff));
    let is_block = |event: &Event| matches!(event, Event::BlockAnnounced { .. });
    let count = || peers.iter().filter(|peer| peer.inbox.try_iter().any(|event| is_block(&event))).count();
    let first = until("the block to arrive", || {
        finder.send(NetworkCommand::AnnounceBlock(Arc::clone(&found)));
        Some(count()).filter(|count| *count > 0)
    });
    // Those to which it was sent at once get it within milliseconds.
    std::thread::sleep(Duration::from_millis(300));
    let receivers = first + count();
    assert!(receivers <= RECEIVERS_MAX, "sent to {receivers} of {PEERS} peers");
}

#[test]
fn a_block_that_does_not_meet_its_own_bits_is_refused_and_scored() {
    let node = TestNode::start(&[]);
    let mut remote = ScriptedPeer::new(gossiping());
    connect(&mut remote, &node);
    remote.join_mesh();
    remote.gossip(&names().blocks, block(0x1d00_ffff).encode());
    remote.gossip(&names().blocks, vec![0xa4; 100]);
    remote.await_disconnect();
    let gossip = &node.metrics().block_gossip;
    assert_eq!((gossip.received.get(), gossip.accepted.get(), gossip.rejected.get()), (2, 0, 2));
    assert!(!node.inbox.try_iter().any(|message| matches!(message, Event::BlockAnnounced { .. })));
}

/// Returns the gossip that has arrived, as bytes.
fn arrived(node: &TestNode) -> Vec<Vec<u8>> {
    let bytes = |event| match event {
        Event::ShareGossiped { share, .. } => Some(GossipShare { share }.encode()),
        Event::BlockAnnounced { announcement, .. } => Some(announcement),
        _ => None,
    };
    node.inbox.try_iter().filter_map(bytes).collect()
}

/// GossipSub drops the copies of what it has seen, and asks its peers not to send them.
fn is_taken_from_another_peer(topic: &IdentTopic, flood: Vec<Vec<u8>>, [first, next]: [Vec<u8>; 2]) {
    let node = TestNode::start(&[]);
    let (mut flooding, mut honest) = (ScriptedPeer::new(gossiping()), ScriptedPeer::new(gossiping()));
    for peer in [&mut flooding, &mut honest] {
        connect(peer, &node);
        peer.join_mesh();
    }
    let sent = flood.len() as u64 + 1;
    flood.into_iter().for_each(|message| flooding.gossip(topic, message));
    flooding.gossip(topic, first.clone());
    let received = || node.metrics().share_gossip.received.get() + node.metrics().block_gossip.received.get();
    flooding.run_until("the flood to arrive", || (received() >= sent).then_some(()));
    assert!(!arrived(&node).contains(&first), "it is beyond the limit");
    honest.collect_gossip(Duration::from_millis(300));
    honest.gossip(topic, first.clone());
    honest.gossip(topic, next.clone());
    let mut taken = Vec::new();
    honest.run_until("the message after it to arrive", || {
        taken.extend(arrived(&node));
        taken.contains(&next).then_some(())
    });
    assert_eq!(taken, [first, next]);
}

#[test]
fn a_share_that_came_first_from_a_peer_over_its_limit_is_taken_from_another_peer() {
    let flood = (0..200).map(|number| raw_gossip::newer_share(number, 300)).collect();
    is_taken_from_another_peer(&names().shares, flood, [bytes(1), bytes(2)]);
}

#[test]
fn a_found_block_that_came_first_from_a_peer_over_its_limit_is_taken_from_another_peer() {
    // As long as those that GossipSub asks its peers not to send.
    let number = |number: u8| {
        BlockAnnouncement { coinbase: vec![number; 2_000].try_into().unwrap(), ..block(0x207f_ffff) }.encode()
    };
    let flood = (10..30).map(number).collect();
    is_taken_from_another_peer(&names().blocks, flood, [number(1), number(2)]);
}

/// A peer that sends packets byte by byte.
fn raw() -> ScriptedPeer {
    ScriptedPeer::new(PeerConfig { protocol: StreamProtocol::new("/meshsub/1.1.0"), ..requesting() })
}

fn send_raw(peer: &mut ScriptedPeer, node: &TestNode, messages: impl IntoIterator<Item = Vec<u8>>) {
    let packets: Vec<u8> = messages.into_iter().flat_map(|message| raw_gossip::packet(&[message])).collect();
    peer.send_request(&node.address, packets);
}

#[test]
fn copies_of_a_message_cost_their_senders_nothing() {
    let node = TestNode::start(&[]);
    let (mut first, mut copying) = (ScriptedPeer::new(gossiping()), raw());
    connect(&mut first, &node);
    first.join_mesh();
    first.gossip(&names().shares, bytes(1));
    first.run_until("the share to arrive", || arrived(&node).contains(&bytes(1)).then_some(()));
    connect(&mut copying, &node);
    let topic = names().shares.hash().to_string();
    let copies = (0..300).map(|_| bytes(1)).chain([bytes(2)]);
    send_raw(&mut copying, &node, copies.map(|share| raw_gossip::message(&topic, &share)));
    copying.run_until("the share after them to arrive", || arrived(&node).contains(&bytes(2)).then_some(()));
    assert_eq!(node.metrics().peer_misbehaviours.get(), 0);
}

/// GossipSub graylists peers that name messages and do not send them.
#[test]
fn a_message_beyond_the_limits_that_this_node_asked_for_is_no_broken_promise() {
    let node = TestNode::start(&[]);
    let mut remote = raw();
    connect(&mut remote, &node);
    let topic = names().shares.hash().to_string();
    let share = |number| raw_gossip::newer_share(number, 300);
    let message = |number| raw_gossip::message(&topic, &share(number));
    let id = |number| sha256::Hash::hash(GossipShare::share_bytes(&share(number)).unwrap()).to_byte_array();
    let promised = raw_gossip::ihave(&topic, &(100..160).map(id).collect::<Vec<_>>());
    send_raw(&mut remote, &node, (0..100).map(message).chain([promised]).chain((100..160).map(message)));
    let gossip = &node.metrics().share_gossip;
    remote.run_until("the messages to arrive", || (gossip.received.get() >= 160).then_some(()));
    // The promises end after three seconds.
    remote.collect_gossip(Duration::from_secs(5));
    send_raw(&mut remote, &node, [raw_gossip::message(&topic, &bytes(1))]);
    remote.run_until("the share after them to arrive", || arrived(&node).contains(&bytes(1)).then_some(()));
}

/// The chain thread's inbox is full for a moment, which a flood can bring about, when the first copy of a found block arrives.
#[test]
fn a_found_block_that_came_while_the_inbox_was_full_is_taken_from_another_peer() {
    let node = Start { inbox_len: 2, ..Start::with(&[]) }.go();
    let (mut first, mut honest) = (ScriptedPeer::new(gossiping()), ScriptedPeer::new(gossiping()));
    for peer in [&mut first, &mut honest] {
        connect(peer, &node);
        peer.join_mesh();
    }
    // Both connects fill the inbox.
    let found = block(0x207f_ffff).encode();
    first.gossip(&names().blocks, found.clone());
    first.run_until("the block to arrive", || (node.metrics().block_gossip.ignored.get() == 1).then_some(()));
    assert!(arrived(&node).is_empty());
    honest.collect_gossip(Duration::from_millis(300));
    honest.gossip(&names().blocks, found.clone());
    honest.gossip(&names().shares, bytes(1));
    let mut taken = Vec::new();
    honest.run_until("the share after it to arrive", || {
        taken.extend(arrived(&node));
        taken.contains(&bytes(1)).then_some(())
    });
    assert_eq!(taken, [found, bytes(1)]);
}

/// GossipSub drops them as duplicates.
#[test]
fn copies_of_this_nodes_own_messages_cost_their_senders_nothing() {
    let node = TestNode::start(&[]);
    let (mut first, mut copying) = (ScriptedPeer::new(gossiping()), raw());
    connect(&mut first, &node);
    first.join_mesh();
    connect(&mut copying, &node);
    let found = |number: u8| BlockAnnouncement { coinbase: vec![number].try_into().unwrap(), ..block(0x207f_ffff) };
    let mut published = 0;
    until("the blocks to be published", || {
        node.send(NetworkCommand::AnnounceBlock(Arc::new(found(published))));
        first.collect_gossip(Duration::from_millis(20));
        published = u8::try_from(node.metrics().block_gossip.announced.get()).unwrap();
        (published == 20).then_some(())
    });
    let topic = names().blocks.hash().to_string();
    let copies = (0..20).map(|number| found(number).encode()).chain([found(100).encode()]);
    send_raw(&mut copying, &node, copies.map(|block| raw_gossip::message(&topic, &block)));
    let mut taken = Vec::new();
    copying.run_until("the block after them to arrive", || {
        taken.extend(arrived(&node));
        taken.contains(&found(100).encode()).then_some(())
    });
    assert_eq!(taken, [found(100).encode()]);
    assert_eq!(node.metrics().peer_misbehaviours.get(), 0);
}
