//! Nodes that connect have one chain.

use p2pool_test_bitcoind::{wait_until, Bitcoind, Chain};
use p2pool_test_functional::network::{
    id, peers, share_count, start, status, wait_connected, wait_one_tip, wait_tip, ManualMiner, TIMEOUT,
};
use p2pool_test_functional::{payees, pool};

/// Options of nodes with different payees.
pub fn options(payee: u32) -> pool::Options {
    let flags = ["-share-period=2", "-payout-window=1000", "-retarget-window=20"].map(str::to_owned).to_vec();
    pool::Options { address: payees::p2tr_address(Chain::OpTrueSignet, payee), flags, environment: Vec::new() }
}

#[test]
fn a_node_that_knows_only_the_first_discovers_the_second() {
    let bitcoind = Bitcoind::start(Chain::OpTrueSignet);
    let first = start(&bitcoind, options(1), &[]);
    let second = start(&bitcoind, options(2), &[&first]);
    wait_connected(&[&first, &second]);
    let mut miners = vec![ManualMiner::at(&first)];
    let share = miners[0].mine(&first);
    wait_tip(&[&second], &share);

    let third = start(&bitcoind, options(3), &[&first]);
    let nodes = [&first, &second, &third];
    wait_connected(&nodes);
    miners.extend([ManualMiner::at(&second), ManualMiner::at(&third)]);
    for (finder, miner) in miners.iter_mut().enumerate() {
        let share = miner.mine(nodes[finder]);
        wait_tip(&nodes, &share);
    }
}

#[test]
fn a_new_node_syncs_before_its_miners_get_work() {
    const SHARES: u64 = 12;
    let bitcoind = Bitcoind::start(Chain::OpTrueSignet);
    let first = start(&bitcoind, options(1), &[]);
    let mut miner = ManualMiner::at(&first);
    for _ in 0..SHARES {
        miner.mine(&first);
    }
    let new = start(&bitcoind, options(2), &[&first]);
    // Its miner connects before the sync and takes the first job.
    let mut miner = ManualMiner::at(&new);
    let job = miner.session().wait_job(TIMEOUT, |_| true).unwrap();
    assert!(new.log().contains("synced with"), "a job before the sync");
    let share = miner.solve(&job);
    wait_tip(&[&first, &new], &share);
    assert_eq!((share_count(&first), share_count(&new)), (SHARES + 1, SHARES + 1));
    let shares = first.shares();
    assert_eq!(shares.iter().filter(|share| share["share_height"] == 0).count(), 1, "two genesis shares");
}

#[test]
fn a_restarted_node_finds_its_peers_without_a_bootnode() {
    let bitcoind = Bitcoind::start(Chain::OpTrueSignet);
    let first = start(&bitcoind, options(1), &[]);
    let mut second = start(&bitcoind, options(2), &[&first]);
    wait_connected(&[&first, &second]);
    let before = id(&second);
    let share = ManualMiner::at(&first).mine(&first);
    wait_tip(&[&second], &share);

    assert!(second.terminate().success());
    wait_until("the first node to lose its peer", TIMEOUT, || !peers(&first).contains(&before));
    second.flags_mut().retain(|flag| !flag.starts_with("-bootnodes"));
    // No peer can dial it on the new port: it has to dial the others.
    second.move_p2p_port();
    let share = ManualMiner::at(&first).mine(&first);
    second.launch();
    wait_connected(&[&first, &second]);
    assert_eq!(id(&second), before, "its peer id has changed");
    wait_tip(&[&second], &share);
    let share = ManualMiner::at(&second).mine(&second);
    wait_tip(&[&first], &share);
    assert_eq!(status(&second)["our_peer_id"], before.as_str());
    wait_one_tip(&[&first, &second]);
}
