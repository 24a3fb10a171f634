//! Shares reach all nodes by gossip; only missed ones are fetched.

use p2pool_test_bitcoind::{self as bitcoind, wait_for, Bitcoind, Chain};
use p2pool_test_functional::journal::{journeys, Journey};
use p2pool_test_functional::network::{start, wait_one_tip, wait_tip, ManualMiner, TIMEOUT};
use p2pool_test_functional::pool::Pool;

use crate::network;

const NODES: u32 = 10;
/// Two per node.
const SHARES: usize = 20;
/// Most shares until gossip has its mesh, which forms within seconds.
const WARM_UP_MAX: usize = 60;

/// Starts ten nodes that know the first one.
fn ten_nodes(bitcoind: &Bitcoind) -> Vec<Pool> {
    let options = |payee| {
        let mut options = network::options(payee);
        options.flags.push("-log-level=debug".to_owned());
        // About as fast as shares are found here: shares that come too fast get harder, finally harder than blocks, and
        // then a find may be a block and not a share.
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

/// Longest time until a share is at all nodes.
const SPREAD_MAX_US: i64 = 1_000_000;

/// Finds a share at one node and waits until all nodes have it.
fn spread(miner: &mut ManualMiner, nodes: &[Pool]) -> Journey {
    let id = miner.find();
    wait_for("a share to reach every node", TIMEOUT, || {
        let logs: Vec<String> = nodes.iter().map(Pool::log).collect();
        let journey = journeys(&logs).into_iter().find(|journey| journey.id == id)?;
        journey.arrivals.iter().all(|arrival| arrival.accepted_us.is_some()).then_some(journey)
    })
}

fn all_by_gossip(journey: &Journey) -> bool {
    let others = journey.arrivals.iter().enumerate().filter(|(node, _)| *node != journey.finder);
    others.into_iter().all(|(_, arrival)| arrival.by_gossip)
}

/// Returns the time in microseconds from when a share was found until the last node accepted it.
fn spread_us(journey: &Journey) -> i64 {
    let last_us = journey.arrivals.iter().filter_map(|arrival| arrival.accepted_us).max().unwrap();
    last_us - journey.found_us
}

#[test]
fn shares_reach_all_ten_nodes_by_gossip() {
    let bitcoind = Bitcoind::start_with(bitcoind::Options {
        chain: Chain::OpTrueSignet,
        listen: false,
        // A long poll occupies one until the next block, even if its caller has gone.
        arguments: vec![format!("-rpcthreads={}", NODES * 4)],
    });
    let nodes = ten_nodes(&bitcoind);
    let mut miners: Vec<ManualMiner> = nodes.iter().map(ManualMiner::at).collect();
    // One genesis share first: of two, one would be lost.
    let genesis = miners[0].mine(&nodes[0]);
    wait_tip(&nodes.iter().collect::<Vec<_>>(), &genesis);
    for tried in 0.. {
        assert!(tried < WARM_UP_MAX, "gossip does not reach all nodes");
        let finder = tried % miners.len();
        if all_by_gossip(&spread(&mut miners[finder], &nodes)) {
            break;
        }
    }
    let mut spreads_us = Vec::new();
    for number in 0..SHARES {
        let finder = number % miners.len();
        let journey = spread(&mut miners[finder], &nodes);
        assert_eq!(journey.finder, finder);
        assert!(all_by_gossip(&journey), "share {} was fetched: {journey:#?}", journey.id);
        spreads_us.push(spread_us(&journey));
    }
    spreads_us.sort_unstable();
    println!("microseconds until the last of {NODES} nodes had a share: {spreads_us:?}");
    // The median: delays by the nodes themselves, such as a heartbeat or a timer, are in all values, those by a busy machine
    // in some.
    assert!(spreads_us[SHARES / 2] < SPREAD_MAX_US, "shares take longer than a second: {spreads_us:?}");
    let nodes: Vec<&Pool> = nodes.iter().collect();
    wait_one_tip(&nodes);
}
