//! New rules begin while a pool mines, and one of its nodes does not know them.

use std::time::Duration;

use p2pool_test_bitcoind::{wait_until, Bitcoind, Chain};
use p2pool_test_functional::network::{start, status, tip, wait_connected, wait_tip, ManualMiner, TIMEOUT};
use p2pool_test_functional::payees;

use crate::network::options;

/// Number of shares of the new software before the new rules begin: with one of the old, more than 80 per cent of the work.
const SHARES_BEFORE: usize = 6;

#[test]
fn a_pool_crosses_an_activation_and_an_outdated_node_stops() {
    let bitcoind = Bitcoind::start(Chain::OpTrueSignet);
    // The block after the next one.
    let height = bitcoind.height() + 2;
    let started = |payee, extra: &[&str], bootnodes: &[_]| {
        let mut options = options(payee);
        options.flags.push(format!("-activation-height={height}"));
        options.flags.extend(extra.iter().map(|flag| (*flag).to_owned()));
        start(&bitcoind, options, bootnodes)
    };
    let first = started(1, &[], &[]);
    let second = started(2, &[], &[&first]);
    let old = started(3, &["-rules-version=2"], &[&first]);
    let nodes = [&first, &second, &old];
    wait_connected(&nodes);
    let mut miner = ManualMiner::at(&first);
    let mut outdated = ManualMiner::at(&old);
    for _ in 0..SHARES_BEFORE {
        let share = miner.mine(&first);
        wait_tip(&nodes, &share);
    }
    let share = outdated.mine(&old);
    wait_tip(&nodes, &share);

    bitcoind.mine(1);
    let last_common = share;
    for _ in 0..2 * SHARES_BEFORE {
        let share = miner.mine(&first);
        wait_tip(&[&second], &share);
    }
    let versions: Vec<u64> =
        second.shares().iter().map(|share| share["rules_version"].as_u64().unwrap_or_default()).collect();
    assert_eq!(versions[..=SHARES_BEFORE], [2; SHARES_BEFORE + 1]);
    assert_eq!(versions[SHARES_BEFORE + 1..], [255; 2 * SHARES_BEFORE]);
    assert_eq!(tip(&old), Some(last_common), "it cannot follow");

    old.wait_log("OUTDATED SOFTWARE: the pool follows version 255 of the rules, this software knows 2", TIMEOUT);
    wait_until("the outdated node's miner to be disconnected", TIMEOUT, || {
        outdated.session().next(Duration::from_secs(1)).is_err()
    });
    let is_notified = outdated.session().messages().iter().any(|message| message.contains("must update p2pool"));
    assert!(is_notified, "{:?}", outdated.session().messages());
    let codes = |node| -> Vec<String> {
        let status = status(node);
        let problems = status["problems"].as_array().into_iter().flatten();
        problems.filter_map(|notice| notice["code"].as_str().map(str::to_owned)).collect()
    };
    assert!(codes(&old).contains(&"outdated".to_owned()), "{:?}", codes(&old));
    assert_eq!(old.metric("p2pool_rules_version_needed"), Some(255.0));
    assert_eq!(old.metric("p2pool_peers_banned"), Some(0.0));

    // The others mine on, keep it as a peer, and pay for its work of before.
    let share = miner.mine(&first);
    wait_tip(&[&second], &share);
    for node in [&first, &second] {
        assert!(!codes(node).contains(&"outdated".to_owned()));
        assert_eq!(node.metric("p2pool_peers_banned"), Some(0.0));
    }
    wait_connected(&nodes);
    let payouts = first.api("/api/v1/payouts").unwrap();
    let payees: Vec<&str> =
        payouts["payout_entries"].as_array().unwrap().iter().filter_map(|entry| entry["address"].as_str()).collect();
    assert!(payees.contains(&payees::p2tr_address(Chain::OpTrueSignet, 3).as_str()), "{payees:?}");
}
