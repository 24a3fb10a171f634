//! A network whose two halves do not hear each other for a while, without any connection being told, and nobody
//! restarts anything.

use std::time::{Duration, Instant};

use p2pool_miner::mining::Settings;
use p2pool_test_bitcoind::{self as bitcoind, wait_until, Bitcoind, Chain};
use p2pool_test_functional::miner::{settings, Miner};
use p2pool_test_functional::namespaces::{LentPort, Side, TwoSides};
use p2pool_test_functional::network::{peers, start, tip, wait_connected, Hand, SOON};
use p2pool_test_functional::pool::Pool;
use serde_json::Value;

use crate::network::options;
use crate::EASIEST;

const NODES_PER_SIDE: u32 = 2;
/// Until nodes that do not hear each other any more notice: a ping every 15 s, given up after 20 s; some to spare.
const NOTICED: Duration = Duration::from_secs(120);
/// Until they find each other again and have one chain: a dial that fails takes 10 s, a bootnode is tried every minute at
/// least, and what is lost then is asked for again a minute later; as much to spare.
const MET_AGAIN: Duration = Duration::from_secs(260);

/// Two nodes on each side of the cut, and one bitcoind that all can ask.
struct Torn {
    // Nodes end first, the networks last.
    nodes: [Vec<Pool>; 2],
    _bitcoind: Bitcoind,
    _ports: Vec<LentPort>,
    sides: TwoSides,
}

impl Torn {
    fn start() -> Option<Self> {
        let sides = TwoSides::new_or_skip()?;
        let bitcoind = Bitcoind::start_with(bitcoind::Options {
            chain: Chain::OpTrueSignet,
            listen: false,
            // A long poll holds one until the next block, whether or not anybody waits for its answer.
            arguments: vec![format!("-rpcthreads={}", NODES_PER_SIDE * 8)],
        });
        let ports = Side::BOTH.map(|side| sides.lend_port(side, bitcoind.rpc_port())).into();
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
        let torn = Self { nodes, _bitcoind: bitcoind, _ports: ports, sides };
        let all = 2 * NODES_PER_SIDE as usize;
        wait_until("all to be connected", SOON, || torn.peer_counts() == vec![all - 1; all]);
        Some(torn)
    }

    /// Asks every node for something, in its own network.
    fn each<T: Send>(&self, ask: impl Fn(&Pool) -> T + Sync) -> Vec<T> {
        let of_side = |side: Side| {
            let nodes = &self.nodes[side as usize];
            self.sides.inside(side, || nodes.iter().map(&ask).collect::<Vec<T>>())
        };
        Side::BOTH.into_iter().flat_map(of_side).collect()
    }

    fn peer_counts(&self) -> Vec<usize> {
        self.each(|node| peers(node).len())
    }

    fn tips(&self) -> Vec<Option<String>> {
        self.each(tip)
    }

    /// Finds shares at one side's first node, one after the other, and waits until the side has them.
    fn mine(&self, side: Side, shares: usize) -> Vec<String> {
        let nodes = &self.nodes[side as usize];
        self.sides.inside(side, || {
            let mut hand = Hand::at(&nodes[0]);
            let ids: Vec<String> = (0..shares).map(|_| hand.mine(&nodes[0])).collect();
            let last = ids.last().cloned();
            for node in nodes {
                wait_until("the side to have one tip", SOON, || tip(node) == last);
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

    fn wait_apart(&self) {
        let alone = vec![NODES_PER_SIDE as usize - 1; 2 * NODES_PER_SIDE as usize];
        wait_until("both sides to notice", NOTICED, || self.peer_counts() == alone);
    }

    fn wait_tip(&self, wanted: &str) {
        wait_until("all to have one tip", MET_AGAIN, || self.tips().iter().all(|tip| tip.as_deref() == Some(wanted)));
    }

    /// Waits until all have the same tip.
    fn wait_one_tip(&self) -> String {
        wait_until("one tip", MET_AGAIN, || self.one_tip().is_some());
        self.one_tip().unwrap()
    }

    fn one_tip(&self) -> Option<String> {
        let tips = self.tips();
        let first = tips.first()?.clone()?;
        tips.iter().all(|tip| tip.as_ref() == Some(&first)).then_some(first)
    }
}

fn find<'a>(shares: &'a [Value], id: &str) -> &'a Value {
    shares.iter().find(|share| share["id"] == id).unwrap_or_else(|| panic!("{id} is not there"))
}

#[test]
fn a_silent_cut_is_noticed_and_heals_by_itself_and_the_losers_first_share_is_an_uncle() {
    let Some(torn) = Torn::start() else { return };
    let common = torn.mine(Side::Left, 1);
    torn.wait_tip(&common[0]);

    torn.sides.cut();
    // At first the connections seem to live: both sides go on all the same, before and after they notice.
    let mut left = torn.mine(Side::Left, 2);
    let mut right = torn.mine(Side::Right, 1);
    torn.wait_apart();
    left.extend(torn.mine(Side::Left, 1));
    right.extend(torn.mine(Side::Right, 1));
    assert_eq!(torn.one_tip(), None, "they were to be apart");

    torn.sides.heal();
    let winner = torn.wait_one_tip();
    // Three shares have more work than two, unless luck with the difficulty has it otherwise.
    let (winners, losers, of_losers) =
        if left.contains(&winner) { (&left, &right, Side::Right) } else { (&right, &left, Side::Left) };
    assert_eq!(winners.last(), Some(&winner), "it is no side's tip");
    // The losers have both forks; the others fetch from them what their next share names.
    let nephew = torn.mine(of_losers, 1).remove(0);
    torn.wait_tip(&nephew);
    for shares in torn.each(Pool::shares) {
        let named = find(&shares, &nephew);
        assert_eq!(named["parent"], winner.as_str());
        assert_eq!(named["uncles"], serde_json::json!([losers[0]]), "at most three heights below, and on the chain");
        assert!(winners.iter().all(|id| find(&shares, id)["main_chain"] == true));
        assert_eq!(find(&shares, &losers[0])["main_chain"], false);
    }
}

#[test]
fn a_node_that_hangs_is_given_up_and_comes_back() {
    let bitcoind = Bitcoind::start(Chain::OpTrueSignet);
    let first = start(&bitcoind, options(1), &[]);
    let second = start(&bitcoind, options(2), &[&first]);
    wait_connected(&[&first, &second]);
    let common = Hand::at(&first).mine(&first);
    wait_until("both to have it", SOON, || tip(&second).as_deref() == Some(&common));
    // Its system goes on to acknowledge what comes: only the program itself answers no more.
    second.signal("STOP");
    wait_until("the other to notice", NOTICED, || peers(&first).is_empty());
    let missed = Hand::at(&first).mine(&first);
    second.signal("CONT");
    wait_until("it to catch up", MET_AGAIN, || tip(&second).as_deref() == Some(&missed));
}

#[test]
#[ignore = "takes some minutes: run it with --ignored --nocapture"]
fn three_minutes_apart_with_miners_on_both_sides_end_in_one_chain() {
    const APART: Duration = Duration::from_secs(180);
    let Some(torn) = Torn::start() else { return };
    let common = torn.mine(Side::Left, 1);
    torn.wait_tip(&common[0]);
    let miners = torn.miners();
    torn.sides.cut();
    let begun = Instant::now();
    torn.wait_apart();
    println!("both sides have noticed after {:.0} s", begun.elapsed().as_secs_f64());
    std::thread::sleep(APART.saturating_sub(begun.elapsed()));
    drop(miners);
    let tips = torn.tips();
    println!("the tips before they meet: {tips:?}");
    assert_ne!(tips.first(), tips.last(), "they were to be apart");

    torn.sides.heal();
    let healed = Instant::now();
    let all = 2 * NODES_PER_SIDE as usize;
    wait_until("a first node to hear of the other side", MET_AGAIN, || {
        torn.peer_counts().iter().any(|count| *count >= NODES_PER_SIDE as usize)
    });
    println!("the first two have met {:.0} s after the cut was healed", healed.elapsed().as_secs_f64());
    let winner = torn.wait_one_tip();
    println!("one tip at all {all} nodes {:.0} s after the cut was healed", healed.elapsed().as_secs_f64());
    assert!(tips.contains(&Some(winner.clone())), "{winner} is no side's tip");
    let next = torn.mine(Side::Right, 1).remove(0);
    torn.wait_tip(&next);
    let counts = torn.each(|node| {
        let shares = node.shares();
        let main = shares.iter().filter(|share| share["main_chain"] == true).count();
        let uncles: usize = shares.iter().filter_map(|share| share["uncles"].as_array()).map(Vec::len).sum();
        (shares.len(), main, uncles)
    });
    println!("shares, those of the main chain, uncles, at each node: {counts:?}");
    assert!(counts.iter().all(|(_, main, _)| *main == counts[0].1), "they have different main chains");
}
