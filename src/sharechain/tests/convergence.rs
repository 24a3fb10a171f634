//! Nodes end at one tip, in whatever order and way chains are offered to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::support::{anchor_at, best_chain, params, script, TestNode, PEER, START};
use crate::share::{Share, ShareId};
use crate::sharechain::CandidateId;
use crate::units::UnixTime;

/// When all chains end.
const END: UnixTime = UnixTime(START.0 + 3_000);
/// Seconds between Bitcoin blocks. The payout window of these chains spans ten minutes.
const BLOCK_EVERY_S: u32 = 60;

struct Rng(u64);

impl Rng {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end.max(1)
    }

    fn shuffled<T>(&mut self, mut items: Vec<T>) -> Vec<T> {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
        items
    }
}

fn with_anchors(mut node: TestNode) -> TestNode {
    let last = END.since(START) / BLOCK_EVERY_S;
    (0..last).for_each(|at| node.chain.tree_mut().add_anchor(block(at)));
    node.chain.tree_mut().headers_mut().follow(best_chain(block(last)));
    node
}

fn block(number: u32) -> crate::sharechain::Anchor {
    anchor_at(100 + number, START.plus(BLOCK_EVERY_S * number))
}

/// Mines shares that end at [`END`], each on the newest Bitcoin block.
fn mine(node: &mut TestNode, shares: u32, miner: u8, period_s: u32) {
    node.miner = script(miner);
    for left in (0..shares).rev() {
        node.now = END.minus(left * period_s);
        node.anchor = block(node.now.since(START) / BLOCK_EVERY_S);
        let share = node.next();
        node.give(&share);
    }
}

type Chain = Vec<Arc<Share>>;

/// A node with these shares.
fn follower(chain: &[Arc<Share>]) -> TestNode {
    let mut node = with_anchors(TestNode::with(params()));
    node.now = END;
    chain.iter().for_each(|share| node.chain.tree_mut().restore(Arc::clone(share), true));
    node
}

/// Up to three separate chains with up to two branches near the end of each, all ending at the same time.
fn chains(rng: &mut Rng, young: bool) -> Vec<Chain> {
    let mut all = Vec::new();
    for number in 0..=rng.below(3) as u8 {
        // A full window is 20 shares. No two of these chains have equal work in it.
        let (len, period_s) = match young {
            true => (1 + rng.below(12) as u32, [3, 10, 30, 30][rng.below(4)]),
            false => (22 + rng.below(20) as u32, 20 + 6 * u32::from(number)),
        };
        let mut trunk = with_anchors(TestNode::with(params()));
        mine(&mut trunk, len, 1 + number, period_s);
        let trunk = trunk.main_shares();
        for branch in 0..rng.below(3) as u8 {
            let kept = trunk.len().saturating_sub(1 + rng.below(3));
            let mut fork = follower(&trunk[..kept]);
            mine(&mut fork, (trunk.len() - kept) as u32, 100 + branch, period_s);
            all.push(fork.main_shares());
        }
        all.push(trunk);
    }
    all
}

/// Offers a chain share by share, as gossip does (way 0), or as a joined (1) or separate (2) candidate, as the planner does.
fn offer(node: &mut TestNode, chain: &Chain, number: u64, way: usize) {
    let tree = node.chain.tree();
    let held = chain.iter().take_while(|share| tree.contains(&share.id())).count();
    match way {
        0 => {
            for share in chain {
                node.give(share);
            }
        }
        way => {
            let joined = way == 1 && held > 0;
            node.chain.open_candidate(CandidateId(number), joined, node.now);
            for share in &chain[if joined { held } else { 0 }..] {
                node.chain.receive_candidate(CandidateId(number), Arc::clone(share), PEER, node.now);
            }
        }
    }
}

/// The tip of a node that starts with one of the chains, or with none, and is offered all of them three times in random
/// order, one by one or several together.
fn end(rng: &mut Rng, chains: &[Chain]) -> ShareId {
    let start = chains.get(rng.below(chains.len() + 1)).map_or(&[][..], |chain| &chain[..]);
    let mut node = follower(start);
    for _ in 0..3 {
        for chunk in rng.shuffled(chains.iter().collect()).chunks(1 + rng.below(3)) {
            let offered = 0..chunk.len() as u64;
            for (number, chain) in offered.clone().zip(chunk) {
                let way = rng.below(3);
                offer(&mut node, chain, number, way);
            }
            offered.for_each(|number| drop(node.chain.finish_candidate(CandidateId(number), node.now)));
            node.chain.tick(node.now);
        }
    }
    node.tip()
}

fn assert_convergence(young: bool) {
    for seed in 0..60 {
        let mut rng = Rng(seed);
        let chains = chains(&mut rng, young);
        let mut ends: BTreeMap<ShareId, usize> = BTreeMap::new();
        for _ in 0..12 {
            *ends.entry(end(&mut rng, &chains)).or_default() += 1;
        }
        assert_eq!(ends.len(), 1, "seed {seed}: {ends:?} of {} chains", chains.len());
    }
}

#[test]
fn young_chains_and_their_branches_converge() {
    assert_convergence(true);
}

#[test]
fn chains_with_full_windows_and_their_branches_converge() {
    assert_convergence(false);
}

/// A sibling of the adopted tip is compared as a sibling, even if it was fetched as a separate chain.
#[test]
fn a_separate_candidate_that_joins_our_chain_is_compared_as_a_branch() {
    let mut trunk = with_anchors(TestNode::with(params()));
    mine(&mut trunk, 40, 1, 20);
    let trunk = trunk.main_shares();
    let sibling = |miner| {
        let mut fork = follower(&trunk[..39]);
        mine(&mut fork, 1, miner, 20);
        fork.main_shares()
    };
    let (one, other) = (sibling(2), sibling(3));
    let best = one[39].id().min(other[39].id());
    for order in [[&one, &other], [&other, &one]] {
        let mut node = follower(&[]);
        // Both candidates are opened while the node has no chain.
        (1..=2).for_each(|number| drop(node.chain.open_candidate(CandidateId(number), false, node.now)));
        let mut adopt = |number, chain: &Chain| {
            for share in chain {
                node.chain.receive_candidate(CandidateId(number), Arc::clone(share), PEER, node.now);
            }
            node.chain.finish_candidate(CandidateId(number), node.now);
            node.chain.tick(node.now);
            node.tip()
        };
        adopt(1, order[0]);
        assert_eq!(adopt(2, order[1]), best);
    }
}
