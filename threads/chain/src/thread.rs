//! The chain thread's loop.
//!
//! Everything that has arrived is worked off together, then written in one go, and only then told to others: so a share
//! is on disk before another node hears of it. While the disk refuses shares they are told all the same: other nodes are
//! the safest place left for them, and a share that they hear of three shares later is worth nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bitcoin::consensus::deserialize;
use bitcoin::BlockHash;
use crossbeam_channel::{never, select, Receiver, Sender};
use log::{debug, info, warn};
use p2pool_core::message::{
    AnchorAnswer, AnchorVerdict, JobSender, LatestReceiver, LocalShare, NoWork, P2pSender, TemplateNews, ToAnchor,
    ToChain, ToStratum, ToSubmit,
};
use p2pool_core::params::ChainParams;
use p2pool_core::share::{CoinbaseTag, PayoutScript, Share};
use p2pool_core::sharechain::{next_block_height_min, Effect, Need, Sharechain, Source, Verdict};
use p2pool_core::status::{ChainStatus, SyncProgress};
use p2pool_core::sync::SyncState;
use p2pool_core::work::{Job, Template};
use thiserror::Error;

use crate::clock::{now, Clock};
use crate::intervals::Intervals;
use crate::jobs::JobMaker;
use crate::network::Network;
use crate::saved::Saved;
use crate::store::StoreError;

/// A job waits this long for bitcoind's word on the block it is built on, which takes a millisecond; then it goes out
/// all the same, for a found block needs no word.
const ANCHOR_PATIENCE: Duration = Duration::from_secs(2);
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
    /// Whether this node has ways to find others: one without them mines alone at once.
    pub looks_for_peers: bool,
    /// What is done by the clock.
    pub intervals: Intervals,
}

/// Where the chain thread sends to.
pub struct ChainOuts {
    /// Jobs for miners.
    pub stratum: JobSender,
    /// Questions about Bitcoin blocks.
    pub anchor: Sender<ToAnchor>,
    /// Bitcoin blocks that peers found.
    pub submit: Sender<ToSubmit>,
    /// Other nodes.
    pub p2p: P2pSender,
}

/// Why the chain thread ended.
#[derive(Debug, Error)]
pub enum ChainError {
    /// The store cannot be opened or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store refused shares to the end.
    #[error("{shares} shares are not on disk, and lost unless other nodes have them: {cause}")]
    Unsaved {
        /// How many.
        shares: usize,
        /// What the store said last.
        cause: StoreError,
    },
}

/// The chain thread.
pub struct Chain {
    pub(crate) chain: Sharechain,
    pub(crate) network: Network,
    pub(crate) outs: ChainOuts,
    pub(crate) clock: Clock,
    pub(crate) template: Option<Arc<Template>>,
    template_since: Instant,
    pub(crate) job_due: bool,
    pub(crate) sync_progress: Option<SyncProgress>,
    saved: Saved,
    jobs: JobMaker,
    job: Option<Arc<Job>>,
    /// Whether there could be one when that was looked at last.
    could_mine: bool,
    /// What miners were last told of why there is none.
    no_work: Option<NoWork>,
    job_made: Instant,
    intervals: Intervals,
    next_tick: Instant,
    next_prune: Instant,
    tree_changed: bool,
    tree_published: Instant,
    inbox: Receiver<ToChain>,
    templates: LatestReceiver<TemplateNews>,
    /// No more templates come.
    templates_end: bool,
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
        let clock = Clock::start();
        let network = Network::new(tree.params(), outs.p2p.clone(), config.looks_for_peers, clock.steady());
        let sync = network.sync.state().for_onlookers(|moment| clock.time_of(moment));
        let seen = ChainStatus::new(Arc::new(tree.snapshot()), sync);
        Ok(Self {
            network,
            clock,
            sync_progress: None,
            status: Arc::new(ArcSwap::from_pointee(seen)),
            chain: Sharechain::new(tree),
            saved,
            jobs: JobMaker::new(config.payout_script, config.coinbase_tag, now()),
            template: None,
            template_since: Instant::now(),
            job: None,
            could_mine: false,
            no_work: None,
            job_due: false,
            job_made: Instant::now(),
            intervals: config.intervals,
            next_tick: Instant::now(),
            next_prune: Instant::now() + config.intervals.prune,
            tree_changed: false,
            tree_published: Instant::now(),
            inbox,
            templates,
            templates_end: false,
            outs,
        })
    }

    /// What onlookers see.
    pub fn status(&self) -> Arc<ArcSwap<ChainStatus>> {
        Arc::clone(&self.status)
    }

    /// Works until told to stop, or until nobody is left who could tell. A store that fails meanwhile is waited out.
    ///
    /// # Errors
    /// [`ChainError::Unsaved`]: the store still refuses shares at the end.
    pub fn run(mut self) -> Result<(), ChainError> {
        while self.wait() == Turn::GoOn {
            self.turn(Instant::now());
        }
        debug!("chain thread ends");
        self.saved.close(Instant::now())
    }

    /// What follows whatever has arrived, or the passing of time.
    fn turn(&mut self, now: Instant) {
        let is_tick = now >= self.next_tick;
        if is_tick {
            self.next_tick = now + self.intervals.tick;
            self.tick();
        }
        if now >= self.next_prune {
            self.next_prune = now + self.intervals.prune;
            self.saved.forget(self.chain.prune());
        }
        self.saved.flush(is_tick, now);
        self.send_mail();
        self.note_change();
        self.send_job();
        self.publish();
    }

    /// Waits for the first message, and takes those that came with it.
    fn wait(&mut self) -> Turn {
        let until = self.job_at().map_or(self.next_tick, |at| at.min(self.next_tick));
        let inbox = self.inbox.clone();
        // A channel whose sender is gone is always ready: listening on would be an endless loop.
        let templates = if self.templates_end { never() } else { self.templates.channel().clone() };
        select! {
            recv(inbox) -> message => match message {
                Ok(message) => self.take_all(message),
                Err(_) => Turn::End,
            },
            recv(templates) -> news => {
                match news {
                    Ok(news) => self.take_template(news),
                    Err(_) => self.templates_end = true,
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
            ToChain::BlockFound { height, block } => self.announce_block(height, &block),
            ToChain::PeerUp { peer, address } => self.peer_up(peer, &address),
            ToChain::PeerDown { peer } => self.peer_down(peer),
            ToChain::Gossip { peer, gossip, share } => self.take_gossip(peer, gossip, &share),
            ToChain::BlockAnnounced { peer, gossip, header, announcement } => {
                self.take_announcement(peer, gossip, header, announcement);
            }
            ToChain::Asked { to, question, .. } => self.answer_peer(to, &question),
            ToChain::Answered { peer, request, response } => self.take_answer(peer, request, response),
            ToChain::Stop => return Turn::End,
        }
        self.settle();
        Turn::GoOn
    }

    fn take_template(&mut self, news: TemplateNews) {
        match news {
            TemplateNews::Template(template) => {
                // Asked now, a share on it need not wait for the answer.
                if self.chain.tree().anchor(&template.prev_block).is_none() {
                    self.ask(template.prev_block);
                }
                if self.template.as_ref().is_none_or(|before| before.prev_block != template.prev_block) {
                    self.template_since = Instant::now();
                }
                self.template = Some(template);
                self.job_due = true;
            }
            TemplateNews::Withdrawn => {
                self.template = None;
                self.job_due = false;
                self.no_work(NoWork::NoTemplate);
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
            AnchorVerdict::Known(anchor) => {
                // On testnets the latest time of a job follows from the block it is built on.
                let bounds_job = self.template.as_ref().is_some_and(|template| template.prev_block == answer.hash);
                self.job_due |= bounds_job && anchor.next_bits_late.is_some();
                self.chain.anchor_known(anchor, now())
            }
            AnchorVerdict::Invalid => self.chain.anchor_invalid(answer.hash),
            AnchorVerdict::Unknown => return self.network.anchor_unknown(answer.hash, self.clock.steady()),
            // Whatever waits for it waits on; the next tick asks again.
            AnchorVerdict::Unanswered => return,
        };
        self.perform(effects);
        self.retry_announcements();
    }

    fn tick(&mut self) {
        self.clock.follow();
        // First, so that no flood of questions for others' sake takes its place.
        let missing = self.template.as_ref().map(|template| template.prev_block);
        if let Some(hash) = missing.filter(|hash| self.chain.tree().anchor(hash).is_none()) {
            self.ask(hash);
        }
        let effects = self.chain.tick(now());
        self.perform(effects);
        self.tick_network();
    }

    pub(crate) fn perform(&mut self, effects: Vec<Effect>) {
        for effect in &effects {
            self.saved.note(effect, self.chain.tree());
            self.tell_network(effect);
            match effect {
                Effect::Verdict { id, source, verdict, .. } => log_verdict(id, *source, verdict),
                Effect::Ask { need: Need::Anchor(hash), .. } => self.ask(*hash),
                Effect::Ask { need: Need::Share(_), .. } | Effect::Apart { .. } => {}
                Effect::Linked(_) | Effect::Unlinked(_) => self.tree_changed = true,
                Effect::NewTip(id) => {
                    debug!("share {id} is the tip");
                    self.job_due = true;
                }
            }
        }
        if effects.iter().any(|effect| matches!(effect, Effect::Unlinked(_))) {
            info!("left the sharechain for another one with more work");
        }
    }

    /// Never blocks: a question that finds no room is asked again by the next tick.
    pub(crate) fn ask(&self, hash: BlockHash) {
        if self.outs.anchor.try_send(ToAnchor::Lookup(hash)).is_err() {
            debug!("the question about Bitcoin block {hash} waits");
        }
    }

    /// When the next job is due; never without a template.
    fn job_at(&self) -> Option<Instant> {
        let prev_block = self.template.as_ref()?.prev_block;
        let at = if self.job_due { self.job_made } else { self.job_made + self.intervals.job_refresh };
        // A share on a block that bitcoind has not spoken of would wait in memory only.
        let is_known = self.chain.tree().anchor(&prev_block).is_some();
        Some(if is_known { at } else { at.max(self.template_since + ANCHOR_PATIENCE) })
    }

    fn send_job(&mut self) {
        if self.job_at().is_none_or(|at| Instant::now() < at) {
            return;
        }
        let Some(template) = self.template.clone() else { return };
        self.job_due = false;
        self.job_made = Instant::now();
        if !self.may_mine() {
            let is_looking = matches!(self.network.sync.state(), SyncState::NoPeers { .. });
            self.no_work(if is_looking { NoWork::NoPeers } else { NoWork::Syncing });
            return;
        }
        let height_min = next_block_height_min(self.chain.tree());
        if template.height < height_min {
            let height = template.height;
            if self.no_work(NoWork::BitcoindBehind) {
                warn!(
                    "no work: bitcoind's template is for block {height}, but shares below {height_min} count no more"
                );
            }
            return;
        }
        if let Some(job) = self.jobs.make(&mut self.chain, &template, now()) {
            self.job = Some(Arc::clone(&job));
            self.no_work = None;
            self.outs.stratum.put(ToStratum::Job(job));
        }
    }

    /// Not on a private fork: while reachable peers have what this node has not, work would be lost.
    fn may_mine(&self) -> bool {
        let starts_chain = self.chain.tree().is_empty();
        self.network.sync.state().may_mine() && (!starts_chain || self.network.sync.may_start_chain())
    }

    /// Not only another state of the planner changes what miners get: where no chain is begun yet one peer that has one does.
    fn note_change(&mut self) {
        let may_mine = self.may_mine();
        self.job_due |= std::mem::replace(&mut self.could_mine, may_mine) != may_mine;
    }

    /// Takes the job from the miners, who are told the reason once. Whether they did not know it yet.
    fn no_work(&mut self, reason: NoWork) -> bool {
        self.job = None;
        let is_news = self.no_work.replace(reason) != Some(reason);
        if is_news {
            self.outs.stratum.put(ToStratum::NoWork(reason));
        }
        is_news
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
        self.status.store(Arc::new(ChainStatus {
            tree,
            job: self.job.clone(),
            waiting: self.chain.waiting(),
            unsaved: self.saved.is_failing(),
            no_work: self.no_work,
            sync: self.network.sync.state().for_onlookers(|moment| self.clock.time_of(moment)),
            syncing: self.sync_progress,
            clock_ahead_s: self.network.clock_ahead_s,
        }));
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

#[cfg(test)]
mod tests;
