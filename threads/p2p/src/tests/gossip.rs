//! Shares and blocks go on only after the chain's word.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::hashes::Hash as _;
use p2pool_core::node::{Event, NetworkCommand};
use p2pool_core::peer::GossipId;
use p2pool_core::peer::GossipVerdict;
use p2pool_core::units::{Bits, BlockHeight};
use p2pool_core::wire::{BlockAnnouncement, Frame as _, GossipShare, ShortIds};

use super::scripted_peer::{gossiping, meet, names, Stranger};
use super::support::{header, share, until, TestNode};

fn bytes(nonce: u32) -> Vec<u8> {
    GossipShare { share: share(nonce) }.encode()
}

/// A node in the middle, and beside it a stranger whom nobody else can find.
fn line() -> (TestNode, TestNode, Stranger) {
    let finder = TestNode::start(&[]);
    let middle = TestNode::start(&[&finder.address]);
    middle.await_peer(&finder.id());
    let mut end = Stranger::new(gossiping());
    meet(&mut end, &middle);
    end.join();
    // A mesh takes a moment to form, and only then a node passes on what it accepts.
    for nonce in WARM_UP.. {
        let gossip = announce(&finder, &middle, nonce);
        middle.send(NetworkCommand::Verdict { gossip, verdict: GossipVerdict::Accept });
        if !end.hear_for(Duration::from_millis(100)).is_empty() {
            break;
        }
        assert!(nonce < WARM_UP + 100, "the mesh never forms");
    }
    (finder, middle, end)
}

/// Shares with this nonce and later ones only try whether the mesh is there.
const WARM_UP: u32 = 1_000;

/// The next share that is no trial.
fn hear(end: &mut Stranger) -> Vec<u8> {
    loop {
        let bytes = end.hear();
        match GossipShare::decode(&bytes) {
            Ok(gossip) if gossip.share.header.nonce >= WARM_UP => {}
            _ => return bytes,
        }
    }
}

/// Announces until it arrives: a mesh takes a moment to form, and what is published to nobody is lost.
fn announce(finder: &TestNode, middle: &TestNode, nonce: u32) -> p2pool_core::peer::GossipId {
    let got = std::cell::RefCell::new(None);
    until("a share reaches the middle", || {
        finder.send(NetworkCommand::Announce(share(nonce)));
        for message in middle.inbox.try_iter() {
            if let Event::ShareGossiped { share: came, .. } = message {
                assert_eq!(came, share(nonce));
                *got.borrow_mut() = Some(GossipId(came.digest().0));
            }
        }
        *got.borrow()
    })
}

#[test]
fn a_share_goes_on_only_after_it_is_accepted() {
    let (finder, middle, mut end) = line();
    let [first, second, third] = [1, 2, 3].map(|nonce| announce(&finder, &middle, nonce));
    let verdict = |gossip, verdict| middle.send(NetworkCommand::Verdict { gossip, verdict });
    verdict(second, GossipVerdict::Accept);
    assert_eq!(hear(&mut end), bytes(2), "the first waits for its verdict");
    verdict(third, GossipVerdict::Ignore);
    verdict(first, GossipVerdict::Accept);
    assert_eq!(hear(&mut end), bytes(1));
    // What is ignored or rejected never goes on: the next to arrive is a later one.
    let fourth = announce(&finder, &middle, 4);
    let fifth = announce(&finder, &middle, 5);
    verdict(fourth, GossipVerdict::Reject);
    verdict(fifth, GossipVerdict::Accept);
    assert_eq!(hear(&mut end), bytes(5));
}

#[test]
fn a_share_comes_once_however_many_pass_it_on() {
    let (finder, middle, mut end) = line();
    let token = announce(&finder, &middle, 1);
    middle.send(NetworkCommand::Verdict { gossip: token, verdict: GossipVerdict::Accept });
    assert_eq!(hear(&mut end), bytes(1));
    finder.send(NetworkCommand::Announce(share(1)));
    let next = announce(&finder, &middle, 2);
    middle.send(NetworkCommand::Verdict { gossip: next, verdict: GossipVerdict::Accept });
    assert_eq!(hear(&mut end), bytes(2));
}

#[test]
fn a_rejected_share_costs_nothing_without_a_penalty_and_a_ban_with_two() {
    let node = TestNode::start(&[]);
    let mut stranger = Stranger::new(gossiping());
    meet(&mut stranger, &node);
    stranger.join();
    let topic = names().shares;
    for nonce in 1..=2 {
        stranger.gossip(&topic, bytes(nonce));
        let (peer, gossip, _) = stranger.live_until("the share", || {
            node.inbox.try_iter().find_map(|message| match message {
                Event::ShareGossiped { peer, share } => Some((peer, GossipId(share.digest().0), share)),
                _ => None,
            })
        });
        assert_eq!(node.status.load().banned, 0);
        node.send(NetworkCommand::Verdict { gossip, verdict: GossipVerdict::Reject });
        node.send(NetworkCommand::Penalize {
            peer,
            offence: p2pool_core::wire::Offence::BrokenRule(p2pool_core::sharechain::Rule::Payouts),
        });
    }
    stranger.await_shown_out();
    until("the ban", || (node.status.load().banned == 1).then_some(()));
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
fn a_found_block_travels_like_a_share() {
    let (finder, middle, mut end) = line();
    let found = Arc::new(block(0x207f_ffff));
    let (gossip, header, announcement) = until("the block reaches the middle", || {
        finder.send(NetworkCommand::AnnounceBlock(Arc::clone(&found)));
        middle.inbox.try_iter().find_map(|message| match message {
            Event::BlockAnnounced { gossip, header, announcement, .. } => Some((gossip, header, announcement)),
            _ => None,
        })
    });
    assert_eq!((header, &announcement), (found.header, &found.encode()));
    middle.send(NetworkCommand::Verdict { gossip, verdict: GossipVerdict::Accept });
    assert_eq!(hear(&mut end), found.encode());
}

#[test]
fn a_block_without_the_work_it_claims_reaches_nobody_and_costs() {
    let node = TestNode::start(&[]);
    let mut stranger = Stranger::new(gossiping());
    meet(&mut stranger, &node);
    stranger.join();
    stranger.gossip(&names().blocks, block(0x1d00_ffff).encode());
    stranger.gossip(&names().blocks, vec![0xa4; 100]);
    stranger.await_shown_out();
    assert!(!node.inbox.try_iter().any(|message| matches!(message, Event::BlockAnnounced { .. })));
}
