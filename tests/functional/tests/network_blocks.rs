//! Nodes with a bitcoind each: found blocks, and different views of the Bitcoin chain.

use bitcoin::BlockHash;
use p2pool_test_bitcoind::{self as bitcoind, wait_until, Bitcoind, Chain, MempoolFiller};
use p2pool_test_functional::audit::audit;
use p2pool_test_functional::network::{start, wait_connected, wait_tip, ManualMiner, TIMEOUT};
use p2pool_test_functional::{payees, pool};
use serde_json::json;

use crate::network::options;

fn listening(chain: Chain) -> Bitcoind {
    Bitcoind::start_with(bitcoind::Options { chain, listen: true, arguments: Vec::new() })
}

/// Disconnects bitcoind from its peers.
fn isolate(bitcoind: &Bitcoind) {
    bitcoind.call("setnetworkactive", json!([false]));
    wait_until("bitcoind to have no peers", TIMEOUT, || bitcoind.call("getconnectioncount", json!([])) == 0);
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
    let mut miners = nodes.map(ManualMiner::at);
    // So few shares all have the easiest target, so their work is the same: 1, 2 and 3 parts of 6.
    for finder in [2, 0, 1, 2, 1, 2] {
        let share = miners[finder].mine(nodes[finder]);
        wait_tip(&nodes, &share);
    }
    let job = miners[0].newest_job();
    let session = miners[0].session();
    let (submit, hash) = session.solve_for(&job, 1_000, &job.block_target());
    session.submit(&submit).unwrap();
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
    assert_eq!(paid.iter().sum::<u64>(), value, "another payee");
    wait_tip(&nodes, &p2pool_test_functional::network::hash_hex(&hash));
    for node in nodes {
        let audited = audit(node, &bitcoind, 1..=bitcoind.height());
        assert!(audited.blocks_that_are_shares >= 1 && audited.shares >= 7, "{audited:?}");
    }
}

#[test]
fn a_block_reaches_the_network_without_the_finders_bitcoind() {
    const TX_WEIGHT: u64 = 2_000;
    let (mut cut, other) = (listening(Chain::Regtest), listening(Chain::Regtest));
    cut.connect_to(&other);
    let mut filler = MempoolFiller::new(&cut, 20);
    other.sync_with(&cut);
    isolate(&cut);
    // Transactions that only the finder's bitcoind has: peers must request them.
    let sent: Vec<_> = (0..3).map(|_| filler.send_one(&cut, TX_WEIGHT).compute_txid()).collect();

    let paid_at = |payee| pool::Options { address: payees::p2tr_address(Chain::Regtest, payee), ..options(payee) };
    let finder = start(&cut, paid_at(1), &[]);
    let mut miner = ManualMiner::at(&finder);
    miner.session().wait_job(TIMEOUT, |job| !job.merkle_branch.is_empty()).unwrap();
    let node = start(&other, paid_at(2), &[&finder]);
    wait_connected(&[&finder, &node]);
    let share = miner.find();
    wait_tip(&[&finder, &node], &share);
    wait_until("the other bitcoind to have the block", TIMEOUT, || other.tip().to_string() == share);
    let block = other.block(&other.tip());
    let ids: Vec<_> = block.txdata.iter().map(bitcoin::Transaction::compute_txid).collect();
    assert!(sent.iter().all(|id| ids.contains(id)), "{ids:?}");

    // The same with a dead bitcoind.
    let tip = hash_bytes(other.tip());
    let job = miner.session().wait_job(TIMEOUT, |job| job.prev_block == tip).unwrap();
    cut.kill();
    let share = miner.solve(&job);
    wait_until("the other bitcoind to have the second block", TIMEOUT, || other.tip().to_string() == share);
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
    let (mut miner_one, mut miner_two) = (ManualMiner::at(&first), ManualMiner::at(&second));
    let share = miner_one.mine(&first);
    wait_tip(&nodes, &share);

    isolate(&one);
    isolate(&two);
    let (tip_one, tip_two) = (one.mine(1)[0], two.mine(2)[1]);
    miner_one.session().wait_job(TIMEOUT, |job| job.prev_block == hash_bytes(tip_one)).unwrap();
    miner_two.session().wait_job(TIMEOUT, |job| job.prev_block == hash_bytes(tip_two)).unwrap();
    // Each side's shares build on Bitcoin blocks that the other's bitcoind does not know.
    for _ in 0..2 {
        let share = miner_one.mine(&first);
        wait_tip(&nodes, &share);
        let share = miner_two.mine(&second);
        wait_tip(&nodes, &share);
    }
    assert_ne!(one.tip(), two.tip(), "both bitcoinds have the same tip");

    for bitcoind in [&one, &two] {
        bitcoind.call("setnetworkactive", json!([true]));
    }
    one.connect_to(&two);
    one.sync_with(&two);
    miner_one.session().wait_job(TIMEOUT, |job| job.prev_block == hash_bytes(tip_two)).unwrap();
    let share = miner_one.mine(&first);
    wait_tip(&nodes, &share);
    let shares = first.shares();
    assert_eq!(shares.len(), 6, "a share is missing");
    assert_eq!(shares, second.shares());
}
