//! The submit thread: submits found blocks to bitcoind and keeps each one until bitcoind has responded.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use bitcoin::hex::DisplayHex as _;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use log::{debug, error, info, warn};
use p2pool_channels::{ToChain, ToSubmit};
use p2pool_core::config::Config;
use p2pool_core::metrics::{Metrics, SubmitCounters};
use p2pool_core::node::{Event, PeerBlock};
use p2pool_core::share::ShareId;
use p2pool_core::status::{BitcoindError, OwnBlock, OwnBlocksStatus, SubmissionStatus, SubmitOutcome};
use p2pool_core::units::{BlockHeight, UnixTime};
use p2pool_core::work::{BlockError, FoundBlock};
use serde_json::json;

use crate::block_files::{BlockFiles, BlockSummary, Finder};
use crate::client::ResponseLimits;
use crate::error::{excerpt, RpcError};
use crate::long_poll::LongPollWatch;
use crate::method::Method;
use crate::readiness::Readiness;
use crate::verified_client::VerifiedClient;

/// Subdirectory of the chain's directory for found blocks.
const BLOCKS_DIR: &str = "blocks";
/// Waits before the second, third and fourth try. They are short: each second may cost the block its place on the best
/// chain.
const RETRY_WAITS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];
/// Wait before each later try, until bitcoind responds: the block may still win after bitcoind is back.
const LATER_WAIT: Duration = Duration::from_secs(10);
/// Number of failed tries from which a block is said to be kept, and between two lines that say so: an hour.
const FAILURES_KEPT: usize = RETRY_WAITS.len() + 1;
const FAILURES_PER_LINE: usize = 360;
/// Most blocks of peers that wait for bitcoind: more than are found while it restarts. Their finders keep them too.
const PEER_BLOCKS_MAX: usize = 4;
/// Most own blocks in the published status. Readers poll it every second or two and keep what they have seen.
const OWN_BLOCKS_MAX: usize = 64;
/// bitcoind's error code for bytes that are not a block (its `rpc/protocol.h`: `RPC_DESERIALIZATION_ERROR`).
const DESERIALIZATION_ERROR: i64 = -22;

/// The submit thread.
pub struct SubmitThread {
    bitcoind: VerifiedClient,
    files: BlockFiles,
    inbox: Receiver<ToSubmit>,
    chain: Sender<ToChain>,
    metrics: Arc<Metrics>,
    queue: Vec<QueuedBlock>,
    own: OwnBlocks,
    readiness: Readiness,
}

/// A block that bitcoind has not responded to.
struct QueuedBlock {
    block: BlockSummary,
    /// The serialised block, kept until the first try, and afterwards if it is not on disk.
    bytes: Option<Vec<u8>>,
    is_on_disk: bool,
    failures: usize,
    due: Instant,
}

/// Result of a submission.
#[derive(Debug, PartialEq, Eq)]
enum SubmitResult {
    /// The block is on the best chain.
    Accepted,
    /// bitcoind had the block already.
    Known,
    /// The block is valid, but another one came first.
    NotBest,
    /// The block is rejected for good, with bitcoind's reason.
    Rejected(String),
    /// The submission has to be repeated, for this reason.
    Retry(String),
}

impl SubmitThread {
    /// Prepares the thread, with the blocks that an earlier run left on disk; connects to nothing yet.
    ///
    /// # Errors
    /// [`RpcError::Host`], [`RpcError::BlocksDir`].
    pub fn open(
        config: &Config,
        inbox: Receiver<ToSubmit>,
        chain: Sender<ToChain>,
        metrics: Arc<Metrics>,
        long_poll: Arc<LongPollWatch>,
    ) -> Result<Self, RpcError> {
        let bitcoind = VerifiedClient::new(config)?;
        let files = BlockFiles::open(&config.chain_dir.join(BLOCKS_DIR))?;
        let due = Instant::now();
        let own = OwnBlocks::default();
        let load = |block: BlockSummary| {
            info!("{block} not submitted yet, submitting it again");
            own.update(&block, None);
            QueuedBlock { block, bytes: None, is_on_disk: true, failures: 0, due }
        };
        let queue = files.waiting().into_iter().map(load).collect();
        let readiness = Readiness::new(&bitcoind.client.url, long_poll, due);
        Ok(Self { bitcoind, files, inbox, chain, metrics, queue, own, readiness })
    }

    /// The published result of the tests whether bitcoind would accept a block.
    pub fn readiness(&self) -> Arc<ArcSwap<SubmissionStatus>> {
        Arc::clone(&self.readiness.published)
    }

    /// The published status of the blocks that this node's miners found.
    pub fn own_blocks(&self) -> Arc<ArcSwap<OwnBlocksStatus>> {
        Arc::clone(&self.own.0)
    }

    /// Submits blocks until asked to stop, and then those that were never tried.
    pub fn run(mut self) {
        loop {
            match self.inbox.recv_deadline(self.next_due()) {
                Ok(ToSubmit::Own(found)) => {
                    self.add_own(&found);
                    self.submit_next();
                }
                Ok(ToSubmit::Peer(PeerBlock { id, height, block })) => {
                    self.add_peers(id, height, block);
                    self.submit_next();
                }
                Ok(ToSubmit::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => self.do_due(),
            }
        }
        while self.queue.iter().any(|queued| queued.failures == 0) && self.submit_next() {}
    }

    fn next_due(&self) -> Instant {
        self.queue.iter().map(|queued| queued.due).fold(self.readiness.due, Instant::min)
    }

    /// Submits a block that is due, or tests bitcoind.
    fn do_due(&mut self) {
        let now = Instant::now();
        if self.queue.iter().any(|queued| queued.due <= now) {
            self.submit_next();
        } else if now >= self.readiness.due && self.readiness.test(&mut self.bitcoind) {
            self.queue.iter_mut().for_each(|queued| queued.due = now);
        }
    }

    /// Assembles a block that this node's miners found, announces it to peers and adds it to the queue.
    fn add_own(&mut self, found: &FoundBlock) {
        let block = BlockSummary {
            id: ShareId(found.hash),
            finder: Finder::Own,
            time: header_time(&found.header),
            height: found.job.template.height,
            value: found.job.info.coinbase_value,
        };
        if self.is_queued(block.id) {
            return;
        }
        info!("{block} found by worker {}", excerpt(&found.worker));
        let bytes = match found.job.block(&found.header, &found.extranonce) {
            Ok(bytes) => bytes,
            Err(error) => return self.keep_unassembled(&block, found, &error),
        };
        let event = Event::BlockFound { height: block.height, block: bytes.clone() };
        if self.chain.try_send(event.into()).is_err() {
            warn!("{block} not announced to peers: the chain thread is busy");
        }
        self.enqueue(block, bytes);
    }

    /// Keeps all parts of a block that cannot be assembled, which is a bug of this program, to assemble it by hand.
    fn keep_unassembled(&self, block: &BlockSummary, found: &FoundBlock, error: &BlockError) {
        let parts = found.job.unchecked_block(&found.header, &found.extranonce);
        let kept = match self.files.write(block, &parts) {
            Ok(()) => {
                self.files.reject(block);
                "its .rejected file has header, coinbase and transactions".to_owned()
            }
            Err(error) => format!("its parts cannot be written to disk ({error})"),
        };
        error!("{block} cannot be assembled: {error}; {kept}; {found}");
        self.own.update(block, Some(SubmitOutcome::Rejected(error.to_string())));
    }

    /// Adds a block that another node found to the queue.
    fn add_peers(&mut self, id: ShareId, height: BlockHeight, bytes: Vec<u8>) {
        if !self.is_queued(id) {
            let Some(block) = BlockSummary::of(&bytes, Finder::Peer) else {
                return error!("block {id} at height {height}, found by a peer, cannot be parsed");
            };
            self.enqueue(BlockSummary { id, height, ..block }, bytes);
            self.bound_peers();
        }
    }

    /// Drops the oldest block of a peer if too many wait, so that they cannot fill the disk while bitcoind is away.
    fn bound_peers(&mut self) {
        let of_peers = self.queue.iter().enumerate().filter(|(_, queued)| queued.block.finder == Finder::Peer);
        if of_peers.clone().count() > PEER_BLOCKS_MAX {
            let oldest = of_peers.min_by_key(|(_, queued)| (queued.block.height, queued.block.time));
            if let Some((index, _)) = oldest {
                let block = self.queue.swap_remove(index).block;
                warn!("{block} of a peer dropped: {PEER_BLOCKS_MAX} newer ones wait for bitcoind");
                self.files.remove(&block);
            }
        }
    }

    fn is_queued(&self, id: ShareId) -> bool {
        self.queue.iter().any(|queued| queued.block.id == id)
    }

    /// Writes a block to disk and adds it to the queue.
    fn enqueue(&mut self, block: BlockSummary, bytes: Vec<u8>) {
        self.own.update(&block, None);
        let written = self.files.write(&block, &bytes);
        if let Err(error) = &written {
            error!("{block} cannot be written to disk, submitting it from memory: {error}");
        }
        self.queue.push(QueuedBlock {
            block,
            bytes: Some(bytes),
            is_on_disk: written.is_ok(),
            failures: 0,
            due: Instant::now(),
        });
    }

    /// Submits the most urgent block that is due: own ones first, then the one with the fewest tries, then the one due first,
    /// then the lowest.
    /// Returns whether bitcoind responded.
    fn submit_next(&mut self) -> bool {
        let now = Instant::now();
        let due = self.queue.iter().enumerate().filter(|(_, queued)| queued.due <= now);
        let urgency = |(_, queued): &(usize, &QueuedBlock)| {
            (queued.block.finder, queued.failures, queued.due, queued.block.height)
        };
        let Some((index, _)) = due.min_by_key(urgency) else { return false };
        let mut queued = self.queue.swap_remove(index);
        let block = queued.block;
        match self.submit(&mut queued) {
            SubmitResult::Retry(reason) => {
                self.counters_of(block.finder).failed.inc();
                self.schedule_retry(queued, reason);
                return false;
            }
            SubmitResult::Rejected(reason) => {
                error!("{block} rejected by bitcoind: {reason}");
                self.counters_of(block.finder).rejected.inc();
                self.files.reject(&block);
                self.own.update(&block, Some(SubmitOutcome::Rejected(reason)));
            }
            accepted => {
                match accepted {
                    SubmitResult::NotBest => warn!("{block} is valid, but another block came first"),
                    SubmitResult::Known => info!("{block} already known to bitcoind: {}", block.value),
                    _ => info!("{block} accepted by bitcoind: {}", block.value),
                }
                self.counters_of(block.finder).accepted.inc();
                self.files.remove(&block);
                self.own.update(&block, Some(SubmitOutcome::Accepted));
            }
        }
        true
    }

    /// Submits a block once.
    fn submit(&mut self, queued: &mut QueuedBlock) -> SubmitResult {
        let bytes = match queued.bytes.take() {
            Some(bytes) => bytes,
            None => match self.files.read(&queued.block) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return SubmitResult::Rejected("its file was removed".to_owned());
                }
                Err(error) => return SubmitResult::Retry(format!("its file cannot be read: {error}")),
            },
        };
        let response =
            self.bitcoind.call(Method::SubmitBlock, json!([bytes.to_lower_hex_string()]), ResponseLimits::BLOCK);
        if !queued.is_on_disk {
            queued.bytes = Some(bytes);
        }
        submit_result(response)
    }

    /// Puts a block back into the queue, to be tried again later.
    fn schedule_retry(&mut self, mut queued: QueuedBlock, reason: String) {
        let block = queued.block;
        let wait = RETRY_WAITS.get(queued.failures).copied().unwrap_or(LATER_WAIT);
        queued.failures += 1;
        queued.due = Instant::now() + wait;
        match queued.failures {
            1 => warn!("{block} not submitted yet, retrying: {reason}"),
            failures if failures % FAILURES_PER_LINE == FAILURES_KEPT => {
                let place = if queued.is_on_disk { "on disk" } else { "in memory only" };
                let retry_s = LATER_WAIT.as_secs();
                error!("{block} not submitted, kept {place}, retrying every {retry_s} s: {reason}");
            }
            _ => debug!("{block} not submitted yet: {reason}"),
        }
        self.own.update(&block, Some(SubmitOutcome::Failed(reason)));
        self.queue.push(queued);
    }

    fn counters_of(&self, finder: Finder) -> &SubmitCounters {
        match finder {
            Finder::Own => &self.metrics.own_blocks,
            Finder::Peer => &self.metrics.peer_blocks,
        }
    }
}

/// The published status of own blocks.
#[derive(Default)]
struct OwnBlocks(Arc<ArcSwap<OwnBlocksStatus>>);

impl OwnBlocks {
    /// Publishes the outcome of a block if it is an own one; `None` keeps an earlier outcome.
    fn update(&self, block: &BlockSummary, outcome: Option<SubmitOutcome>) {
        let BlockSummary { id, finder, time, height, value } = *block;
        if finder != Finder::Own {
            return;
        }
        let mut blocks = self.0.load().blocks.clone();
        match blocks.iter_mut().find(|known| known.id == id) {
            Some(known) => known.outcome = outcome.or(known.outcome.take()),
            None => {
                let queued = UnixTime::from(SystemTime::now());
                blocks.push(OwnBlock { id, time, height, value, queued, outcome });
            }
        }
        while blocks.len() > OWN_BLOCKS_MAX {
            // A block that bitcoind has not accepted yet is kept longest.
            let is_done = |block: &OwnBlock| !matches!(block.outcome, None | Some(SubmitOutcome::Failed(_)));
            blocks.remove(blocks.iter().position(is_done).unwrap_or(0));
        }
        self.0.store(Arc::new(OwnBlocksStatus { blocks }));
    }
}

/// Returns the time in a header.
fn header_time(header: &[u8; 80]) -> UnixTime {
    let [.., a, b, c, d, _, _, _, _, _, _, _, _] = *header;
    UnixTime(u32::from_le_bytes([a, b, c, d]))
}

/// Interprets the response to `submitblock` (BIP-0022, and bitcoind's strings beyond it).
fn submit_result(response: Result<Option<String>, BitcoindError>) -> SubmitResult {
    match response {
        Ok(None) => SubmitResult::Accepted,
        Ok(Some(reason)) => match reason.as_str() {
            "duplicate" | "duplicate-inconclusive" => SubmitResult::Known,
            // Stored with valid header and work, but not connected: not on the best chain.
            "inconclusive" => SubmitResult::NotBest,
            // bitcoind has lost its newest blocks in a crash, and will get them again.
            "prev-blk-not-found" => SubmitResult::Retry(reason),
            // The header is more than two hours ahead of bitcoind's clock. bitcoind marks nothing invalid and accepts the
            // block later, or when its clock is corrected (its `validation.cpp`: `BLOCK_TIME_FUTURE`).
            "time-too-new" => SubmitResult::Retry(reason),
            _ => SubmitResult::Rejected(reason),
        },
        Err(BitcoindError::Rpc { code: DESERIALIZATION_ERROR, message }) => SubmitResult::Rejected(message),
        Err(error) => SubmitResult::Retry(format!("bitcoind {error}")),
    }
}

#[cfg(test)]
mod tests {
    use p2pool_core::units::Sats;

    use super::*;

    fn block(number: u8) -> BlockSummary {
        BlockSummary {
            id: ShareId([number; 32]),
            finder: Finder::Own,
            time: UnixTime(1),
            height: BlockHeight(number.into()),
            value: Sats(1),
        }
    }

    #[test]
    fn blocks_without_a_response_stay_in_the_status_longest() {
        let own = OwnBlocks::default();
        let most = u8::try_from(OWN_BLOCKS_MAX).unwrap();
        own.update(&block(0), Some(SubmitOutcome::Failed("why".to_owned())));
        own.update(&block(1), None);
        for number in 2..2 * most {
            own.update(&block(number), Some(SubmitOutcome::Accepted));
        }
        let blocks = own.0.load_full().blocks.clone();
        let heights: Vec<u32> = blocks.iter().map(|block| block.height.0).collect();
        let newest = u32::from(most) + 2..2 * u32::from(most);
        assert_eq!(heights, [0, 1].into_iter().chain(newest).collect::<Vec<_>>());
        // A later outcome replaces the failure.
        own.update(&block(0), Some(SubmitOutcome::Accepted));
        assert_eq!(own.0.load().blocks[0].outcome, Some(SubmitOutcome::Accepted));
    }
}
