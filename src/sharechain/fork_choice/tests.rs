use super::*;
use crate::params::{ChainParams, Network};
use crate::share::encoding::tests::longest_share;
use crate::share::Share;
use crate::sharechain::tests::support::*;
use crate::sharechain::Anchor;
use crate::units::Target;

const STEP_S: u32 = 172_800;

#[test]
fn work_counts_in_full_for_two_days_and_a_sixteenth_with_each_two_more() {
    let at = |age_s: u32| weight(Work(4_096), START, START.plus(age_s), STEP_S);
    assert_eq!(
        [0, STEP_S - 1, STEP_S, 2 * STEP_S - 1, 2 * STEP_S, 3 * STEP_S].map(at),
        [4_096, 4_096, 256, 256, 16, 1]
    );
    assert_eq!(at(4 * STEP_S), 0);
    assert_eq!(weight(Work(u128::MAX), UnixTime(0), UnixTime(u32::MAX), 1), 0, "more steps than digits");
    assert_eq!(weight(Work(7), START.plus(9), START, STEP_S), 7, "a newer anchor than Bitcoin's tip is not old");
}

#[test]
fn a_branch_on_a_newer_block_becomes_the_main_chain_when_the_other_one_has_aged() {
    let mut node = TestNode::with_chain(5);
    let (fork, older) = (node.tip(), node.anchor.clone());
    node.extend(2);
    let main = node.tip();
    node.chain.tree_mut().add_anchor(anchor(101));
    node.anchor = anchor(101);
    node.miner = script(9);
    let branch = node.on(&fork);
    node.give(&branch);
    assert_eq!(node.tip(), main, "two shares against one");
    let mut bitcoin_at = |age_s: u32| {
        let block = anchor_at(400, UnixTime(older.header.time).plus(age_s));
        node.chain.follow_best_chain(best_chain(block), node.now);
        node.tip()
    };
    assert_eq!(bitcoin_at(STEP_S - 1), main);
    assert_eq!(bitcoin_at(STEP_S), branch.id());
}

/// The oldest shares of a pruned chain have siblings, whose parent is not held either.
#[test]
fn a_restored_tree_has_the_same_tip_whatever_lies_beside_its_oldest_share() {
    let mut node = TestNode::with_chain(5);
    let parent = node.main_ids()[2];
    node.miner = script(9);
    let sibling = Arc::new(node.on(&parent));
    node.give(&sibling);
    node.miner = script(1);
    node.extend(6);
    let main = node.main_shares().split_off(3);
    assert_eq!(sibling.info.parent, main[0].info.parent);
    for verified in [false, true] {
        let sibling = std::slice::from_ref(&sibling);
        for shares in [[sibling, &main].concat(), [&main[..1], sibling, &main[1..]].concat()] {
            let mut tree = Tree::new(Arc::clone(node.chain.tree().params()));
            tree.add_anchor(node.anchor.clone());
            shares.iter().for_each(|share| tree.restore(Arc::clone(share), verified));
            assert_eq!(tree.tip().unwrap().id, node.tip());
            assert_eq!(tree.main_chain().len(), main.len());
        }
    }
}

/// Shares of a random forest, without proof of work, as facts to restore.
struct Forest {
    params: Arc<ChainParams>,
    anchors: Vec<Anchor>,
    shares: Vec<Arc<Share>>,
}

struct Lcg(u64);

impl Lcg {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

impl Forest {
    fn random(lcg: &mut Lcg, params: &Arc<ChainParams>) -> Self {
        // Bitcoin blocks of nine days, half a day apart.
        let anchors = (0..18).map(|n| anchor_at(100 + n, START.plus(n * STEP_S / 4))).collect();
        let mut forest = Self { params: Arc::clone(params), anchors, shares: Vec::new() };
        for _ in 0..3 + lcg.below(40) {
            // Mostly one chain grows on; sometimes a branch or another chain begins.
            let parent = match (lcg.below(12), forest.shares.len()) {
                (_, 0) | (0, _) => None,
                (1..4, len) => Some(lcg.below(len)),
                (_, len) => Some(len - 1 - lcg.below(len.min(3))),
            };
            forest.grow(lcg, parent);
        }
        forest
    }

    fn grow(&mut self, lcg: &mut Lcg, parent: Option<usize>) -> usize {
        let mut share = Share::clone(&longest_share_without_uncles());
        let below = parent.map(|at| Arc::clone(&self.shares[at]));
        share.info.parent = below.as_ref().map_or(ShareId::ZERO, |below| below.id());
        share.info.share_height = ShareHeight(below.as_ref().map_or(0, |below| below.info.share_height.0 + 1));
        let work = 16 << lcg.below(6);
        share.info.share_bits = Work(work).target().min(Target::MAX).to_bits();
        share.info.base_bits = share.info.share_bits;
        let own = share.info.share_bits.work().unwrap().0;
        share.info.chain_work = Work(below.as_ref().map_or(0, |below| below.info.chain_work.0) + own);
        // Anchors do not fall by more than two blocks along a chain.
        let oldest = below.as_ref().map_or(0, |below| self.anchor_of(below).saturating_sub(2));
        let anchor = (oldest + lcg.below(4)).min(self.anchors.len() - 1);
        share.header.prev_blockhash = self.anchors[anchor].header.block_hash();
        share.header.nonce = lcg.below(1 << 31) as u32;
        self.shares.push(Arc::new(share));
        self.shares.len() - 1
    }

    fn anchor_of(&self, share: &Share) -> usize {
        let is_anchor = |anchor: &Anchor| anchor.header.block_hash() == share.header.prev_blockhash;
        self.anchors.iter().position(is_anchor).unwrap()
    }

    /// A tree of one share and its ancestors, of which so many of the newest are verified.
    fn chain(&self, tip: usize, verified: usize) -> Tree {
        let mut newest_first = vec![Arc::clone(&self.shares[tip])];
        while let Some(parent) = newest_first.last().map(|share| share.info.parent).filter(|id| *id != ShareId::ZERO) {
            newest_first.extend(self.shares.iter().find(|share| share.id() == parent).cloned());
        }
        let mut tree = Tree::new(Arc::clone(&self.params));
        self.anchors.iter().for_each(|anchor| tree.add_anchor(anchor.clone()));
        for (age, share) in newest_first.into_iter().enumerate().rev() {
            tree.restore(share, age < verified);
        }
        tree
    }
}

fn longest_share_without_uncles() -> Share {
    let mut share = longest_share();
    share.info.uncles.clear();
    share
}

/// The number of random triples; many more with the variable set.
fn triples() -> usize {
    std::env::var("P2POOL_TRIPLES").ok().and_then(|count| count.parse().ok()).unwrap_or(20_000)
}

#[test]
fn the_order_has_no_cycles_and_extending_a_chain_never_makes_it_lose() {
    let params = Arc::new(ChainParams { payout_window: 8, ..ChainParams::standard(Network::Regtest) });
    let mut lcg = Lcg(1);
    let (mut cycles, mut losses, mut decided) = (0, 0, 0);
    for _ in 0..triples() {
        let mut forest = Forest::random(&mut lcg, &params);
        let len = forest.shares.len();
        let tips = [lcg.below(len), lcg.below(len), lcg.below(len)];
        let [a, b, c] = tips.map(|tip| forest.chain(tip, usize::MAX));
        let loses = [a.loses_to(&b), b.loses_to(&c), c.loses_to(&a)];
        let back = [b.loses_to(&a), c.loses_to(&b), a.loses_to(&c)];
        decided += loses.iter().chain(&back).filter(|loses| **loses).count();
        cycles += usize::from(loses == [true; 3] || back == [true; 3]);
        assert!(loses.iter().zip(&back).all(|(one, other)| !(*one && *other)), "each of two chains loses to the other");
        let extended = forest.grow(&mut lcg, Some(tips[0]));
        let longer = forest.chain(extended, usize::MAX);
        assert!(a.loses_to(&longer) && !longer.loses_to(&a), "a descendant beats its ancestor");
        losses += usize::from(b.loses_to(&a) && !b.loses_to(&longer));
    }
    println!("{} triples, {decided} comparisons with a loser: {cycles} cycles, {losses} lost by extending", triples());
    assert_eq!((cycles, losses), (0, 0));
}
