//! Measures the latency of shares, uncles and uncredited shares, and traffic.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use argh::FromArgs;
use p2pool_miner::mining::Settings;
use p2pool_test_bitcoind::{self as bitcoind, wait_for, wait_until, Bitcoind, Chain};
use p2pool_test_functional::journal::{journeys, Journey};
use p2pool_test_functional::miner::{settings, Miner};
use p2pool_test_functional::network::{peers, share_count, start, wait_one_tip, TIMEOUT};
use p2pool_test_functional::payees;
use p2pool_test_functional::pool::{Options, Pool};
use serde_json::Value;

use crate::load_averages;
use crate::quantiles::Quantiles;

/// Time for new connections to exchange everything that is exchanged once.
const SETTLING: Duration = Duration::from_secs(60);
/// Time without mining, to measure idle traffic.
const IDLE: Duration = Duration::from_secs(120);
/// Nodes update their metrics every two seconds.
const METRICS_DELAY: Duration = Duration::from_secs(3);
/// Lowest difficulty of sessions, as a password.
const EASIEST: &str = "d=0.00001";
/// Interval between two progress lines.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(30);
/// Progress lines between two full reports, for runs that are interrupted.
const PROGRESS_PER_REPORT: u32 = 10;
/// Heights below the tip whose shares may still become uncles.
const UNDECIDED_HEIGHTS: u64 = 3;

/// nodes with a miner each find shares; prints latency, uncles and uncredited shares, and traffic
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

/// Bytes from and to peers.
#[derive(Clone, Copy)]
struct Traffic {
    bytes_in: f64,
    bytes_out: f64,
}

pub fn measure(plan: &Plan) {
    println!("load at the start: {}", load_averages());
    let bitcoind = Bitcoind::start_with(bitcoind::Options {
        chain: Chain::OpTrueSignet,
        listen: false,
        // A long poll occupies one until the next block.
        arguments: vec![format!("-rpcthreads={}", plan.nodes * 4)],
    });
    let nodes = start_nodes(plan, &bitcoind);
    let idle_bytes_per_s = idle_bytes_per_s(&nodes);
    let (before, begun) = (traffic(&nodes), Instant::now());
    let miners = start_miners(plan, &nodes);
    let mining = Mining { nodes: &nodes, before, begun };
    for line in 1.. {
        let count = share_count(&nodes[0]);
        println!("{count} shares after {} s, load {}", begun.elapsed().as_secs(), load_averages());
        if count >= plan.shares {
            break;
        }
        if line % PROGRESS_PER_REPORT == 0 {
            mining.report();
        }
        std::thread::sleep(PROGRESS_INTERVAL);
    }
    drop(miners);
    let all: Vec<&Pool> = nodes.iter().collect();
    wait_one_tip(&all);
    std::thread::sleep(METRICS_DELAY);
    println!("\nAt the end, {} nodes, T = {} s:", plan.nodes, plan.period);
    mining.report();
    println!(
        "idle traffic per node and second: {:.0} bytes in, {:.0} bytes out",
        idle_bytes_per_s.bytes_in, idle_bytes_per_s.bytes_out
    );
    let degrees: Vec<usize> = nodes.iter().map(|node| peers(node).len()).collect();
    println!("peers of each node at the end: {degrees:?}");
    println!("load at the end: {}", load_averages());
}

/// Nodes whose miners have been running since `begun`.
struct Mining<'a> {
    nodes: &'a [Pool],
    before: Traffic,
    begun: Instant,
}

impl Mining<'_> {
    /// Prints all figures so far.
    fn report(&self) {
        let (after, elapsed_s) = (traffic(self.nodes), self.begun.elapsed().as_secs_f64());
        let logs: Vec<String> = self.nodes.iter().map(Pool::log).collect();
        let stored = self.nodes[0].shares();
        let journeys = journeys(&logs);
        println!("{} shares found in {elapsed_s:.0} s", journeys.len());
        print_latency(&journeys);
        println!("{}", Outcomes::of(&journeys, &stored));
        let share_bytes: usize = stored.iter().filter_map(|share| share["raw"].as_str()).map(|hex| hex.len() / 2).sum();
        println!("size of a share: {} bytes", share_bytes / stored.len().max(1));
        let per_share = rates(self.before, after, (journeys.len() * self.nodes.len()) as f64);
        println!(
            "traffic per node and share: {:.0} bytes in, {:.0} bytes out; all traffic while mining",
            per_share.bytes_in, per_share.bytes_out
        );
    }
}

/// Starts nodes that know the first one; waits until each has at least three peers.
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
    let peers_min = usize::try_from(plan.nodes - 1).unwrap_or_default().min(3);
    for node in &nodes {
        wait_until("peers", TIMEOUT, || peers(node).len() >= peers_min);
    }
    nodes
}

/// Measures the idle traffic per node and second.
fn idle_bytes_per_s(nodes: &[Pool]) -> Traffic {
    std::thread::sleep(SETTLING);
    let (before, begun) = (traffic(nodes), Instant::now());
    std::thread::sleep(IDLE);
    rates(before, traffic(nodes), begun.elapsed().as_secs_f64() * nodes.len() as f64)
}

/// Starts a miner at each node.
fn start_miners(plan: &Plan, nodes: &[Pool]) -> Vec<Miner> {
    let miner = |node: &Pool| {
        let pace = Settings { hash_rate_max: Some(plan.hash_rate), ..settings(&node.address(), "worker") };
        Miner::start(Settings { password: EASIEST.to_owned(), ..pace })
    };
    nodes.iter().map(miner).collect()
}

/// Returns the bytes of all nodes together.
fn traffic(nodes: &[Pool]) -> Traffic {
    let of = |direction: &str| {
        let name = format!("p2pool_p2p_bytes_total{{direction=\"{direction}\"}}");
        nodes.iter().map(|node| wait_for("the metrics of a node", TIMEOUT, || node.metric(&name))).sum()
    };
    Traffic { bytes_in: of("in"), bytes_out: of("out") }
}

fn rates(before: Traffic, after: Traffic, divisor: f64) -> Traffic {
    Traffic {
        bytes_in: (after.bytes_in - before.bytes_in) / divisor,
        bytes_out: (after.bytes_out - before.bytes_out) / divisor,
    }
}

/// Prints the time from when the finder's node accepts a share until another node does.
fn print_latency(journeys: &[Journey]) {
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
    println!("latency of a share to another node, {} pairs: {}", others().count(), Quantiles::of(times));
    println!("latency of a share to the last node: {}", Quantiles::of(to_last.collect()));
    println!("pairs fetched, not by gossip: {fetched}; missing: {missing}");
}

/// What became of shares.
#[derive(Default)]
pub struct Outcomes {
    main: u32,
    uncles: u32,
    uncredited: u32,
}

impl Outcomes {
    /// Counts the shares on the main chain, the uncles, and those that are neither, without the newest.
    pub fn of(journeys: &[Journey], stored: &[Value]) -> Self {
        let height = |share: &Value| share["share_height"].as_u64().unwrap_or_default();
        let by_id: HashMap<&str, &Value> =
            stored.iter().filter_map(|share| share["id"].as_str().map(|id| (id, share))).collect();
        let is_main = |share: &&Value| share["main_chain"] == true;
        let tip = stored.iter().filter(is_main).map(height).max().unwrap_or_default();
        let uncle_ids: Vec<&str> = stored
            .iter()
            .filter(is_main)
            .filter_map(|share| share["uncles"].as_array())
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let mut outcomes = Self::default();
        for journey in journeys {
            match by_id.get(journey.id.as_str()) {
                Some(share) if height(share) + UNDECIDED_HEIGHTS > tip => {}
                Some(share) if is_main(share) => outcomes.main += 1,
                _ if uncle_ids.contains(&journey.id.as_str()) => outcomes.uncles += 1,
                _ => outcomes.uncredited += 1,
            }
        }
        outcomes
    }
}

impl fmt::Display for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { main, uncles, uncredited } = self;
        let all = main + uncles + uncredited;
        let percent = |count: u32| 100.0 * f64::from(count) / f64::from(all.max(1));
        write!(
            f,
            "of {all} shares {main} on the main chain, {uncles} uncles ({:.2} %), {uncredited} uncredited ({:.2} %)",
            percent(*uncles),
            percent(*uncredited)
        )
    }
}
