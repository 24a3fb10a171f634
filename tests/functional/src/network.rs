//! Several connected nodes, and a miner that finds shares on request.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bitcoin::hashes::Hash as _;
use bitcoin::BlockHash;
use p2pool_miner::job::Job;
use p2pool_miner::session::{Error, Rejection, Session};
use p2pool_miner::target::Target;
use p2pool_test_bitcoind::{wait_for, wait_until, Bitcoind};
use serde_json::{json, Value};

use crate::pool::{Options, Pool};

/// Timeout for anything that nodes exchange: twice the minute after which they compare chains again, for busy machines.
pub const TIMEOUT: Duration = Duration::from_secs(120);

/// Stratum's error code for a stale submit.
const STALE: i64 = 21;
/// Stratum's error code for a submit that the node is too busy for.
const BUSY: i64 = 20;

/// Starts a node that knows only these peers.
#[track_caller]
pub fn start(bitcoind: &Bitcoind, mut options: Options, bootnodes: &[&Pool]) -> Pool {
    if !bootnodes.is_empty() {
        options.flags.push(bootnodes_flag(bootnodes));
    }
    Pool::start(bitcoind, options)
}

/// Returns the flag with these bootnodes.
#[track_caller]
pub fn bootnodes_flag(nodes: &[&Pool]) -> String {
    let addresses: Vec<String> = nodes.iter().map(|node| node.p2p_address()).collect();
    format!("-bootnodes={}", addresses.join(","))
}

/// Returns a node's peer id.
#[track_caller]
pub fn id(node: &Pool) -> String {
    let address = node.p2p_address();
    address.rsplit('/').next().unwrap_or_default().to_owned()
}

/// Requests the status of a node.
#[track_caller]
pub fn status(node: &Pool) -> Value {
    wait_for("the status of a node", TIMEOUT, || node.api("/api/v1/status"))
}

/// Returns the peer ids of the peers of a node.
#[track_caller]
pub fn peers(node: &Pool) -> BTreeSet<String> {
    let status = status(node);
    let peers = status["peers"].as_array().into_iter().flatten();
    peers.filter_map(|peer| peer["id"].as_str().map(str::to_owned)).collect()
}

/// Waits until all these nodes are connected to each other.
#[track_caller]
pub fn wait_connected(nodes: &[&Pool]) {
    let ids: BTreeSet<String> = nodes.iter().map(|node| id(node)).collect();
    for node in nodes {
        let mut others = ids.clone();
        others.remove(&id(node));
        wait_until("all nodes to be connected", TIMEOUT, || others.is_subset(&peers(node)));
    }
}

/// Returns a node's tip; `None` if its sharechain is empty.
#[track_caller]
pub fn tip(node: &Pool) -> Option<String> {
    status(node)["tip_hash"].as_str().map(str::to_owned)
}

/// Returns the number of shares in a node's sharechain.
#[track_caller]
pub fn share_count(node: &Pool) -> u64 {
    status(node)["share_count"].as_u64().unwrap_or_default()
}

/// Waits until all these nodes have the same tip, and returns it. They must not mine meanwhile.
#[track_caller]
pub fn wait_one_tip(nodes: &[&Pool]) -> String {
    let start = Instant::now();
    loop {
        let tips: Vec<Option<String>> = nodes.iter().map(|node| tip(node)).collect();
        if let [Some(first), rest @ ..] = &tips[..] {
            if rest.iter().all(|tip| tip.as_ref() == Some(first)) {
                return first.clone();
            }
        }
        assert!(start.elapsed() < TIMEOUT, "no common tip: {tips:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until all these nodes have this tip.
#[track_caller]
pub fn wait_tip(nodes: &[&Pool], wanted: &str) {
    for node in nodes {
        let what = format!("node {} to have tip {wanted}", node.address());
        wait_until(&what, TIMEOUT, || tip(node).as_deref() == Some(wanted));
    }
}

/// Longest delay of a job after a new share: a node sends at most one job per 250 ms on the same Bitcoin tip.
const JOB_DELAY_MAX: Duration = Duration::from_millis(260);

/// A difficulty far above that of all shares here, as a password. Such a session has the difficulty of shares with each job,
/// while vardiff would soon require more submits than shares.
const SHARES_ONLY: &str = "d=1000000";

/// Factor for the rounding of difficulties: below 1 they are sent with three digits, rounded down by a hundredth at most. A
/// submit that just meets the difficulty may not be a share.
const ROUNDING: f64 = 1.02;

/// Factor between share and block targets below which there are too few hashes between the two to search for.
const NEAR_A_BLOCK: f64 = 2.0;

/// How far share times may be ahead of the clock, half of what nodes accept. Shares are found with times one second apart,
/// however fast that is, so that they do not get harder.
const AHEAD_S_MAX: u32 = 60;

/// Target of regtest blocks, which every second hash meets; shares are not easier.
const REGTEST_BITS: u32 = 0x207f_ffff;

/// A miner that finds one share at a time, on request. Where shares are easier than blocks, it finds no blocks.
#[derive(Debug)]
pub struct ManualMiner {
    session: Session,
    found: u64,
    last_time: u32,
}

impl ManualMiner {
    /// Connects a miner to this node.
    #[track_caller]
    pub fn at(node: &Pool) -> Self {
        Self { session: node.session_with("manual", SHARES_ONLY), found: 0, last_time: 0 }
    }

    /// The session.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Finds a share on the node's tip and waits until it is the tip. Returns its id.
    #[track_caller]
    pub fn mine(&mut self, node: &Pool) -> String {
        let before = tip(node);
        let id = self.find();
        let what = format!("share {id} on top of {before:?}");
        wait_until(&what, TIMEOUT, || tip(node).as_deref() == Some(&id));
        id
    }

    /// Finds and submits a share on the newest job; repeats this if the job has become stale or the node is busy.
    #[track_caller]
    pub fn find(&mut self) -> String {
        let start = Instant::now();
        loop {
            let job = self.newest_job();
            match self.try_solve(&job) {
                Err(Error::Rejected(Rejection { code: STALE | BUSY, .. })) if start.elapsed() < TIMEOUT => {}
                found => return found.unwrap_or_else(|error| panic!("share rejected: {error}")),
            }
        }
    }

    /// Waits for the job on the present tip of the node and the Bitcoin tip that it knows.
    ///
    /// A node sends a pending job before it reads requests, unless it sent one less than 250 ms ago. So after two requests
    /// with that delay between them, no job that was pending at first is left.
    #[track_caller]
    pub fn newest_job(&mut self) -> Arc<Job> {
        self.ping();
        std::thread::sleep(JOB_DELAY_MAX);
        self.ping();
        while self.session.next(Duration::ZERO).is_ok_and(|message| message.is_some()) {}
        self.session.wait_job(TIMEOUT, |_| true).unwrap_or_else(|error| panic!("no job: {error}"))
    }

    #[track_caller]
    fn ping(&mut self) {
        let response = self.session.call("mining.ping", json!([]));
        assert!(response.is_ok(), "no pong: {response:?}");
    }

    /// Finds and submits a share on a job.
    #[track_caller]
    pub fn solve(&mut self, job: &Job) -> String {
        self.try_solve(job).unwrap_or_else(|error| panic!("share rejected: {error}"))
    }

    #[track_caller]
    fn try_solve(&mut self, job: &Job) -> Result<String, Error> {
        self.found += 1;
        let time = job.time.max(self.last_time + 1).min(job.time + AHEAD_S_MAX);
        let job = &Job { time, ..job.clone() };
        let target = Target::from_difficulty(job.difficulty * ROUNDING);
        let block = job.block_target();
        // No session has a higher difficulty than a block, so a submit might not be a share.
        let is_share = job.bits == REGTEST_BITS || target.is_easier_than(&block);
        assert!(is_share, "shares are as hard as blocks: difficulty {}", job.difficulty);
        let is_far = Target::from_difficulty(job.difficulty * NEAR_A_BLOCK).is_easier_than(&block);
        let wanted = |hash: &[u8; 32]| target.is_met_by(hash) && !(is_far && block.is_met_by(hash));
        let (submit, hash) = self.session.solve(job, self.found, wanted);
        self.session.submit(&submit)?;
        self.last_time = time;
        Ok(hash_hex(&hash))
    }
}

/// Returns a hash in the usual notation: reversed bytes in hexadecimal.
pub fn hash_hex(hash: &[u8; 32]) -> String {
    BlockHash::from_byte_array(*hash).to_string()
}
