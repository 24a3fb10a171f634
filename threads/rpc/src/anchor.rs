//! The anchor thread: looks up the Bitcoin blocks that shares are built on (rules, section 5, rule 6).
//!
//! It also refreshes the template, see [`crate::refresh`], because the poll thread waits in its long poll, and tracks the
//! confirmations of found blocks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bitcoin::block::Header;
use bitcoin::consensus::encode::serialize_hex;
use bitcoin::BlockHash;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use log::debug;
use p2pool_channels::{LatestSender, TemplateUpdate, ToAnchor, ToChain};
use p2pool_core::config::Config;
use p2pool_core::metrics::Metrics;
use p2pool_core::node::{AnchorLookup, AnchorResult, Event, HeaderCommand};
use p2pool_core::params::Network;
use p2pool_core::sharechain::Anchor;
use p2pool_core::status::{BitcoindError, BlocksStatus, TrackedBlocks};
use serde_json::json;

use crate::client::ResponseLimits;
use crate::confirmations::ConfirmationTracker;
use crate::error::RpcError;
use crate::headers::HeaderCache;
use crate::refresh::TemplateRefresh;
use crate::template_sink::TemplateSink;
use crate::verified_client::VerifiedClient;

/// Longest wait for a message; template age and confirmations are checked at least this often.
const TICK: Duration = Duration::from_secs(1);
/// Pause after a failure. Lookups fail at once during it, so that a full inbox does not wait for one timeout after the
/// other.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// Most headers submitted at a time: the one in question and six before it (rules, section 5, rule 6).
const HEADERS_MAX: usize = 7;
/// bitcoind's error code for an invalid header (its `rpc/protocol.h`: `RPC_VERIFY_ERROR`).
const VERIFY_ERROR: i64 = -25;
/// bitcoind's messages for a header that is marked invalid, or whose parent is. Older versions say `duplicate`.
const MARKED_INVALID: [&str; 3] = ["duplicate-invalid", "duplicate", "bad-prevblk"];

/// The anchor thread.
pub struct AnchorThread {
    bitcoind: VerifiedClient,
    network: Network,
    headers: HeaderCache,
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
            network: config.params.network,
            headers: HeaderCache::default(),
            inbox,
            chain,
            refresh: TemplateRefresh::new(TemplateSink::new(templates, Arc::clone(&metrics)), Instant::now()),
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
            match self.inbox.recv_timeout(TICK) {
                Ok(ToAnchor::Command(HeaderCommand::LookUp(hash))) => self.respond(hash, &[]),
                Ok(ToAnchor::Command(HeaderCommand::Submit(headers))) => {
                    if let Some(last) = headers.last() {
                        self.respond(last.block_hash(), &headers);
                    }
                }
                Ok(ToAnchor::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
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

    /// Submits the headers, looks up the hash and sends the result to the chain thread.
    fn respond(&mut self, hash: BlockHash, headers: &[Header]) {
        let result = if self.is_paused() {
            AnchorResult::Unavailable
        } else {
            self.submit_headers(headers).and_then(|()| self.look_up(hash)).unwrap_or_else(|error| {
                debug!("no lookup of block {hash}: bitcoind {error}");
                self.pause();
                AnchorResult::Unavailable
            })
        };
        // Fails only if the chain thread has exited, and then the process ends.
        drop(self.chain.send(Event::Anchor(AnchorLookup { hash, result }).into()));
    }

    /// Submits headers to bitcoind, oldest first. A lookup of the last one shows whether bitcoind has accepted them.
    fn submit_headers(&mut self, headers: &[Header]) -> Result<(), BitcoindError> {
        let skipped = headers.len().saturating_sub(HEADERS_MAX);
        for header in headers.iter().skip(skipped) {
            if let Some(reason) = self.submit_header(header)? {
                debug!("header {} rejected by bitcoind: {reason}", header.block_hash());
            }
        }
        Ok(())
    }

    /// Submits a header. Returns bitcoind's reason if it rejects the header.
    fn submit_header(&mut self, header: &Header) -> Result<Option<String>, BitcoindError> {
        match self.bitcoind.call::<()>("submitheader", json!([serialize_hex(header)]), ResponseLimits::SMALL) {
            Ok(()) => Ok(None),
            Err(BitcoindError::Rpc { code: VERIFY_ERROR, message }) => Ok(Some(message)),
            Err(error) => Err(error),
        }
    }

    fn look_up(&mut self, hash: BlockHash) -> Result<AnchorResult, BitcoindError> {
        let Some((known, is_on_best_chain)) = self.headers.request(&mut self.bitcoind, hash)? else {
            return Ok(AnchorResult::Unknown);
        };
        if !is_on_best_chain {
            // bitcoind reveals whether a header is marked invalid only if the header is submitted again.
            match self.submit_header(&known.header)? {
                Some(reason) if MARKED_INVALID.contains(&reason.as_str()) => return Ok(AnchorResult::Invalid),
                Some(reason) => return Err(BitcoindError::Rpc { code: VERIFY_ERROR, message: reason }),
                None => {}
            }
        }
        let next = self.headers.next_bits(&mut self.bitcoind, self.network, &known)?;
        Ok(AnchorResult::Known(Anchor {
            header: known.header,
            height: known.height,
            median_time_past: known.median_time_past,
            next_bits: next.bits,
            next_bits_late: next.late,
        }))
    }
}
