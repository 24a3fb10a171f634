//! Found blocks on disk, from before the first try to submit one until bitcoind has answered.
//!
//! A file is named by its block's hash and holds the block as bitcoind serialises it. `<hash>.block` waits for an answer,
//! and so does `<hash>.peerblock`, which another node found; with `.part` behind it is being written; `<hash>.rejected` was
//! refused, or its header does not belong to the rest, and is kept to be looked at. By hand: `xxd -p <hash>.block | tr -d '\n' | bitcoin-cli -stdin submitblock`.

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

/// What a file has behind it while it is written.
const WRITING: &str = ".part";
const REJECTED: &str = "rejected";
/// Refused blocks kept: a refusal is a fault of this program or of bitcoind, and one example of each is enough.
const REJECTED_MAX: usize = 16;

/// Whose miner found a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Finder {
    /// One of this node.
    Own,
    /// Another node's.
    Peer,
}

impl Finder {
    /// What a waiting file's name ends with.
    const fn extension(self) -> &'static str {
        match self {
            Self::Own => "block",
            Self::Peer => "peerblock",
        }
    }
}

/// The facts of a found block that logs and onlookers want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockSummary {
    /// The block's hash.
    pub(crate) id: ShareId,
    /// Who found it.
    pub(crate) finder: Finder,
    /// Its header's time.
    pub(crate) time: UnixTime,
    /// Its height.
    pub(crate) height: BlockHeight,
    /// What its coinbase pays out.
    pub(crate) value: Sats,
}

impl BlockSummary {
    /// Reads them from a serialised block; `None` if it is none.
    pub(crate) fn of(bytes: &[u8], finder: Finder) -> Option<Self> {
        let block: Block = deserialize(bytes).ok()?;
        let coinbase = block.txdata.first()?;
        Some(Self {
            id: ShareId(block.block_hash().to_byte_array()),
            finder,
            time: UnixTime(block.header.time),
            // BIP-0054, which every coinbase of ours keeps (rules, section 4).
            height: BlockHeight(coinbase.lock_time.to_consensus_u32().saturating_add(1)),
            value: Sats(coinbase.output.iter().fold(0, |sum, output| sum.saturating_add(output.value.to_sat()))),
        })
    }
}

/// The folder.
#[derive(Debug)]
pub(crate) struct BlockFiles {
    dir: PathBuf,
}

impl BlockFiles {
    /// Makes the folder if it is missing.
    pub(crate) fn open(dir: &Path) -> Result<Self, RpcError> {
        let failed = |source| RpcError::BlocksDir { path: dir.to_owned(), source };
        fs::create_dir_all(dir).map_err(failed)?;
        fs::read_dir(dir).map_err(failed)?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Blocks that wait since an earlier run, lowest first: a parent before its child.
    ///
    /// A file that was being written when the process ended counts if it is whole, and goes if it is not.
    pub(crate) fn waiting(&self) -> Vec<BlockSummary> {
        let mut found: Vec<BlockSummary> = Vec::new();
        for path in self.files() {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let whole = name.strip_suffix(WRITING);
            let is_part = whole.is_some();
            let extension = whole.unwrap_or(name).rsplit_once('.').map(|(_, extension)| extension);
            let Some(finder) = [Finder::Own, Finder::Peer].into_iter().find(|one| extension == Some(one.extension()))
            else {
                continue;
            };
            let summary = fs::read(&path).ok().and_then(|bytes| BlockSummary::of(&bytes, finder));
            match summary.filter(|block| path == if is_part { self.part(block) } else { self.path(block) }) {
                Some(summary) if is_part => {
                    // Lost again if the rename is not: the block is then submitted from this run only.
                    match fs::rename(&path, self.path(&summary)) {
                        Ok(()) => found.push(summary),
                        Err(error) => error!("found block {}: {error}", path.display()),
                    }
                }
                Some(summary) => found.push(summary),
                None if is_part => {
                    warn!("{} holds no whole block and is removed", path.display());
                    drop(fs::remove_file(&path));
                }
                None => error!("{} holds no block of that name and is left alone", path.display()),
            }
        }
        // Of one that is there as both kinds the own one stays.
        found.sort_by_key(|summary| (summary.height, summary.id, summary.finder));
        found.dedup_by_key(|summary| summary.id);
        found
    }

    /// Writes a block so that it survives a loss of power, or fails.
    pub(crate) fn write(&self, block: &BlockSummary, bytes: &[u8]) -> io::Result<()> {
        let part = self.part(block);
        let written = File::create(&part).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        let renamed = written.and_then(|()| fs::rename(&part, self.path(block)));
        if renamed.is_err() {
            // Half a block on a full disk helps nobody.
            drop(fs::remove_file(&part));
        }
        renamed?;
        self.sync_folder()
    }

    /// A block written before.
    pub(crate) fn read(&self, block: &BlockSummary) -> io::Result<Vec<u8>> {
        fs::read(self.path(block))
    }

    /// bitcoind has it.
    pub(crate) fn remove(&self, block: &BlockSummary) {
        let path = self.path(block);
        match fs::remove_file(&path).and_then(|()| self.sync_folder()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                warn!("{}: {error}; the block is taken, but will be submitted again at the next start", path.display())
            }
            _ => {}
        }
    }

    /// bitcoind refuses it: kept under another name, the oldest such file makes room.
    pub(crate) fn reject(&self, block: &BlockSummary) {
        let path = self.path(block);
        match fs::rename(&path, self.named(block.id, REJECTED)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => warn!("{}: {error}", path.display()),
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
            error!("the folder for found blocks, {}: {error}", self.dir.display());
            Vec::new()
        })
    }

    fn path(&self, block: &BlockSummary) -> PathBuf {
        self.named(block.id, block.finder.extension())
    }

    /// Where it is until it is whole.
    fn part(&self, block: &BlockSummary) -> PathBuf {
        self.named(block.id, &format!("{}{WRITING}", block.finder.extension()))
    }

    fn named(&self, id: ShareId, extension: &str) -> PathBuf {
        self.dir.join(format!("{}.{extension}", BlockHash::from_byte_array(id.0)))
    }

    /// Makes a rename or removal survive a loss of power.
    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }
}

#[cfg(test)]
mod tests;
