//! The log of Bitcoin blocks that the pool found. It outlives the shares, which are pruned.
//!
//! Blocks come from the sharechain, and those of this node's miners also from block submission, because not every block
//! is a share. The file holds one JSON object per line: a found block, or a change of its status. Lines are only
//! appended, so a crash can tear only the last one.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use p2pool_core::params::Network;
use p2pool_core::share::{PayoutScript, ShareId};
use p2pool_core::sharechain::{LinkedShare, Tree};
use p2pool_core::status::{BlockStatus, BlocksStatus, OwnBlock, OwnBlocksStatus, SubmitOutcome, TrackedBlocks};
use p2pool_core::units::UnixTime;
use serde::{Deserialize, Serialize};

use crate::snapshot::{is_block, parse_id};

/// Most blocks in the log: those of years on mainnet, and of a day on regtest, where every share may be a block.
const BLOCKS_MAX: usize = 1_000;
/// A longer file is rewritten with the blocks of the log when it is opened.
const LINES_MAX: usize = 4 * BLOCKS_MAX;
/// Most blocks whose confirmations are tracked: each costs bitcoind a request now and then.
const TRACKED_MAX: usize = 100;
/// Seconds without a response of bitcoind after which an own block counts as not accepted. The validation of a block takes
/// seconds, on a small computer with a cold cache some more.
const RESPONSE_TIME_MAX_S: u32 = 30;
/// Seconds for which a rejected block is a problem: until an operator has looked.
const REJECTED_S: u32 = 86_400;
/// Confirmations after which a coinbase can be spent (`COINBASE_MATURITY`); such blocks are no longer tracked.
pub const COINBASE_MATURITY: u32 = 100;
const FILE: &str = "blocks.jsonl";
const NEW_FILE: &str = "blocks.jsonl.new";

/// A found block.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockRecord {
    /// The block's hash, which is also the id of its share.
    pub id: ShareId,
    /// Time of its header, in Unix seconds.
    pub time: u32,
    /// What is known since it was found.
    pub details: BlockDetails,
    /// Its last known status.
    pub status: Option<BlockStatus>,
    /// Why bitcoind rejected it, if it did.
    pub reject_reason: Option<String>,
}

/// What is known of a block when it is found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlockDetails {
    /// Height of the block.
    pub block_height: u32,
    /// Height of its share; `None` unless it is known to be a share.
    pub share_height: Option<u32>,
    /// Address of the miner who found it.
    pub miner: String,
    /// Whether that is this node's payout address.
    pub ours: bool,
    /// Value of its coinbase in satoshis.
    pub coinbase_value: u64,
}

/// A block of this node's miners that bitcoind has not accepted, although it should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockNotAccepted {
    /// The block's hash.
    pub id: ShareId,
    /// Height of the block.
    pub height: u32,
    /// When it was found, or loaded from disk at the start.
    pub queued: UnixTime,
    /// Why the last attempt failed, or why it is rejected.
    pub reason: String,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
struct Line {
    hash: String,
    #[serde(flatten)]
    event: LineEvent,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum LineEvent {
    Found {
        time: u32,
        #[serde(flatten)]
        details: BlockDetails,
    },
    Confirmed {
        confirmations: u32,
    },
    Orphaned,
    Rejected {
        reason: String,
    },
}

/// The log of found blocks, in memory and on disk.
pub struct BlockLog {
    /// In ascending order of block height, then time.
    blocks: Vec<BlockRecord>,
    /// Ids of all blocks, and whether each is known to be a share.
    known: HashMap<ShareId, bool>,
    /// The last status that block submission published.
    own: Arc<OwnBlocksStatus>,
    /// Open for appending; `None` after an error.
    file: Option<File>,
    path: PathBuf,
}

impl BlockLog {
    /// Reads the log from a folder. If the file cannot be used, the log is kept in memory only.
    pub fn open(dir: &Path) -> Self {
        let path = dir.join(FILE);
        let mut log = Self { blocks: Vec::new(), known: HashMap::new(), own: Arc::default(), file: None, path };
        if let Err(error) = log.load(dir) {
            log::warn!("cannot store found blocks: {}: {error}", log.path.display());
        }
        log
    }

    fn load(&mut self, dir: &Path) -> io::Result<()> {
        let text = match fs::read(&self.path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        for line in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
            self.apply(line);
        }
        self.sort_and_trim();
        if text.lines().count() > LINES_MAX {
            self.rewrite(dir)?;
        }
        let mut options = OpenOptions::new();
        let mut file = options.append(true).create(true).mode(0o600).open(&self.path)?;
        if !text.is_empty() && !text.ends_with('\n') {
            // End a torn line, or the next one would be appended to it.
            file.write_all(b"\n")?;
        }
        self.file = Some(file);
        Ok(())
    }

    fn apply(&mut self, line: Line) {
        let Some(id) = parse_id(&line.hash) else { return };
        match line.event {
            LineEvent::Found { time, details } => self.insert(BlockRecord::new(id, time, details)),
            LineEvent::Rejected { reason } => self.update(&id, |block| block.reject_reason = Some(reason)),
            LineEvent::Confirmed { confirmations } => {
                self.update(&id, |block| block.status = Some(BlockStatus::Confirmed { confirmations }));
            }
            LineEvent::Orphaned => self.update(&id, |block| block.status = Some(BlockStatus::Orphaned)),
        }
    }

    fn update(&mut self, id: &ShareId, change: impl FnOnce(&mut BlockRecord)) {
        if let Some(block) = self.block_mut(id) {
            change(block);
        }
    }

    fn block_mut(&mut self, id: &ShareId) -> Option<&mut BlockRecord> {
        self.known.contains_key(id).then(|| self.blocks.iter_mut().find(|block| block.id == *id)).flatten()
    }

    /// Adds a block, or completes one that was known before its share.
    fn insert(&mut self, block: BlockRecord) {
        let is_share = block.details.share_height.is_some();
        match self.known.insert(block.id, is_share) {
            None => self.blocks.push(block),
            Some(was_share) => {
                self.known.insert(block.id, is_share || was_share);
                if let Some(known) = self.block_mut(&block.id).filter(|_| !was_share) {
                    known.details = block.details;
                }
            }
        }
    }

    /// Replaces the file by one that holds only the blocks of the log.
    fn rewrite(&self, dir: &Path) -> io::Result<()> {
        let new = dir.join(NEW_FILE);
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        let lines: Vec<Line> = self.blocks.iter().flat_map(lines_of).collect();
        file.write_all(text_of(&lines).as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &self.path)
    }

    /// Adds the shares of the tree that are Bitcoin blocks.
    pub fn add_from_sharechain(&mut self, tree: &Tree, our_script: &PayoutScript) {
        let network = tree.params().network;
        let mut new: Vec<BlockRecord> = tree
            .shares()
            .filter(|node| is_block(node) && self.known.get(&node.id) != Some(&true))
            .map(|node| record_of_share(node, network, our_script))
            .filter(|block| self.known.contains_key(&block.id) || self.has_room_for(block))
            .collect();
        new.sort_by_key(order);
        let surplus = new.len().saturating_sub(BLOCKS_MAX);
        new.drain(..surplus);
        let lines: Vec<Line> = new.iter().flat_map(lines_of).collect();
        new.into_iter().for_each(|block| self.insert(block));
        self.sort_and_trim();
        self.append(&lines);
    }

    /// Adds the blocks of this node's miners, which all pay to `address`, and whether bitcoind rejected them.
    pub fn add_own(&mut self, status: &Arc<OwnBlocksStatus>, address: &str) {
        if Arc::ptr_eq(&self.own, status) {
            return;
        }
        self.own = Arc::clone(status);
        let mut lines = Vec::new();
        for own in &status.blocks {
            let block = record_of_own(own, address);
            if !self.known.contains_key(&own.id) && self.has_room_for(&block) {
                lines.extend(lines_of(&block));
                self.insert(block);
            }
            let Some(SubmitOutcome::Rejected(reason)) = &own.outcome else { continue };
            if let Some(block) = self.block_mut(&own.id).filter(|block| block.reject_reason.is_none()) {
                block.reject_reason = Some(reason.clone());
                lines.extend(rejected_line(block));
            }
        }
        self.sort_and_trim();
        self.append(&lines);
    }

    /// Updates the status of blocks. Stores only final and exceptional ones: mature, orphaned, or orphaned no longer.
    pub fn update_statuses(&mut self, status: &BlocksStatus) {
        let mut lines = Vec::new();
        for block in &mut self.blocks {
            let Some(status) = status.blocks.get(&block.id) else { continue };
            let before = block.status;
            // A bitcoind that reindexes does not know any block for a while.
            if *status != BlockStatus::Unknown {
                block.status = Some(*status);
            }
            if is_mature(block.status) != is_mature(before) || is_orphaned(block.status) != is_orphaned(before) {
                lines.extend(status_line(block));
            }
        }
        self.append(&lines);
    }

    /// Returns the blocks whose confirmations are to be tracked, newest first.
    pub fn tracked(&self) -> TrackedBlocks {
        let open = self.blocks.iter().rev().filter(|block| !is_mature(block.status));
        TrackedBlocks(open.take(TRACKED_MAX).map(|block| block.id).collect())
    }

    /// Returns the own blocks in `status` that bitcoind has not accepted, oldest first. A block that it knows, because a peer
    /// has submitted it, is none of them.
    pub fn not_accepted(&self, status: &OwnBlocksStatus, now: UnixTime) -> Vec<BlockNotAccepted> {
        let is_known = |own: &OwnBlock| {
            let block = self.blocks.iter().find(|block| block.id == own.id);
            matches!(block.and_then(|block| block.status), Some(BlockStatus::Confirmed { .. } | BlockStatus::Orphaned))
        };
        let not_accepted = status.blocks.iter().filter_map(|own| {
            let reason = match &own.outcome {
                Some(SubmitOutcome::Failed(reason)) => reason.clone(),
                None if now.since(own.queued) > RESPONSE_TIME_MAX_S => "no response yet".to_owned(),
                _ => return None,
            };
            (!is_known(own)).then_some(BlockNotAccepted {
                id: own.id,
                height: own.height.0,
                queued: own.queued,
                reason,
            })
        });
        not_accepted.collect()
    }

    /// Returns the blocks of this node's miners that bitcoind has rejected within a day, oldest first.
    pub fn rejected(&self, now: UnixTime) -> Vec<BlockNotAccepted> {
        let is_recent = |block: &&BlockRecord| block.details.ours && now.since(UnixTime(block.time)) < REJECTED_S;
        let rejected = self.blocks.iter().filter(is_recent).filter_map(|block| {
            let reason = block.reject_reason.clone().filter(|_| !is_confirmed(block.status))?;
            let queued = UnixTime(block.time);
            Some(BlockNotAccepted { id: block.id, height: block.details.block_height, queued, reason })
        });
        rejected.collect()
    }

    /// Iterates over the blocks, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &BlockRecord> {
        self.blocks.iter().rev()
    }

    /// Returns the newest block that is not known to be rejected or orphaned.
    pub fn newest(&self) -> Option<&BlockRecord> {
        self.newest_first().find(|block| match block.status {
            Some(BlockStatus::Confirmed { .. }) => true,
            Some(BlockStatus::Orphaned) => false,
            _ => block.reject_reason.is_none(),
        })
    }

    /// Returns the greatest height of Bitcoin's tip that follows from the confirmations of any block.
    pub fn tip_height(&self) -> Option<u32> {
        let tip = |block: &BlockRecord| match block.status {
            Some(BlockStatus::Confirmed { confirmations }) => {
                Some(block.details.block_height.saturating_add(confirmations.saturating_sub(1)))
            }
            _ => None,
        };
        self.blocks.iter().filter_map(tip).max()
    }

    /// Number of blocks in the log.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    fn has_room_for(&self, block: &BlockRecord) -> bool {
        self.blocks.len() < BLOCKS_MAX || self.blocks.first().is_some_and(|oldest| order(oldest) < order(block))
    }

    fn sort_and_trim(&mut self) {
        self.blocks.sort_by_key(order);
        let surplus = self.blocks.len().saturating_sub(BLOCKS_MAX);
        for block in self.blocks.drain(..surplus) {
            self.known.remove(&block.id);
        }
    }

    /// Appends lines to the file. After the first error nothing more is stored, and it is logged only once.
    fn append(&mut self, lines: &[Line]) {
        let Some(file) = self.file.as_mut().filter(|_| !lines.is_empty()) else { return };
        if let Err(error) = file.write_all(text_of(lines).as_bytes()).and_then(|()| file.sync_data()) {
            log::warn!("found blocks are no longer stored: {}: {error}", self.path.display());
            self.file = None;
        }
    }
}

impl BlockRecord {
    const fn new(id: ShareId, time: u32, details: BlockDetails) -> Self {
        Self { id, time, details, status: None, reject_reason: None }
    }
}

fn record_of_share(share: &LinkedShare, network: Network, our_script: &PayoutScript) -> BlockRecord {
    let info = &share.share.info;
    let details = BlockDetails {
        block_height: info.block_height.0,
        share_height: Some(info.share_height.0),
        miner: info.payout_script.to_address(network),
        ours: info.payout_script == *our_script,
        coinbase_value: info.coinbase_value.0,
    };
    BlockRecord::new(share.id, share.share.header.time, details)
}

fn record_of_own(own: &OwnBlock, address: &str) -> BlockRecord {
    let details = BlockDetails {
        block_height: own.height.0,
        share_height: None,
        miner: address.to_owned(),
        ours: true,
        coinbase_value: own.value.0,
    };
    BlockRecord::new(own.id, own.time.0, details)
}

fn order(block: &BlockRecord) -> (u32, u32, ShareId) {
    (block.details.block_height, block.time, block.id)
}

const fn is_orphaned(status: Option<BlockStatus>) -> bool {
    matches!(status, Some(BlockStatus::Orphaned))
}

const fn is_confirmed(status: Option<BlockStatus>) -> bool {
    matches!(status, Some(BlockStatus::Confirmed { .. }))
}

const fn is_mature(status: Option<BlockStatus>) -> bool {
    matches!(status, Some(BlockStatus::Confirmed { confirmations }) if confirmations >= COINBASE_MATURITY)
}

fn lines_of(block: &BlockRecord) -> impl Iterator<Item = Line> {
    let event = LineEvent::Found { time: block.time, details: block.details.clone() };
    let found = Line { hash: block.id.to_string(), event };
    [Some(found), status_line(block), rejected_line(block)].into_iter().flatten()
}

fn rejected_line(block: &BlockRecord) -> Option<Line> {
    let reason = block.reject_reason.clone()?;
    Some(Line { hash: block.id.to_string(), event: LineEvent::Rejected { reason } })
}

fn status_line(block: &BlockRecord) -> Option<Line> {
    let event = match block.status {
        Some(BlockStatus::Confirmed { confirmations }) => LineEvent::Confirmed { confirmations },
        Some(BlockStatus::Orphaned) => LineEvent::Orphaned,
        _ => return None,
    };
    Some(Line { hash: block.id.to_string(), event })
}

fn text_of(lines: &[Line]) -> String {
    // Serialisation fails only for maps whose keys are not strings, and there are none.
    lines.iter().filter_map(|line| serde_json::to_string(line).ok()).map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests;
