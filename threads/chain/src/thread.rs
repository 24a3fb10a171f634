//! The chain thread's loop.
//!
//! Everything that has arrived is worked off together, then written in one go, and only then told to others: so
//! whatever another thread or node hears of a share, the share is on disk.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use bitcoin::consensus::deserialize;
use bitcoin::BlockHash;
use crossbeam_channel::{select, Receiver, Sender};
use log::{debug, info, warn};
use p2pool_core::message::{
    AnchorAnswer, AnchorVerdict, JobSender, LatestReceiver, LocalShare, NoWork, TemplateNews, ToAnchor, ToChain,
    ToStratum,
};
use p2pool_core::params::ChainParams;
use p2pool_core::share::{CoinbaseTag, PayoutScript, Share};
use p2pool_core::sharechain::{Effect, Need, Sharechain, Source, Verdict};
use p2pool_core::status::ChainStatus;
use p2pool_core::units::UnixTime;
use p2pool_core::work::{Job, Template};
use thiserror::Error;

use crate::jobs::JobMaker;
use crate::saved::Saved;
use crate::store::StoreError;

/// Miners get a new job at least this often: its time moves on, and the target eases with it.
const JOB_REFRESH: Duration = Duration::from_secs(30);
/// Shares too old for any window are forgotten this often.
const PRUNE_INTERVAL: Duration = Duration::from_secs(300);
/// Held shares are looked at, unanswered questions asked again and refused writes tried again this often.
const TICK: Duration = Duration::from_secs(1);
/// Copying the tree for onlookers takes some milliseconds: not more often than anybody looks.
const TREE_PUBLISH_INTERVAL: Duration = Duration::from_secs(2);
/// Messages worked off before their effects are written: bounds how long the first one's waits.
const MESSAGES_PER_TURN_MAX: usize = 256;

/// What the chain thread is told at start.
#[derive(Clone, Debug)]
pub struct ChainConfig {
    /// The chain.
    pub params: ChainParams,
    /// Where this node's miners are paid.
    pub payout_script: PayoutScript,
    /// The operator's text.
    pub coinbase_tag: CoinbaseTag,
    /// The chain's own folder.
    pub dir: PathBuf,
}

/// Where the chain thread sends to.
pub struct ChainOuts {
    /// Jobs for miners.
    pub stratum: JobSender,
    /// Questions about Bitcoin blocks.
    pub anchor: Sender<ToAnchor>,
}

/// Why the chain thread ended.
#[derive(Debug, Error)]
pub enum ChainError {
    /// The store cannot be opened or read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The chain thread.
pub struct Chain {
    chain: Sharechain,
    saved: Saved,
    jobs: JobMaker,
    template: Option<Arc<Template>>,
    job: Option<Arc<Job>>,
    job_due: bool,
    job_made: Instant,
    tree_changed: bool,
    tree_published: Instant,
    inbox: Receiver<ToChain>,
    templates: LatestReceiver<TemplateNews>,
    outs: ChainOuts,
    status: Arc<ArcSwap<ChainStatus>>,
}

/// Whether the loop goes on.
#[derive(PartialEq, Eq)]
enum Turn {
    GoOn,
    End,
}

impl Chain {
    /// Loads the stored sharechain.
    ///
    /// # Errors
    /// The store cannot be opened or read.
    pub fn open(
        config: ChainConfig,
        inbox: Receiver<ToChain>,
        templates: LatestReceiver<TemplateNews>,
        outs: ChainOuts,
    ) -> Result<Self, ChainError> {
        let (saved, tree) = Saved::load(&config.dir, &Arc::new(config.params))?;
        let seen = ChainStatus { tree: Arc::new(tree.snapshot()), job: None, waiting: (0, 0), unsaved: false };
        Ok(Self {
            status: Arc::new(ArcSwap::from_pointee(seen)),
            chain: Sharechain::new(tree),
            saved,
            jobs: JobMaker::new(config.payout_script, config.coinbase_tag, now()),
            template: None,
            job: None,
            job_due: false,
            job_made: Instant::now(),
            tree_changed: false,
            tree_published: Instant::now(),
            inbox,
            templates,
            outs,
        })
    }

    /// What onlookers see.
    pub fn status(&self) -> Arc<ArcSwap<ChainStatus>> {
        Arc::clone(&self.status)
    }

    /// Works until told to stop, or until nobody is left who could tell.
    ///
    /// # Errors
    /// None at present: a store that fails is waited out.
    pub fn run(mut self) -> Result<(), ChainError> {
        let mut next_tick = Instant::now();
        let mut next_prune = Instant::now() + PRUNE_INTERVAL;
        loop {
            if self.wait(next_tick) == Turn::End {
                break;
            }
            if Instant::now() >= next_tick {
                next_tick = Instant::now() + TICK;
                self.tick();
            }
            if Instant::now() >= next_prune {
                next_prune = Instant::now() + PRUNE_INTERVAL;
                self.saved.prune(self.chain.tree_mut());
            }
            self.saved.flush();
            self.send_job();
            self.publish();
        }
        self.saved.flush();
        debug!("chain thread ends");
        Ok(())
    }

    /// Waits for the first message, and takes those that came with it.
    fn wait(&mut self, until: Instant) -> Turn {
        let inbox = self.inbox.clone();
        let templates = self.templates.channel().clone();
        select! {
            recv(inbox) -> message => match message {
                Ok(message) => self.take_all(message),
                Err(_) => Turn::End,
            },
            recv(templates) -> news => {
                if let Ok(news) = news {
                    self.take_template(news);
                }
                Turn::GoOn
            }
            default(until.saturating_duration_since(Instant::now())) => Turn::GoOn,
        }
    }

    fn take_all(&mut self, first: ToChain) -> Turn {
        let mut message = first;
        for _ in 0..MESSAGES_PER_TURN_MAX {
            if self.take(message) == Turn::End {
                return Turn::End;
            }
            match self.inbox.try_recv() {
                Ok(next) => message = next,
                Err(_) => return Turn::GoOn,
            }
        }
        // The last one taken out must not be lost.
        self.take(message)
    }

    fn take(&mut self, message: ToChain) -> Turn {
        match message {
            ToChain::LocalShare(local) => self.take_local(&local),
            ToChain::Anchor(answer) => self.take_anchor(answer),
            // rpc/submit has logged it.
            ToChain::Submitted { .. } => {}
            // No network thread is wired to this one yet: none of these come.
            ToChain::PeerUp { .. }
            | ToChain::PeerDown { .. }
            | ToChain::Gossip { .. }
            | ToChain::BlockAnnounced { .. }
            | ToChain::Asked { .. }
            | ToChain::Answered { .. } => {}
            ToChain::Stop => return Turn::End,
        }
        Turn::GoOn
    }

    fn take_template(&mut self, news: TemplateNews) {
        match news {
            TemplateNews::Template(template) => {
                // Asked now, a share on it need not wait for the answer.
                if self.chain.tree().anchor(&template.prev_block).is_none() {
                    self.ask(template.prev_block);
                }
                self.template = Some(template);
                self.job_due = true;
            }
            TemplateNews::Withdrawn => {
                self.template = None;
                self.job = None;
                self.job_due = false;
                self.outs.stratum.put(ToStratum::NoWork(NoWork::NoTemplate));
            }
        }
    }

    fn take_local(&mut self, local: &LocalShare) {
        // Eighty bytes always are a header.
        let Ok(header) = deserialize(&local.header) else { return };
        let share = Share {
            header,
            info: local.job.info.clone(),
            extranonce: local.extranonce,
            merkle_branch: local.job.merkle_branch.clone(),
        };
        let effects = self.chain.receive(share, Source::Local, now());
        self.perform(effects);
    }

    fn take_anchor(&mut self, answer: AnchorAnswer) {
        let effects = match answer.verdict {
            AnchorVerdict::Known(anchor) => self.chain.anchor_known(anchor, now()),
            AnchorVerdict::Invalid => self.chain.anchor_invalid(answer.hash),
            // Whatever waits for it waits on; the next tick asks again.
            AnchorVerdict::Unknown | AnchorVerdict::Unanswered => return,
        };
        self.perform(effects);
    }

    fn tick(&mut self) {
        let effects = self.chain.tick(now());
        self.perform(effects);
        let missing = self.template.as_ref().map(|template| template.prev_block);
        if let Some(hash) = missing.filter(|hash| self.chain.tree().anchor(hash).is_none()) {
            self.ask(hash);
        }
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in &effects {
            self.saved.note(effect, self.chain.tree());
            match effect {
                Effect::Verdict { id, source, verdict, .. } => log_verdict(id, *source, verdict),
                Effect::Ask { need: Need::Anchor(hash), .. } => self.ask(*hash),
                // Without peers there is nobody to ask for shares.
                Effect::Ask { need: Need::Share(_), .. } | Effect::Apart { .. } => {}
                Effect::Linked(_) | Effect::Unlinked(_) => self.tree_changed = true,
                Effect::NewTip(_) => self.job_due = true,
            }
        }
        if effects.iter().any(|effect| matches!(effect, Effect::Unlinked(_))) {
            info!("left the sharechain for another one with more work");
        }
    }

    /// Never blocks: a question that finds no room is asked again by the next tick.
    fn ask(&self, hash: BlockHash) {
        if self.outs.anchor.try_send(ToAnchor::Lookup(hash)).is_err() {
            debug!("the question about Bitcoin block {hash} waits");
        }
    }

    fn send_job(&mut self) {
        let Some(template) = self.template.clone() else { return };
        if !self.job_due && self.job_made.elapsed() < JOB_REFRESH {
            return;
        }
        self.job_due = false;
        self.job_made = Instant::now();
        if let Some(job) = self.jobs.make(&mut self.chain, &template, now()) {
            self.job = Some(Arc::clone(&job));
            self.outs.stratum.put(ToStratum::Job(job));
        }
    }

    fn publish(&mut self) {
        let before = self.status.load();
        let due = self.tree_changed && self.tree_published.elapsed() >= TREE_PUBLISH_INTERVAL;
        let tree = if due {
            self.tree_changed = false;
            self.tree_published = Instant::now();
            Arc::new(self.chain.tree().snapshot())
        } else {
            Arc::clone(&before.tree)
        };
        let (job, waiting, unsaved) = (self.job.clone(), self.chain.waiting(), self.saved.is_failing());
        self.status.store(Arc::new(ChainStatus { tree, job, waiting, unsaved }));
    }
}

/// Our own shares are made by our own rules: one that is refused is worth a look.
fn log_verdict(id: &p2pool_core::share::ShareId, source: Source, verdict: &Verdict) {
    match (source, verdict) {
        (Source::Local, Verdict::Rejected { rule, why }) => {
            warn!("a share of this node was refused: {id} breaks rule {}: {why}", *rule as u8);
        }
        (Source::Local, Verdict::Dropped) => warn!("a share of this node could not be judged and is lost: {id}"),
        _ => debug!("share {id} from {source:?}: {verdict:?}"),
    }
}

fn now() -> UnixTime {
    UnixTime::from(SystemTime::now())
}
