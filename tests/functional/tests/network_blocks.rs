//! Nodes with a bitcoind each: found blocks and the chain of Bitcoin seen from two sides.

use bitcoin::BlockHash;
use p2pool_test_bitcoind::{self as bitcoind, wait_until, Bitcoind, Chain, MempoolFiller};
use p2pool_test_functional::audit::audit;
use p2pool_test_functional::network::{start, wait_connected, wait_tip, Hand, SOON};
use p2pool_test_functional::{payees, pool};
use serde_json::json;

use crate::network::options;

fn listening(chain: Chain) -> Bitcoind {
    Bitcoind::start_with(bitcoind::Options { chain, listen: true, arguments: Vec::new() })
}

/// From here on bitcoind hears and says nothing.
fn isolate(bitcoind: &Bitcoind) {
    bitcoind.call("setnetworkactive", json!([false]));
    wait_until("bitcoind to be alone", SOON, || bitcoind.call("getconnectioncount", json!([])) == 0);
}

fn hash_bytes(hash: BlockHash) -> [u8; 32] {
    *hash.as_ref()
}

#[test]
fn a_block_pays_three_miners_by_their_work() {
    let bitcoind = Bitcoind::start(Chain::OpTrueSignet);
    let first = start(&bitcoind, options(1), &[]);
    let second = start(&bitcoind, options(2), &[&first]);
    let third = start(&bitcoind, options(3), &[&first]);
    let nodes = [&first, &second, &third];
    wait_connected(&nodes);
    let mut hands = nodes.map(Hand::at);
    // So few shares are all of the easiest target, so their work is the same: 1, 2 and 3 parts of 6.
    for finder in [2, 0, 1, 2, 1, 2] {
        let share = hands[finder].mine(nodes[finder]);
        wait_tip(&nodes, &share);
    }
    let job = hands[0].newest_job();
    let session = hands[0].session();
    let (answer, hash) = session.solve_for(&job, 1_000, &job.block_target());
    session.submit(&answer).unwrap();
    let block = bitcoind.block(&crate::wait_block(&bitcoind, hash));

    let outputs = &block.txdata[0].output;
    let value: u64 = outputs.iter().map(|output| output.value.to_sat()).sum();
    let fee = value * 5 / 1_000;
    let mut paid = [0; 3];
    for (payee, paid) in (1..).zip(&mut paid) {
        let mut outputs = outputs.iter().filter(|output| output.script_pubkey == payees::p2tr(payee));
        *paid = outputs.next().map_or(0, |output| output.value.to_sat());
    }
    let part = |sixths: u64| (value - fee) * sixths / 6;
    for (paid, due) in paid.iter().zip([part(1) + fee, part(2), part(3)]) {
        assert!(paid.abs_diff(due) <= 1, "{paid} satoshis instead of {due}");
    }
    assert_eq!(paid.iter().sum::<u64>(), value, "somebody else is paid");
    wait_tip(&nodes, &p2pool_test_functional::network::shown(&hash));
    for node in nodes {
        let audited = audit(node, &bitcoind, 1..=bitcoind.height());
        assert!(audited.blocks_that_are_shares >= 1 && audited.shares >= 7, "{audited:?}");
    }
}

#[test]
fn a_block_reaches_others_when_its_finders_bitcoind_is_cut_off() {
    const TX_WEIGHT: u64 = 2_000;
    let (mut cut, other) = (listening(Chain::Regtest), listening(Chain::Regtest));
    cut.connect_to(&other);
    let mut filler = MempoolFiller::new(&cut, 20);
    other.sync_with(&cut);
    isolate(&cut);
    // Transactions that only the finder's bitcoind has: others must ask for them.
    let sent: Vec<_> = (0..3).map(|_| filler.send_one(&cut, TX_WEIGHT).compute_txid()).collect();

    let paid_at = |payee| pool::Options { address: payees::p2tr_address(Chain::Regtest, payee), ..options(payee) };
    let finder = start(&cut, paid_at(1), &[]);
    let mut hand = Hand::at(&finder);
    hand.session().wait_job(SOON, |job| !job.merkle_branch.is_empty()).unwrap();
    let node = start(&other, paid_at(2), &[&finder]);
    wait_connected(&[&finder, &node]);
    let share = hand.find();
    wait_tip(&[&finder, &node], &share);
    wait_until("the other bitcoind to have the block", SOON, || other.tip().to_string() == share);
    let block = other.block(&other.tip());
    let ids: Vec<_> = block.txdata.iter().map(bitcoin::Transaction::compute_txid).collect();
    assert!(sent.iter().all(|id| ids.contains(id)), "{ids:?}");

    // And with a bitcoind that is dead: the finder cannot even hand it over.
    let tip = hash_bytes(other.tip());
    let job = hand.session().wait_job(SOON, |job| job.prev_block == tip).unwrap();
    cut.kill();
    let share = hand.solve(&job);
    wait_until("the other bitcoind to have the second block", SOON, || other.tip().to_string() == share);
}

#[test]
fn a_natural_fork_of_bitcoin_does_not_split_the_pool() {
    let (one, two) = (listening(Chain::OpTrueSignet), listening(Chain::OpTrueSignet));
    one.connect_to(&two);
    one.mine(2);
    two.sync_with(&one);
    let first = start(&one, options(1), &[]);
    let second = start(&two, options(2), &[&first]);
    let nodes = [&first, &second];
    wait_connected(&nodes);
    let (mut hand_one, mut hand_two) = (Hand::at(&first), Hand::at(&second));
    let share = hand_one.mine(&first);
    wait_tip(&nodes, &share);

    isolate(&one);
    isolate(&two);
    let (tip_one, tip_two) = (one.mine(1)[0], two.mine(2)[1]);
    hand_one.session().wait_job(SOON, |job| job.prev_block == hash_bytes(tip_one)).unwrap();
    hand_two.session().wait_job(SOON, |job| job.prev_block == hash_bytes(tip_two)).unwrap();
    // Each side's shares stand on Bitcoin blocks that the other's bitcoind has never heard of.
    for _ in 0..2 {
        let share = hand_one.mine(&first);
        wait_tip(&nodes, &share);
        let share = hand_two.mine(&second);
        wait_tip(&nodes, &share);
    }
    assert_ne!(one.tip(), two.tip(), "the bitcoinds were to disagree");

    for bitcoind in [&one, &two] {
        bitcoind.call("setnetworkactive", json!([true]));
    }
    one.connect_to(&two);
    one.sync_with(&two);
    hand_one.session().wait_job(SOON, |job| job.prev_block == hash_bytes(tip_two)).unwrap();
    let share = hand_one.mine(&first);
    wait_tip(&nodes, &share);
    let shares = first.shares();
    assert_eq!(shares.len(), 6, "a share was lost beside the chain");
    assert_eq!(shares, second.shares());
}
