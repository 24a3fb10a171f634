//! Whatever order chains are offered in, and however: nodes end at one tip.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::kit::{anchor_at, params, script, Kit, PEER, START};
use crate::share::{Share, ShareId};
use crate::sharechain::CandidateId;
use crate::units::UnixTime;

/// When all chains end.
const END: UnixTime = UnixTime(START.0 + 3_000);
/// Seconds between Bitcoin blocks: the payout window of these chains takes ten minutes.
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

fn with_anchors(mut kit: Kit) -> Kit {
    (0..=(END.since(START) / BLOCK_EVERY_S)).for_each(|at| kit.chain.tree_mut().add_anchor(block(at)));
    kit
}

fn block(number: u32) -> crate::sharechain::Anchor {
    anchor_at(100 + number, START.plus(BLOCK_EVERY_S * number))
}

/// Mines until the end, on the Bitcoin block of the time.
fn mine(kit: &mut Kit, shares: u32, miner: u8, period_s: u32) {
    kit.miner = script(miner);
    for left in (0..shares).rev() {
        kit.now = END.minus(left * period_s);
        kit.anchor = block(kit.now.since(START) / BLOCK_EVERY_S);
        let share = kit.next();
        kit.give(&share);
    }
}

type Chain = Vec<Arc<Share>>;

fn main_chain(kit: &Kit) -> Chain {
    kit.chain.tree().main_chain().iter().map(|id| Arc::clone(&kit.chain.tree().get(id).unwrap().share)).collect()
}

/// Another node with the first `len` shares of a chain.
fn follower(chain: &[Arc<Share>]) -> Kit {
    let mut kit = with_anchors(Kit::with(params()));
    kit.now = END;
    chain.iter().for_each(|share| kit.chain.tree_mut().restore(Arc::clone(share), true));
    kit
}

/// Up to three chains of their own, and up to three branches of each near its end, all mined until the same moment.
fn chains(rng: &mut Rng, young: bool) -> Vec<Chain> {
    let mut all = Vec::new();
    for number in 0..=rng.below(3) as u8 {
        // A full window is 20 shares; no two such chains have as much work in it.
        let (len, period_s) = match young {
            true => (1 + rng.below(12) as u32, [3, 10, 30, 30][rng.below(4)]),
            false => (22 + rng.below(20) as u32, 20 + 6 * u32::from(number)),
        };
        let mut trunk = with_anchors(Kit::with(params()));
        mine(&mut trunk, len, 1 + number, period_s);
        let trunk = main_chain(&trunk);
        for branch in 0..rng.below(3) as u8 {
            let kept = trunk.len().saturating_sub(1 + rng.below(3));
            let mut fork = follower(&trunk[..kept]);
            mine(&mut fork, (trunk.len() - kept) as u32, 100 + branch, period_s);
            all.push(main_chain(&fork));
        }
        all.push(trunk);
    }
    all
}

/// Offers a chain as the planner does: what follows what we have, candidate; or, as gossip does, share by share.
fn offer(kit: &mut Kit, chain: &Chain, number: u64, way: usize) {
    let tree = kit.chain.tree();
    let held = chain.iter().take_while(|share| tree.contains(&share.id())).count();
    match way {
        0 => {
            for share in chain {
                kit.give(share);
            }
        }
        way => {
            let joined = way == 1 && held > 0;
            kit.chain.open_candidate(CandidateId(number), joined, kit.now);
            for share in &chain[if joined { held } else { 0 }..] {
                kit.chain.receive_candidate(CandidateId(number), Arc::clone(share), PEER, kit.now);
            }
        }
    }
}

/// Where a node ends that starts with one of the chains, or none, and is offered all of them in some order, several
/// times, alone or some together.
fn end(rng: &mut Rng, chains: &[Chain]) -> ShareId {
    let start = chains.get(rng.below(chains.len() + 1)).map_or(&[][..], |chain| &chain[..]);
    let mut kit = follower(start);
    for _ in 0..3 {
        for chunk in rng.shuffled(chains.iter().collect()).chunks(1 + rng.below(3)) {
            let offered = 0..chunk.len() as u64;
            for (number, chain) in offered.clone().zip(chunk) {
                let way = rng.below(3);
                offer(&mut kit, chain, number, way);
            }
            offered.for_each(|number| drop(kit.chain.finish_candidate(CandidateId(number), kit.now)));
            kit.chain.tick(kit.now);
        }
    }
    kit.tip()
}

fn all_end_alike(young: bool) {
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
fn young_chains_and_their_branches_end_as_one() {
    all_end_alike(true);
}

#[test]
fn chains_with_full_windows_and_their_branches_end_as_one() {
    all_end_alike(false);
}

/// A sibling of what a newcomer took is compared as a sibling, even if it was fetched as a chain of its own.
#[test]
fn a_sibling_fetched_whole_by_a_node_that_took_the_other_is_a_branch_like_any_other() {
    let mut trunk = with_anchors(Kit::with(params()));
    mine(&mut trunk, 40, 1, 20);
    let trunk = main_chain(&trunk);
    let sibling = |miner| {
        let mut fork = follower(&trunk[..39]);
        mine(&mut fork, 1, miner, 20);
        main_chain(&fork)
    };
    let (one, other) = (sibling(2), sibling(3));
    let best = one[39].id().min(other[39].id());
    for order in [[&one, &other], [&other, &one]] {
        let mut kit = follower(&[]);
        // Both are asked for while nothing is held.
        (1..=2).for_each(|number| drop(kit.chain.open_candidate(CandidateId(number), false, kit.now)));
        let mut take = |number, chain: &Chain| {
            for share in chain {
                kit.chain.receive_candidate(CandidateId(number), Arc::clone(share), PEER, kit.now);
            }
            kit.chain.finish_candidate(CandidateId(number), kit.now);
            kit.chain.tick(kit.now);
            kit.tip()
        };
        take(1, order[0]);
        assert_eq!(take(2, order[1]), best);
    }
}
