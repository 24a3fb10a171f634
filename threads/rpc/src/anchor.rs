//! The anchor thread: reports bitcoind's best chain and looks up single blocks of it (rules, section 5, rule 6).
//!
//! It only reads. Headers are judged by the node, see [`p2pool_core::sharechain::HeaderIndex`]. It also refreshes the template, see
//! [`crate::refresh`], because the poll thread waits in its long poll, and tracks the confirmations of found blocks.
//!
//! What peers send makes the node look blocks up. So the calls that lookups make are bounded, whatever the blocks are: a lookup
//! makes one call, for a new block three and a few per header, for an old one some 30 (on test networks up to 4,060, where blocks
//! of the least difficulty fill a period), and all together [`LOOKUP_CALLS_PER_S`], beyond which old blocks wait.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use log::{debug, info, warn};
use p2pool_channels::{LatestSender, TemplateUpdate, ToAnchor, ToChain};
use p2pool_core::config::Config;
use p2pool_core::metrics::Metrics;
use p2pool_core::node::{AnchorLookup, AnchorResult, BlockLookup, Event};
use p2pool_core::status::{BitcoindError, BlocksStatus, TrackedBlocks};

use crate::best_chain::{BestChainFollower, Found};
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

/// Calls of bitcoind that lookups may make at once, and per second after that. They take a small computer some seconds, and
/// a tenth of its time. A chain of full length that names another old block with each share is looked up in eight minutes; one
/// that was mined without a pause names no old block.
const LOOKUP_CALLS_BURST: u32 = 20_000;
const LOOKUP_CALLS_PER_S: u32 = 1_000;

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
    lookup_calls: CallBudget,
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
            lookup_calls: CallBudget::new(Instant::now()),
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
                Ok(ToAnchor::LookUp(lookup)) => self.respond(lookup),
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

    /// Looks a block up and sends the result to the chain thread. If it is on the best chain and new, that is reported before.
    fn respond(&mut self, lookup: BlockLookup) {
        let hash = lookup.hash;
        let mut result = AnchorResult::Unavailable;
        // Only then does it show which blocks are new.
        if self.best_chain.is_unreported() && !self.is_paused() {
            self.follow();
        }
        if !self.is_paused() && self.lookup_calls.are_left_for(lookup, Instant::now()) {
            let before = self.bitcoind.client.calls;
            match self.best_chain.look_up(&mut self.bitcoind, lookup) {
                Ok(Found::Recent) => {
                    self.follow();
                    result = AnchorResult::Reported;
                }
                Ok(Found::Old(anchor)) => result = AnchorResult::Known(anchor),
                Ok(Found::Elsewhere) => result = AnchorResult::Unknown,
                Err(error) => {
                    debug!("no lookup of block {hash}: bitcoind {error}");
                    self.pause();
                }
            }
            self.lookup_calls.spend(self.bitcoind.client.calls - before);
        }
        self.send(Event::Anchor(AnchorLookup { hash, result }));
    }

    fn send(&self, event: Event) {
        // Fails only if the chain thread has exited, and then the process ends.
        drop(self.chain.send(event.into()));
    }
}

/// The calls that lookups may still make. The last one may exceed it.
#[derive(Debug)]
struct CallBudget {
    left: i64,
    /// When it last grew.
    at: Instant,
}

impl CallBudget {
    fn new(now: Instant) -> Self {
        Self { left: LOOKUP_CALLS_BURST.into(), at: now }
    }

    /// Whether a lookup may be made. One of a block that may not be old makes a single call, and the node bounds their number: old
    /// blocks must not keep out those beside the best chain.
    fn are_left_for(&mut self, lookup: BlockLookup, now: Instant) -> bool {
        self.is_left(now) || !lookup.may_be_old
    }

    fn is_left(&mut self, now: Instant) -> bool {
        let seconds = now.duration_since(self.at).as_secs();
        self.at += Duration::from_secs(seconds);
        let grown = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(LOOKUP_CALLS_PER_S.into());
        self.left = self.left.saturating_add(grown).min(LOOKUP_CALLS_BURST.into());
        self.left > 0
    }

    fn spend(&mut self, calls: u64) {
        self.left = self.left.saturating_sub(i64::try_from(calls).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash as _;
    use bitcoin::BlockHash;

    use super::*;

    #[test]
    fn lookups_make_so_many_calls_at_once_and_per_second() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut budget = CallBudget::new(start);
        budget.spend(u64::from(LOOKUP_CALLS_BURST) - 1);
        assert!(budget.is_left(start));
        // The most expensive lookup.
        budget.spend(4_060);
        assert!(!budget.is_left(after(4)));
        let lookup = |may_be_old| BlockLookup { hash: BlockHash::all_zeros(), may_be_old };
        assert!(!budget.are_left_for(lookup(true), after(4)) && budget.are_left_for(lookup(false), after(4)));
        assert!(budget.is_left(after(5)));
        // It never grows beyond what it was at the start.
        assert!(budget.is_left(after(1_000_000)));
        budget.spend(LOOKUP_CALLS_BURST.into());
        assert!(!budget.is_left(after(1_000_000)));
    }
}
