//! Found blocks reach bitcoind in spite of faults of bitcoind and of the disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use bitcoin::consensus::encode::{deserialize, serialize};
use bitcoin::hashes::Hash as _;
use bitcoin::hex::DisplayHex;
use bitcoin::{Block, BlockHash};
use crossbeam_channel::{bounded, unbounded, Receiver, Sender};
use p2pool_channels::{ToChain, ToSubmit};
use p2pool_core::config::Config;
use p2pool_core::metrics::Metrics;
use p2pool_core::node::{Event, PeerBlock};
use p2pool_core::params::Network;
use p2pool_core::share::coinbase::Payout;
use p2pool_core::share::{CoinbaseTag, PayoutScript, ShareId};
use p2pool_core::status::{OwnBlock, OwnBlocksStatus, SubmissionStatus, SubmitOutcome};
use p2pool_core::units::{Bits, Sats, UnixTime};
use p2pool_core::work::FoundBlock;
use p2pool_core::work::{self, make_job, Finder, Job, JobId, NextShare, Template};
use p2pool_rpc::{LongPollWatch, SubmitThread};
use p2pool_test_bitcoind::{anyone_can_spend_address, wait_for, wait_until, Bitcoind, Chain, MempoolFiller};
use serde_json::json;
use tempfile::TempDir;

use crate::support::{config, config_of, op_true_signet, regtest, Fault, Log, Proxy, Running, TIMEOUT};

/// A running submit thread.
pub struct Submitting {
    to: Sender<ToSubmit>,
    chain: Receiver<ToChain>,
    metrics: Arc<Metrics>,
    own_blocks: Arc<ArcSwap<OwnBlocksStatus>>,
    pub readiness: Arc<ArcSwap<SubmissionStatus>>,
    thread: Running,
}

impl Submitting {
    pub fn start(config: Config, dir: &TempDir) -> Self {
        Self::start_beside(Arc::default(), config, dir)
    }

    /// Starts a thread beside a poll thread.
    pub fn start_beside(watch: Arc<LongPollWatch>, config: Config, dir: &TempDir) -> Self {
        Log::capture();
        let (to, inbox) = bounded(16);
        let (sender, chain) = unbounded();
        let metrics = Arc::new(Metrics::default());
        let submit = SubmitThread::open(&in_dir(config, dir), inbox, sender, Arc::clone(&metrics), watch).unwrap();
        let (own_blocks, readiness) = (submit.own_blocks(), submit.readiness());
        Self { to, chain, metrics, own_blocks, readiness, thread: Running::start(|| submit.run()) }
    }

    pub fn submit(&self, found: &FoundBlock) {
        self.to.send(ToSubmit::Own(found.clone())).unwrap();
    }

    /// Returns the published status of a block.
    fn published(&self, hash: BlockHash) -> Option<OwnBlock> {
        self.own_blocks.load().blocks.iter().find(|block| hash_of(block.id) == hash).cloned()
    }

    /// Waits until the outcome of a block is published; returns height, value and outcome.
    #[track_caller]
    pub fn outcome(&self, found: &FoundBlock) -> (u32, u64, SubmitOutcome) {
        let outcome = || {
            let OwnBlock { time, height, value, outcome, .. } = self.published(hash(found))?;
            assert_eq!(time.0.to_le_bytes(), found.header[68..72]);
            Some((height.0, value.0, outcome?))
        };
        wait_for("the outcome of a block", TIMEOUT, outcome)
    }

    /// Waits until bitcoind has accepted a block.
    #[track_caller]
    pub fn accepted(&self, found: &FoundBlock) {
        wait_until("the block to be accepted", TIMEOUT, || self.outcome(found).2 == SubmitOutcome::Accepted);
    }

    /// Stops the thread.
    #[track_caller]
    pub fn stop(self) {
        self.to.send(ToSubmit::Stop).unwrap();
        self.thread.join_within(TIMEOUT);
    }
}

/// Requests a template.
fn template(node: &Bitcoind) -> Template {
    let response = node.call("getblocktemplate", json!([{"rules": ["segwit", "signet"]}]));
    let network = if node.chain() == Chain::Regtest { Network::Regtest } else { Network::Signet };
    Template::from_json(&response.to_string(), network).unwrap()
}

/// Makes a job that pays everything to one script. `tag` distinguishes blocks of one template.
fn job(node: &Bitcoind, template: Template, tag: &str) -> Arc<Job> {
    let script = anyone_can_spend_address(node.chain()).script_pubkey();
    let payout_script = PayoutScript::new(script.as_bytes()).unwrap();
    let finder = Finder { coinbase_tag: CoinbaseTag::new(tag.as_bytes()).unwrap(), ..Finder::new(payout_script) };
    let facts = NextShare::genesis(Bits(0x207f_ffff), finder);
    let now = UnixTime::from(SystemTime::now());
    let payouts = |value| vec![Payout { script: payout_script, amount: value }];
    Arc::new(make_job(JobId(1), &regtest(), &Arc::new(template), &facts, now, payouts).unwrap())
}

/// Solves a job.
fn solve(job: &Arc<Job>) -> FoundBlock {
    let extranonce = [7; 12];
    let hashed = (0..=u32::MAX)
        .map(|nonce| {
            job.hash_header(&work::Submit { extranonce, time: job.time.0, nonce, version: job.template.version })
        })
        .find(|hashed| hashed.meets(&job.block_target))
        .unwrap();
    FoundBlock { job: Arc::clone(job), header: hashed.header, hash: hashed.hash, extranonce, worker: "axe".into() }
}

/// Finds a block.
pub fn find(node: &Bitcoind, tag: &str) -> FoundBlock {
    solve(&job(node, template(node), tag))
}

fn hash_of(id: ShareId) -> BlockHash {
    BlockHash::from_byte_array(id.0)
}

pub fn hash(found: &FoundBlock) -> BlockHash {
    BlockHash::from_byte_array(found.hash)
}

/// Settings with the chain's directory inside `dir`, not made yet.
fn in_dir(config: Config, dir: &TempDir) -> Config {
    Config { chain_dir: dir.path().join("chain"), ..config }
}

/// What only the submission of a block contains: the beginning of its version.
const SUBMISSION: &str = r#""submitblock","params":["0"#;

/// A file of the directory for found blocks.
fn file(dir: &TempDir, name: impl AsRef<Path>) -> PathBuf {
    dir.path().join("chain/blocks").join(name)
}

/// The file of a found block.
fn block_file(dir: &TempDir, found: &FoundBlock, extension: &str) -> PathBuf {
    file(dir, format!("{}.{extension}", hash(found)))
}

fn files(dir: &TempDir) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(file(dir, "")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn a_block_is_accepted_once_and_then_known() {
    let (node, dir) = (Bitcoind::start(Chain::Regtest), TempDir::new().unwrap());
    node.mine(17);
    let submitting = Submitting::start(config_of(&node, regtest()), &dir);
    let found = find(&node, "");
    submitting.submit(&found);
    assert_eq!(submitting.outcome(&found), (18, 5_000_000_000, SubmitOutcome::Accepted));
    assert_eq!((node.tip(), node.height()), (hash(&found), 18));
    assert_eq!(
        Log::with(&["INFO", &format!("block {} at height 18 accepted by bitcoind: 50.00000000 BTC", hash(&found))])
            .len(),
        1
    );
    submitting.submit(&found);
    Log::wait(&["INFO", &format!("block {} at height 18 already known", hash(&found))]);
    wait_until("the counter", TIMEOUT, || submitting.metrics.own_blocks.accepted.get() == 2);
    assert_eq!(submitting.own_blocks.load().blocks.len(), 1, "one entry for one block");
    assert_eq!(files(&dir), Vec::<PathBuf>::new());
    submitting.stop();
}

#[test]
fn a_signet_block_is_accepted() {
    let (node, dir) = (Bitcoind::start(Chain::OpTrueSignet), TempDir::new().unwrap());
    let submitting = Submitting::start(config_of(&node, op_true_signet()), &dir);
    let found = find(&node, "");
    submitting.submit(&found);
    submitting.accepted(&found);
    assert_eq!(node.tip(), hash(&found));
    submitting.stop();
}

#[test]
fn a_full_block_is_accepted() {
    let (node, dir) = (Bitcoind::start(Chain::Regtest), TempDir::new().unwrap());
    MempoolFiller::new(&node, 50).fill(&node, 4_000_000, 390_000);
    let submitting = Submitting::start(config_of(&node, regtest()), &dir);
    let found = find(&node, "");
    submitting.submit(&found);
    submitting.accepted(&found);
    let block = node.block(&node.tip());
    assert_eq!(block.block_hash(), hash(&found));
    assert!(block.weight().to_wu() > 3_500_000, "{}", block.weight());
    submitting.stop();
}

#[test]
fn a_rejected_block_is_reported_with_the_reason_and_kept_on_disk() {
    let (node, dir) = (Bitcoind::start(Chain::Regtest), TempDir::new().unwrap());
    let mut greedy = template(&node);
    greedy.coinbase_value = Sats(greedy.coinbase_value.0 + 1);
    let submitting = Submitting::start(config_of(&node, regtest()), &dir);
    let job = job(&node, greedy, "");
    let found = solve(&job);
    submitting.submit(&found);
    let rejected = SubmitOutcome::Rejected("bad-cb-amount".to_owned());
    assert_eq!(submitting.outcome(&found), (1, 5_000_000_001, rejected));
    Log::wait(&["ERROR", &hash(&found).to_string(), "rejected by bitcoind: bad-cb-amount"]);
    assert_eq!(files(&dir), [block_file(&dir, &found, "rejected")]);
    assert_eq!(submitting.metrics.own_blocks.rejected.get(), 1);
    submitting.stop();
    // It is not tried again.
    let submitting = Submitting::start(config_of(&node, regtest()), &dir);
    submitting.stop();
    assert_eq!(node.height(), 0);
}

#[test]
fn a_block_that_cannot_be_assembled_is_not_submitted() {
    let (node, dir) = (Bitcoind::start(Chain::Regtest), TempDir::new().unwrap());
    let submitting = Submitting::start(config_of(&node, regtest()), &dir);
    let found = FoundBlock { extranonce: [8; 12], ..find(&node, "") };
    submitting.submit(&found);
    let (_, _, outcome) = submitting.outcome(&found);
    assert!(matches!(&outcome, SubmitOutcome::Rejected(why) if why.contains("merkle root")), "{outcome:?}");
    submitting.stop();
    assert_eq!(node.call("getchaintips", json!([])).as_array().unwrap().len(), 1, "bitcoind has not seen the block");
    // All parts of the block are in the log and on disk.
    let [header, extranonce] = [found.header.as_slice(), &found.extranonce].map(DisplayHex::to_lower_hex_string);
    Log::wait(&["ERROR", &hash(&found).to_string(), &format!("header {header}, extranonce {extranonce}")]);
    let file = block_file(&dir, &found, "rejected");
    assert_eq!(files(&dir), std::slice::from_ref(&file));
    let kept: Block = deserialize(&fs::read(file).unwrap()).unwrap();
    assert_eq!(serialize(&kept.header), found.header);
    assert_eq!(serialize(&kept.txdata[0]), found.job.coinbase.with_witness(&found.extranonce));
}

#[test]
fn a_block_is_on_disk_before_the_first_submission() {
    let (node, dir) = (Bitcoind::start(Chain::Regtest), TempDir::new().unwrap());
    let proxy = Proxy::start(node.rpc_port(), Fault::Withhold(SUBMISSION));
    let config = config(proxy.port(), &node.cookie_file(), regtest());
    let submitting = Submitting::start(config, &dir);
    let found = find(&node, "");
    submitting.submit(&found);
    wait_until("the submission", TIMEOUT, || proxy.withheld() == 1);
    let file = block_file(&dir, &found, "block");
    assert_eq!(files(&dir), std::slice::from_ref(&file));
    assert_eq!(fs::read(&file).unwrap(), found.job.block(&found.header, &found.extranonce).unwrap());
    assert_eq!((node.height(), submitting.published(hash(&found)).unwrap().outcome), (0, None), "no response yet");
    proxy.set(Fault::None);
    submitting.accepted(&found);
    assert_eq!(files(&dir), Vec::<PathBuf>::new());
    submitting.stop();
}

/// Seconds that a header may be ahead of bitcoind's clock.
const AHEAD_MAX_S: u32 = 7_200;

#[test]
fn a_block_ahead_of_bitcoinds_clock_is_retried() {
    let (node, dir) = (Bitcoind::start(Chain::Regtest), TempDir::new().unwrap());
    let submitting = Submitting::start(config_of(&node, regtest()), &dir);
    let found = find(&node, "");
    node.call("setmocktime", json!([found.job.time.0 - AHEAD_MAX_S - 1]));
    submitting.submit(&found);
    Log::wait(&["WARN", &hash(&found).to_string(), "not submitted yet, retrying: time-too-new"]);
    assert_eq!(files(&dir), [block_file(&dir, &found, "block")]);
    node.call("setmocktime", json!([found.job.time.0 - AHEAD_MAX_S]));
    submitting.accepted(&found);
    assert_eq!(node.tip(), hash(&found));
    assert_eq!(submitting.metrics.own_blocks.rejected.get(), 0);
    submitting.stop();
}

#[test]
fn a_block_that_comes_second_counts_as_accepted() {
    let (node, dir) = (Bitcoind::start(Chain::Regtest), TempDir::new().unwrap());
    let submitting = Submitting::start(config_of(&node, regtest()), &dir);
    let found = find(&node, "");
    let winner = node.mine(1)[0];
    submitting.submit(&found);
    submitting.accepted(&found);
    assert_eq!(Log::with(&["WARN", &hash(&found).to_string(), "another block came first"]).len(), 1);
    assert_eq!(node.tip(), winner);
    submitting.submit(&found);
    wait_until("the counter", TIMEOUT, || submitting.metrics.own_blocks.accepted.get() == 2);
    submitting.stop();
}

#[test]
fn a_block_survives_the_end_of_bitcoind_and_of_this_program() {
    let (mut node, dir) = (Bitcoind::start(Chain::Regtest), TempDir::new().unwrap());
    let (first, second) = (find(&node, "first"), find(&node, "second"));
    let stored = |found: &FoundBlock| block_file(&dir, found, "block");

    let submitting = Submitting::start(config_of(&node, regtest()), &dir);
    node.kill();
    let killed = Instant::now();
    submitting.submit(&first);
    wait_until("the block to be queued", TIMEOUT, || submitting.published(hash(&first)).is_some());
    let (_, _, outcome) = submitting.outcome(&first);
    assert!(matches!(&outcome, SubmitOutcome::Failed(why) if why.contains("cannot be reached")), "{outcome:?}");
    assert!(submitting.metrics.own_blocks.failed.get() < 4, "the first failure is published");
    wait_until("the fourth try", TIMEOUT, || submitting.metrics.own_blocks.failed.get() == 4);
    assert!(killed.elapsed() >= Duration::from_secs(7), "tries 1, 2 and 4 s apart, not {:?}", killed.elapsed());
    assert_eq!(fs::read(stored(&first)).unwrap(), first.job.block(&first.header, &first.extranonce).unwrap());
    // A second block is queued, and the program ends.
    submitting.submit(&second);
    Log::wait(&["WARN", &hash(&second).to_string(), "not submitted yet"]);
    submitting.stop();
    assert_eq!(files(&dir).len(), 2);
    // A third block was partly written before a power failure; a foreign file is in the directory.
    fs::write(file(&dir, "00.block.part"), b"half").unwrap();
    fs::write(file(&dir, "notes.txt"), b"mine").unwrap();
    fs::rename(stored(&second), block_file(&dir, &second, "block.part")).unwrap();

    node.launch();
    let submitting = Submitting::start(config_of(&node, regtest()), &dir);
    for found in [&first, &second] {
        assert_eq!(submitting.outcome(found), (1, 5_000_000_000, SubmitOutcome::Accepted));
    }
    assert_eq!(node.height(), 1);
    assert_eq!(files(&dir), [file(&dir, "notes.txt")]);
    submitting.stop();
}

#[test]
fn a_block_is_accepted_after_a_restart_of_bitcoind() {
    let (mut node, dir) = (Bitcoind::start(Chain::Regtest), TempDir::new().unwrap());
    let submitting = Submitting::start(config_of(&node, regtest()), &dir);
    let found = find(&node, "");
    node.stop();
    submitting.submit(&found);
    assert!(matches!(submitting.outcome(&found).2, SubmitOutcome::Failed(_)));
    node.launch();
    submitting.accepted(&found);
    assert_eq!(node.tip(), hash(&found));
    submitting.stop();
}

#[test]
fn a_peers_block_is_submitted_and_not_counted_as_an_own_one() {
    let (node, dir) = (Bitcoind::start(Chain::Regtest), TempDir::new().unwrap());
    let submitting = Submitting::start(config_of(&node, regtest()), &dir);
    let found = find(&node, "");
    let block = found.job.block(&found.header, &found.extranonce).unwrap();
    let message = ToSubmit::Peer(PeerBlock { id: ShareId(found.hash), height: found.job.template.height, block });
    submitting.to.send(message).unwrap();
    wait_until("the counter", TIMEOUT, || submitting.metrics.peer_blocks.accepted.get() == 1);
    assert_eq!(node.tip(), hash(&found));
    assert_eq!(submitting.metrics.own_blocks.accepted.get(), 0);
    assert_eq!(submitting.own_blocks.load().blocks, []);
    assert_eq!(submitting.chain.try_iter().count(), 0, "its finder has announced it");
    submitting.stop();
}

#[test]
fn peers_blocks_do_not_pile_up_while_bitcoind_is_away() {
    let (mut node, dir) = (Bitcoind::start(Chain::Regtest), TempDir::new().unwrap());
    let own = find(&node, "own");
    let of_peers: Vec<FoundBlock> = (0..7).map(|number| find(&node, &format!("peer {number}"))).collect();
    let submitting = Submitting::start(config_of(&node, regtest()), &dir);
    node.kill();
    submitting.submit(&own);
    for found in &of_peers {
        let block = found.job.block(&found.header, &found.extranonce).unwrap();
        let message = ToSubmit::Peer(PeerBlock { id: ShareId(found.hash), height: found.job.template.height, block });
        submitting.to.send(message).unwrap();
    }
    wait_until("three to be dropped", TIMEOUT, || {
        Log::with(&["WARN", "of a peer dropped: 4 newer ones wait"]).len() == 3
    });
    assert_eq!(files(&dir).len(), 5);
    assert!(files(&dir).contains(&block_file(&dir, &own, "block")));
    node.launch();
    submitting.accepted(&own);
    wait_until("the queue to be empty", TIMEOUT, || files(&dir).is_empty());
    assert_eq!(node.tip(), hash(&own), "it goes first");
    submitting.stop();
}

#[test]
fn temporary_faults_are_retried() {
    let (node, dir) = (Bitcoind::start(Chain::Regtest), TempDir::new().unwrap());
    let proxy = Proxy::start(node.rpc_port(), Fault::Http("503 Service Unavailable", "queue full"));
    let config = config(proxy.port(), &node.cookie_file(), regtest());
    let submitting = Submitting::start(config, &dir);
    let found = find(&node, "");
    submitting.submit(&found);
    Log::wait(&["WARN", &hash(&found).to_string(), "does not respond: HTTP status 503: queue full"]);
    proxy.set(Fault::None);
    submitting.accepted(&found);
    submitting.stop();
}

#[test]
fn a_block_is_submitted_even_if_it_cannot_be_written_to_disk() {
    let (node, dir) = (Bitcoind::start(Chain::Regtest), TempDir::new().unwrap());
    let found = find(&node, "");
    // A directory in the place of the file: writing fails, as on a full disk.
    fs::create_dir_all(block_file(&dir, &found, "block.part")).unwrap();
    let proxy = Proxy::start(node.rpc_port(), Fault::Raw(""));
    let config = config(proxy.port(), &node.cookie_file(), regtest());
    let submitting = Submitting::start(config, &dir);
    submitting.submit(&found);
    Log::wait(&["ERROR", &hash(&found).to_string(), "cannot be written to disk"]);
    Log::wait(&["WARN", &hash(&found).to_string(), "not submitted yet"]);
    proxy.set(Fault::None);
    submitting.accepted(&found);
    assert_eq!(node.tip(), hash(&found));
    submitting.stop();
}

#[test]
fn a_bitcoind_on_another_network_receives_no_block() {
    let (node, dir) = (Bitcoind::start(Chain::Regtest), TempDir::new().unwrap());
    let submitting = Submitting::start(config_of(&node, op_true_signet()), &dir);
    let found = find(&node, "");
    submitting.submit(&found);
    Log::wait(&["WARN", &hash(&found).to_string(), "is on regtest, but this node is on signet"]);
    assert_eq!(files(&dir).len(), 1);
    submitting.stop();
    assert_eq!(node.height(), 0);
}

#[test]
fn blocks_queued_before_the_stop_are_submitted() {
    let (node, dir) = (Bitcoind::start(Chain::Regtest), TempDir::new().unwrap());
    let (to, inbox) = bounded(16);
    let (sender, chain) = unbounded();
    let metrics = Arc::new(Metrics::default());
    let config = in_dir(config_of(&node, regtest()), &dir);
    let submit = SubmitThread::open(&config, inbox, sender, metrics, Arc::default()).unwrap();
    let own_blocks = submit.own_blocks();
    let found = [find(&node, "a"), find(&node, "b"), find(&node, "c")];
    for block in &found {
        to.send(ToSubmit::Own(block.clone())).unwrap();
    }
    to.send(ToSubmit::Stop).unwrap();
    submit.run();
    let is_found = |message: &ToChain| matches!(message, ToChain::Event(Event::BlockFound { .. }));
    assert_eq!(chain.try_iter().filter(is_found).count(), 3, "each is announced to peers");
    assert!(own_blocks.load().blocks.iter().all(|block| block.outcome == Some(SubmitOutcome::Accepted)));
    assert_eq!(node.tip(), hash(&found[0]));
    assert_eq!(node.call("getchaintips", json!([])).as_array().unwrap().len(), 3);
}

#[test]
fn an_unusable_directory_is_named_at_open() {
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join("chain")).unwrap();
    fs::write(dir.path().join("chain/blocks"), b"").unwrap();
    let (_to, inbox) = bounded(16);
    let (sender, _chain) = unbounded();
    let config = in_dir(config(1, Path::new("/nowhere"), regtest()), &dir);
    let error = SubmitThread::open(&config, inbox, sender, Arc::default(), Arc::default()).err().unwrap();
    assert!(error.to_string().contains("chain/blocks"), "{error}");
}
