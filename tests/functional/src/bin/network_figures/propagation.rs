//! How fast shares spread, what becomes of them, what goes over the wire.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use argh::FromArgs;
use p2pool_miner::mining::Settings;
use p2pool_test_bitcoind::{self as bitcoind, wait_for, wait_until, Bitcoind, Chain};
use p2pool_test_functional::journal::{journeys, Journey};
use p2pool_test_functional::miner::{settings, Miner};
use p2pool_test_functional::network::{peers, share_count, start, wait_one_tip, SOON};
use p2pool_test_functional::payees;
use p2pool_test_functional::pool::{Options, Pool};
use serde_json::Value;

use crate::load_averages;
use crate::quantiles::Quantiles;

/// Until nodes that have just met have told each other all that they tell once.
const SETTLING: Duration = Duration::from_secs(60);
/// Then nobody mines for so long, to see what goes over the wire when nothing happens.
const IDLE: Duration = Duration::from_secs(120);
/// Nodes make their metrics anew every two seconds.
const METRICS_DELAY: Duration = Duration::from_secs(3);
/// The least difficulty that sessions can have, as a password: answers are shares as soon as they meet a share's target.
const EASIEST: &str = "d=0.00001";
/// Between two looks at how far it is.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Between two reports of all figures so far: a run of an hour is not lost with its end.
const LOOKS_PER_REPORT: u32 = 10;
/// The newest shares may still be named as uncles: what became of them is not known yet.
const UNDECIDED_HEIGHTS: u64 = 3;

/// nodes with a miner each find shares; prints how fast these spread and what became of them
#[derive(FromArgs)]
#[argh(subcommand, name = "propagation")]
pub struct Plan {
    /// nodes (default 10)
    #[argh(option, default = "10")]
    nodes: u32,
    /// shares to be found (default 2000)
    #[argh(option, default = "2000")]
    shares: u64,
    /// seconds between two shares (default 2)
    #[argh(option, default = "2")]
    period: u32,
    /// hashes a second of each miner (default 6000); a share takes 65,536 at least
    #[argh(option, default = "6000")]
    hash_rate: u64,
}

/// Bytes from and to other nodes.
#[derive(Clone, Copy)]
struct Wire {
    bytes_in: f64,
    bytes_out: f64,
}

pub fn measure(plan: &Plan) {
    println!("load at the start: {}", load_averages());
    let bitcoind = Bitcoind::start_with(bitcoind::Options {
        chain: Chain::OpTrueSignet,
        listen: false,
        // A long poll holds one until the next block.
        arguments: vec![format!("-rpcthreads={}", plan.nodes * 4)],
    });
    let nodes = start_nodes(plan, &bitcoind);
    let idle_bytes_per_s = idle_bytes_per_s(&nodes);
    let (before, begun) = (wire(&nodes), Instant::now());
    let miners = start_miners(plan, &nodes);
    let mining = Mining { nodes: &nodes, before, begun };
    for look in 1.. {
        let count = share_count(&nodes[0]);
        println!("{count} shares after {} s, load {}", begun.elapsed().as_secs(), load_averages());
        if count >= plan.shares {
            break;
        }
        if look % LOOKS_PER_REPORT == 0 {
            mining.report();
        }
        std::thread::sleep(LOOK_EVERY);
    }
    drop(miners);
    let all: Vec<&Pool> = nodes.iter().collect();
    wait_one_tip(&all);
    std::thread::sleep(METRICS_DELAY);
    println!("\nAt the end, {} nodes, T = {} s:", plan.nodes, plan.period);
    mining.report();
    println!(
        "while nobody mined, a node and second: {:.0} bytes in, {:.0} out",
        idle_bytes_per_s.bytes_in, idle_bytes_per_s.bytes_out
    );
    let degrees: Vec<usize> = nodes.iter().map(|node| peers(node).len()).collect();
    println!("peers of each node at the end: {degrees:?}");
    println!("load at the end: {}", load_averages());
}

/// Nodes whose miners have been at work since `begun`.
struct Mining<'a> {
    nodes: &'a [Pool],
    before: Wire,
    begun: Instant,
}

impl Mining<'_> {
    /// Prints what can be said so far.
    fn report(&self) {
        let (after, elapsed_s) = (wire(self.nodes), self.begun.elapsed().as_secs_f64());
        let logs: Vec<String> = self.nodes.iter().map(Pool::log).collect();
        let stored = self.nodes[0].shares();
        let journeys = journeys(&logs);
        println!("{} shares found in {elapsed_s:.0} s", journeys.len());
        print_spread(&journeys);
        print_fates(&journeys, &stored);
        let share_bytes: usize = stored.iter().filter_map(|share| share["raw"].as_str()).map(|hex| hex.len() / 2).sum();
        println!("a share by itself: {} bytes", share_bytes / stored.len().max(1));
        let per_share = rates(self.before, after, (journeys.len() * self.nodes.len()) as f64);
        println!(
            "on the wire, a node and share: {:.0} bytes in, {:.0} out; all that went over it while mining, divided",
            per_share.bytes_in, per_share.bytes_out
        );
    }
}

/// Nodes that know the first one, connected with at least three others each.
fn start_nodes(plan: &Plan, bitcoind: &Bitcoind) -> Vec<Pool> {
    let options = |payee| Options {
        address: payees::p2tr_address(Chain::OpTrueSignet, payee),
        flags: vec![format!("-share-period={}", plan.period), "-log-level=debug".to_owned()],
        environment: Vec::new(),
    };
    let mut nodes = vec![start(bitcoind, options(0), &[])];
    for payee in 1..plan.nodes {
        nodes.push(start(bitcoind, options(payee), &[&nodes[0]]));
    }
    let aim = usize::try_from(plan.nodes - 1).unwrap_or_default().min(3);
    for node in &nodes {
        wait_until("nodes to find each other", SOON, || peers(node).len() >= aim);
    }
    nodes
}

/// Bytes of a node in a second while nobody mines.
fn idle_bytes_per_s(nodes: &[Pool]) -> Wire {
    std::thread::sleep(SETTLING);
    let (before, begun) = (wire(nodes), Instant::now());
    std::thread::sleep(IDLE);
    rates(before, wire(nodes), begun.elapsed().as_secs_f64() * nodes.len() as f64)
}

/// A miner at each node.
fn start_miners(plan: &Plan, nodes: &[Pool]) -> Vec<Miner> {
    let miner = |node: &Pool| {
        let pace = Settings { hash_rate_max: Some(plan.hash_rate), ..settings(&node.address(), "worker") };
        Miner::start(Settings { password: EASIEST.to_owned(), ..pace })
    };
    nodes.iter().map(miner).collect()
}

/// Bytes of all nodes together.
fn wire(nodes: &[Pool]) -> Wire {
    let of = |direction: &str| {
        let name = format!("p2pool_p2p_bytes_total{{direction=\"{direction}\"}}");
        nodes.iter().map(|node| wait_for("a node's metrics", SOON, || node.metric(&name))).sum()
    };
    Wire { bytes_in: of("in"), bytes_out: of("out") }
}

fn rates(before: Wire, after: Wire, divisor: f64) -> Wire {
    Wire {
        bytes_in: (after.bytes_in - before.bytes_in) / divisor,
        bytes_out: (after.bytes_out - before.bytes_out) / divisor,
    }
}

/// From the moment in which the finder's node has accepted a share until another has checked and accepted it.
fn print_spread(journeys: &[Journey]) {
    let others = || {
        journeys.iter().flat_map(|journey| {
            let arrivals = journey.arrivals.iter().enumerate().filter(|(node, _)| *node != journey.finder);
            arrivals.map(move |(_, arrival)| (journey.found_us, arrival))
        })
    };
    let times = others().filter_map(|(found_us, arrival)| arrival.accepted_us.map(|at_us| at_us - found_us)).collect();
    let missing = others().filter(|(_, arrival)| arrival.accepted_us.is_none()).count();
    let fetched = others().filter(|(_, arrival)| arrival.accepted_us.is_some() && !arrival.by_gossip).count();
    let to_last = journeys.iter().filter_map(|journey| {
        let times: Option<Vec<i64>> = journey.arrivals.iter().map(|arrival| arrival.accepted_us).collect();
        times?.into_iter().max().map(|at_us| at_us - journey.found_us)
    });
    println!("a share at another node, {} pairs: {}", others().count(), Quantiles::of(times));
    println!("a share at the last of the nodes: {}", Quantiles::of(to_last.collect()));
    println!("pairs that were fetched, not passed on: {fetched}; that never came: {missing}");
}

/// Main chain, uncles and the rest, of all shares that a node accepted from its miner.
fn print_fates(journeys: &[Journey], stored: &[Value]) {
    let height = |share: &Value| share["share_height"].as_u64().unwrap_or_default();
    let by_id: HashMap<&str, &Value> =
        stored.iter().filter_map(|share| share["id"].as_str().map(|id| (id, share))).collect();
    let is_main = |share: &&Value| share["main_chain"] == true;
    let tip = stored.iter().filter(is_main).map(height).max().unwrap_or_default();
    let named: Vec<&str> = stored
        .iter()
        .filter(is_main)
        .filter_map(|share| share["uncles"].as_array())
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let (mut main, mut uncles, mut orphans) = (0, 0, 0);
    for journey in journeys {
        match by_id.get(journey.id.as_str()) {
            Some(share) if height(share) + UNDECIDED_HEIGHTS > tip => {}
            Some(share) if is_main(share) => main += 1,
            _ if named.contains(&journey.id.as_str()) => uncles += 1,
            _ => orphans += 1,
        }
    }
    let percent = |count: i32| 100.0 * f64::from(count) / f64::from(main + uncles + orphans).max(1.0);
    println!(
        "of {} shares {main} on the main chain, {uncles} uncles ({:.2} %), {orphans} orphans ({:.2} %)",
        main + uncles + orphans,
        percent(uncles),
        percent(orphans)
    );
}
