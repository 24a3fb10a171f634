//! The chain thread as its neighbours see it: messages in, jobs out, shares on disk.

#![allow(clippy::panic)] // A test that is out of step with the thread ends here.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bitcoin::blockdata::constants::genesis_block;
use bitcoin::hashes::Hash as _;
use bitcoin::BlockHash;
use crossbeam_channel::{bounded, unbounded, Receiver, Sender};
use p2pool_chain::{export, Chain, ChainConfig, ChainError, ChainOuts};
use p2pool_core::message::{
    latest, AnchorAnswer, AnchorVerdict, JobSender, LatestReceiver, LatestSender, LocalShare, NoWork, TemplateNews,
    ToAnchor, ToChain, ToStratum,
};
use p2pool_core::params::{ChainParams, Network};
use p2pool_core::share::{CoinbaseTag, PayoutScript, EXTRANONCE_LEN};
use p2pool_core::sharechain::Anchor;
use p2pool_core::units::{Bits, BlockHeight, UnixTime};
use p2pool_core::work::{Answer, Job, Template};

/// Nothing here takes long; whoever waits longer waits in vain.
const PATIENCE: Duration = Duration::from_secs(20);

fn params() -> ChainParams {
    ChainParams { share_period_s: 1, payout_window: 12, retarget_window: 6, ..ChainParams::standard(Network::Regtest) }
}

fn template() -> Arc<Template> {
    let text = include_str!("../../../tests/vectors/templates/regtest-height-1.json");
    Arc::new(Template::from_json(text, Network::Regtest).expect("a recorded template"))
}

fn anchor() -> Anchor {
    let header = genesis_block(bitcoin::Network::Regtest).header;
    Anchor {
        header,
        height: BlockHeight(0),
        median_time_past: UnixTime(header.time),
        next_bits: Bits(0x207f_ffff),
        next_bits_late: None,
    }
}

/// A chain thread and the ends of its channels.
struct Node {
    to_chain: Sender<ToChain>,
    templates: LatestSender<TemplateNews>,
    questions: Receiver<ToAnchor>,
    jobs: LatestReceiver<ToStratum>,
    woken: Receiver<()>,
    clock: Cell<UnixTime>,
    thread: JoinHandle<Result<(), ChainError>>,
}

impl Node {
    fn start(dir: &Path) -> Self {
        let (to_chain, inbox) = bounded(1_024);
        let (templates, news) = latest();
        let (to_anchor, questions) = bounded(16);
        let (slot, jobs) = latest();
        let (wake, woken) = unbounded();
        let wake = Arc::new(move || wake.send(()).unwrap_or_default());
        let outs = ChainOuts { stratum: JobSender::new(slot, wake), anchor: to_anchor };
        let config = ChainConfig {
            params: params(),
            payout_script: PayoutScript::new(&[&[0x00, 0x14][..], &[7; 20]].concat()).expect("P2WPKH"),
            coinbase_tag: CoinbaseTag::default(),
            dir: dir.to_owned(),
        };
        let chain = Chain::open(config, inbox, news, outs).expect("opens");
        let thread = std::thread::spawn(move || chain.run());
        Self { to_chain, templates, questions, jobs, woken, clock: Cell::new(UnixTime(0)), thread }
    }

    /// Gives a template, and the anchor when asked for it.
    fn give_work(&self) -> Arc<Job> {
        self.templates.put(TemplateNews::Template(template()));
        self.job()
    }

    fn answer_anchor(&self) {
        let hash = anchor().header.block_hash();
        match self.questions.recv_timeout(PATIENCE) {
            Ok(ToAnchor::Lookup(asked)) => assert_eq!(asked, hash),
            other => panic!("expected a question about {hash}, got {other:?}"),
        }
        let answer = AnchorAnswer { hash, verdict: AnchorVerdict::Known(anchor()) };
        self.to_chain.send(ToChain::Anchor(answer)).expect("the thread lives");
    }

    fn message(&self) -> ToStratum {
        loop {
            self.woken.recv_timeout(PATIENCE).expect("a message for the miners");
            if let Some(message) = self.jobs.take() {
                return message;
            }
        }
    }

    fn job(&self) -> Arc<Job> {
        match self.message() {
            ToStratum::Job(job) => job,
            other => panic!("expected a job, got {other:?}"),
        }
    }

    /// Mines a share on a job and waits for the job on top of it.
    ///
    /// Header times run ahead of the clock, a second a share, so that shares stay easy to find.
    fn mine(&self, job: &Arc<Job>) -> Arc<Job> {
        self.clock.set(job.time.max(self.clock.get().plus(1)));
        let share = answer(job, self.clock.get(), 9);
        self.to_chain.send(ToChain::LocalShare(share)).expect("the thread lives");
        loop {
            let next = self.job();
            if next.info.share_height > job.info.share_height {
                return next;
            }
        }
    }

    fn stop(self) {
        self.to_chain.send(ToChain::Stop).expect("the thread lives");
        self.thread.join().expect("no panic").expect("no error");
    }
}

/// Finds a nonce that meets the share target.
fn answer(job: &Arc<Job>, time: UnixTime, extranonce: u8) -> LocalShare {
    let extranonce = [extranonce; EXTRANONCE_LEN];
    (0..)
        .find_map(|nonce| {
            let judged = job.judge(&Answer { extranonce, time: time.0, nonce, version: job.version });
            let share = LocalShare { job: Arc::clone(job), header: judged.header, hash: judged.hash, extranonce };
            job.share_target.is_met_by(&judged.hash).then_some(share)
        })
        .expect("a nonce is found among all")
}

fn exported(dir: &Path) -> String {
    let mut out = Vec::new();
    export(dir, &params(), &mut out).expect("exports");
    String::from_utf8(out).expect("text")
}

#[test]
fn a_template_becomes_a_job_and_a_share_the_next_jobs_parent() {
    let dir = tempfile::tempdir().expect("a folder");
    let node = Node::start(dir.path());
    let mut job = node.give_work();
    node.answer_anchor();
    assert_eq!(job.info.share_height.0, 0);
    for height in 1..=5 {
        job = node.mine(&job);
        assert_eq!(job.info.share_height.0, height);
    }
    node.stop();
    let lines = exported(dir.path());
    assert_eq!(lines.lines().count(), 1 + 5, "the parameters and five shares");
}

#[test]
fn a_share_found_before_the_bitcoin_block_is_known_waits_for_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let node = Node::start(dir.path());
    let job = node.give_work();
    node.to_chain.send(ToChain::LocalShare(answer(&job, job.time, 9))).expect("the thread lives");
    node.answer_anchor();
    assert_eq!(node.job().info.share_height.0, 1);
    node.stop();
}

#[test]
fn a_restart_goes_on_where_it_stopped_also_after_pruning() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut heights = Vec::new();
    let mut clock = UnixTime(0);
    for _ in 0..4 {
        let node = Node::start(dir.path());
        node.clock.set(clock);
        let mut job = node.give_work();
        if heights.is_empty() {
            node.answer_anchor();
        }
        heights.push(job.info.share_height.0);
        for _ in 0..20 {
            job = node.mine(&job);
        }
        clock = node.clock.get();
        node.stop();
    }
    assert_eq!(heights, [0, 20, 40, 60]);
    // Two windows of 12, a retarget window of 6 and 16 are kept of the 60 there were at the last start.
    assert_eq!(exported(dir.path()).lines().count(), 1 + 46 + 20);
}

#[test]
fn two_answers_to_one_job_give_a_share_and_an_uncle() {
    let dir = tempfile::tempdir().expect("a folder");
    let node = Node::start(dir.path());
    let mut job = node.give_work();
    node.answer_anchor();
    job = node.mine(&job);
    let (first, second) = (answer(&job, job.time, 9), answer(&job, job.time, 8));
    for share in [first, second] {
        node.to_chain.send(ToChain::LocalShare(share)).expect("the thread lives");
    }
    // The uncle may come with the same job or with the one after.
    while node.job().info.uncles.len() != 1 {}
    node.stop();
}

#[test]
fn without_a_template_there_is_no_work_and_with_one_there_is_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let node = Node::start(dir.path());
    let first = node.give_work();
    node.templates.put(TemplateNews::Withdrawn);
    assert!(matches!(node.message(), ToStratum::NoWork(NoWork::NoTemplate)));
    let second = node.give_work();
    assert_ne!(first.id, second.id, "names are never used twice");
    node.stop();
}

#[test]
fn an_unanswered_question_is_asked_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let node = Node::start(dir.path());
    node.give_work();
    let question = || node.questions.recv_timeout(PATIENCE).expect("asked");
    assert!(matches!(question(), ToAnchor::Lookup(_)));
    let verdict = AnchorVerdict::Unanswered;
    let answer = AnchorAnswer { hash: BlockHash::all_zeros(), verdict };
    node.to_chain.send(ToChain::Anchor(answer)).expect("the thread lives");
    assert!(matches!(question(), ToAnchor::Lookup(_)));
    node.stop();
}

#[test]
fn a_chain_without_neighbours_ends() {
    let dir = tempfile::tempdir().expect("a folder");
    let node = Node::start(dir.path());
    let Node { to_chain, thread, templates, .. } = node;
    drop(to_chain);
    thread.join().expect("no panic").expect("no error");
    drop(templates);
}
