use bitcoin::block::Header;

use super::*;
use crate::params::{ChainParams, Network};
use crate::peer::PeerHandle;
use crate::share::encoding::tests::longest_share;
use crate::share::Share;
use crate::sharechain::tests::support::*;
use crate::sharechain::{Anchor, BestChain, CandidateId, Source, Verdict};
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

/// Bitcoin's best chain from height 100 to 120: its blocks above 101 are a step of age later.
fn best_chain_a_step_later() -> BestChain {
    let mut headers: Vec<Header> = Vec::new();
    for height in 101..=120 {
        let below = headers.last().copied().unwrap_or(anchor(100).header);
        let time = below.time + if height == 102 { STEP_S + 7_200 } else { 1 };
        headers.push(Header { prev_blockhash: below.block_hash(), time, ..below });
    }
    BestChain { is_settled: true, root: Some(Box::new(anchor(100))), headers }
}

/// On test networks blocks cost next to nothing, and headers beside the best chain may have any time up to now.
#[test]
fn a_share_on_a_side_block_is_no_newer_than_the_best_chains_block_at_that_height() {
    let now = START.plus(2 * STEP_S);
    for (height, is_newer) in [(50, false), (101, false), (106, false), (107, true), (120, true), (126, true)] {
        let mut node = TestNode::with_chain(5);
        let fork = node.tip();
        node.extend(2);
        let main = node.tip();
        node.now = now;
        let side = anchor_at(height, START.plus(STEP_S + 7_200));
        node.chain.tree_mut().add_anchor(side.clone());
        (node.anchor, node.miner) = (side, script(9));
        let branch = node.on(&fork);
        assert_eq!(node.give(&branch), Verdict::Accepted);
        assert_eq!(node.tip(), main, "two shares against one");
        node.chain.follow_best_chain(best_chain_a_step_later(), now);
        assert_eq!(node.tip(), if is_newer { branch.id() } else { main }, "{height}");
    }
}

/// A chain's oldest verified share is no newer either: otherwise nothing of ours would count.
#[test]
fn a_base_on_side_blocks_does_not_limit_what_counts() {
    let mut ours = TestNode::with_chain(10);
    ours.chain.follow_best_chain(best_chain_a_step_later(), ours.now);
    for (height, is_better) in [(101, false), (120, true)] {
        let mut theirs = TestNode::new();
        let side = anchor_at(height, START.plus(STEP_S + 7_200));
        theirs.chain.tree_mut().add_anchor(side.clone());
        (theirs.anchor, theirs.miner, theirs.now) = (side.clone(), script(9), START.plus(2 * STEP_S));
        theirs.extend(3);
        let mut tree = ours.chain.tree().without_shares();
        tree.add_anchor(side);
        theirs.main_shares().into_iter().enumerate().for_each(|(at, share)| tree.restore(share, at > 0));
        assert_eq!(ours.chain.tree().loses_to(&tree), is_better, "{height}");
    }
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
    /// A tree without shares that knows nine days of Bitcoin blocks, half a day apart.
    empty: Tree,
    anchors: Vec<Anchor>,
    shares: Vec<ForestShare>,
}

struct ForestShare {
    id: ShareId,
    parent: Option<usize>,
    anchor: usize,
    share: Arc<Share>,
}

struct Lcg(u64);

impl Lcg {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

impl Forest {
    fn new(params: &Arc<ChainParams>) -> Self {
        let anchors: Vec<Anchor> = (0..18).map(|n| anchor_at(100 + n, START.plus(n * STEP_S / 4))).collect();
        let mut empty = Tree::new(Arc::clone(params));
        anchors.iter().for_each(|anchor| empty.add_anchor(anchor.clone()));
        empty.headers_mut().follow(best_chain(anchors[17].clone()));
        Self { empty, anchors, shares: Vec::new() }
    }

    /// Other shares.
    fn renew(&mut self, lcg: &mut Lcg) {
        self.shares.clear();
        for _ in 0..3 + lcg.below(40) {
            // Mostly one chain grows on; sometimes a branch or another chain begins.
            let parent = match (lcg.below(12), self.shares.len()) {
                (_, 0) | (0, _) => None,
                (1..4, len) => Some(lcg.below(len)),
                (_, len) => Some(len - 1 - lcg.below(len.min(3))),
            };
            self.grow(lcg, parent);
        }
    }

    fn grow(&mut self, lcg: &mut Lcg, parent: Option<usize>) -> usize {
        let mut share = longest_share_without_uncles();
        let below = parent.map(|at| &self.shares[at]);
        share.info.parent = below.map_or(ShareId::ZERO, |below| below.id);
        share.info.share_height = ShareHeight(below.map_or(0, |below| below.share.info.share_height.0 + 1));
        let work = 16 << lcg.below(6);
        share.info.share_bits = Work(work).target().min(Target::MAX).to_bits();
        share.info.base_bits = share.info.share_bits;
        let own = share.info.share_bits.work().unwrap().0;
        share.info.chain_work = Work(below.map_or(0, |below| below.share.info.chain_work.0) + own);
        // Anchors do not fall by more than two blocks along a chain.
        let oldest = below.map_or(0, |below| below.anchor.saturating_sub(2));
        let anchor = (oldest + lcg.below(4)).min(self.anchors.len() - 1);
        share.header.prev_blockhash = self.anchors[anchor].header.block_hash();
        share.header.nonce = lcg.below(1 << 31) as u32;
        self.shares.push(ForestShare { id: share.id(), parent, anchor, share: Arc::new(share) });
        self.shares.len() - 1
    }

    /// One share and its ancestors, newest first.
    fn ancestry(&self, tip: usize) -> Vec<Arc<Share>> {
        let ancestry = std::iter::successors(Some(tip), |at| self.shares[*at].parent);
        ancestry.map(|at| Arc::clone(&self.shares[at].share)).collect()
    }

    /// A tree of so many shares that end with this one, of which so many of the newest are verified.
    fn chain(&self, tip: usize, held: usize, verified: usize) -> Tree {
        let mut tree = self.empty.snapshot();
        for (age, share) in self.ancestry(tip).into_iter().enumerate().take(held).rev() {
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

/// Counts something in random triples on two threads: sums of what `of` returns for a forest with new shares.
fn count<const N: usize>(window: u32, of: impl Fn(&mut Lcg, &mut Forest) -> [usize; N] + Sync) -> [usize; N] {
    let params = ChainParams { payout_window: window, retarget_window: 6, ..ChainParams::standard(Network::Regtest) };
    let params = Arc::new(params);
    let part = |seed: u64| {
        let (mut lcg, mut forest, mut sums) = (Lcg(seed), Forest::new(&params), [0; N]);
        for _ in 0..triples() / 2 {
            forest.renew(&mut lcg);
            let counted = of(&mut lcg, &mut forest);
            sums.iter_mut().zip(counted).for_each(|(sum, counted)| *sum += counted);
        }
        sums
    };
    let sums =
        std::thread::scope(|scope| [1, 2].map(|seed| scope.spawn(move || part(seed))).map(|half| half.join().unwrap()));
    std::array::from_fn(|at| sums[0][at] + sums[1][at])
}

fn is_circle(a: &Tree, b: &Tree, c: &Tree) -> bool {
    let loses = [a.loses_to(b), b.loses_to(c), c.loses_to(a)];
    let back = [b.loses_to(a), c.loses_to(b), a.loses_to(c)];
    loses == [true; 3] || back == [true; 3]
}

#[test]
fn the_order_has_no_cycles_and_extending_a_chain_never_makes_it_lose() {
    let [decided, aged, cycles, losses] = count(8, |lcg, forest| {
        let len = forest.shares.len();
        let tips = [lcg.below(len), lcg.below(len), lcg.below(len)];
        let [a, b, c] = tips.map(|tip| forest.chain(tip, usize::MAX, usize::MAX));
        let loses = [a.loses_to(&b), b.loses_to(&c), c.loses_to(&a)];
        let back = [b.loses_to(&a), c.loses_to(&b), a.loses_to(&c)];
        assert!(loses.iter().zip(&back).all(|(one, other)| !(*one && *other)), "each of two chains loses to the other");
        let extended = forest.grow(lcg, Some(tips[0]));
        let longer = forest.chain(extended, usize::MAX, usize::MAX);
        assert!(a.loses_to(&longer) && !longer.loses_to(&a), "a descendant beats its ancestor");
        let decided = loses.iter().chain(&back).filter(|loses| **loses).count();
        let is_aged = a.recent_work() < a.tip().unwrap().info().chain_work.0;
        let lost = b.loses_to(&a) && !b.loses_to(&longer);
        [decided, usize::from(is_aged), usize::from(is_circle(&a, &b, &c)), usize::from(lost)]
    });
    println!(
        "{} triples, {decided} comparisons with a loser, {aged} chains with aged shares: {cycles} cycles, {losses} lost by \
         extending",
        triples()
    );
    assert!(aged > triples() / 4, "{aged} chains with aged shares");
    assert_eq!((cycles, losses), (0, 0));
}

/// Payout window of the chains that are verified over different times.
const WINDOW: u32 = 4;

/// Shares that a node keeps.
const KEPT: usize = 3 * WINDOW as usize;

/// What a node gets that fetches another's chain: as many shares as are kept, the oldest of them unverified.
fn fetched(forest: &Forest, theirs: &Tree) -> Tree {
    let mut tree = forest.empty.snapshot();
    let main = theirs.main_chain();
    let main = &main[main.len().saturating_sub(KEPT)..];
    for (at, share) in main.iter().enumerate() {
        let is_verified = main[0].info().is_genesis() || at >= WINDOW as usize;
        tree.restore(Arc::clone(&share.share), is_verified);
    }
    tree
}

/// What a node adopts of another's chain, if that is better: as `Sharechain::replacement_by`.
fn replacement(forest: &Forest, ours: &Tree, theirs: &Tree) -> Option<Tree> {
    let main = theirs.main_chain();
    let join = main.iter().rposition(|share| ours.contains(&share.id));
    let is_verifiable = join.is_some_and(|join| {
        let below = ours.ancestry(&main[join].id).count();
        below >= WINDOW as usize || ours.main_chain()[0].info().is_genesis()
    });
    let replacement = match join.filter(|_| is_verifiable) {
        Some(join) => {
            let mut grafted = ours.snapshot();
            main[join + 1..].iter().for_each(|share| grafted.restore(Arc::clone(&share.share), true));
            grafted
        }
        None => fetched(forest, theirs),
    };
    (replacement.is_verified() && ours.loses_to(&replacement)).then_some(replacement)
}

/// Has nodes exchange their chains until none adopts another's. Returns how often one did; `None` if there is no end of it.
fn exchange(lcg: &mut Lcg, forest: &Forest, nodes: &mut [Tree; 3]) -> Option<usize> {
    const PAIRS: [(usize, usize); 6] = [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)];
    for adopted in 0..60 {
        // They hear of each other in any order.
        let first = lcg.below(PAIRS.len());
        let pairs = PAIRS.iter().cycle().skip(first).take(PAIRS.len());
        let mut better =
            pairs.filter_map(|(one, other)| Some((*one, replacement(forest, &nodes[*one], &nodes[*other])?)));
        let Some((one, adopted_tree)) = better.next() else { return Some(adopted) };
        drop(better);
        nodes[one] = adopted_tree;
    }
    None
}

fn are_apart(nodes: &[Tree; 3]) -> bool {
    let tips = nodes.each_ref().map(|node| node.tip().unwrap().id);
    tips.iter().any(|tip| *tip != tips[0])
}

/// Each of two nodes may prefer its own chain, near a tie: each judges by the time for which it has the other's chain
/// verified. They never swap chains for ever, and are together soon if somebody finds shares.
#[test]
fn nodes_with_chains_verified_over_different_times_agree_in_the_end() {
    let [circles, swaps, apart, shares, endless] = count(WINDOW, |lcg, forest| {
        let len = forest.shares.len();
        let mut nodes = [(); 3].map(|()| {
            let tip = lcg.below(len);
            let all = forest.ancestry(tip).len();
            // As after a fetch, or later: at least those above the first window are verified.
            let held = all.min(2 * WINDOW as usize + lcg.below(WINDOW as usize));
            let verified = if held == all { all } else { held - lcg.below(WINDOW as usize + 1) };
            forest.chain(tip, held, verified)
        });
        let [a, b, c] = &nodes;
        let circle = is_circle(a, b, c);
        let Some(adopted) = exchange(lcg, forest, &mut nodes) else { return [usize::from(circle), 0, 0, 0, 1] };
        let is_apart = are_apart(&nodes);
        let mut found = 0;
        while are_apart(&nodes) && found < 1_000 {
            let node = lcg.below(3);
            let tip = nodes[node].tip().unwrap().id;
            let at = forest.shares.iter().position(|share| share.id == tip).unwrap();
            let next = forest.grow(lcg, Some(at));
            nodes[node].restore(Arc::clone(&forest.shares[next].share), true);
            found += 1;
            if exchange(lcg, forest, &mut nodes).is_none() {
                found = 1_000;
            }
        }
        let endless = found == 1_000;
        [usize::from(circle), adopted, usize::from(is_apart), found, usize::from(endless)]
    });
    println!(
        "{} triples verified over different times: {circles} circles, {swaps} adoptions, {apart} apart after them and together \
         after {shares} more shares in all, {endless} without an end",
        triples()
    );
    assert!(apart > 0, "no chains near a tie");
    assert_eq!(endless, 0);
}

/// What the shares of a candidate count changes with Bitcoin's best chain like that of ours.
#[test]
fn a_candidate_has_the_tip_of_a_recomputation_after_the_best_chain_changed() {
    let mut node = TestNode::with_chain(5);
    let fork = node.tip();
    node.extend(2);
    let main: Vec<Arc<Share>> = node.main_shares();
    node.now = START.plus(2 * STEP_S);
    let side = anchor_at(120, START.plus(STEP_S + 7_200));
    node.chain.tree_mut().add_anchor(side.clone());
    (node.anchor, node.miner) = (side.clone(), script(9));
    let branch = node.on(&fork);
    assert_eq!(node.give(&branch), Verdict::Accepted);
    let mut newcomer = TestNode::new();
    newcomer.now = node.now;
    newcomer.chain.tree_mut().add_anchor(side);
    let (id, source) = (CandidateId(1), Source::Fetch(PeerHandle(1)));
    let mut effects = newcomer.chain.open_candidate(id, false, node.now);
    for share in main.into_iter().chain([Arc::new(branch.clone())]) {
        effects.extend(newcomer.chain.receive_candidate(id, share, source, node.now));
    }
    for node in [&mut node, &mut newcomer] {
        node.chain.follow_best_chain(best_chain_a_step_later(), node.now);
    }
    effects.extend(newcomer.chain.finish_candidate(id, node.now));
    effects.extend(newcomer.chain.tick(node.now));
    assert_eq!(node.tip(), branch.id(), "{effects:?}");
    assert_eq!(newcomer.chain.tree().tip().map(|tip| tip.id), Some(branch.id()));
}
