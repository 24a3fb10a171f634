//! Nodes that return while a peer still holds their dead connection, and two nodes with one identity.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use p2pool_test_bitcoind::{self as bitcoind, wait_for, wait_until, Bitcoind, Chain, Relay};
use p2pool_test_functional::journal::{journeys, Journey};
use p2pool_test_functional::namespaces::{Side, TwoSides};
use p2pool_test_functional::network::{id, peers, start, status, wait_connected, wait_tip, ManualMiner, TIMEOUT};
use p2pool_test_functional::pool::{Options, Pool};

use crate::network::options;

/// Within this time after a reconnect, shares travel by gossip. A dead connection is noticed by itself after 20 to 35 s.
const SOON: Duration = Duration::from_secs(5);
/// Longest time of a share between two nodes that are connected.
const SPREAD_MAX_US: i64 = 1_000_000;
/// Timeout until a node notices that its own connection is dead: a ping at the latest after 15 s, and 20 s without an
/// acknowledgement; and a reserve.
const NOTICED_TIMEOUT: Duration = Duration::from_secs(60);

fn options_with(payee: u32, flags: &[String]) -> Options {
    let mut options = options(payee);
    options.flags.push("-log-level=debug".to_owned());
    options.flags.extend_from_slice(flags);
    options
}

fn bitcoind() -> Bitcoind {
    Bitcoind::start_with(bitcoind::Options {
        chain: Chain::OpTrueSignet,
        listen: false,
        // A long poll occupies one until the next block, even if its caller was killed.
        arguments: vec!["-rpcthreads=24".to_owned()],
    })
}

fn journey(id: &str, nodes: &[&Pool]) -> Option<Journey> {
    let logs: Vec<String> = nodes.iter().map(|node| node.log()).collect();
    let journey = journeys(&logs).into_iter().find(|journey| journey.id == id)?;
    journey.arrivals.iter().all(|arrival| arrival.accepted_us.is_some()).then_some(journey)
}

/// Checks that a share came to the other nodes by gossip, at once.
fn check_gossip(id: &str, nodes: &[&Pool]) {
    let journey = wait_for("a share at all nodes", TIMEOUT, || journey(id, nodes));
    for (node, arrival) in journey.arrivals.iter().enumerate() {
        let spread_us = arrival.accepted_us.unwrap() - journey.found_us;
        let is_good = node == journey.finder || arrival.by_gossip && spread_us < SPREAD_MAX_US;
        assert!(is_good, "share {id} came late or was fetched: {journey:#?}");
    }
}

#[test]
fn shares_travel_both_ways_soon_after_a_killed_node_returns_unnoticed() {
    let bitcoind = bitcoind();
    let first = start(&bitcoind, options_with(1, &[]), &[]);
    let address = first.p2p_address();
    let port: u16 = address.split('/').nth(4).unwrap().parse().unwrap();
    let relay = Relay::to(port);
    let by_relay = address.replace(&format!("/tcp/{port}/"), &format!("/tcp/{}/", relay.port()));
    let mut second = start(&bitcoind, options_with(2, &[format!("-bootnodes={by_relay}")]), &[]);
    wait_connected(&[&first, &second]);
    let share = ManualMiner::at(&first).mine(&first);
    wait_tip(&[&second], &share);
    for (round, pause_s) in [5, 25].into_iter().enumerate() {
        assert_eq!(relay.accepted(), round as u64 + 1);
        second.kill();
        // It knows no other way than through the relay.
        std::fs::remove_file(chain_dir(&second).join("peers")).unwrap_or_default();
        std::thread::sleep(Duration::from_secs(pause_s));
        if round == 0 {
            assert_eq!(peers(&first).len(), 1, "the first node has noticed the end: this tests nothing");
        }
        second.launch();
        wait_connected(&[&second, &first]);
        let connected = Instant::now();
        for node in [&first, &second] {
            wait_until("the subscription", SOON, || node.metric("p2pool_peers_subscribed") == Some(1.0));
        }
        // Not before the first node, which may show the dead connection, has the new one.
        wait_until("the relay", SOON, || relay.accepted() == round as u64 + 2);
        std::thread::sleep(SOON.saturating_sub(connected.elapsed()));
        for finder in [&first, &second] {
            let share = ManualMiner::at(finder).mine(finder);
            check_gossip(&share, &[&first, &second]);
        }
        assert_eq!(first.metric("p2pool_peer_reconnects_total"), Some(0.0));
    }
    assert!(first.metric("p2pool_peer_connections_replaced_total") >= Some(1.0));
}

#[test]
fn a_share_that_is_found_as_a_nat_mapping_vanishes_arrives_with_the_reconnect() {
    let Some(sides) = TwoSides::new_or_skip() else { return };
    let Some(nat) = sides.nat_or_skip(Side::Right) else { return };
    let bitcoind = bitcoind();
    let _ports = Side::BOTH.map(|side| sides.forward_port(side, bitcoind.rpc_port()));
    let first = sides.inside(Side::Left, || start(&bitcoind, options_with(1, &[]), &[]));
    let boot = first.p2p_address().replace("127.0.0.1", Side::Left.address());
    let flags = [format!("-bootnodes={boot}")];
    let second = sides.inside(Side::Right, || start(&bitcoind, options_with(2, &flags), &[]));
    let at_first = |work: &(dyn Fn() + Sync)| sides.inside(Side::Left, work);
    let at_second = |work: &(dyn Fn() + Sync)| sides.inside(Side::Right, work);
    at_second(&|| wait_until("the connection", TIMEOUT, || peers(&second).len() == 1));
    let share = sides.inside(Side::Left, || ManualMiner::at(&first).mine(&first));
    at_second(&|| wait_tip(&[&second], &share));

    nat.forget_mappings(|| {
        // A share is a packet in each direction at least.
        let share = sides.inside(Side::Left, || ManualMiner::at(&first).mine(&first));
        at_second(&|| wait_tip(&[&second], &share));
    });
    let begun = Instant::now();
    let share = sides.inside(Side::Right, || ManualMiner::at(&second).mine(&second));
    at_first(&|| wait_until("the share", NOTICED_TIMEOUT, || journey(&share, &[&first, &second]).is_some()));
    println!("the share arrived after {:.1} s", begun.elapsed().as_secs_f64());
    assert!(begun.elapsed() > Duration::from_secs(10), "the mapping did not vanish: this tests nothing");
    std::thread::sleep(SOON);
    for (side, finder) in [(Side::Left, &first), (Side::Right, &second)] {
        let share = sides.inside(side, || ManualMiner::at(finder).mine(finder));
        check_gossip(&share, &[&first, &second]);
    }
}

/// Folder of a node's sharechain.
fn chain_dir(node: &Pool) -> PathBuf {
    std::fs::read_dir(node.data_dir()).unwrap().next().unwrap().unwrap().path()
}

/// Path of a node's identity file.
fn identity_file(node: &Pool) -> PathBuf {
    chain_dir(node).join("identity")
}

/// Stops a node and gives it the identity of another.
fn copy_identity(from: &Pool, to: &mut Pool) {
    assert!(to.terminate().success());
    std::fs::copy(identity_file(from), identity_file(to)).unwrap();
}

/// Whether log, page, health check and metric of a node say that its identity is used twice, and what to do.
fn has_noticed(node: &Pool) -> bool {
    let status = status(node);
    let problems = status["problems"].as_array().into_iter().flatten();
    let notices: Vec<&str> = problems
        .filter(|problem| problem["code"] == "duplicate_identity")
        .filter_map(|problem| problem["advice"].as_str())
        .collect();
    if notices.is_empty() {
        return false;
    }
    let file = identity_file(node).display().to_string();
    assert!(notices[0].contains(&file), "{notices:?}");
    assert!(node.log().contains("IDENTITY USED TWICE") && node.log().contains(&file));
    assert_eq!(node.metric("p2pool_identity_duplicated"), Some(1.0));
    // The health check responds with an error.
    assert!(node.api("/healthz").is_none());
    true
}

#[test]
fn two_nodes_with_one_identity_that_share_a_peer_say_so() {
    let bitcoind = bitcoind();
    let shared = start(&bitcoind, options_with(1, &[]), &[]);
    let one = start(&bitcoind, options_with(2, &[]), &[&shared]);
    let mut two = start(&bitcoind, options_with(3, &[]), &[&shared]);
    wait_connected(&[&shared, &one, &two]);
    copy_identity(&one, &mut two);
    two.launch();
    for node in [&one, &two] {
        wait_until("a node to notice the other", TIMEOUT, || has_noticed(node));
    }
    assert!(!has_noticed(&shared));

    // What the notice says helps.
    assert!(two.terminate().success());
    std::fs::remove_file(identity_file(&two)).unwrap();
    two.launch();
    wait_until("a new identity", TIMEOUT, || status(&two)["our_peer_id"] != status(&one)["our_peer_id"]);
    wait_until("the new node to be a peer", TIMEOUT, || peers(&two).contains(&id(&shared)));
    assert!(!has_noticed(&two));
}

#[test]
fn two_nodes_with_one_identity_on_a_local_network_say_so() {
    let Some(sides) = TwoSides::new_or_skip() else { return };
    let bitcoind = bitcoind();
    let _ports =
        [sides.forward_port(Side::Left, bitcoind.rpc_port()), sides.forward_port_to_router(bitcoind.rpc_port())];
    let mut options = [options_with(1, &[]), options_with(2, &[])];
    for options in &mut options {
        options.flags.push("-mdns=true".to_owned());
    }
    let [one, two] = options;
    let one = sides.inside(Side::Left, || start(&bitcoind, one, &[]));
    // The router is the neighbour of this machine.
    let two = sides.inside_router(|| {
        let mut two = start(&bitcoind, two, &[]);
        copy_identity(&one, &mut two);
        two.launch();
        two
    });
    sides.inside(Side::Left, || wait_until("a node to notice the other", TIMEOUT, || has_noticed(&one)));
    sides.inside_router(|| wait_until("a node to notice the other", TIMEOUT, || has_noticed(&two)));
}
