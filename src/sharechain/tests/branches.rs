//! Branches in the unverified pool: the best one becomes the tip in any order of arrival, whatever else is sent.

use std::collections::HashMap;
use std::sync::Arc;

use bitcoin::hashes::Hash as _;

use super::support::{anchor, script, verdict_on, TestNode};

use crate::peer::PeerHandle;
use crate::share::{Share, ShareId};
use crate::sharechain::{Effect, Need, Source, Verdict};
use crate::units::{UnixTime, Work};

/// A node with these shares.
fn following(shares: &[Arc<Share>]) -> TestNode {
    let mut node = TestNode::new();
    shares.iter().for_each(|share| assert_eq!(node.give_at(share), Verdict::Accepted));
    node
}

/// A fork after ten common shares. `ours` has two more. `theirs` has `first` and two children of it: `second`, whose id is
/// higher than that of our tip, so that it loses the tie, and `stale` with a still higher id.
struct Fork {
    ours: TestNode,
    theirs: TestNode,
    first: Share,
    second: Share,
    stale: Share,
}

fn fork() -> Fork {
    let common = TestNode::with_chain(10).main_shares();
    (2..200u8)
        .find_map(|miner| {
            let mut ours = following(&common);
            ours.extend(2);
            let mut theirs = following(&common);
            theirs.miner = script(miner);
            theirs.extend(1);
            let (first, parent) = (theirs.tip(), theirs.tip());
            theirs.now = theirs.now.plus(30);
            let mut twins = Vec::new();
            for twin in [miner, miner.wrapping_add(100)] {
                theirs.miner = script(twin);
                let share = theirs.on(&parent);
                assert_eq!(theirs.give(&share), Verdict::Accepted);
                twins.push(share);
            }
            twins.sort_by_key(Share::id);
            let (stale, second) = (twins.pop()?, twins.pop()?);
            theirs.now = theirs.now.plus(30);
            let first = (*theirs.chain.tree().get(&first)?.share).clone();
            ours.now = theirs.now;
            (second.id() > ours.tip()).then_some(Fork { ours, theirs, first, second, stale })
        })
        .unwrap()
}

#[test]
fn a_branch_that_becomes_the_main_chain_is_linked_in_one_pass() {
    let common = TestNode::with_chain(10).main_shares();
    let mut ours = following(&common);
    ours.extend(100);
    let mut theirs = following(&common);
    theirs.miner = script(2);
    theirs.extend(101);
    ours.now = theirs.now;
    let branch = &theirs.main_shares()[common.len()..];
    let mut effects_max = 0;
    for share in branch {
        effects_max = effects_max.max(ours.effects(share).len());
    }
    assert_eq!(ours.tip(), theirs.tip());
    // That each is linked, the verdict, and that it is the tip.
    assert!(effects_max <= 3 * branch.len(), "{effects_max} effects of one share");
}

/// All orders of four items.
fn orders() -> Vec<[usize; 4]> {
    let mut all = Vec::new();
    for code in 0..256usize {
        let order = [code & 3, code >> 2 & 3, code >> 4 & 3, code >> 6];
        if (0..4).all(|at| order.contains(&at)) {
            all.push(order);
        }
    }
    all
}

#[test]
fn a_better_branch_with_an_uncle_of_its_own_wins_in_any_order_of_arrival() {
    for order in orders() {
        let Fork { mut ours, mut theirs, first, second, stale } = fork();
        let nephew = theirs.next();
        assert_eq!(nephew.info.uncles, [stale.id()]);
        let shares = [first, second, stale, nephew];
        for at in order {
            ours.give(&shares[at]);
        }
        assert_eq!(ours.tip(), shares[3].id(), "{order:?}");
        assert_eq!(ours.chain.waiting(), (0, 0), "{order:?}");
    }
}

#[test]
fn an_uncle_of_an_uncle_is_found_among_the_unverified() {
    let Fork { mut ours, mut theirs, first, second, stale } = fork();
    // Two children of `second`: `aside` names the stale share as its uncle and becomes stale itself; `main` names none.
    let (mut main, mut aside) = (None, None);
    for miner in 1..200 {
        theirs.miner = script(miner);
        let names = theirs.on(&second.id());
        let names_none = theirs.edited(&second.id(), |share| share.info.uncles.clear());
        assert_eq!(names.info.uncles, [stale.id()]);
        if names_none.id() < names.id() {
            (main, aside) = (Some(names_none), Some(names));
            break;
        }
    }
    let (main, aside) = (main.unwrap(), aside.unwrap());
    for share in [&main, &aside] {
        assert_eq!(theirs.give(share), Verdict::Accepted);
    }
    theirs.now = theirs.now.plus(30);
    let nephew = theirs.on(&main.id());
    assert!(nephew.info.uncles.contains(&aside.id()) && nephew.info.uncles.contains(&stale.id()));
    assert_eq!(theirs.give(&nephew), Verdict::Accepted);
    ours.extend(1);
    ours.now = theirs.now;
    for share in [&aside, &stale, &nephew, &main, &second, &first] {
        ours.give(share);
    }
    assert_eq!(ours.tip(), nephew.id());
    assert_eq!(ours.chain.waiting(), (0, 0));
}

#[test]
fn stale_shares_of_a_branch_that_became_the_main_chain_can_be_uncles() {
    let Fork { mut ours, mut theirs, first, second, stale } = fork();
    let child = theirs.edited(&second.id(), |share| share.info.uncles.clear());
    for share in [&first, &second, &stale, &child] {
        ours.give(share);
    }
    assert_eq!(ours.tip(), child.id());
    assert!(ours.next().info.uncles.contains(&stale.id()));
}

#[test]
fn a_mutant_in_the_middle_of_a_branch_does_not_remove_the_shares_above_it() {
    let common = TestNode::with_chain(10).main_shares();
    let mut ours = following(&common);
    ours.extend(5);
    let mut theirs = following(&common);
    theirs.miner = script(2);
    theirs.extend(6);
    ours.now = theirs.now;
    let branch = theirs.main_shares().split_off(10);
    let mut mutant = (*branch[2]).clone();
    mutant.extranonce[0] ^= 1;
    for share in [&branch[0], &branch[1], &Arc::new(mutant), &branch[3], &branch[4]] {
        assert_eq!(ours.give(share), Verdict::Unverified);
    }
    assert_eq!(ours.give(&branch[5]), Verdict::Unverified, "one below it was rejected, but the true one may come");
    assert!(ours.chain.tree().contains(&branch[1].id()) && !ours.chain.tree().contains(&branch[2].id()));
    ours.give(&branch[2]);
    assert_eq!(ours.tip(), branch[5].id());
    assert_eq!(ours.chain.waiting(), (0, 0));
}

#[test]
fn a_mutant_with_an_unlinked_parent_does_not_remove_the_shares_above_it() {
    let Fork { mut ours, mut theirs, first, second, .. } = fork();
    let child = theirs.edited(&second.id(), |share| share.info.uncles.clear());
    // The mutant gets into the pool because its parent is in the pool, and is then removed.
    let root = theirs.edited(&ShareId::ZERO, |_| ());
    let mut mutant = second.clone();
    mutant.info.parent = root.id();
    assert_eq!(ours.give(&root), Verdict::Unverified);
    assert_eq!(ours.give(&mutant), Verdict::Unverified);
    for share in [&first, &child, &second] {
        ours.give(share);
    }
    assert_eq!(ours.tip(), child.id());
}

#[test]
fn shares_above_one_that_is_not_due_wait_with_it() {
    let common = TestNode::with_chain(10).main_shares();
    let mut ours = following(&common);
    ours.extend(3);
    let mut theirs = following(&common);
    theirs.miner = script(2);
    theirs.extend(1);
    theirs.now = theirs.now.plus(400);
    theirs.extend(4);
    for share in theirs.main_shares().iter().skip(10) {
        ours.give(share);
    }
    assert_ne!(ours.tip(), theirs.tip());
    ours.chain.tick(theirs.now);
    assert_eq!(ours.tip(), theirs.tip());
    assert_eq!(ours.chain.waiting(), (0, 0));
}

#[test]
fn a_branch_that_lacks_many_uncles_changes_pools_once_for_each_share() {
    let common = TestNode::with_chain(10).main_shares();
    let (mut ours, mut theirs) = (following(&common), following(&common));
    ours.extend(12);
    while theirs.main_ids().len() < 40 {
        let parent = theirs.tip();
        theirs.now = theirs.now.plus(30);
        for miner in [2, 3] {
            theirs.miner = script(miner);
            let share = theirs.on(&parent);
            assert_eq!(theirs.give(&share), Verdict::Accepted);
        }
    }
    ours.now = theirs.now;
    let main = theirs.main_shares().split_off(10);
    let mut uncles: Vec<Arc<Share>> = main
        .iter()
        .flat_map(|share| &share.info.uncles)
        .map(|id| Arc::clone(&theirs.chain.tree().get(id).expect("it was linked").share))
        .collect();
    assert!(uncles.len() > 25, "{}", uncles.len());
    let missing_last = uncles.pop().expect("there are some");
    let effects: usize = main.iter().chain(&uncles).map(|share| ours.effects(share).len()).sum();
    assert!(effects < 8 * (main.len() + uncles.len()), "{effects} effects of {} shares", main.len() + uncles.len());
    ours.effects(&missing_last);
    assert_eq!(ours.tip(), theirs.tip());
    assert_eq!(ours.chain.waiting(), (0, 0));
}

#[test]
fn forged_claims_on_unknown_anchors_cost_little_and_expire() {
    let mut node = TestNode::with_chain(3);
    let mut forged = node.edited(&ShareId::ZERO, |share| {
        share.info.chain_work = Work(u128::from(u64::MAX));
        share.header.prev_blockhash = bitcoin::BlockHash::from_byte_array([0xab; 32]);
    });
    let mut effects = 0;
    for number in 0..500u32 {
        forged.extranonce[..4].copy_from_slice(&number.to_le_bytes());
        effects = effects.max(node.effects(&forged).len());
    }
    assert!(effects <= 2, "{effects} effects of one share");
    assert_eq!(node.chain.waiting(), (500, 0));
    node.chain.tick(node.now.plus(601));
    assert_eq!(node.chain.waiting(), (0, 0));
}

#[test]
fn the_needs_of_a_flood_are_requested_in_turn() {
    let mut node = TestNode::with_chain(3);
    node.anchor = anchor(101);
    let mut orphan = node.edited(&ShareId::ZERO, |_| ());
    for number in 0..600u32 {
        orphan.info.parent.0[..4].copy_from_slice(&(number + 1).to_le_bytes());
        node.give(&orphan);
    }
    let own = node.next();
    assert_eq!(node.give_from(&own, Source::Local), Verdict::Deferred);
    let own = Effect::Request { need: Need::Anchor(own.header.prev_blockhash), share: own.id(), source: Source::Local };
    let mut effects_seen = std::collections::HashSet::new();
    for (count, new) in [(257, 257), (257, 256), (89, 88), (257, 0)] {
        let effects = node.chain.tick(node.now);
        assert_eq!(effects.first(), Some(&own), "the need of our own miners' share comes first, each time");
        assert_eq!(effects.len(), count);
        let before = effects_seen.len();
        effects_seen.extend(effects.iter().map(|effect| format!("{effect:?}")));
        assert_eq!(effects_seen.len() - before, new);
    }
}

#[test]
fn a_flood_by_many_peers_does_not_evict_shares_of_our_own_miners() {
    let mut node = TestNode::with_chain(3);
    node.anchor = anchor(101);
    let own = node.next();
    assert_eq!(node.give_from(&own, Source::Local), Verdict::Deferred);
    let mut orphan = node.edited(&ShareId::ZERO, |share| share.merkle_branch = vec![[5; 32]; 16]);
    orphan.info.parent = ShareId([9; 32]);
    let (mut dropped, mut held) = (0, 0);
    for number in 0..20_000u32 {
        orphan.extranonce[..4].copy_from_slice(&number.to_le_bytes());
        let effects = node.chain.receive(
            Arc::new(orphan.clone()),
            Source::Fetch(PeerHandle(u64::from(number / 1_800))),
            node.now,
        );
        held += 1;
        dropped +=
            effects.iter().filter(|effect| matches!(effect, Effect::Verdict { verdict: Verdict::Dropped, .. })).count();
    }
    assert!(dropped > 1_000, "each evicted share gets a verdict");
    assert_eq!(node.chain.waiting().0, 1 + held - dropped);
    let effects = node.chain.anchor_known(anchor(101), node.now);
    assert_eq!(verdict_on(&effects, &own), Verdict::Accepted);
}

struct Lcg(u64);

impl Lcg {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

/// Seventy shares of many miners, each built on one of the newest few and naming all uncles it can.
fn bush(lcg: &mut Lcg) -> Vec<Share> {
    let mut node = TestNode::new();
    let mut all: Vec<Share> = Vec::new();
    while all.len() < 70 {
        node.miner = script(1 + lcg.below(250) as u8);
        node.now = node.now.plus(lcg.below(20) as u32);
        let newest = all.len().saturating_sub(1 + lcg.below(6));
        let parent = all.get(newest).map_or(ShareId::ZERO, Share::id);
        if parent != ShareId::ZERO && !node.chain.tree().contains(&parent) {
            continue;
        }
        let share = node.on(&parent);
        if matches!(node.give(&share), Verdict::Accepted | Verdict::Unverified) {
            all.push(share);
        }
    }
    all
}

#[test]
fn the_best_of_many_branches_is_the_tip_in_any_order_of_arrival() {
    let mut lcg = Lcg(7);
    let (mut uncles, mut nested) = (0, 0);
    for _ in 0..8 {
        let all = bush(&mut lcg);
        let by_id: HashMap<ShareId, &Share> = all.iter().map(|share| (share.id(), share)).collect();
        let is_nested = |id: &ShareId, nephew: &Share| nephew.info.uncles.contains(&by_id[id].info.parent);
        nested += all.iter().flat_map(|share| share.info.uncles.iter().filter(|id| is_nested(id, share))).count();
        uncles += all.iter().map(|share| share.info.uncles.len()).sum::<usize>();
        let best = all.iter().max_by_key(|share| (share.info.chain_work, std::cmp::Reverse(share.id()))).unwrap();
        for _ in 0..12 {
            let mut order: Vec<&Share> = all.iter().skip(1).collect();
            (1..order.len()).rev().for_each(|at| order.swap(at, lcg.below(at + 1)));
            let mut node = TestNode::new();
            node.now = UnixTime(all.iter().map(|share| share.time().0).max().unwrap());
            node.give(&all[0]);
            for share in order {
                let verdict = node.give(share);
                assert!(!matches!(verdict, Verdict::Rejected { .. } | Verdict::Dropped), "{verdict:?}");
            }
            assert_eq!(node.tip(), best.id());
        }
    }
    assert!(uncles > 100 && nested > 5, "{uncles} uncles, {nested} on another one of the same share");
}
