//! Responses to peers' requests.

use super::support::{chain, copy, pruned};
use crate::share::ShareId;
use crate::sharechain::tests_support::{params, TestNode};
use crate::sharechain::Verdict;
use crate::sync::serve::{inventory, shares, status};
use crate::units::{ShareHeight, UnixTime, Work};
use crate::wire::{Agent, List, Locator, Response};

fn list(test_node: &TestNode, locator: &[ShareId]) -> (ShareId, u32, Vec<ShareId>, bool) {
    match inventory(test_node.chain.tree(), &Locator::first_of(locator.iter().copied())) {
        Response::Inventory { after, start_height, ids, more } => (after, start_height.0, ids.into_vec(), more),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_status_describes_tip_and_oldest_share() {
    let test_node = pruned(chain(params(), 100, 1, 30));
    let status = self::status(test_node.chain.tree(), UnixTime(7), Agent::default());
    let tip = test_node.chain.tree().tip().unwrap();
    assert_eq!((status.tip, status.share_height), (tip.id, ShareHeight(99)));
    assert_eq!(status.chain_work, tip.share.info.chain_work);
    assert_eq!(status.oldest_height, ShareHeight(100 - params().shares_kept()));
    assert!(status.has_chain());
    let status = self::status(TestNode::new().chain.tree(), UnixTime(7), Agent::default());
    assert!(!status.has_chain());
    assert_eq!((status.share_height, status.chain_work), (ShareHeight(0), Work::ZERO));
}

#[test]
fn an_inventory_starts_after_the_newest_common_share() {
    let test_node = chain(params(), 50, 1, 30);
    let main = test_node.main_ids();
    assert_eq!(list(&test_node, &[]), (ShareId::ZERO, 0, main.clone(), false));
    assert_eq!(list(&test_node, &[ShareId([9; 32])]), (ShareId::ZERO, 0, main.clone(), false));
    assert_eq!(list(&test_node, &[ShareId([9; 32]), main[30], main[10]]), (main[30], 31, main[31..].to_vec(), false));
    assert_eq!(list(&test_node, &[main[49]]), (main[49], 50, Vec::new(), false));
    let test_node = pruned(chain(params(), 100, 1, 30));
    let oldest = 100 - params().shares_kept();
    assert_eq!(list(&test_node, &[]), (ShareId::ZERO, oldest, test_node.main_ids(), false));
    assert_eq!(list(&TestNode::new(), &[]), (ShareId::ZERO, 0, Vec::new(), false));
}

#[test]
fn uncles_are_listed_before_the_share_that_names_them() {
    let mut test_node = chain(params(), 30, 1, 30);
    let (parent, main_tip) = (test_node.main_ids()[28], test_node.tip());
    test_node.now = test_node.now.plus(1);
    let stale = test_node.edited(&parent, |share| share.extranonce = [9; 12]);
    assert_eq!(test_node.give(&stale), Verdict::Accepted);
    let best = test_node.tip();
    test_node.extend(1);
    let nephew = test_node.chain.tree().tip().unwrap();
    let uncle = if best == main_tip { stale.id() } else { main_tip };
    assert_eq!(nephew.share.info.uncles, [uncle]);
    let (after, height, ids, _) = list(&test_node, &[parent]);
    assert_eq!((after, height), (parent, 29));
    assert_eq!(ids, [best, uncle, nephew.id]);
    // An uncle whose parent the peer does not get is left out.
    let mut whole = copy(&test_node, 0);
    for share in &test_node.main_shares()[29..] {
        whole.chain.tree_mut().restore(std::sync::Arc::clone(share), false);
    }
    let uncle_share = std::sync::Arc::clone(&test_node.chain.tree().get(&uncle).unwrap().share);
    whole.chain.tree_mut().restore(uncle_share, false);
    assert_eq!(list(&whole, &[]).2, [best, nephew.id]);
}

#[test]
fn shares_are_given_in_the_order_requested() {
    let test_node = chain(params(), 10, 1, 30);
    let main = test_node.main_ids();
    let requested = [main[4], ShareId([9; 32]), main[2]];
    let Response::Shares(given) = shares(test_node.chain.tree(), &requested) else { panic!("no shares") };
    assert_eq!(given.iter().map(|share| share.id()).collect::<Vec<_>>(), [main[4], main[2]]);
    assert_eq!(shares(test_node.chain.tree(), &requested[1..2]), Response::Shares(List::default()));
}
