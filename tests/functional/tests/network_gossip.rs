//! Shares reach everybody by gossip; fetching is for what gossip missed.

use p2pool_test_bitcoind::{self as bitcoind, wait_for, Bitcoind, Chain};
use p2pool_test_functional::journal::{journeys, Journey};
use p2pool_test_functional::network::{start, wait_one_tip, wait_tip, Hand, SOON};
use p2pool_test_functional::pool::Pool;

use crate::network;

const NODES: u32 = 10;
/// Each node finds two.
const SHARES: usize = 20;
/// Shares until gossip must have its paths: these form by the second, a share each.
const WARM_UP_MAX: usize = 60;

/// Ten nodes that know the first one.
fn ten_nodes(bitcoind: &Bitcoind) -> Vec<Pool> {
    let options = |payee| {
        let mut options = network::options(payee);
        options.flags.push("-log-level=debug".to_owned());
        // About as fast as they are found here: shares that come too fast get harder, in the end harder than blocks,
        // and then what is found may be a block and no share.
        options.flags.retain(|flag| !flag.starts_with("-share-period"));
        options.flags.push("-share-period=1".to_owned());
        options
    };
    let first = start(bitcoind, options(0), &[]);
    let others: Vec<Pool> = std::thread::scope(|scope| {
        let first = &first;
        let starts: Vec<_> =
            (1..NODES).map(|payee| scope.spawn(move || start(bitcoind, options(payee), &[first]))).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    std::iter::once(first).chain(others).collect()
}

/// A share that is found is at every other node within a second.
const SPREAD_MAX_US: i64 = 1_000_000;

/// Finds a share at one node and waits until all have it.
fn spread(hand: &mut Hand, nodes: &[Pool]) -> Journey {
    let id = hand.find();
    wait_for("a share to reach every node", SOON, || {
        let logs: Vec<String> = nodes.iter().map(Pool::log).collect();
        let journey = journeys(&logs).into_iter().find(|journey| journey.id == id)?;
        journey.arrivals.iter().all(|arrival| arrival.accepted_us.is_some()).then_some(journey)
    })
}

fn all_by_gossip(journey: &Journey) -> bool {
    let others = journey.arrivals.iter().enumerate().filter(|(node, _)| *node != journey.finder);
    others.into_iter().all(|(_, arrival)| arrival.by_gossip)
}

/// From the moment a share was found to when the last node had checked it, in microseconds.
fn spread_us(journey: &Journey) -> i64 {
    let last_us = journey.arrivals.iter().filter_map(|arrival| arrival.accepted_us).max().unwrap();
    last_us - journey.found_us
}

#[test]
fn every_share_reaches_each_of_ten_nodes_by_gossip() {
    let bitcoind = Bitcoind::start_with(bitcoind::Options {
        chain: Chain::OpTrueSignet,
        listen: false,
        // A long poll holds one until the next block, whether or not anybody waits for its answer.
        arguments: vec![format!("-rpcthreads={}", NODES * 4)],
    });
    let nodes = ten_nodes(&bitcoind);
    let mut hands: Vec<Hand> = nodes.iter().map(Hand::at).collect();
    // Of two first shares one would never be anything.
    let genesis = hands[0].mine(&nodes[0]);
    wait_tip(&nodes.iter().collect::<Vec<_>>(), &genesis);
    for tried in 0.. {
        assert!(tried < WARM_UP_MAX, "gossip never reaches everybody");
        let finder = tried % hands.len();
        if all_by_gossip(&spread(&mut hands[finder], &nodes)) {
            break;
        }
    }
    let mut spreads_us = Vec::new();
    for number in 0..SHARES {
        let finder = number % hands.len();
        let journey = spread(&mut hands[finder], &nodes);
        assert_eq!(journey.finder, finder);
        assert!(all_by_gossip(&journey), "share {} was fetched: {journey:#?}", journey.id);
        spreads_us.push(spread_us(&journey));
    }
    spreads_us.sort_unstable();
    println!("microseconds until the last of {NODES} nodes had a share: {spreads_us:?}");
    // The half that was disturbed least by other tests: what the nodes themselves wait for, a heartbeat or a timer, is
    // there in all of them, while twelve programs on a busy machine may have to wait for it in many.
    assert!(spreads_us[SHARES / 2] < SPREAD_MAX_US, "shares take longer than a second: {spreads_us:?}");
    let nodes: Vec<&Pool> = nodes.iter().collect();
    wait_one_tip(&nodes);
}
