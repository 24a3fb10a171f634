//! A chain whose beginning nobody has any more.

use p2pool_test_bitcoind::{Bitcoind, Chain};
use p2pool_test_functional::network::{share_count, start, wait_one_tip, wait_tip, Hand};
use p2pool_test_functional::{payees, pool};

/// Shares kept with these windows: two payout windows, a retarget window and 16.
const KEPT: u64 = 2 * 6 + 6 + 16;
/// Shares found: the first of them are pruned, also if some few become uncles.
const FOUND: u64 = KEPT + 8;

fn options(payee: u32) -> pool::Options {
    let flags = ["-share-period=1", "-payout-window=6", "-retarget-window=6"].map(str::to_owned).to_vec();
    pool::Options { address: payees::p2tr_address(Chain::OpTrueSignet, payee), flags, environment: Vec::new() }
}

#[test]
fn a_fresh_node_joins_a_chain_that_has_been_pruned_long_ago() {
    let bitcoind = Bitcoind::start(Chain::OpTrueSignet);
    let mut first = start(&bitcoind, options(1), &[]);
    let mut hand = Hand::at(&first);
    (1..FOUND).for_each(|_| drop(hand.find()));
    let newest = hand.mine(&first);
    assert!(first.terminate().success());
    // A start leaves behind what no window reaches.
    first.launch();
    let oldest = |node: &pool::Pool| node.shares()[0]["share_height"].as_u64().unwrap();
    let (kept, oldest_kept) = (share_count(&first), oldest(&first));
    assert!(oldest_kept > 0 && (KEPT..FOUND).contains(&kept), "{kept} shares from height {oldest_kept} on");

    let late = start(&bitcoind, options(2), &[&first]);
    wait_tip(&[&late], &newest);
    assert_eq!((share_count(&late), oldest(&late)), (kept, oldest_kept));
    // It pays and is believed as if it had been there all the time, and so are the others by it.
    let share = Hand::at(&late).mine(&late);
    wait_tip(&[&first, &late], &share);
    let share = Hand::at(&first).mine(&first);
    wait_tip(&[&first, &late], &share);
    wait_one_tip(&[&first, &late]);
}
