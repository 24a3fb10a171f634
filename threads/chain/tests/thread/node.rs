//! A chain thread and the ends of its channels.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use bitcoin::blockdata::constants::genesis_block;
use crossbeam_channel::{bounded, unbounded, Receiver, Sender};
use p2pool_chain::{export, Chain, ChainConfig, ChainError, ChainOuts, Intervals};
use p2pool_core::message::{
    latest, AnchorAnswer, AnchorVerdict, InboxFull, JobSender, LatestReceiver, LatestSender, LocalShare, P2pSender,
    TemplateNews, ToAnchor, ToChain, ToStratum, ToSubmit,
};
use p2pool_core::params::{ChainParams, Network};
use p2pool_core::share::{CoinbaseTag, PayoutScript, ShareId, EXTRANONCE_LEN};
use p2pool_core::sharechain::Anchor;
use p2pool_core::status::ChainStatus;
use p2pool_core::units::{Bits, BlockHeight, UnixTime};
use p2pool_core::work::{Answer, Job, Template};

/// Nothing here takes long; whoever waits longer waits in vain.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn params() -> ChainParams {
    ChainParams { share_period_s: 1, payout_window: 12, retarget_window: 6, ..ChainParams::standard(Network::Regtest) }
}

/// The same rules for shares, under the rules that only mainnet has.
pub fn mainnet_like() -> ChainParams {
    ChainParams { network: Network::Mainnet, work_cut_blocks: 2, ..params() }
}

pub fn template() -> Arc<Template> {
    let text = include_str!("../../../../tests/vectors/templates/regtest-height-1.json");
    Arc::new(Template::from_json(text, Network::Regtest).expect("a recorded template"))
}

pub fn anchor() -> Anchor {
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
pub struct Node {
    pub to_chain: Sender<ToChain>,
    pub templates: LatestSender<TemplateNews>,
    pub questions: Receiver<ToAnchor>,
    pub jobs: LatestReceiver<ToStratum>,
    pub woken: Receiver<()>,
    pub blocks: Receiver<ToSubmit>,
    pub status: Arc<ArcSwap<ChainStatus>>,
    pub clock: Cell<UnixTime>,
    asks_for_anchor: Cell<bool>,
    pub thread: JoinHandle<Result<(), ChainError>>,
}

impl Node {
    /// One that knows no other node and mines alone.
    pub fn start(dir: &Path) -> Self {
        Self::start_on(params(), dir)
    }

    /// The same on another chain.
    pub fn start_on(params: ChainParams, dir: &Path) -> Self {
        Self::open(params, dir, P2pSender::new(|_| Err(InboxFull)), false, Intervals::default())
    }

    /// The same with another pace.
    pub fn start_paced(dir: &Path, intervals: Intervals) -> Self {
        Self::open(params(), dir, P2pSender::new(|_| Err(InboxFull)), false, intervals)
    }

    /// One that reaches others by `p2p`.
    pub fn start_among(dir: &Path, p2p: P2pSender, looks_for_peers: bool) -> Self {
        Self::open(params(), dir, p2p, looks_for_peers, Intervals::default())
    }

    fn open(params: ChainParams, dir: &Path, p2p: P2pSender, looks_for_peers: bool, intervals: Intervals) -> Self {
        let (to_chain, inbox) = bounded(1_024);
        let (templates, news) = latest();
        let (to_anchor, questions) = bounded(16);
        let (slot, jobs) = latest();
        let (wake, woken) = unbounded();
        let wake = Arc::new(move || wake.send(()).unwrap_or_default());
        let (submit, blocks) = bounded(16);
        let outs = ChainOuts { stratum: JobSender::new(slot, wake), anchor: to_anchor, submit, p2p };
        let config = ChainConfig {
            params,
            payout_script: PayoutScript::new(&[&[0x00, 0x14][..], &[7; 20]].concat()).expect("P2WPKH"),
            coinbase_tag: CoinbaseTag::default(),
            dir: dir.to_owned(),
            looks_for_peers,
            intervals,
        };
        let chain = Chain::open(config, inbox, news, outs).expect("opens");
        let status = chain.status();
        let thread = std::thread::spawn(move || chain.run());
        Self {
            to_chain,
            templates,
            questions,
            jobs,
            woken,
            blocks,
            status,
            clock: Cell::new(UnixTime(0)),
            asks_for_anchor: Cell::new(true),
            thread,
        }
    }

    /// Gives a template, and bitcoind's word on the block it is built on if it is asked for; waits for the job.
    pub fn give_work(&self) -> Arc<Job> {
        self.give_template();
        if self.status.load().tree.anchor(&template().prev_block).is_none() && self.asks_for_anchor.replace(false) {
            self.answer_anchor();
        }
        self.job()
    }

    /// Gives a template and nothing else.
    pub fn give_template(&self) {
        self.templates.put(TemplateNews::Template(template()));
    }

    /// Waits for the question about the Bitcoin block, and answers it.
    pub fn answer_anchor(&self) {
        self.answer_with(anchor());
    }

    pub fn answer_with(&self, anchor: Anchor) {
        let hash = anchor.header.block_hash();
        // Earlier ones may have been asked again meanwhile.
        loop {
            match self.questions.recv_timeout(PATIENCE) {
                Ok(ToAnchor::Lookup(asked)) if asked == hash => break,
                Ok(ToAnchor::Lookup(_)) => {}
                other => panic!("expected a question about {hash}, got {other:?}"),
            }
        }
        let answer = AnchorAnswer { hash, verdict: AnchorVerdict::Known(anchor) };
        self.to_chain.send(ToChain::Anchor(answer)).expect("the thread lives");
    }

    /// Tells of the Bitcoin block, asked or not.
    pub fn tell_anchor(&self) {
        let hash = anchor().header.block_hash();
        let answer = AnchorAnswer { hash, verdict: AnchorVerdict::Known(anchor()) };
        self.to_chain.send(ToChain::Anchor(answer)).expect("the thread lives");
    }

    pub fn message(&self) -> ToStratum {
        loop {
            self.woken.recv_timeout(PATIENCE).expect("a message for the miners");
            if let Some(message) = self.jobs.take() {
                return message;
            }
        }
    }

    pub fn job(&self) -> Arc<Job> {
        match self.message() {
            ToStratum::Job(job) => job,
            other => panic!("expected a job, got {other:?}"),
        }
    }

    /// Mines a share on a job and waits for the job on top of it.
    ///
    /// Header times run ahead of the clock, a second a share, so that shares stay easy to find.
    pub fn mine(&self, job: &Arc<Job>) -> Arc<Job> {
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

    /// The tip that onlookers see.
    pub fn tip(&self) -> Option<ShareId> {
        self.status.load().tree.tip().map(|tip| tip.id)
    }

    pub fn stop(self) {
        self.end().expect("no error");
    }

    pub fn end(self) -> Result<(), ChainError> {
        self.to_chain.send(ToChain::Stop).expect("the thread lives");
        self.thread.join().expect("no panic")
    }
}

/// Finds a nonce that meets the share target.
pub fn answer(job: &Arc<Job>, time: UnixTime, extranonce: u8) -> LocalShare {
    let extranonce = [extranonce; EXTRANONCE_LEN];
    (0..)
        .find_map(|nonce| {
            let judged = job.judge(&Answer { extranonce, time: time.0, nonce, version: job.version });
            let share = LocalShare { job: Arc::clone(job), header: judged.header, hash: judged.hash, extranonce };
            job.share_target.is_met_by(&judged.hash).then_some(share)
        })
        .expect("a nonce is found among all")
}

pub fn exported(dir: &Path) -> String {
    let mut out = Vec::new();
    export(dir, &params(), &mut out).expect("exports");
    String::from_utf8(out).expect("text")
}
