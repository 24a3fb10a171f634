//! Several running nodes that know each other.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use p2pool_miner::job::Job;
use p2pool_miner::session::{Error, Rejection, Session};
use p2pool_miner::target::Target;
use p2pool_test_bitcoind::{wait_for, wait_until, Bitcoind};
use serde_json::{json, Value};

use crate::pool::{Options, Pool};

/// For whatever nodes tell each other, on a machine that is busy with other tests: twice the minute after which they
/// compare chains again.
pub const SOON: Duration = Duration::from_secs(120);

/// Stratum's error for an answer to a job that is gone.
const STALE: i64 = 21;
/// The one for an answer that the node could not take just now.
const BUSY: i64 = 20;

/// Starts a node whose only knowledge of others are these.
#[track_caller]
pub fn start(bitcoind: &Bitcoind, mut options: Options, bootnodes: &[&Pool]) -> Pool {
    if !bootnodes.is_empty() {
        options.flags.push(bootnodes_flag(bootnodes));
    }
    Pool::start(bitcoind, options)
}

/// Bootnodes as a flag.
#[track_caller]
pub fn bootnodes_flag(nodes: &[&Pool]) -> String {
    let addresses: Vec<String> = nodes.iter().map(|node| node.p2p_address()).collect();
    format!("-bootnodes={}", addresses.join(","))
}

/// A node's id.
#[track_caller]
pub fn id(node: &Pool) -> String {
    let address = node.p2p_address();
    address.rsplit('/').next().unwrap_or_default().to_owned()
}

/// What a node says of itself.
#[track_caller]
pub fn status(node: &Pool) -> Value {
    wait_for("a node's status", SOON, || node.api("/api/status"))
}

/// The ids of the nodes that a node is connected with.
#[track_caller]
pub fn peers(node: &Pool) -> BTreeSet<String> {
    let status = status(node);
    let peers = status["peers"].as_array().into_iter().flatten();
    peers.filter_map(|peer| peer["id"].as_str().map(str::to_owned)).collect()
}

/// Waits until each of these nodes is connected with each other one.
#[track_caller]
pub fn wait_connected(nodes: &[&Pool]) {
    let ids: BTreeSet<String> = nodes.iter().map(|node| id(node)).collect();
    for node in nodes {
        let mut others = ids.clone();
        others.remove(&id(node));
        wait_until("all nodes to be connected", SOON, || others.is_subset(&peers(node)));
    }
}

/// A node's tip; none while it has no chain.
#[track_caller]
pub fn tip(node: &Pool) -> Option<String> {
    status(node)["tip_hash"].as_str().map(str::to_owned)
}

/// Shares that a node holds.
#[track_caller]
pub fn share_count(node: &Pool) -> u64 {
    status(node)["share_count"].as_u64().unwrap_or_default()
}

/// Waits until all these nodes have one tip, and returns it. They must not go on mining meanwhile, or luck decides.
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
        assert!(start.elapsed() < SOON, "in vain waited for one tip: {tips:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until all these nodes have this tip.
#[track_caller]
pub fn wait_tip(nodes: &[&Pool], wanted: &str) {
    for node in nodes {
        let what = format!("node {} to have tip {wanted}", node.address());
        wait_until(&what, SOON, || tip(node).as_deref() == Some(wanted));
    }
}

/// A node gives no two jobs on one Bitcoin tip within 250 ms: the job on a share that just came waits so long at most.
const JOBS_APART: Duration = Duration::from_millis(260);

/// Far above all shares here. A session that asks for so much gets the difficulty of shares, as it is with each job, and
/// keeps it; one that leaves it to the node is soon asked for more answers than shares.
const SHARES_ONLY: &str = "d=1000000";

/// Below 1 a difficulty is announced with three digits, rounded down, so by a hundredth at most: an answer that just meets
/// it may be no share yet.
const ROUNDED_OFF: f64 = 1.02;

/// Targets of shares so near the one of Bitcoin's blocks leave too few hashes between the two to search for.
const NEAR_A_BLOCK: f64 = 2.0;

/// However fast a hand finds them, the times of its shares are a second apart, so that they get no harder than the fastest
/// chains here have them; until they are so far ahead of the clock, which is half of what nodes take.
const AHEAD_S_MAX: u32 = 60;

/// Regtest's target of blocks: every second hash meets it, and shares are no easier.
const REGTEST_BITS: u32 = 0x207f_ffff;

/// A miner that finds one share at a time, when it is told to; no Bitcoin block by luck, where shares are easier.
#[derive(Debug)]
pub struct Hand {
    session: Session,
    found: u64,
    last_time: u32,
}

impl Hand {
    /// A miner at this node.
    #[track_caller]
    pub fn at(node: &Pool) -> Self {
        Self { session: node.session_with("hand", SHARES_ONLY), found: 0, last_time: 0 }
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
        wait_until(&what, SOON, || tip(node).as_deref() == Some(&id));
        id
    }

    /// Finds a share on the newest job and hands it in; again if a Bitcoin block was found meanwhile, or the node had no
    /// room for it.
    #[track_caller]
    pub fn find(&mut self) -> String {
        let start = Instant::now();
        loop {
            let job = self.newest_job();
            match self.try_solve(&job) {
                Err(Error::Rejected(Rejection { code: STALE | BUSY, .. })) if start.elapsed() < SOON => {}
                found => return found.unwrap_or_else(|error| panic!("a share is refused: {error}")),
            }
        }
    }

    /// Awaits the job on what was the node's tip when this was called, and the Bitcoin tip that it knew.
    ///
    /// Before it reads what a session asks, a node gives out the job it has, unless it gave one less than 250 ms ago: once
    /// it has answered, then and later, no job is left that it had at first.
    #[track_caller]
    pub fn newest_job(&mut self) -> Arc<Job> {
        self.ping();
        std::thread::sleep(JOBS_APART);
        self.ping();
        while self.session.next(Duration::ZERO).is_ok_and(|news| news.is_some()) {}
        self.session.wait_job(SOON, |_| true).unwrap_or_else(|error| panic!("no job: {error}"))
    }

    #[track_caller]
    fn ping(&mut self) {
        let answer = self.session.call("mining.ping", json!([]));
        assert!(answer.is_ok(), "a hand is not answered: {answer:?}");
    }

    /// Finds a share on a job and hands it in.
    #[track_caller]
    pub fn solve(&mut self, job: &Job) -> String {
        self.try_solve(job).unwrap_or_else(|error| panic!("a share is refused: {error}"))
    }

    #[track_caller]
    fn try_solve(&mut self, job: &Job) -> Result<String, Error> {
        self.found += 1;
        let time = job.time.max(self.last_time + 1).min(job.time + AHEAD_S_MAX);
        let job = &Job { time, ..job.clone() };
        let target = Target::from_difficulty(job.difficulty * ROUNDED_OFF);
        let block = job.block_target();
        // No session is asked for more than a block, so there an answer might be no share.
        let is_share = job.bits == REGTEST_BITS || target.is_easier_than(&block);
        assert!(is_share, "shares came so fast that they are as hard as Bitcoin blocks: difficulty {}", job.difficulty);
        let is_far = Target::from_difficulty(job.difficulty * NEAR_A_BLOCK).is_easier_than(&block);
        let wanted = |hash: &[u8; 32]| target.is_met_by(hash) && !(is_far && block.is_met_by(hash));
        let (answer, hash) = self.session.solve(job, self.found, wanted);
        self.session.submit(&answer)?;
        self.last_time = time;
        Ok(shown(&hash))
    }
}

/// A hash as it is shown: byte order reversed, hexadecimal.
pub fn shown(hash: &[u8; 32]) -> String {
    hash.iter().rev().map(|byte| format!("{byte:02x}")).collect()
}
