//! A network whose halves are partitioned silently for a while; nothing is restarted.

use std::time::{Duration, Instant};

use p2pool_miner::mining::Settings;
use p2pool_test_bitcoind::{self as bitcoind, wait_until, Bitcoind, Chain};
use p2pool_test_functional::miner::{settings, Miner};
use p2pool_test_functional::namespaces::{ForwardedPort, Side, TwoSides};
use p2pool_test_functional::network::{peers, start, tip, wait_connected, ManualMiner, TIMEOUT};
use p2pool_test_functional::pool::Pool;
use serde_json::Value;

use crate::network::options;
use crate::EASIEST;

const NODES_PER_SIDE: u32 = 2;
/// Timeout until partitioned nodes lose their peers: a ping every 15 s with a timeout of 20 s, and a reserve.
const LOST_TIMEOUT: Duration = Duration::from_secs(120);
/// Timeout until they reconnect and have one chain: a failing dial takes 10 s, bootnodes are dialled every minute, and
/// missing shares are requested again after a minute; the same again as a reserve.
const HEALED_TIMEOUT: Duration = Duration::from_secs(260);

/// Two nodes on each side of a partition, and one bitcoind that all can reach.
struct Partitioned {
    // Dropped in this order: nodes first, the networks last.
    nodes: [Vec<Pool>; 2],
    _bitcoind: Bitcoind,
    _ports: Vec<ForwardedPort>,
    sides: TwoSides,
}

impl Partitioned {
    fn start() -> Option<Self> {
        let sides = TwoSides::new_or_skip()?;
        let bitcoind = Bitcoind::start_with(bitcoind::Options {
            chain: Chain::OpTrueSignet,
            listen: false,
            // A long poll occupies one until the next block, even if its caller has gone.
            arguments: vec![format!("-rpcthreads={}", NODES_PER_SIDE * 8)],
        });
        let ports = Side::BOTH.map(|side| sides.forward_port(side, bitcoind.rpc_port())).into();
        let start_at = |side: Side, payee: u32, boot: Option<String>| {
            let mut options = options(payee);
            options.flags.extend(boot.map(|boot| format!("-bootnodes={boot}")));
            sides.inside(side, || start(&bitcoind, options, &[]))
        };
        let first = start_at(Side::Left, 0, None);
        let boot = first.p2p_address().replace("127.0.0.1", Side::Left.address());
        let mut nodes = [vec![first], Vec::new()];
        for side in Side::BOTH {
            let nodes = &mut nodes[side as usize];
            while nodes.len() < NODES_PER_SIDE as usize {
                let payee = side as u32 * NODES_PER_SIDE + nodes.len() as u32;
                nodes.push(start_at(side, payee, Some(boot.clone())));
            }
        }
        let network = Self { nodes, _bitcoind: bitcoind, _ports: ports, sides };
        let all = 2 * NODES_PER_SIDE as usize;
        wait_until("all nodes to be connected", TIMEOUT, || network.peer_counts() == vec![all - 1; all]);
        Some(network)
    }

    /// Calls a function with each node, in its own network.
    fn each<T: Send>(&self, call: impl Fn(&Pool) -> T + Sync) -> Vec<T> {
        let of_side = |side: Side| {
            let nodes = &self.nodes[side as usize];
            self.sides.inside(side, || nodes.iter().map(&call).collect::<Vec<T>>())
        };
        Side::BOTH.into_iter().flat_map(of_side).collect()
    }

    fn peer_counts(&self) -> Vec<usize> {
        self.each(|node| peers(node).len())
    }

    fn tips(&self) -> Vec<Option<String>> {
        self.each(tip)
    }

    /// Finds shares at the first node of a side, one after the other, and waits until the side has them.
    fn mine(&self, side: Side, shares: usize) -> Vec<String> {
        let nodes = &self.nodes[side as usize];
        self.sides.inside(side, || {
            let mut miner = ManualMiner::at(&nodes[0]);
            let ids: Vec<String> = (0..shares).map(|_| miner.mine(&nodes[0])).collect();
            let last = ids.last().cloned();
            for node in nodes {
                wait_until("the side to have one tip", TIMEOUT, || tip(node) == last);
            }
            ids
        })
    }

    fn miners(&self) -> Vec<Miner> {
        const HASHES_PER_S: u64 = 25_000;
        self.each(|node| {
            let pace = Settings { hash_rate_max: Some(HASHES_PER_S), ..settings(&node.address(), "worker") };
            Miner::start(Settings { password: EASIEST.to_owned(), ..pace })
        })
    }

    fn wait_partitioned(&self) {
        let counts = vec![NODES_PER_SIDE as usize - 1; 2 * NODES_PER_SIDE as usize];
        wait_until("both sides to lose their peers", LOST_TIMEOUT, || self.peer_counts() == counts);
    }

    fn wait_tip(&self, wanted: &str) {
        wait_until("one tip", HEALED_TIMEOUT, || self.tips().iter().all(|tip| tip.as_deref() == Some(wanted)));
    }

    /// Waits until all nodes have the same tip.
    fn wait_one_tip(&self) -> String {
        wait_until("one tip", HEALED_TIMEOUT, || self.one_tip().is_some());
        self.one_tip().unwrap()
    }

    fn one_tip(&self) -> Option<String> {
        let tips = self.tips();
        let first = tips.first()?.clone()?;
        tips.iter().all(|tip| tip.as_ref() == Some(&first)).then_some(first)
    }
}

fn find<'a>(shares: &'a [Value], id: &str) -> &'a Value {
    shares.iter().find(|share| share["id"] == id).unwrap_or_else(|| panic!("share {id} is missing"))
}

#[test]
fn a_silent_partition_heals_and_the_first_shares_of_the_losing_side_become_uncles() {
    let Some(network) = Partitioned::start() else { return };
    let common = network.mine(Side::Left, 1);
    network.wait_tip(&common[0]);

    network.sides.partition();
    // At first the connections seem to be alive: both sides continue before and after they lose their peers.
    let mut left = network.mine(Side::Left, 2);
    let mut right = network.mine(Side::Right, 1);
    network.wait_partitioned();
    left.extend(network.mine(Side::Left, 1));
    right.extend(network.mine(Side::Right, 1));
    assert_eq!(network.one_tip(), None, "not partitioned");

    network.sides.heal();
    let winner = network.wait_one_tip();
    // Three shares usually have more work than two, depending on the difficulty.
    let (winners, losers, of_losers) =
        if left.contains(&winner) { (&left, &right, Side::Right) } else { (&right, &left, Side::Left) };
    assert_eq!(winners.last(), Some(&winner), "not a tip of either side");
    // The losing side has both forks; the others fetch the uncles of its next share from it. The second is built on the first.
    let mut uncles = losers[..2].to_vec();
    uncles.sort_unstable();
    let nephew = network.mine(of_losers, 1).remove(0);
    network.wait_tip(&nephew);
    for shares in network.each(Pool::shares) {
        let nephew_share = find(&shares, &nephew);
        assert_eq!(nephew_share["parent"], winner.as_str());
        assert_eq!(nephew_share["uncles"], serde_json::json!(uncles), "at most three heights below, lower than itself");
        assert!(winners.iter().all(|id| find(&shares, id)["main_chain"] == true));
        assert!(uncles.iter().all(|id| find(&shares, id)["main_chain"] == false));
    }
}

#[test]
fn a_hanging_node_is_disconnected_and_returns() {
    let bitcoind = Bitcoind::start(Chain::OpTrueSignet);
    let first = start(&bitcoind, options(1), &[]);
    let second = start(&bitcoind, options(2), &[&first]);
    wait_connected(&[&first, &second]);
    let common = ManualMiner::at(&first).mine(&first);
    wait_until("both to have the share", TIMEOUT, || tip(&second).as_deref() == Some(&common));
    // Its system still acknowledges packets; only the program does not respond.
    second.signal("STOP");
    wait_until("the other to lose its peer", LOST_TIMEOUT, || peers(&first).is_empty());
    let missed = ManualMiner::at(&first).mine(&first);
    second.signal("CONT");
    wait_until("the node to catch up", HEALED_TIMEOUT, || tip(&second).as_deref() == Some(&missed));
}

#[test]
#[ignore = "takes some minutes: run it with --ignored --nocapture"]
fn three_minutes_of_partition_with_miners_on_both_sides_end_in_one_chain() {
    const PARTITION_TIME: Duration = Duration::from_secs(180);
    let Some(network) = Partitioned::start() else { return };
    let common = network.mine(Side::Left, 1);
    network.wait_tip(&common[0]);
    let miners = network.miners();
    network.sides.partition();
    let begun = Instant::now();
    network.wait_partitioned();
    println!("both sides have lost their peers after {:.0} s", begun.elapsed().as_secs_f64());
    std::thread::sleep(PARTITION_TIME.saturating_sub(begun.elapsed()));
    drop(miners);
    let tips = network.tips();
    println!("tips before the reconnect: {tips:?}");
    assert_ne!(tips.first(), tips.last(), "not partitioned");

    network.sides.heal();
    let healed = Instant::now();
    let all = 2 * NODES_PER_SIDE as usize;
    wait_until("the first connection between the sides", HEALED_TIMEOUT, || {
        network.peer_counts().iter().any(|count| *count >= NODES_PER_SIDE as usize)
    });
    println!("first connection {:.0} s after the partition healed", healed.elapsed().as_secs_f64());
    let winner = network.wait_one_tip();
    println!("one tip at all {all} nodes {:.0} s after the partition healed", healed.elapsed().as_secs_f64());
    assert!(tips.contains(&Some(winner.clone())), "{winner} is not a tip of either side");
    let next = network.mine(Side::Right, 1).remove(0);
    network.wait_tip(&next);
    let counts = network.each(|node| {
        let shares = node.shares();
        let main = shares.iter().filter(|share| share["main_chain"] == true).count();
        let uncles: usize = shares.iter().filter_map(|share| share["uncles"].as_array()).map(Vec::len).sum();
        (shares.len(), main, uncles)
    });
    println!("shares, main chain, uncles at each node: {counts:?}");
    assert!(counts.iter().all(|(_, main, _)| *main == counts[0].1), "different main chains");
}
