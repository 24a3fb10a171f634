//! rpc/anchor: asks bitcoind about the Bitcoin blocks that shares are built on (rules, section 5, rule 6).
//!
//! It also keeps the template fresh, see [`crate::refresh`]: the poll thread sits in its long poll.

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
use p2pool_core::status::{BitcoindError, BlocksStatus, WatchedBlocks};
use serde_json::json;

use crate::client::Bounds;
use crate::error::RpcError;
use crate::fates::Fates;
use crate::known::Headers;
use crate::news::TemplateSink;
use crate::node::Node;
use crate::refresh::Refresh;

/// How often the template's age is looked at.
const TICK: Duration = Duration::from_secs(1);
/// After a failure questions are answered "unanswered" for so long without trying, so that a queue of them does not each
/// wait out a timeout.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// Headers handed over at a time: the one asked for and six before it (rules, section 5, rule 6).
const GIVEN_MAX: usize = 7;
/// bitcoind's code for a header that its rules refuse (its `rpc/protocol.h`: `RPC_VERIFY_ERROR`).
const HEADER_REFUSED: i64 = -25;
/// bitcoind's words for a header that it knows and has marked invalid, or whose parent it has. Older ones say `duplicate`.
const MARKED_INVALID: [&str; 3] = ["duplicate-invalid", "duplicate", "bad-prevblk"];

/// The thread's state.
pub struct AnchorThread {
    node: Node,
    network: Network,
    headers: Headers,
    inbox: Receiver<ToAnchor>,
    chain: Sender<ToChain>,
    counters: Arc<Metrics>,
    refresh: Refresh,
    fates: Fates,
    paused_until: Option<Instant>,
}

impl AnchorThread {
    /// Readies the thread; asks nothing yet.
    ///
    /// # Errors
    /// [`RpcError::Host`].
    pub fn open(
        config: &Config,
        inbox: Receiver<ToAnchor>,
        chain: Sender<ToChain>,
        news: LatestSender<TemplateUpdate>,
        counters: Arc<Metrics>,
    ) -> Result<Self, RpcError> {
        Ok(Self {
            node: Node::new(config)?,
            network: config.params.network,
            headers: Headers::default(),
            inbox,
            chain,
            refresh: Refresh::new(TemplateSink::new(news, Arc::clone(&counters)), Instant::now()),
            counters,
            fates: Fates::default(),
            paused_until: None,
        })
    }

    /// The blocks that are asked about, for others to change.
    pub fn watched(&self) -> Arc<ArcSwap<WatchedBlocks>> {
        self.fates.watched()
    }

    /// What bitcoind says of them.
    pub fn blocks(&self) -> Arc<ArcSwap<BlocksStatus>> {
        self.fates.published()
    }

    /// Answers until told to stop. Each question gets exactly one answer.
    ///
    /// # Errors
    /// None today.
    pub fn run(mut self) -> Result<(), RpcError> {
        loop {
            match self.inbox.recv_timeout(TICK) {
                Ok(ToAnchor::Command(HeaderCommand::LookUp(hash))) => self.answer(hash, &[]),
                Ok(ToAnchor::Command(HeaderCommand::Submit(headers))) => {
                    if let Some(last) = headers.last() {
                        self.answer(last.block_hash(), &headers);
                    }
                }
                Ok(ToAnchor::Stop) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.refresh.tick(&mut self.node, Instant::now);
            self.look_after_blocks();
        }
    }

    /// Asks what became of found blocks; shares come first, so a few at a time.
    fn look_after_blocks(&mut self) {
        if self.is_paused() {
            return;
        }
        if let Err(error) = self.fates.tick(&mut self.node, Instant::now()) {
            debug!("no word on found blocks: bitcoind {error}");
            self.failed();
        }
    }

    /// Whether bitcoind failed a moment ago.
    fn is_paused(&self) -> bool {
        self.paused_until.is_some_and(|until| Instant::now() < until)
    }

    fn failed(&mut self) {
        self.counters.rpc_errors.inc();
        self.paused_until = Some(Instant::now() + PAUSE_AFTER_FAILURE);
    }

    /// Hands over what was given, looks up, tells chain.
    fn answer(&mut self, hash: BlockHash, given: &[Header]) {
        let result = if self.is_paused() {
            AnchorResult::Unavailable
        } else {
            self.give(given).and_then(|()| self.look_up(hash)).unwrap_or_else(|error| {
                debug!("no word on block {hash}: bitcoind {error}");
                self.failed();
                AnchorResult::Unavailable
            })
        };
        // Chain is gone only when the process ends.
        drop(self.chain.send(Event::Anchor(AnchorLookup { hash, result }).into()));
    }

    /// Hands headers to bitcoind, oldest first; it checks them. Which it refused shows when the last is looked up.
    fn give(&mut self, headers: &[Header]) -> Result<(), BitcoindError> {
        let skipped = headers.len().saturating_sub(GIVEN_MAX);
        for header in headers.iter().skip(skipped) {
            if let Some(reason) = self.submit_header(header)? {
                debug!("bitcoind refuses header {}: {reason}", header.block_hash());
            }
        }
        Ok(())
    }

    /// Gives bitcoind's reason if it refuses the header.
    fn submit_header(&mut self, header: &Header) -> Result<Option<String>, BitcoindError> {
        match self.node.call::<()>("submitheader", json!([serialize_hex(header)]), Bounds::SMALL) {
            Ok(()) => Ok(None),
            Err(BitcoindError::Rpc { code: HEADER_REFUSED, message }) => Ok(Some(message)),
            Err(error) => Err(error),
        }
    }

    fn look_up(&mut self, hash: BlockHash) -> Result<AnchorResult, BitcoindError> {
        let Some((known, is_on_best_chain)) = self.headers.ask(&mut self.node, hash)? else {
            return Ok(AnchorResult::Unknown);
        };
        if !is_on_best_chain {
            // bitcoind says outright whether a header is marked invalid only when it gets that header again.
            match self.submit_header(&known.header)? {
                Some(reason) if MARKED_INVALID.contains(&reason.as_str()) => return Ok(AnchorResult::Invalid),
                Some(reason) => return Err(BitcoindError::Rpc { code: HEADER_REFUSED, message: reason }),
                None => {}
            }
        }
        let next = self.headers.next_bits(&mut self.node, self.network, &known)?;
        Ok(AnchorResult::Known(Anchor {
            header: known.header,
            height: known.height,
            median_time_past: known.median_time_past,
            next_bits: next.bits,
            next_bits_late: next.late,
        }))
    }
}
