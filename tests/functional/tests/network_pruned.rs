//! A chain whose beginning all nodes have pruned.

use p2pool_test_bitcoind::{wait_until, Bitcoind, Chain};
use p2pool_test_functional::network::{share_count, start, wait_one_tip, wait_tip, ManualMiner, TIMEOUT};
use p2pool_test_functional::{payees, pool};

/// Shares kept with these windows: two payout windows, a retarget window and 16.
const KEPT: u64 = 2 * 6 + 6 + 16;
/// Shares found: the first ones are pruned, even if some become uncles.
const FOUND: u64 = KEPT + 8;

fn options(payee: u32) -> pool::Options {
    let flags = ["-share-period=1", "-payout-window=6", "-retarget-window=6"].map(str::to_owned).to_vec();
    pool::Options { address: payees::p2tr_address(Chain::OpTrueSignet, payee), flags, environment: Vec::new() }
}

#[test]
fn a_new_node_joins_a_pruned_chain() {
    let bitcoind = Bitcoind::start(Chain::OpTrueSignet);
    let mut first = start(&bitcoind, options(1), &[]);
    let mut miner = ManualMiner::at(&first);
    (1..FOUND).for_each(|_| drop(miner.find()));
    let newest = miner.mine(&first);
    assert!(first.terminate().success());
    // A start prunes all shares outside the windows, once bitcoind has reported.
    first.launch();
    let oldest = |node: &pool::Pool| node.shares()[0]["share_height"].as_u64().unwrap();
    wait_until("the store to be pruned", TIMEOUT, || oldest(&first) > 0 && share_count(&first) < FOUND);
    let (kept, oldest_kept) = (share_count(&first), oldest(&first));
    assert!((KEPT..FOUND).contains(&kept), "{kept} shares from height {oldest_kept} on");

    let new = start(&bitcoind, options(2), &[&first]);
    wait_tip(&[&new], &newest);
    assert_eq!((share_count(&new), oldest(&new)), (kept, oldest_kept));
    // Its shares are valid for the first node, and vice versa.
    let share = ManualMiner::at(&new).mine(&new);
    wait_tip(&[&first, &new], &share);
    let share = ManualMiner::at(&first).mine(&first);
    wait_tip(&[&first, &new], &share);
    wait_one_tip(&[&first, &new]);
}
