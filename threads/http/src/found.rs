//! Bitcoin blocks that the pool found: read off the sharechain, and those of this node's miners from where they are handed
//! to bitcoind, for not every block is a share. Kept on disk for longer than shares are.
//!
//! The file has a JSON object in each line, a block when it is found or what became of one: lines are only ever added,
//! so a crash can tear the last one and no other.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use p2pool_core::params::Network;
use p2pool_core::share::{PayoutScript, ShareId};
use p2pool_core::sharechain::{LinkedShare, Tree};
use p2pool_core::status::{BlockFate, BlocksStatus, OwnBlock, OwnBlocksStatus, SubmitOutcome, WatchedBlocks};
use serde::{Deserialize, Serialize};

use crate::view::{is_block, parse_id};

/// Blocks remembered: on mainnet those of years, on regtest, where every share may be one, of a day.
const BLOCKS_MAX: usize = 1_000;
/// A file of more lines is written anew with the blocks that are remembered.
const LINES_MAX: usize = 4 * BLOCKS_MAX;
/// Blocks that bitcoind is asked about: each costs it a small question now and then.
const WATCHED_MAX: usize = 100;
/// Bitcoin's own rule for when a coinbase may be spent: nobody expects such a block to go.
pub const MATURE: u32 = 100;
const FILE: &str = "blocks.jsonl";
const NEW_FILE: &str = "blocks.jsonl.new";

/// A found block.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundBlock {
    /// The block's hash, which is its share's id as well.
    pub id: ShareId,
    /// Its header's time.
    pub time: u32,
    /// The rest.
    pub facts: Facts,
    /// What was last heard of it.
    pub fate: Option<BlockFate>,
    /// Why bitcoind refused it, if it did.
    pub refusal: Option<String>,
}

/// What is known of a block when it is found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Height of the block.
    pub block_height: u32,
    /// Height of its share; none while it is not known to be one.
    pub share_height: Option<u32>,
    /// Who found it.
    pub miner: String,
    /// Whether that is this node's address.
    pub ours: bool,
    /// What its coinbase pays out.
    pub coinbase_value: u64,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
struct Line {
    hash: String,
    #[serde(flatten)]
    event: Event,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Event {
    Found {
        time: u32,
        #[serde(flatten)]
        facts: Facts,
    },
    Confirmed {
        confirmations: u32,
    },
    Orphaned,
    Rejected {
        reason: String,
    },
}

/// All that are remembered.
pub struct Found {
    /// Oldest first, by height, then time.
    blocks: Vec<FoundBlock>,
    /// All of them, and whether their shares are known.
    known: HashMap<ShareId, bool>,
    /// What rpc/submit last published.
    own: Arc<OwnBlocksStatus>,
    /// Appended to; none if it cannot be used.
    file: Option<File>,
    path: PathBuf,
}

impl Found {
    /// Reads what an earlier run stored. A file that cannot be used is done without.
    pub fn open(dir: &Path) -> Self {
        let path = dir.join(FILE);
        let mut found = Self { blocks: Vec::new(), known: HashMap::new(), own: Arc::default(), file: None, path };
        if let Err(error) = found.load(dir) {
            log::warn!("{}: {error}; found blocks are not stored", found.path.display());
        }
        found
    }

    fn load(&mut self, dir: &Path) -> io::Result<()> {
        let text = match fs::read(&self.path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        for line in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
            self.take_line(line);
        }
        self.tidy();
        if text.lines().count() > LINES_MAX {
            self.rewrite(dir)?;
        }
        let mut options = OpenOptions::new();
        let mut file = options.append(true).create(true).mode(0o600).open(&self.path)?;
        if !text.is_empty() && !text.ends_with('\n') {
            // The torn line must not swallow the next one.
            file.write_all(b"\n")?;
        }
        self.file = Some(file);
        Ok(())
    }

    fn take_line(&mut self, line: Line) {
        let Some(id) = parse_id(&line.hash) else { return };
        let fate = match line.event {
            Event::Found { time, facts } => return self.put(FoundBlock { id, time, facts, fate: None, refusal: None }),
            Event::Rejected { reason } => {
                if let Some(block) = self.block_mut(&id) {
                    block.refusal = Some(reason);
                }
                return;
            }
            Event::Confirmed { confirmations } => BlockFate::Confirmed { confirmations },
            Event::Orphaned => BlockFate::Orphaned,
        };
        if let Some(block) = self.block_mut(&id) {
            block.fate = Some(fate);
        }
    }

    fn block_mut(&mut self, id: &ShareId) -> Option<&mut FoundBlock> {
        self.known.contains_key(id).then(|| self.blocks.iter_mut().find(|block| block.id == *id)).flatten()
    }

    /// Puts in a new block, or the facts of one that was known before its share was.
    fn put(&mut self, block: FoundBlock) {
        let is_share = block.facts.share_height.is_some();
        match self.known.insert(block.id, is_share) {
            None => self.blocks.push(block),
            Some(was_share) => {
                self.known.insert(block.id, is_share || was_share);
                if let Some(known) = self.block_mut(&block.id).filter(|_| !was_share) {
                    known.facts = block.facts;
                }
            }
        }
    }

    /// Writes a file of the remembered blocks and puts it in the old one's place.
    fn rewrite(&self, dir: &Path) -> io::Result<()> {
        let new = dir.join(NEW_FILE);
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        let lines: Vec<Line> = self.blocks.iter().flat_map(lines_of).collect();
        file.write_all(text_of(&lines).as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &self.path)
    }

    /// Looks for blocks among the shares.
    pub fn look_at(&mut self, tree: &Tree, our_script: &PayoutScript) {
        let network = tree.params().network;
        let mut new: Vec<FoundBlock> = tree
            .shares()
            .filter(|node| is_block(node) && self.known.get(&node.id) != Some(&true))
            .map(|node| block_of(node, network, our_script))
            .filter(|block| self.known.contains_key(&block.id) || self.has_room_for(block))
            .collect();
        new.sort_by_key(order);
        let surplus = new.len().saturating_sub(BLOCKS_MAX);
        new.drain(..surplus);
        let lines: Vec<Line> = new.iter().flat_map(lines_of).collect();
        new.into_iter().for_each(|block| self.put(block));
        self.tidy();
        self.append(&lines);
    }

    /// Takes what rpc/submit says of blocks of this node, all of which pay its miners at `address`.
    pub fn take_own(&mut self, status: &Arc<OwnBlocksStatus>, address: &str) {
        if Arc::ptr_eq(&self.own, status) {
            return;
        }
        self.own = Arc::clone(status);
        let mut lines = Vec::new();
        for own in &status.blocks {
            let block = own_block(own, address);
            if !self.known.contains_key(&own.id) && self.has_room_for(&block) {
                lines.extend(lines_of(&block));
                self.put(block);
            }
            let Some(SubmitOutcome::Rejected(reason)) = &own.outcome else { continue };
            if let Some(block) = self.block_mut(&own.id).filter(|block| block.refusal.is_none()) {
                block.refusal = Some(reason.clone());
                lines.extend(refusal_line(block));
            }
        }
        self.tidy();
        self.append(&lines);
    }

    /// Takes bitcoind's word, and keeps what will not change any more, or matters.
    pub fn hear(&mut self, status: &BlocksStatus) {
        let mut lines = Vec::new();
        for block in &mut self.blocks {
            let Some(fate) = status.fates.get(&block.id) else { continue };
            let before = block.fate;
            // A bitcoind that is rebuilt knows nothing for a while.
            if *fate != BlockFate::Unknown {
                block.fate = Some(*fate);
            }
            if is_mature(block.fate) != is_mature(before) || is_orphaned(block.fate) != is_orphaned(before) {
                lines.extend(fate_line(block));
            }
        }
        self.append(&lines);
    }

    /// The blocks whose fate is open, newest first.
    pub fn watched(&self) -> WatchedBlocks {
        let open = self.blocks.iter().rev().filter(|block| !is_mature(block.fate));
        WatchedBlocks(open.take(WATCHED_MAX).map(|block| block.id).collect())
    }

    /// Newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &FoundBlock> {
        self.blocks.iter().rev()
    }

    /// The newest one that was neither refused nor orphaned, as far as is known.
    pub fn newest(&self) -> Option<&FoundBlock> {
        self.newest_first().find(|block| match block.fate {
            Some(BlockFate::Confirmed { .. }) => true,
            Some(BlockFate::Orphaned) => false,
            _ => block.refusal.is_none(),
        })
    }

    /// Height of Bitcoin's tip as the latest word on any block gives it.
    pub fn tip_height(&self) -> Option<u32> {
        let tip = |block: &FoundBlock| match block.fate {
            Some(BlockFate::Confirmed { confirmations }) => {
                Some(block.facts.block_height.saturating_add(confirmations.saturating_sub(1)))
            }
            _ => None,
        };
        self.blocks.iter().filter_map(tip).max()
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    fn has_room_for(&self, block: &FoundBlock) -> bool {
        self.blocks.len() < BLOCKS_MAX || self.blocks.first().is_some_and(|oldest| order(oldest) < order(block))
    }

    fn tidy(&mut self) {
        self.blocks.sort_by_key(order);
        let surplus = self.blocks.len().saturating_sub(BLOCKS_MAX);
        for block in self.blocks.drain(..surplus) {
            self.known.remove(&block.id);
        }
    }

    /// A failure is told once: the next failures would tell the same.
    fn append(&mut self, lines: &[Line]) {
        let Some(file) = self.file.as_mut().filter(|_| !lines.is_empty()) else { return };
        if let Err(error) = file.write_all(text_of(lines).as_bytes()).and_then(|()| file.sync_data()) {
            log::warn!("{}: {error}; found blocks are not stored any more", self.path.display());
            self.file = None;
        }
    }
}

fn block_of(node: &LinkedShare, network: Network, our_script: &PayoutScript) -> FoundBlock {
    let info = &node.share.info;
    let facts = Facts {
        block_height: info.block_height.0,
        share_height: Some(info.share_height.0),
        miner: info.payout_script.to_address(network),
        ours: info.payout_script == *our_script,
        coinbase_value: info.coinbase_value.0,
    };
    FoundBlock { id: node.id, time: node.share.header.time, facts, fate: None, refusal: None }
}

fn own_block(own: &OwnBlock, address: &str) -> FoundBlock {
    let facts = Facts {
        block_height: own.height.0,
        share_height: None,
        miner: address.to_owned(),
        ours: true,
        coinbase_value: own.value.0,
    };
    FoundBlock { id: own.id, time: own.time.0, facts, fate: None, refusal: None }
}

fn order(block: &FoundBlock) -> (u32, u32, ShareId) {
    (block.facts.block_height, block.time, block.id)
}

const fn is_orphaned(fate: Option<BlockFate>) -> bool {
    matches!(fate, Some(BlockFate::Orphaned))
}

/// Whether it is so deep that nobody asks any more.
const fn is_mature(fate: Option<BlockFate>) -> bool {
    matches!(fate, Some(BlockFate::Confirmed { confirmations }) if confirmations >= MATURE)
}

fn lines_of(block: &FoundBlock) -> impl Iterator<Item = Line> {
    let event = Event::Found { time: block.time, facts: block.facts.clone() };
    let found = Line { hash: block.id.to_string(), event };
    [Some(found), fate_line(block), refusal_line(block)].into_iter().flatten()
}

fn refusal_line(block: &FoundBlock) -> Option<Line> {
    let reason = block.refusal.clone()?;
    Some(Line { hash: block.id.to_string(), event: Event::Rejected { reason } })
}

fn fate_line(block: &FoundBlock) -> Option<Line> {
    let event = match block.fate {
        Some(BlockFate::Confirmed { confirmations }) => Event::Confirmed { confirmations },
        Some(BlockFate::Orphaned) => Event::Orphaned,
        _ => return None,
    };
    Some(Line { hash: block.id.to_string(), event })
}

fn text_of(lines: &[Line]) -> String {
    // Only maps with keys that are no strings cannot be written, and there are none.
    lines.iter().filter_map(|line| serde_json::to_string(line).ok()).map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests;
