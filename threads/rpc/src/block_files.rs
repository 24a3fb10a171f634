//! Found blocks on disk, from before the first submission until bitcoind has responded.
//!
//! A file is named by its block's hash and holds the block in Bitcoin's serialisation. `<hash>.block` waits for a response;
//! so does `<hash>.peerblock`, which another node found. `.part` at the end means that the file is being written.
//! `<hash>.rejected` was rejected, or could not be assembled, and is kept for inspection. To submit a block by hand:
//! `xxd -p <hash>.block | tr -d '\n' | bitcoin-cli -stdin submitblock`.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bitcoin::consensus::encode::deserialize;
use bitcoin::hashes::Hash as _;
use bitcoin::{Block, BlockHash};
use log::{error, warn};
use p2pool_core::share::ShareId;
use p2pool_core::units::{BlockHeight, Sats, UnixTime};

use crate::error::RpcError;

/// Suffix of a file that is being written.
const PART_SUFFIX: &str = ".part";
/// Extension of a rejected block.
const REJECTED: &str = "rejected";
/// Most rejected blocks kept. A rejection is a bug of this program or of bitcoind, and a few examples are enough.
const REJECTED_MAX: usize = 16;

/// Who found a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Finder {
    /// A miner of this node.
    Own,
    /// Another node.
    Peer,
}

impl Finder {
    /// Extension of a waiting file.
    const fn extension(self) -> &'static str {
        match self {
            Self::Own => "block",
            Self::Peer => "peerblock",
        }
    }
}

/// Facts of a found block for the log and the published status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockSummary {
    /// The block's hash.
    pub(crate) id: ShareId,
    /// Who found the block.
    pub(crate) finder: Finder,
    /// Time in the header.
    pub(crate) time: UnixTime,
    /// Height of the block.
    pub(crate) height: BlockHeight,
    /// Sum of the coinbase outputs.
    pub(crate) value: Sats,
}

impl BlockSummary {
    /// Reads the facts from a serialised block; `None` if it is invalid.
    pub(crate) fn of(bytes: &[u8], finder: Finder) -> Option<Self> {
        let block: Block = deserialize(bytes).ok()?;
        let coinbase = block.txdata.first()?;
        Some(Self {
            id: ShareId(block.block_hash().to_byte_array()),
            finder,
            time: UnixTime(block.header.time),
            // BIP-0054, which all coinbases of the sharechain follow (rules, section 4).
            height: BlockHeight(coinbase.lock_time.to_consensus_u32().saturating_add(1)),
            value: Sats(coinbase.output.iter().fold(0, |sum, output| sum.saturating_add(output.value.to_sat()))),
        })
    }
}

impl fmt::Display for BlockSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block {} at height {}", self.id, self.height)
    }
}

/// The directory for found blocks.
#[derive(Debug)]
pub(crate) struct BlockFiles {
    dir: PathBuf,
}

impl BlockFiles {
    /// Creates the directory if it does not exist.
    pub(crate) fn open(dir: &Path) -> Result<Self, RpcError> {
        let failed = |source| RpcError::BlocksDir { path: dir.to_owned(), source };
        fs::create_dir_all(dir).map_err(failed)?;
        fs::read_dir(dir).map_err(failed)?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Returns the blocks that wait since an earlier run, lowest first: a parent before its child.
    ///
    /// A `.part` file counts if the block in it is complete, and is removed if not.
    pub(crate) fn waiting(&self) -> Vec<BlockSummary> {
        let mut found: Vec<BlockSummary> = Vec::new();
        for path in self.files() {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let complete = name.strip_suffix(PART_SUFFIX);
            let is_part = complete.is_some();
            let extension = complete.unwrap_or(name).rsplit_once('.').map(|(_, extension)| extension);
            let Some(finder) =
                [Finder::Own, Finder::Peer].into_iter().find(|finder| extension == Some(finder.extension()))
            else {
                continue;
            };
            let summary = fs::read(&path).ok().and_then(|bytes| BlockSummary::of(&bytes, finder));
            match summary.filter(|block| path == if is_part { self.part(block) } else { self.path(block) }) {
                Some(summary) if is_part => {
                    // If the rename is lost in a power failure, this run submits the block all the same.
                    match fs::rename(&path, self.path(&summary)) {
                        Ok(()) => found.push(summary),
                        Err(error) => error!("cannot rename found block {}: {error}", path.display()),
                    }
                }
                Some(summary) => found.push(summary),
                None if is_part => {
                    warn!("removed {}: the block in it is incomplete", path.display());
                    drop(fs::remove_file(&path));
                }
                None => error!("ignoring {}: it does not contain the block of its name", path.display()),
            }
        }
        // If a block has both kinds of file, the own one counts.
        found.sort_by_key(|summary| (summary.height, summary.id, summary.finder));
        found.dedup_by_key(|summary| summary.id);
        found
    }

    /// Writes a block durably.
    pub(crate) fn write(&self, block: &BlockSummary, bytes: &[u8]) -> io::Result<()> {
        let part = self.part(block);
        let written = File::create(&part).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        let renamed = written.and_then(|()| fs::rename(&part, self.path(block)));
        if renamed.is_err() {
            // The disk may be full.
            drop(fs::remove_file(&part));
        }
        renamed?;
        self.sync_dir()
    }

    /// Reads a block written before.
    pub(crate) fn read(&self, block: &BlockSummary) -> io::Result<Vec<u8>> {
        fs::read(self.path(block))
    }

    /// Removes a block that bitcoind has.
    pub(crate) fn remove(&self, block: &BlockSummary) {
        let path = self.path(block);
        match fs::remove_file(&path).and_then(|()| self.sync_dir()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                warn!(
                    "cannot remove {}: {error}; the accepted block will be submitted again at the next start",
                    path.display()
                )
            }
            _ => {}
        }
    }

    /// Marks a block as rejected; removes the oldest rejected block if there are too many.
    pub(crate) fn reject(&self, block: &BlockSummary) {
        let path = self.path(block);
        match fs::rename(&path, self.named(block.id, REJECTED)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => warn!("cannot rename {}: {error}", path.display()),
            _ => {}
        }
        let age =
            |path: &PathBuf| fs::metadata(path).and_then(|data| data.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        let mut rejected: Vec<PathBuf> = self.files();
        rejected.retain(|path| path.extension().is_some_and(|extension| extension == REJECTED));
        rejected.sort_by_cached_key(age);
        let excess = rejected.len().saturating_sub(REJECTED_MAX);
        for path in rejected.into_iter().take(excess) {
            drop(fs::remove_file(path));
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.dir).map(|entries| entries.flatten().map(|entry| entry.path()).collect());
        entries.unwrap_or_else(|error| {
            error!("cannot read the directory for found blocks, {}: {error}", self.dir.display());
            Vec::new()
        })
    }

    fn path(&self, block: &BlockSummary) -> PathBuf {
        self.named(block.id, block.finder.extension())
    }

    /// Path of the file while it is written.
    fn part(&self, block: &BlockSummary) -> PathBuf {
        self.named(block.id, &format!("{}{PART_SUFFIX}", block.finder.extension()))
    }

    fn named(&self, id: ShareId, extension: &str) -> PathBuf {
        self.dir.join(format!("{}.{extension}", BlockHash::from_byte_array(id.0)))
    }

    /// Makes a rename or removal durable.
    fn sync_dir(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }
}

#[cfg(test)]
mod tests;
