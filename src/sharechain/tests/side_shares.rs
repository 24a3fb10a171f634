//! Which shares off the main chain are kept (rules, section 5, side shares).

use std::collections::HashSet;
use std::sync::Arc;

use super::support::{script, TestNode, PEER};
use crate::share::{Share, ShareId};
use crate::sharechain::{Effect, Need, Verdict};

/// A node with a chain and what its store would hold.
struct Stored {
    node: TestNode,
    ids: HashSet<ShareId>,
}

impl Stored {
    fn new(node: TestNode) -> Self {
        let ids = node.chain.tree().shares().map(|share| share.id).collect();
        Self { node, ids }
    }

    fn give(&mut self, share: &Share) -> Verdict {
        let effects = self.node.effects(share);
        for effect in &effects {
            match effect {
                Effect::Linked(id) => assert!(self.node.chain.tree().contains(id) && self.ids.insert(*id)),
                Effect::Unlinked(id) => assert!(self.ids.remove(id)),
                _ => {}
            }
        }
        assert!(self.node.chain.tree().shares().all(|share| self.ids.contains(&share.id)));
        assert_eq!(self.ids.len(), self.node.chain.tree().len());
        super::support::verdict_on(&effects, share)
    }

    /// The children of a share beside the main chain.
    fn side(&self, parent: &ShareId) -> Vec<ShareId> {
        let tree = self.node.chain.tree();
        tree.children(parent).filter(|child| !tree.is_main(child)).map(|child| child.id).collect()
    }
}

/// Shares on this parent, ascending.
fn siblings(node: &mut TestNode, parent: &ShareId, count: u32) -> Vec<Share> {
    let mut shares: Vec<Share> = (0..count)
        .map(|number| node.edited(parent, |share| share.extranonce[..4].copy_from_slice(&number.to_le_bytes())))
        .collect();
    shares.sort_by_key(Share::id);
    shares
}

/// The share so far below the tip.
fn below_tip(node: &TestNode, depth: usize) -> ShareId {
    *node.main_ids().iter().rev().nth(depth).expect("the chain is longer")
}

/// While a pool is idle, shares on recent parents cost next to nothing.
#[test]
fn sixteen_children_of_a_share_are_kept_however_many_are_sent() {
    let mut node = TestNode::with_chain(0);
    (0..24).for_each(|_| {
        node.now = node.now.plus(1);
        let share = node.next();
        assert_eq!(node.give(&share), Verdict::Accepted);
    });
    let parent = below_tip(&node, 1);
    let tip_work = node.chain.tree().tip().unwrap().work;
    node.now = node.now.plus(20 * 600);
    let eased = siblings(&mut node, &parent, 1_000);
    assert!(eased[0].info.share_bits.work().unwrap().0 * 100 < tip_work.0, "hardly any work");
    let (mut stored, before) = (Stored::new(node), 24);
    let verdicts: Vec<Verdict> = eased.iter().map(|share| stored.give(share)).collect();
    assert!(verdicts[..16].iter().all(|verdict| *verdict == Verdict::Accepted));
    assert!(
        verdicts[16..].iter().all(|verdict| *verdict == Verdict::Unverified),
        "nothing that is not kept is relayed"
    );
    assert_eq!(stored.node.chain.tree().len(), before + 16);
    // An honest stale share has more work, so it is kept and becomes an uncle.
    stored.node.miner = script(9);
    let honest = stored.node.edited(&parent, |share| {
        share.info.chain_work.0 -= share.info.share_bits.work().unwrap().0;
        share.info.share_bits = share.info.base_bits;
        share.info.chain_work.0 += share.info.share_bits.work().unwrap().0;
    });
    stored.give(&honest);
    assert!(stored.side(&parent).contains(&honest.id()) || stored.node.tip() == honest.id());
    assert_eq!(stored.node.chain.tree().len(), before + 16);
}

/// What has no room is not processed again with each new tip.
#[test]
fn a_flood_of_children_costs_little_with_each_new_tip() {
    let mut node = TestNode::with_chain(20);
    let parent = below_tip(&node, 1);
    let tip = node.tip();
    siblings(&mut node, &parent, 400).iter().for_each(|share| _ = node.give(share));
    assert!(node.chain.waiting().1 > 300);
    for _ in 0..3 {
        node.now = node.now.plus(30);
        let next = node.next();
        // That it is linked, its verdict, that it is the tip; the same for sixteen others, some of which take the place of uncles.
        let effects = node.effects(&next).len();
        assert!(effects <= 3 * 17, "{effects}");
    }
    assert_ne!(node.tip(), tip);
}

#[test]
fn the_children_kept_do_not_depend_on_the_order_of_arrival() {
    let mut node = TestNode::with_chain(20);
    let parent = below_tip(&node, 2);
    let all = siblings(&mut node, &parent, 40);
    let lowest: Vec<ShareId> = all[..16].iter().map(Share::id).collect();
    for step in [1, 3, 7, 11, 39] {
        let mut stored = Stored::new(TestNode::following(&node, &node.main_shares()));
        (0..40).for_each(|at| _ = stored.give(&all[at * step % 40]));
        if step == 39 {
            assert!(stored.node.chain.tree().len() == 36, "descending: each is better than those before");
        }
        assert_eq!(stored.side(&parent), lowest, "{step}");
        assert_eq!(stored.node.tip(), node.tip());
    }
}

/// A child ranks by the best share above it, so a branch is not removed for lower ids.
#[test]
fn a_child_with_a_branch_is_kept_before_one_without() {
    let mut node = TestNode::with_chain(20);
    let parent = below_tip(&node, 3);
    let all = siblings(&mut node, &parent, 41);
    let (last, rest) = all.split_last().unwrap();
    let mut stored = Stored::new(node);
    assert_eq!(stored.give(last), Verdict::Accepted);
    let child = stored.node.on(&last.id());
    assert_eq!(stored.give(&child), Verdict::Accepted);
    rest.iter().rev().for_each(|share| _ = stored.give(share));
    let side = stored.side(&parent);
    assert_eq!(side.len(), 16);
    assert!(side.contains(&last.id()) && stored.node.chain.tree().contains(&child.id()));
}

/// Its branch becomes the best later, at other nodes: it is fetched again and followed.
#[test]
fn a_child_that_was_not_kept_is_followed_when_its_branch_is_the_best() {
    let mut node = TestNode::with_chain(20);
    let parent = below_tip(&node, 3);
    let all = siblings(&mut node, &parent, 17);
    let (last, rest) = all.split_last().unwrap();
    let mut other = TestNode::following(&node, &node.main_shares()[..17]);
    assert_eq!(other.tip(), parent);
    assert_eq!(other.give_at(last), Verdict::Accepted);
    other.now = node.now;
    other.extend(3);
    let branch = other.main_shares().split_off(17);
    for is_sent_before in [false, true] {
        let mut stored = Stored::new(TestNode::following(&node, &node.main_shares()));
        if is_sent_before {
            assert_eq!(stored.give(last), Verdict::Accepted);
        }
        rest.iter().for_each(|share| assert_eq!(stored.give(share), Verdict::Accepted));
        assert!(!stored.node.chain.tree().contains(&last.id()));
        stored.node.now = other.now;
        let effects = stored.node.effects(&branch[1]);
        assert!(effects.contains(&Effect::Request {
            need: Need::Share(last.id()),
            share: branch[1].id(),
            source: PEER
        }));
        assert_eq!(stored.give(&branch[0]), Verdict::Unverified, "it still has no room");
        stored.give(&branch[2]);
        assert_eq!(stored.give(&branch[3]), Verdict::Accepted);
        assert_eq!(stored.node.tip(), other.tip());
        assert_eq!(stored.side(&parent).len(), 16, "and the main chain's share before");
        assert_eq!(stored.node.chain.waiting(), (0, 0));
    }
}

#[test]
fn uncles_that_are_named_do_not_count() {
    let mut node = TestNode::with_chain(20);
    let parent = below_tip(&node, 2);
    let all = siblings(&mut node, &parent, 43);
    let (rest, last) = all.split_at(40);
    let mut stored = Stored::new(node);
    last.iter().for_each(|share| assert_eq!(stored.give(share), Verdict::Accepted));
    stored.node.now = stored.node.now.plus(30);
    let nephew = stored.node.next();
    assert_eq!(nephew.info.uncles.len(), 3);
    assert_eq!(stored.give(&nephew), Verdict::Accepted);
    rest.iter().rev().for_each(|share| assert_eq!(stored.give(share), Verdict::Accepted));
    let side = stored.side(&parent);
    assert_eq!(side.len(), 19);
    assert!(last.iter().all(|share| side.contains(&share.id())));
}

#[test]
fn a_child_that_was_not_kept_is_kept_when_it_is_named() {
    let mut node = TestNode::with_chain(20);
    let parent = below_tip(&node, 2);
    let all = siblings(&mut node, &parent, 17);
    let (last, rest) = all.split_last().unwrap();
    let mut stored = Stored::new(node);
    rest.iter().chain([last]).for_each(|share| _ = stored.give(share));
    assert!(!stored.node.chain.tree().contains(&last.id()));
    stored.node.now = stored.node.now.plus(30);
    let tip = stored.node.tip();
    let mut other = TestNode::following(&stored.node, &stored.node.main_shares());
    assert_eq!(other.give(last), Verdict::Accepted);
    other.now = stored.node.now;
    let nephew = other.edited(&tip, |share| share.info.uncles = vec![last.id()]);
    assert_eq!(stored.give(&nephew), Verdict::Accepted);
    assert_eq!(stored.side(&parent).len(), 17);
    assert_eq!(stored.node.chain.waiting(), (0, 0));
}

#[test]
fn children_of_side_shares_do_not_multiply() {
    let node = TestNode::with_chain(20);
    let parent = below_tip(&node, 3);
    let mut stored = Stored::new(node);
    for first in siblings(&mut stored.node, &parent, 3) {
        assert_eq!(stored.give(&first), Verdict::Accepted);
        for child in siblings(&mut stored.node, &first.id(), 40) {
            stored.give(&child);
        }
        assert_eq!(stored.side(&first.id()).len(), 15);
    }
}

/// Mines a share that names no uncles.
fn extend_alone(node: &mut TestNode) {
    node.now = node.now.plus(30);
    let tip = node.tip();
    let share = node.edited(&tip, |share| share.info.uncles.clear());
    assert_eq!(node.give(&share), Verdict::Accepted);
}

/// The retarget window of these chains is eight shares.
#[test]
fn side_shares_a_retarget_window_below_the_tip_are_pruned_unless_they_are_named() {
    let mut node = TestNode::with_chain(20);
    let parent = below_tip(&node, 2);
    let stale = siblings(&mut node, &parent, 2);
    node.give(&stale[0]);
    node.extend(1);
    assert_eq!(node.chain.tree().tip().unwrap().share.info.uncles, [stale[0].id()]);
    assert_eq!(node.give(&stale[1]), Verdict::Accepted);
    // A branch of two on the share above.
    let first = siblings(&mut node, &parent, 3).pop().unwrap();
    assert_eq!(node.give(&first), Verdict::Accepted);
    let second = node.edited(&first.id(), |share| share.info.uncles.clear());
    assert_eq!(node.give(&second), Verdict::Accepted);
    let depth = |node: &TestNode, share: &Share| {
        node.chain.tree().tip().unwrap().share.info.share_height.0 - share.info.share_height.0
    };
    while depth(&node, &stale[1]) < 7 {
        extend_alone(&mut node);
    }
    assert!(node.chain.prune().is_empty());
    extend_alone(&mut node);
    assert_eq!(node.chain.prune(), [stale[1].id()], "the first of the branch is kept for the second");
    assert!(node.chain.tree().contains(&first.id()));
    extend_alone(&mut node);
    let mut pruned = node.chain.prune();
    pruned.sort_unstable();
    let mut branch = vec![first.id(), second.id()];
    branch.sort_unstable();
    assert_eq!(pruned, branch);
    assert!(node.chain.tree().contains(&stale[0].id()), "it is an uncle");
    // What was pruned may come again, and is not checked before its branch claims enough work.
    assert_eq!(node.give(&first), Verdict::Unverified);
    node.extend(30);
}

/// A separate chain may bring any number of side shares.
#[test]
fn an_adopted_branch_keeps_sixteen_children_of_a_share() {
    let mut theirs = TestNode::with_chain(20);
    let common = theirs.main_shares();
    theirs.miner = script(2);
    theirs.extend(3);
    let parent = below_tip(&theirs, 2);
    let all = siblings(&mut theirs, &parent, 30);
    let mut ours = TestNode::following(&theirs, &common);
    ours.now = theirs.now;
    let id = crate::sharechain::CandidateId(1);
    ours.chain.open_candidate(id, true, ours.now);
    let main = theirs.main_shares().split_off(20);
    for share in main[..1].iter().cloned().chain(all.into_iter().map(Arc::new)).chain(main[1..].iter().cloned()) {
        ours.chain.receive_candidate(id, share, PEER, ours.now);
    }
    let effects = ours.chain.finish_candidate(id, ours.now);
    assert_eq!(ours.tip(), theirs.tip());
    assert_eq!(ours.chain.tree().children(&parent).count(), 17);
    let linked: Vec<&Effect> = effects.iter().filter(|effect| matches!(effect, Effect::Linked(_))).collect();
    assert_eq!(linked.len(), 3 + 16, "what is not kept is not stored");
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Unlinked(_))));
}

/// Shares that other side shares name do not count among the sixteen children of a share.
#[test]
fn side_shares_that_name_each_other_do_not_multiply() {
    let mut node = TestNode::with_chain(20);
    let parent = below_tip(&node, 3);
    let all = siblings(&mut node, &parent, 400);
    let (first, rest) = all.split_at(16);
    let mut stored = Stored::new(node);
    first.iter().for_each(|share| assert_eq!(stored.give(share), Verdict::Accepted));
    let mut children = first.to_vec();
    for (at, named) in rest.chunks_exact(3).enumerate() {
        named.iter().for_each(|share| _ = stored.give(share));
        let nephew = stored.node.edited(&children[at / 15].id(), |share| {
            share.info.uncles = named.iter().map(Share::id).collect();
            share.extranonce[5] = at as u8;
        });
        if stored.give(&nephew) == Verdict::Accepted {
            children.extend(named.to_vec());
        }
    }
    let kept = stored.node.chain.tree().len() - 20;
    assert!(kept < 64 + 1 + 3, "one nephew with its uncles is taken before the limit: {kept}");
    // A branch that finds no room is followed when it is the best.
    let mut other = TestNode::following(&stored.node, &stored.node.main_shares()[..17]);
    assert_eq!(other.give_at(&children[5]), Verdict::Accepted);
    other.now = stored.node.now;
    other.extend(3);
    stored.node.now = other.now;
    let branch = other.main_shares().split_off(18);
    assert_eq!(stored.give(&branch[0]), Verdict::Unverified);
    branch[1..].iter().for_each(|share| _ = stored.give(share));
    assert_eq!(stored.node.tip(), other.tip());
}
