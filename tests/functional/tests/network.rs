//! Nodes that meet: one chain among them, whoever comes when.

use p2pool_test_bitcoind::{wait_until, Bitcoind, Chain};
use p2pool_test_functional::network::{
    id, peers, share_count, start, status, wait_connected, wait_one_tip, wait_tip, Hand, SOON,
};
use p2pool_test_functional::{payees, pool};

/// Nodes that start together, each paid at another address.
pub fn options(payee: u32) -> pool::Options {
    let flags = ["-share-period=2", "-payout-window=1000", "-retarget-window=20"].map(str::to_owned).to_vec();
    pool::Options { address: payees::p2tr_address(Chain::OpTrueSignet, payee), flags, environment: Vec::new() }
}

#[test]
fn a_third_node_knows_only_the_first_and_finds_the_second() {
    let bitcoind = Bitcoind::start(Chain::OpTrueSignet);
    let first = start(&bitcoind, options(1), &[]);
    let second = start(&bitcoind, options(2), &[&first]);
    wait_connected(&[&first, &second]);
    let mut hands = vec![Hand::at(&first)];
    let share = hands[0].mine(&first);
    wait_tip(&[&second], &share);

    let third = start(&bitcoind, options(3), &[&first]);
    let nodes = [&first, &second, &third];
    wait_connected(&nodes);
    hands.extend([Hand::at(&second), Hand::at(&third)]);
    for (finder, hand) in hands.iter_mut().enumerate() {
        let share = hand.mine(nodes[finder]);
        wait_tip(&nodes, &share);
    }
}

#[test]
fn a_late_joiner_gets_the_chain_and_only_then_work() {
    const SHARES: u64 = 12;
    let bitcoind = Bitcoind::start(Chain::OpTrueSignet);
    let first = start(&bitcoind, options(1), &[]);
    let mut hand = Hand::at(&first);
    for _ in 0..SHARES {
        hand.mine(&first);
    }
    let late = start(&bitcoind, options(2), &[&first]);
    // Its miner is there before it knows anything, and takes the first work there is.
    let mut hand = Hand::at(&late);
    let job = hand.session().wait_job(SOON, |_| true).unwrap();
    assert!(late.log().contains("synced with"), "work came before the chain");
    let share = hand.solve(&job);
    wait_tip(&[&first, &late], &share);
    assert_eq!((share_count(&first), share_count(&late)), (SHARES + 1, SHARES + 1));
    let shares = first.shares();
    assert_eq!(shares.iter().filter(|share| share["share_height"] == 0).count(), 1, "two chains were begun");
}

#[test]
fn a_restarted_node_finds_its_peers_without_a_bootnode() {
    let bitcoind = Bitcoind::start(Chain::OpTrueSignet);
    let first = start(&bitcoind, options(1), &[]);
    let mut second = start(&bitcoind, options(2), &[&first]);
    wait_connected(&[&first, &second]);
    let before = id(&second);
    let share = Hand::at(&first).mine(&first);
    wait_tip(&[&second], &share);

    assert!(second.terminate().success());
    wait_until("the first node to notice", SOON, || !peers(&first).contains(&before));
    second.flags_mut().retain(|flag| !flag.starts_with("-bootnodes"));
    // Where it was nobody finds it: it has to find the others.
    second.move_p2p_port();
    let share = Hand::at(&first).mine(&first);
    second.launch();
    wait_connected(&[&first, &second]);
    assert_eq!(id(&second), before, "it has another name now");
    wait_tip(&[&second], &share);
    let share = Hand::at(&second).mine(&second);
    wait_tip(&[&first], &share);
    assert_eq!(status(&second)["our_peer_id"], before.as_str());
    wait_one_tip(&[&first, &second]);
}
