//! Attacks by Bitcoin headers without Bitcoin's work, and splits of view between bitcoinds.

use std::sync::Arc;

use bitcoin::block::{Header, Version};

use super::support::{anchor, anchor_at, best_chain, script, verdict_on, TestNode, BITS, PEER, START};
use crate::params::{ChainParams, Network};
use crate::peer::PeerHandle;
use crate::sharechain::{
    meets_own_bits, next_block_height_min, Anchor, BestChain, Branch, CandidateId, CandidateOutcome, Effect,
    HeadersVerdict, Verdict,
};
use crate::units::BlockHeight;

/// The rules of mainnet, with shares that are easy to find.
fn mainnet() -> ChainParams {
    ChainParams { payout_window: 20, retarget_window: 8, easiest_bits: BITS, ..ChainParams::standard(Network::Mainnet) }
}

/// A header with work on a block.
fn header_on(parent: &Anchor, number: u32) -> Header {
    let version = Version::from_consensus(0x2000_0000);
    let time = parent.header.time + 60;
    let prev_blockhash = parent.header.block_hash();
    let mut header = Header { version, prev_blockhash, time, nonce: number << 16, ..parent.header };
    while !meets_own_bits(&header) {
        header.nonce += 1;
    }
    header
}

/// Blocks with work above one, the first one numbered.
fn blocks_on(parent: &Anchor, count: usize, number: u32) -> Vec<Anchor> {
    let mut blocks: Vec<Anchor> = Vec::new();
    for _ in 0..count {
        let parent = blocks.last().unwrap_or(parent);
        let header = header_on(parent, number);
        blocks.push(parent.child(Network::Mainnet, header).unwrap());
    }
    blocks
}

fn headers(blocks: &[Anchor]) -> Vec<Header> {
    blocks.iter().map(|block| block.header).collect()
}

/// Nothing but the blocks above the node's best tip.
fn extension(blocks: &[Anchor]) -> BestChain {
    BestChain { is_settled: true, root: None, headers: headers(blocks) }
}

#[test]
fn headers_without_bitcoins_work_lift_neither_bitcoins_height_nor_the_height_floor() {
    let mut node = TestNode::with(mainnet());
    node.extend(10);
    let floor = next_block_height_min(node.chain.tree());
    // A share on a block at height 5,000,000 that links to nothing.
    let fake = anchor_at(5_000_000, START);
    node.anchor = fake.clone();
    node.now = node.now.plus(30);
    let evil = node.next();
    assert_eq!(node.give(&evil), Verdict::Deferred);
    let mut lone = fake.header;
    while !meets_own_bits(&lone) {
        lone.nonce += 1;
    }
    let (_, verdict) = node.chain.receive_headers(&[lone], PeerHandle(1), Branch::Gossiped, node.now);
    assert_eq!(verdict, HeadersVerdict::Unlinked);
    // A long branch of easy headers: no more than six of gossip's count, and none changes bitcoind's best chain.
    let branch = blocks_on(&anchor(100), 20, 1);
    let (_, verdict) = node.chain.receive_headers(&headers(&branch), PeerHandle(1), Branch::Gossiped, node.now);
    assert_eq!(verdict, HeadersVerdict::Beyond);
    let index = node.chain.tree().headers();
    assert_eq!(index.len(), 1 + 6);
    assert_eq!(index.best().unwrap().height, BlockHeight(100));
    assert_eq!(next_block_height_min(node.chain.tree()), floor);
    // Honest shares go on.
    node.anchor = anchor(100);
    node.extend(3);
}

#[test]
fn few_shares_on_a_higher_block_do_not_lift_the_height_floor() {
    for (high, expected) in [(1, 99), (3, 99), (4, 105)] {
        let mut node = TestNode::with(mainnet());
        let blocks = blocks_on(&anchor(100), 6, 0);
        node.chain.follow_best_chain(extension(&blocks), node.now);
        node.extend(12);
        let low = node.anchor.clone();
        node.anchor = blocks[5].clone();
        node.now = node.now.max(START.plus(400));
        node.extend(high);
        assert_eq!(next_block_height_min(node.chain.tree()), BlockHeight(expected), "{high} of the last 8 shares");
        node.anchor = low;
        node.now = node.now.plus(30);
        let share = node.next();
        assert_eq!(node.give(&share) == Verdict::Accepted, high < 4);
    }
}

#[test]
fn a_chain_is_not_left_for_one_easy_share_however_high_the_headers_that_a_peer_sends() {
    for network in [Network::Regtest, Network::Mainnet] {
        let params = ChainParams { network, ..mainnet() };
        let mut ours = TestNode::with(params.clone());
        ours.extend(60);
        let tip = ours.tip();
        let mut theirs = TestNode::with(params);
        theirs.miner = script(66);
        theirs.now = ours.now;
        let evil = Arc::new(theirs.next());
        let offer = |ours: &mut TestNode, id: u64| -> Vec<CandidateOutcome> {
            let mut effects = ours.chain.open_candidate(CandidateId(id), false, ours.now);
            effects.extend(ours.chain.receive_candidate(CandidateId(id), Arc::clone(&evil), PEER, ours.now));
            effects.extend(ours.chain.finish_candidate(CandidateId(id), ours.now));
            let outcome = |effect| match effect {
                Effect::CandidateJudged { outcome, .. } => Some(outcome),
                _ => None,
            };
            effects.into_iter().filter_map(outcome).collect()
        };
        assert_eq!(offer(&mut ours, 1), [CandidateOutcome::NotBetter]);
        for branch in [Branch::Gossiped, Branch::Fetched] {
            let side = blocks_on(&anchor(100), 900, 1);
            ours.chain.receive_headers(&headers(&side), PeerHandle(7), branch, ours.now.plus(100_000));
        }
        assert_eq!(ours.chain.tree().headers().len(), 1 + 144);
        assert_eq!(offer(&mut ours, 2), [CandidateOutcome::NotBetter]);
        assert_eq!(ours.tip(), tip);
    }
}

/// One bitcoind had a block and found it invalid, the other knows its header only: their nodes take the same shares.
#[test]
fn nodes_agree_on_shares_whose_block_one_bitcoind_found_invalid() {
    let mut one = TestNode::with(mainnet());
    one.extend(30);
    let mut two = TestNode::with(mainnet());
    for share in one.main_shares() {
        assert_eq!(two.give_at(&share), Verdict::Accepted);
    }
    let (bad, good) = (blocks_on(&anchor(100), 1, 1), blocks_on(&anchor(100), 2, 2));
    // The second one's bitcoind went on beside the bad block.
    two.chain.follow_best_chain(extension(&good), two.now);
    let mut maker = TestNode::with(mainnet());
    maker.chain.follow_best_chain(extension(&bad), maker.now);
    for share in one.main_shares() {
        assert_eq!(maker.give_at(&share), Verdict::Accepted);
    }
    maker.miner = script(66);
    maker.anchor = bad[0].clone();
    maker.now = maker.now.max(START.plus(100)).plus(30);
    let evil = maker.next();
    for node in [&mut one, &mut two] {
        node.now = maker.now;
        assert_eq!(node.give(&evil), Verdict::Deferred);
        let (effects, verdict) = node.chain.receive_headers(&headers(&bad), PeerHandle(1), Branch::Gossiped, node.now);
        assert_eq!((verdict, verdict_on(&effects, &evil)), (HeadersVerdict::Held, Verdict::Accepted));
    }
    for _ in 0..20 {
        one.now = one.now.plus(30);
        two.now = one.now;
        let share = one.next();
        assert_eq!((one.give(&share), two.give(&share)), (Verdict::Accepted, Verdict::Accepted));
        assert_eq!(one.tip(), two.tip());
    }
}

/// A share stays valid when bitcoind leaves its block, also for a node that sees the share only afterwards.
#[test]
fn reorganisations_of_bitcoin_do_not_part_nodes() {
    for depth in 1..=24 {
        let (old, new) = (blocks_on(&anchor(100), depth, 1), blocks_on(&anchor(100), depth + 1, 2));
        let mut before = TestNode::with(mainnet());
        before.now = START.plus(60 * 30);
        before.chain.follow_best_chain(extension(&old), before.now);
        before.anchor = old[depth - 1].clone();
        before.extend(3);
        before.chain.follow_best_chain(extension(&new), before.now);
        assert_eq!(before.chain.tree().len(), 3);
        let mut after = TestNode::with(mainnet());
        after.now = before.now;
        after.chain.follow_best_chain(extension(&new), after.now);
        for share in before.main_shares() {
            assert_eq!(after.give(&share), Verdict::Deferred, "{depth}");
        }
        let branch = if depth > 6 { Branch::Fetched } else { Branch::Gossiped };
        after.chain.receive_headers(&headers(&old), PeerHandle(1), branch, after.now);
        assert_eq!(after.tip(), before.tip(), "{depth}");
        // Both go on from there, on the new block.
        for node in [&mut before, &mut after] {
            node.anchor = new[depth].clone();
            node.extend(2);
        }
    }
}

#[test]
fn no_chain_is_adopted_before_bitcoind_has_caught_up() {
    let theirs = TestNode::with_chain(30);
    let mut newcomer = TestNode::new();
    newcomer.now = theirs.now;
    newcomer.chain.follow_best_chain(BestChain { is_settled: false, ..best_chain(anchor(100)) }, newcomer.now);
    let id = CandidateId(1);
    newcomer.chain.open_candidate(id, false, newcomer.now);
    for share in theirs.main_shares() {
        newcomer.chain.receive_candidate(id, share, PEER, newcomer.now);
    }
    newcomer.chain.finish_candidate(id, newcomer.now);
    let wait = newcomer.now.plus(5_000);
    assert!(newcomer.chain.tick(wait).is_empty());
    let settled = BestChain { is_settled: true, root: None, headers: Vec::new() };
    let effects = newcomer.chain.follow_best_chain(settled, wait);
    assert!(effects.contains(&Effect::CandidateJudged { id, outcome: CandidateOutcome::Adopted }));
    assert_eq!(newcomer.tip(), theirs.tip());
}
