//! Runs many nodes in networks of their own, most of them behind routers, with long ways between them, kills and hostile
//! peers; prints a table.

mod hostile;
mod member;
mod table;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use argh::FromArgs;
use bitcoin::hashes::{sha256, Hash as _};
use p2pool_core::params::ChainParams;
use p2pool_test_bitcoind::internet::{Internet, Nat};
use p2pool_test_bitcoind::{self as bitcoind, Bitcoind, Chain};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::register;

use crate::{chain, load_averages};
use hostile::Hostile;
use member::Member;

/// Interval at which the program looks at the nodes that wait for something.
const TICK: Duration = Duration::from_secs(1);
/// Interval between two looks at all nodes.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(30);
/// Time after which a killed node is started again.
const DOWN: Duration = Duration::from_secs(10);
/// Time within which all nodes have one tip when mining has ended.
const ONE_TIP_MAX: Duration = Duration::from_secs(120);
/// Time for all nodes to have connections before the first share.
const SETTLING: Duration = Duration::from_secs(30);
/// One way from a node to the backbone, in milliseconds; the way back is that of the other node. A round trip takes the sum.
const WAY_MS: (u64, u64) = (10, 150);
/// One of so many nodes is public; the others are in homes.
const PUBLIC_EVERY: u8 = 5;
/// One of so many homes has a router that allows no hole.
const RANDOM_PORTS_EVERY: u8 = 4;
/// Public nodes that all others know at first.
const BOOTNODES: usize = 2;
/// One of so many nodes is killed at a time.
const KILLED_EVERY: usize = 10;
/// Hashes of a share at the easiest target, and the hash rate of all miners over what that needs.
const EASIEST_HASHES: u64 = 1 << 16;
const HASH_RATE_FACTOR: f64 = 1.5;
/// Exit status of a run that a signal ended.
const STATUS_INTERRUPTED: i32 = 130;
/// Last number of a network of the internet.
const NETWORKS_MAX: u8 = 254;

/// many nodes in networks of their own, with latency, NAT, kills and hostile peers; prints a table. As root
#[derive(FromArgs)]
#[argh(subcommand, name = "scale")]
pub struct Plan {
    /// nodes, a fifth of them public and the others behind routers (default 100)
    #[argh(option, default = "100")]
    nodes: u8,
    /// minutes of mining (default 30)
    #[argh(option, default = "30")]
    minutes: u64,
    /// seconds between two shares (default 5)
    #[argh(option, default = "5")]
    period: u32,
    /// hostile peers (default 10)
    #[argh(option, default = "10")]
    hostile: u8,
    /// seconds between two kills of a tenth of the nodes (default 120)
    #[argh(option, default = "120")]
    kill_every: u64,
    /// bitcoinds, each shared by several nodes (default 5)
    #[argh(option, default = "5")]
    bitcoinds: usize,
    /// seed of latencies, kills and what hostile peers do (default 1)
    #[argh(option, default = "1")]
    seed: u64,
}

impl Plan {
    /// Returns a number that follows from the seed, below `end`.
    fn draw(&self, what: &str, number: u64, end: u64) -> u64 {
        let hash = sha256::Hash::hash(format!("{} {what} {number}", self.seed).as_bytes()).to_byte_array();
        hash.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte)) % end
    }

    /// One way between a network and the backbone.
    fn way(&self, network: u8) -> Duration {
        Duration::from_millis(WAY_MS.0 + self.draw("way", network.into(), WAY_MS.1 - WAY_MS.0 + 1))
    }

    fn params(&self) -> ChainParams {
        ChainParams { share_period_s: self.period, ..chain::params(Chain::OpTrueSignet) }
    }

    /// Hashes per second of each miner.
    fn hash_rate(&self) -> u64 {
        let all = EASIEST_HASHES as f64 / f64::from(self.period) * HASH_RATE_FACTOR;
        (all / f64::from(self.nodes)).ceil() as u64
    }
}

/// The operator ends the run.
struct Interrupted;

pub fn measure(plan: &Plan) {
    assert!(u16::from(plan.nodes) + u16::from(plan.hostile) <= NETWORKS_MAX.into(), "at most {NETWORKS_MAX} networks");
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        register(signal, Arc::clone(&interrupted)).unwrap_or_else(|error| panic!("signal handler: {error}"));
    }
    if (Run { plan, interrupted }).measure().is_err() {
        eprintln!("interrupted");
        std::process::exit(STATUS_INTERRUPTED);
    }
}

struct Run<'a> {
    plan: &'a Plan,
    interrupted: Arc<AtomicBool>,
}

impl Run<'_> {
    fn measure(&self) -> Result<(), Interrupted> {
        let load = load_averages();
        let mut net = Internet::new().unwrap_or_else(|error| panic!("network namespaces: {error}"));
        let ways: Vec<Duration> = (0..=u8::MAX).map(|network| self.plan.way(network)).collect();
        let line = net.delay(move |network| ways[usize::from(network)]);
        let line = line.unwrap_or_else(|error| panic!("delays: {error}"));
        let bitcoinds = start_bitcoinds(self.plan);
        let mut members = self.start_members(&mut net, &bitcoinds)?;
        self.watch(&mut members, SETTLING, |_, _| ())?;
        let hostile = Hostile::start(self.plan, &mut net, &members);
        println!("{} nodes run after {} s", members.len(), members[0].started().elapsed().as_secs());

        let begun = Instant::now();
        members.iter_mut().for_each(|member| member.begin(self.plan.hash_rate()));
        let kills = self.mine(&mut members)?;
        let mined = begun.elapsed();
        members.iter_mut().for_each(Member::end);
        drop(hostile);
        let one_tip = self.await_one_tip(&members)?;
        table::print(&table::Measured {
            plan: self.plan,
            members: &mut members,
            mined,
            kills,
            one_tip,
            lateness: line.stop(),
            load,
        });
        Ok(())
    }

    fn check(&self) -> Result<(), Interrupted> {
        if self.interrupted.load(Ordering::Relaxed) {
            Err(Interrupted)
        } else {
            Ok(())
        }
    }

    /// Starts the nodes one after the other. Those after the bootnodes know the bootnodes.
    fn start_members(&self, net: &mut Internet, bitcoinds: &[Bitcoind]) -> Result<Vec<Member>, Interrupted> {
        let mut members: Vec<Member> = Vec::new();
        let public = usize::from(self.plan.nodes / PUBLIC_EVERY).max(BOOTNODES);
        for network in 1..=self.plan.nodes {
            self.check()?;
            let is_public = members.len() < public;
            let nat = if network.is_multiple_of(RANDOM_PORTS_EVERY) { Nat::RandomPorts } else { Nat::KeepsPorts };
            let host = if is_public { net.public(network) } else { net.home(network, nat) };
            let bootnodes: Vec<String> = members.iter().take(BOOTNODES).map(Member::address).collect();
            let bitcoind = &bitcoinds[members.len() % bitcoinds.len()];
            members.push(Member::start(network, host, is_public, bitcoind, self.plan.period, &bootnodes));
            members.iter_mut().for_each(Member::look);
        }
        Ok(members)
    }

    /// Waits and looks at the nodes meanwhile.
    fn watch(
        &self,
        members: &mut [Member],
        time: Duration,
        mut each: impl FnMut(&mut [Member], Duration),
    ) -> Result<(), Interrupted> {
        let begun = Instant::now();
        while begun.elapsed() < time {
            self.check()?;
            each(members, begun.elapsed());
            members.iter_mut().for_each(Member::look);
            sleep(TICK);
        }
        Ok(())
    }

    /// Mines, kills and starts nodes again. Returns the number of kills.
    fn mine(&self, members: &mut [Member]) -> Result<u64, Interrupted> {
        let time = Duration::from_secs(self.plan.minutes * 60);
        let kill_interval = Duration::from_secs(self.plan.kill_every);
        let (mut kills, mut next_kill, mut next_sample) = (0, kill_interval, SAMPLE_INTERVAL);
        self.watch(members, time, |members, elapsed| {
            let is_down_for = |member: &Member| member.down_since().map(|since| since.elapsed());
            for member in members.iter_mut().filter(|member| is_down_for(member).is_some_and(|time| time >= DOWN)) {
                member.launch();
            }
            if elapsed >= next_kill && elapsed + kill_interval / 2 < time {
                next_kill += kill_interval;
                let mut order: Vec<usize> = (0..members.len()).collect();
                order.sort_by_key(|at| self.plan.draw("kill", elapsed.as_secs() << 16 | *at as u64, u64::MAX));
                for at in order.iter().take(members.len().div_ceil(KILLED_EVERY)) {
                    kills += 1;
                    members[*at].kill();
                }
            }
            if elapsed >= next_sample {
                next_sample += SAMPLE_INTERVAL;
                members.iter_mut().for_each(Member::sample);
                println!("{} s: {}; load {}", elapsed.as_secs(), members[0].progress(), load_averages());
            }
        })?;
        members.iter_mut().filter(|member| member.down_since().is_some()).for_each(Member::launch);
        Ok(kills)
    }

    /// Waits until all nodes have one tip; panics if they do not, and names them.
    fn await_one_tip(&self, members: &[Member]) -> Result<Duration, Interrupted> {
        let begun = Instant::now();
        loop {
            self.check()?;
            let mut by_tip: BTreeMap<Option<String>, Vec<String>> = BTreeMap::new();
            for member in members {
                by_tip.entry(member.tip()).or_default().push(member.to_string());
            }
            if by_tip.len() == 1 && by_tip.keys().all(Option::is_some) {
                return Ok(begun.elapsed());
            }
            assert!(begun.elapsed() < ONE_TIP_MAX, "no common tip: {by_tip:#?}");
            sleep(TICK);
        }
    }
}

/// Starts bitcoinds that are connected in a row.
fn start_bitcoinds(plan: &Plan) -> Vec<Bitcoind> {
    let nodes = usize::from(plan.nodes).div_ceil(plan.bitcoinds);
    let start = |_| {
        Bitcoind::start_with(bitcoind::Options {
            chain: Chain::OpTrueSignet,
            listen: true,
            // A long poll occupies one until the next block.
            arguments: vec![format!("-rpcthreads={}", nodes * 4), "-dbcache=4".to_owned()],
        })
    };
    let bitcoinds: Vec<Bitcoind> = (0..plan.bitcoinds).map(start).collect();
    bitcoinds.windows(2).for_each(|pair| pair[1].connect_to(&pair[0]));
    bitcoinds
}
