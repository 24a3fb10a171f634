//! rpc/submit: hands found blocks to bitcoind, and does not let go of one before it has an answer.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bitcoin::hex::DisplayHex as _;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use log::{debug, error, info, warn};
use p2pool_channels::{ToChain, ToSubmit};
use p2pool_core::config::Config;
use p2pool_core::metrics::{Metrics, SubmitCounters};
use p2pool_core::node::{Event, PeerBlock};
use p2pool_core::share::ShareId;
use p2pool_core::status::{BitcoindError, OwnBlock, OwnBlocksStatus, SubmitOutcome};
use p2pool_core::units::{BlockHeight, UnixTime};
use p2pool_core::work::BlockError;
use p2pool_core::work::FoundBlock;
use serde_json::json;

use crate::client::Bounds;
use crate::error::{excerpt, RpcError};
use crate::node::Node;
use crate::pending::{BlockFiles, BlockSummary, Finder};

/// Subdirectory of the chain's directory for found blocks.
const BLOCKS_DIR: &str = "blocks";
/// Waits before the second, third and fourth try: a block loses worth with every second.
const RETRY_WAITS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];
/// After those, until bitcoind answers: soon after it is back a block may still win.
const LATER_WAIT: Duration = Duration::from_secs(10);
/// Longest sleep with nothing to do; any message ends it.
const IDLE_WAIT: Duration = Duration::from_secs(3_600);
/// Own blocks that onlookers are told of: they look every second or two and keep what they have seen.
const OWN_BLOCKS_MAX: usize = 64;
/// bitcoind's code for bytes that are no block (its `rpc/protocol.h`: `RPC_DESERIALIZATION_ERROR`).
const NO_BLOCK: i64 = -22;

/// The thread's state.
pub struct Submit {
    node: Node,
    files: BlockFiles,
    inbox: Receiver<ToSubmit>,
    chain: Sender<ToChain>,
    counters: Arc<Metrics>,
    pending: Vec<Pending>,
    own: OwnBlocks,
}

/// A block without an answer.
struct Pending {
    block: BlockSummary,
    /// Until the first try, and as long as it could not be written to disk.
    bytes: Option<Vec<u8>>,
    is_on_disk: bool,
    failures: usize,
    due: Instant,
}

/// What bitcoind said to a block.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// The best chain has it.
    Accepted,
    /// bitcoind had it already.
    Known,
    /// bitcoind keeps it, but another block came first.
    Beaten,
    /// Final, with bitcoind's reason.
    Rejected(String),
    /// To be tried again.
    Unanswered(String),
}

impl Submit {
    /// Readies the thread, with the blocks that an earlier run left on disk; asks nothing yet.
    ///
    /// # Errors
    /// [`RpcError::Host`], [`RpcError::BlocksDir`].
    pub fn open(
        config: &Config,
        inbox: Receiver<ToSubmit>,
        chain: Sender<ToChain>,
        counters: Arc<Metrics>,
    ) -> Result<Self, RpcError> {
        let node = Node::new(config)?;
        let files = BlockFiles::open(&config.chain_dir.join(BLOCKS_DIR))?;
        let due = Instant::now();
        let waiting = files.waiting().into_iter();
        let pending: Vec<Pending> =
            waiting.map(|block| Pending { block, bytes: None, is_on_disk: true, failures: 0, due }).collect();
        for Pending { block, .. } in &pending {
            info!("block {} of height {} has no answer of bitcoind yet: submitting it again", block.id, block.height);
        }
        let own = OwnBlocks::default();
        pending.iter().for_each(|pending| own.note(&pending.block, None));
        Ok(Self { node, files, inbox, chain, counters, pending, own })
    }

    /// The blocks that this node's miners found, and what bitcoind said to them.
    pub fn own_blocks(&self) -> Arc<ArcSwap<OwnBlocksStatus>> {
        self.own.published()
    }

    /// Submits until told to stop; then tries once more what was never tried.
    ///
    /// # Errors
    /// None today.
    pub fn run(mut self) -> Result<(), RpcError> {
        loop {
            let wait = self.next_due().map_or(IDLE_WAIT, |due| due.saturating_duration_since(Instant::now()));
            match self.inbox.recv_timeout(wait) {
                Ok(ToSubmit::Own(found)) => {
                    self.take_in(&found);
                    self.try_next();
                }
                Ok(ToSubmit::Peer(PeerBlock { id, height, block })) => {
                    self.take_peers(id, height, block);
                    self.try_next();
                }
                Ok(ToSubmit::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => drop(self.try_next()),
            }
        }
        while self.pending.iter().any(|pending| pending.failures == 0) && self.try_next() {}
        Ok(())
    }

    fn next_due(&self) -> Option<Instant> {
        self.pending.iter().map(|pending| pending.due).min()
    }

    /// Assembles a found block and puts it in the queue.
    fn take_in(&mut self, found: &FoundBlock) {
        let block = BlockSummary {
            id: ShareId(found.hash),
            finder: Finder::Own,
            time: header_time(&found.header),
            height: found.job.block_height,
            value: found.job.info.coinbase_value,
        };
        if self.pending.iter().any(|pending| pending.block.id == block.id) {
            return;
        }
        info!("block {} of height {} found by worker {}", block.id, block.height, excerpt(&found.worker));
        let bytes = match found.job.block(&found.header, &found.extranonce) {
            Ok(bytes) => bytes,
            Err(error) => return self.keep_unassembled(&block, found, &error),
        };
        // Other nodes hear of it at once; if the chain thread is busy, this node's bitcoind still does.
        let news = ToChain::from(Event::BlockFound { height: block.height, block: bytes.clone() });
        if self.chain.try_send(news).is_err() {
            warn!("block {} is not announced to other nodes: the chain thread is busy", block.id);
        }
        self.queue(block, bytes);
    }

    /// A header with the work of a block whose parts do not fit it is a fault of this program: all there is to put it
    /// together by hand is kept.
    fn keep_unassembled(&self, block: &BlockSummary, found: &FoundBlock, why: &BlockError) {
        let parts = found.job.unchecked_block(&found.header, &found.extranonce);
        let kept = match self.files.write(block, &parts) {
            Ok(()) => {
                self.files.reject(block);
                "header, coinbase and transactions are kept as its .rejected file".to_owned()
            }
            Err(error) => format!("its parts cannot be written to disk ({error})"),
        };
        error!(
            "block {} of height {} cannot be assembled: {why}; {kept}; job {}, header {}, extranonce {}",
            block.id,
            block.height,
            found.job.id,
            found.header.to_lower_hex_string(),
            found.extranonce.to_lower_hex_string(),
        );
        self.own.note(block, Some(SubmitOutcome::Rejected(why.to_string())));
    }

    /// Puts a block that another node found in the queue.
    fn take_peers(&mut self, id: ShareId, height: BlockHeight, bytes: Vec<u8>) {
        if self.pending.iter().all(|pending| pending.block.id != id) {
            let Some(block) = BlockSummary::of(&bytes, Finder::Peer) else {
                return error!("block {id} of height {height}, which a peer found, cannot be read");
            };
            self.queue(BlockSummary { id, height, ..block }, bytes);
        }
    }

    fn queue(&mut self, block: BlockSummary, bytes: Vec<u8>) {
        self.own.note(&block, None);
        let written = self.files.write(&block, &bytes);
        if let Err(error) = &written {
            error!("block {} cannot be written to disk: {error}; it is submitted from memory", block.id);
        }
        self.pending.push(Pending {
            block,
            bytes: Some(bytes),
            is_on_disk: written.is_ok(),
            failures: 0,
            due: Instant::now(),
        });
    }

    /// Submits the most urgent block that is due: tried least, waiting longest, lowest. Returns whether bitcoind
    /// answered.
    fn try_next(&mut self) -> bool {
        let now = Instant::now();
        let due = self.pending.iter().enumerate().filter(|(_, pending)| pending.due <= now);
        let urgency = |(_, pending): &(usize, &Pending)| (pending.failures, pending.due, pending.block.height);
        let Some((index, _)) = due.min_by_key(urgency) else { return false };
        let mut pending = self.pending.swap_remove(index);
        let block = pending.block;
        match self.submit(&mut pending) {
            Verdict::Unanswered(reason) => {
                self.counters_of(block.finder).failed.inc();
                self.try_later(pending, reason);
                return false;
            }
            Verdict::Rejected(reason) => {
                error!("block {} of height {} is rejected: {reason}", block.id, block.height);
                self.counters_of(block.finder).rejected.inc();
                self.files.reject(&block);
                self.own.note(&block, Some(SubmitOutcome::Rejected(reason)));
            }
            taken => {
                let BlockSummary { id, height, value, .. } = block;
                match taken {
                    Verdict::Beaten => warn!("bitcoind keeps block {id} of height {height}, but another came first"),
                    Verdict::Known => info!("bitcoind has block {id} of height {height}, {value}, already"),
                    _ => info!("bitcoind accepts block {id} of height {height}, {value}"),
                }
                self.counters_of(block.finder).accepted.inc();
                self.files.remove(&block);
                self.own.note(&block, Some(SubmitOutcome::Accepted));
            }
        }
        true
    }

    /// One try.
    fn submit(&mut self, pending: &mut Pending) -> Verdict {
        let bytes = match pending.bytes.take() {
            Some(bytes) => bytes,
            None => match self.files.read(&pending.block) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return Verdict::Rejected("somebody removed its file".to_owned());
                }
                Err(error) => return Verdict::Unanswered(format!("its file cannot be read: {error}")),
            },
        };
        let answer = self.node.call("submitblock", json!([bytes.to_lower_hex_string()]), Bounds::BLOCK);
        if !pending.is_on_disk {
            pending.bytes = Some(bytes);
        }
        verdict(answer)
    }

    fn try_later(&mut self, mut pending: Pending, reason: String) {
        let block = pending.block;
        let wait = RETRY_WAITS.get(pending.failures).copied().unwrap_or(LATER_WAIT);
        pending.failures += 1;
        pending.due = Instant::now() + wait;
        match pending.failures {
            1 => warn!("block {} of height {} is not submitted yet: {reason}; trying again", block.id, block.height),
            failures if failures == RETRY_WAITS.len() + 1 => {
                let kept = if pending.is_on_disk { "is kept on disk and" } else { "is kept in memory only and" };
                error!(
                    "block {} of height {} {kept} tried again every {} s: {reason}",
                    block.id,
                    block.height,
                    LATER_WAIT.as_secs()
                );
                self.own.note(&block, Some(SubmitOutcome::Failed(reason)));
            }
            _ => debug!("block {} is not submitted yet: {reason}", block.id),
        }
        self.pending.push(pending);
    }

    fn counters_of(&self, finder: Finder) -> &SubmitCounters {
        match finder {
            Finder::Own => &self.counters.own_blocks,
            Finder::Peer => &self.counters.peer_blocks,
        }
    }
}

/// What onlookers are told of own blocks.
#[derive(Default)]
struct OwnBlocks(Arc<ArcSwap<OwnBlocksStatus>>);

impl OwnBlocks {
    fn published(&self) -> Arc<ArcSwap<OwnBlocksStatus>> {
        Arc::clone(&self.0)
    }

    /// Publishes what is known of a block, if it is an own one; no outcome leaves an earlier one as it is.
    fn note(&self, block: &BlockSummary, outcome: Option<SubmitOutcome>) {
        let BlockSummary { id, finder, time, height, value } = *block;
        if finder != Finder::Own {
            return;
        }
        let mut blocks = self.0.load().blocks.clone();
        match blocks.iter_mut().find(|known| known.id == id) {
            Some(known) => known.outcome = outcome.or(known.outcome.take()),
            None => blocks.push(OwnBlock { id, time, height, value, outcome }),
        }
        let surplus = blocks.len().saturating_sub(OWN_BLOCKS_MAX);
        blocks.drain(..surplus);
        self.0.store(Arc::new(OwnBlocksStatus { blocks }));
    }
}

/// The time that a header states.
fn header_time(header: &[u8; 80]) -> UnixTime {
    let [.., a, b, c, d, _, _, _, _, _, _, _, _] = *header;
    UnixTime(u32::from_le_bytes([a, b, c, d]))
}

/// Reads `submitblock`'s answer (BIP-0022, and Core's words beyond it).
fn verdict(answer: Result<Option<String>, BitcoindError>) -> Verdict {
    match answer {
        Ok(None) => Verdict::Accepted,
        Ok(Some(reason)) => match reason.as_str() {
            "duplicate" | "duplicate-inconclusive" => Verdict::Known,
            // Stored, its header and work are right, but it was not connected: it is not on the best chain.
            "inconclusive" => Verdict::Beaten,
            // Only a bitcoind that lost its newest blocks in a crash, and will get them again, can say so.
            "prev-blk-not-found" => Verdict::Unanswered(reason),
            // By bitcoind's clock the header is more than two hours ahead: it marks nothing invalid, and takes the block
            // later, or at once when its clock is put right (its `validation.cpp`: `BLOCK_TIME_FUTURE`).
            "time-too-new" => Verdict::Unanswered(reason),
            _ => Verdict::Rejected(reason),
        },
        Err(BitcoindError::Rpc { code: NO_BLOCK, message }) => Verdict::Rejected(message),
        Err(error) => Verdict::Unanswered(format!("bitcoind {error}")),
    }
}
