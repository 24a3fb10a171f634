//! Measures what one node needs: the time of a start, memory, and what it writes to disk.

use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use argh::FromArgs;
use p2pool_core::params::ChainParams;
use p2pool_core::units::UnixTime;
use p2pool_miner::session::Session;
use p2pool_miner::target::Target;
use p2pool_test_bitcoind::{wait_until, Bitcoind, Chain};
use p2pool_test_functional::network::{share_count, start, status, ManualMiner, TIMEOUT};
use p2pool_test_functional::payees;
use p2pool_test_functional::pool::{Options, Pool};

use crate::{chain, load_averages, resident_memory};

/// Lowest difficulty of sessions, as a password, and the easiest difficulty of shares on a signet.
const EASIEST: &str = "d=0.00001";
const SHARES_EASIEST: f64 = 0.000_015_25;
/// Factor for the rounding of difficulties, which are sent with three digits.
const ROUNDING: f64 = 1.02;
/// Memory is read this long after a start.
const SETTLING: Duration = Duration::from_secs(20);
/// Each worker submits once a minute, so that lists of workers change as with real ones.
const SHARES_PER_SUBMIT: u32 = 2;
/// Payout window of the node whose writes are measured. Its store is a tree of as many levels as with mainnet's window, and is
/// mined in a minute.
const WINDOW: u32 = 512;

/// what one node needs: time of a start, memory without and with workers and a full window, bytes written
#[derive(FromArgs)]
#[argh(subcommand, name = "footprint")]
pub struct Plan {
    /// connected workers (default 100)
    #[argh(option, default = "100")]
    workers: usize,
    /// seconds for which writes are measured (default 900, 30 shares; the node removes old shares every 300 s)
    #[argh(option, default = "900")]
    seconds: u64,
}

pub fn measure(plan: &Plan) {
    println!("load at the start: {}", load_averages());
    measure_memory(plan);
    measure_writes(plan);
    println!("load at the end: {}", load_averages());
}

fn options(chain: Chain, flags: &[String]) -> Options {
    Options { address: payees::p2tr_address(chain, 1_000), flags: flags.to_vec(), environment: Vec::new() }
}

/// Prints times of starts and memory.
fn measure_memory(plan: &Plan) {
    let bitcoind = Bitcoind::start(Chain::Regtest);
    let begun = Instant::now();
    let mut node = start(&bitcoind, options(Chain::Regtest, &[]), &[]);
    print_start("without data", &node, begun);
    sleep(SETTLING);
    println!("RSS idle, without shares and workers: {}", resident_memory(&node));

    let params = chain::params(Chain::Regtest);
    let shares = params.shares_kept();
    assert!(node.terminate().success());
    chain::write(&bitcoind, &node, params, shares, newest());
    let begun = Instant::now();
    node.launch();
    print_start(&format!("with {shares} shares"), &node, begun);
    assert_eq!(share_count(&node), u64::from(shares));
    sleep(SETTLING);
    println!("RSS with {shares} shares: {}", resident_memory(&node));
    let workers = Workers::connect(&node, plan.workers);
    sleep(SETTLING);
    assert_eq!(status(&node)["miner_count"].as_u64(), u64::try_from(workers.sessions.len()).ok());
    println!("RSS with {shares} shares and {} workers: {}", plan.workers, resident_memory(&node));
}

/// Prints what a node writes with a full window and a share in 30 s, none of which is a block.
fn measure_writes(plan: &Plan) {
    let bitcoind = Bitcoind::start(Chain::OpTrueSignet);
    let flags = [format!("-payout-window={WINDOW}")];
    let mut node = start(&bitcoind, options(Chain::OpTrueSignet, &flags), &[]);
    assert!(node.terminate().success());
    let params = ChainParams { payout_window: WINDOW, ..chain::params(Chain::OpTrueSignet) };
    let (period, kept) = (Duration::from_secs(params.share_period_s.into()), params.shares_kept());
    chain::write(&bitcoind, &node, params, kept, newest());
    node.launch();

    let (mut workers, mut miner) = (Workers::connect(&node, plan.workers), ManualMiner::at(&node));
    let (before, begun) = (written_bytes(&node), Instant::now());
    let duration = Duration::from_secs(plan.seconds);
    let mut found: u32 = 0;
    while begun.elapsed() < duration {
        if found.is_multiple_of(SHARES_PER_SUBMIT) {
            workers.submit();
        }
        miner.mine(&node);
        found += 1;
        sleep((period * found).min(duration).saturating_sub(begun.elapsed()));
    }
    let (written, seconds) = ((written_bytes(&node) - before) as f64, begun.elapsed().as_secs_f64());
    let count = share_count(&node);
    assert!(count < u64::from(kept + found), "no old share of {count} is removed");
    println!(
        "written in {seconds:.0} s with {found} shares and {} workers: {written:.0} bytes, {:.0} MB per day",
        plan.workers,
        written / seconds * 86_400.0 / 1e6
    );
}

/// Returns the time of the newest share of a chain, old enough for the next.
fn newest() -> UnixTime {
    UnixTime::from(SystemTime::now()).minus(60)
}

/// Prints the time since the start of the process: until its port was open, which [`start`] waits for, until a miner got a job,
/// and until the first healthy state.
fn print_start(what: &str, node: &Pool, begun: Instant) {
    let open = begun.elapsed();
    let job = node.session("first").wait_job(TIMEOUT, |_| true);
    let work = job.map(|_| begun.elapsed()).unwrap_or_else(|error| panic!("no job: {error}"));
    wait_until("the node to be healthy", TIMEOUT, || node.health().is_some_and(|(code, _)| code == 200));
    let healthy = begun.elapsed();
    println!(
        "start {what}: {} ms to an open port, {} ms to a miner's first job, {} ms to /healthz 200",
        open.as_millis(),
        work.as_millis(),
        healthy.as_millis()
    );
}

/// Returns the bytes that the node has written to files. Its sockets are not written to but sent on, which is not counted.
///
/// `write_bytes` of the same file would count all of a large folio of the page cache when one page of it changes.
fn written_bytes(node: &Pool) -> u64 {
    let path = format!("/proc/{}/io", node.process_id());
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let value = text.lines().find_map(|line| line.strip_prefix("wchar: ")?.parse().ok());
    value.unwrap_or_else(|| panic!("no wchar in {path}"))
}

/// Sessions of workers, whose submits are no shares on a signet.
struct Workers {
    sessions: Vec<Session>,
    submits: u64,
}

impl Workers {
    fn connect(node: &Pool, count: usize) -> Self {
        let open = |number| node.session_with(&format!("worker-{number}"), EASIEST);
        Self { sessions: (0..count).map(open).collect(), submits: 0 }
    }

    /// Submits once from each worker.
    fn submit(&mut self) {
        for session in &mut self.sessions {
            self.submits += 1;
            while session.next(Duration::ZERO).is_ok_and(|message| message.is_some()) {}
            let job = session.wait_job(TIMEOUT, |_| true).unwrap_or_else(|error| panic!("no job: {error}"));
            assert!(job.difficulty * ROUNDING < SHARES_EASIEST, "difficulty {}", job.difficulty);
            let (target, share) =
                (Target::from_difficulty(job.difficulty * ROUNDING), Target::from_difficulty(SHARES_EASIEST));
            let (submit, _) =
                session.solve(&job, self.submits, |hash| target.is_met_by(hash) && !share.is_met_by(hash));
            session.submit(&submit).unwrap_or_else(|error| panic!("submit refused: {error}"));
        }
    }
}
