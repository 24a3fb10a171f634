//! The anchor thread: reports bitcoind's best chain and looks up single blocks of it (rules, section 5, rule 6).
//!
//! It only reads. Headers are judged by the node, see [`p2pool_core::sharechain::HeaderIndex`]. It also refreshes the template, see [`crate::refresh`], because the poll thread waits in its long poll, and tracks the
//! confirmations of found blocks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bitcoin::BlockHash;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use log::{debug, info, warn};
use p2pool_channels::{LatestSender, TemplateUpdate, ToAnchor, ToChain};
use p2pool_core::config::Config;
use p2pool_core::metrics::Metrics;
use p2pool_core::node::{AnchorLookup, AnchorResult, Event};
use p2pool_core::status::{BitcoindError, BlocksStatus, TrackedBlocks};

use crate::best_chain::BestChainFollower;
use crate::confirmations::ConfirmationTracker;
use crate::error::{is_restart, RpcError};
use crate::refresh::TemplateRefresh;
use crate::template_sink::TemplateSink;
use crate::verified_client::VerifiedClient;

/// The best chain, template age and confirmations are looked at this often.
const TICK: Duration = Duration::from_secs(1);
/// Pause after a failure. Lookups fail at once during it, so that a full inbox does not wait for one timeout after the
/// other.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// Time without a look at bitcoind's best chain from which the log says so: shares that build on new blocks wait meanwhile.
const FOLLOW_ALARM: Duration = Duration::from_secs(30);

/// The anchor thread.
pub struct AnchorThread {
    bitcoind: VerifiedClient,
    best_chain: BestChainFollower,
    /// When the best chain is looked at next.
    follow_at: Instant,
    /// When it was last looked at with success.
    followed_at: Instant,
    /// Whether the log says that it is not.
    is_alarmed: bool,
    inbox: Receiver<ToAnchor>,
    chain: Sender<ToChain>,
    metrics: Arc<Metrics>,
    refresh: TemplateRefresh,
    confirmations: ConfirmationTracker,
    paused_until: Option<Instant>,
}

impl AnchorThread {
    /// Prepares the thread; connects to nothing yet.
    ///
    /// # Errors
    /// [`RpcError::Host`].
    pub fn open(
        config: &Config,
        inbox: Receiver<ToAnchor>,
        chain: Sender<ToChain>,
        templates: LatestSender<TemplateUpdate>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, RpcError> {
        Ok(Self {
            bitcoind: VerifiedClient::new(config)?,
            best_chain: BestChainFollower::new(config.params.network),
            follow_at: Instant::now(),
            followed_at: Instant::now(),
            is_alarmed: false,
            inbox,
            chain,
            refresh: TemplateRefresh::new(
                TemplateSink::new(templates, Arc::clone(&metrics)),
                config.no_work_timeout,
                Instant::now(),
            ),
            metrics,
            confirmations: ConfirmationTracker::default(),
            paused_until: None,
        })
    }

    /// The list of blocks whose confirmations are tracked, for another thread to set.
    pub fn tracked(&self) -> Arc<ArcSwap<TrackedBlocks>> {
        Arc::clone(&self.confirmations.tracked)
    }

    /// The published confirmations.
    pub fn blocks(&self) -> Arc<ArcSwap<BlocksStatus>> {
        Arc::clone(&self.confirmations.published)
    }

    /// Handles messages until asked to stop. Each lookup gets exactly one result.
    pub fn run(mut self) {
        loop {
            match self.inbox.recv_deadline(self.follow_at) {
                Ok(ToAnchor::LookUp(hash)) => self.respond(hash),
                Ok(ToAnchor::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if Instant::now() >= self.follow_at {
                self.follow();
            }
            self.refresh.tick(&mut self.bitcoind, Instant::now);
            self.track_confirmations();
        }
    }

    /// Requests confirmations of found blocks, a few at a time because shares are more urgent.
    fn track_confirmations(&mut self) {
        if self.is_paused() {
            return;
        }
        if let Err(error) = self.confirmations.tick(&mut self.bitcoind, Instant::now()) {
            debug!("no confirmations of found blocks: bitcoind {error}");
            self.pause();
        }
    }

    /// Returns whether this is the pause after a failure.
    fn is_paused(&self) -> bool {
        self.paused_until.is_some_and(|until| Instant::now() < until)
    }

    /// Counts a failure and starts the pause after it.
    fn pause(&mut self) {
        self.metrics.rpc_errors.inc();
        self.paused_until = Some(Instant::now() + PAUSE_AFTER_FAILURE);
    }

    /// Reports bitcoind's best chain, if it changed.
    fn follow(&mut self) {
        self.follow_at = Instant::now() + TICK;
        if self.is_paused() {
            return;
        }
        match self.best_chain.follow(&mut self.bitcoind) {
            Ok(report) => {
                report.into_iter().for_each(|report| self.send(Event::BestChain(report)));
                self.followed_at = Instant::now();
                if std::mem::take(&mut self.is_alarmed) {
                    info!("bitcoind's best chain followed again at {}", self.bitcoind.client.url);
                }
            }
            Err(error) => {
                self.report_not_followed(&error);
                self.pause();
            }
        }
    }

    /// Logs that bitcoind's best chain is not followed, once it lasts. That bitcoind is down, the poll thread says.
    fn report_not_followed(&mut self, error: &BitcoindError) {
        debug!("bitcoind's best chain not followed: bitcoind {error}");
        let age = self.followed_at.elapsed();
        if age >= FOLLOW_ALARM && !is_restart(error) && !std::mem::replace(&mut self.is_alarmed, true) {
            warn!(
                "bitcoind's best chain not followed for {} s, shares on new blocks wait: bitcoind at {} {error}. {}",
                age.as_secs(),
                self.bitcoind.client.url,
                error.advice()
            );
        }
    }

    /// Looks the hash up and sends the result to the chain thread. If the block is on the best chain, that is reported before:
    /// the block may be new.
    fn respond(&mut self, hash: BlockHash) {
        let mut result = AnchorResult::Unavailable;
        if !self.is_paused() {
            match self.best_chain.look_up(&mut self.bitcoind, hash) {
                Ok(Some(anchor)) => {
                    self.follow();
                    result = AnchorResult::Known(Box::new(anchor));
                }
                Ok(None) => result = AnchorResult::Unknown,
                Err(error) => {
                    debug!("no lookup of block {hash}: bitcoind {error}");
                    self.pause();
                }
            }
        }
        self.send(Event::Anchor(AnchorLookup { hash, result }));
    }

    fn send(&self, event: Event) {
        // Fails only if the chain thread has exited, and then the process ends.
        drop(self.chain.send(event.into()));
    }
}
