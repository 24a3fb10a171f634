//! The hot path: a miner's answer to header and hash, on the stack, without allocation.

use std::fmt;
use std::ops::Range;

use bitcoin::hashes::{sha256, sha256d, Hash as _, HashEngine as _};

use super::Job;
use crate::share::coinbase::{fold_merkle_branch, Coinbase};
use crate::share::{header_hash, ShareId, EXTRANONCE_LEN};
use crate::units::Target;

// Where a header's fields stand.
const VERSION: Range<usize> = 0..4;
const PREV_BLOCK: Range<usize> = 4..36;
pub(super) const MERKLE_ROOT: Range<usize> = 36..68;
const TIME: Range<usize> = 68..72;
const BITS: Range<usize> = 72..76;
const NONCE: Range<usize> = 76..80;

/// SHA-256 of the coinbase up to the extranonce, to be gone on with for each answer.
#[derive(Clone)]
pub(super) struct CoinbaseMidstate(sha256::HashEngine);

impl CoinbaseMidstate {
    /// Hashes the part that all answers to a job share.
    pub fn new(coinbase: &Coinbase) -> Self {
        let mut engine = sha256::HashEngine::default();
        engine.input(&coinbase.prefix);
        Self(engine)
    }
}

impl fmt::Debug for CoinbaseMidstate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SHA-256 after {} bytes", self.0.n_bytes_hashed())
    }
}

/// What a miner sends back: the parts of the header that it chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submit {
    /// The server's part, then the miner's.
    pub extranonce: [u8; EXTRANONCE_LEN],
    /// The header's time.
    pub time: u32,
    /// The header's nonce.
    pub nonce: u32,
    /// The header's version, rolled bits included.
    pub version: i32,
}

/// An answer put together and hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashedHeader {
    /// The header.
    pub header: [u8; 80],
    /// The header's hash, as the hash function gave it.
    pub hash: [u8; 32],
}

impl HashedHeader {
    /// Whether the hash is at or below the target.
    pub fn meets(&self, target: &Target) -> bool {
        target.is_met_by(&self.hash)
    }

    /// The id of the share, and of the block, that this header is.
    pub fn id(&self) -> ShareId {
        ShareId(self.hash)
    }
}

impl Job {
    /// Rebuilds the header that the answer stands for and hashes it. Allocates nothing.
    ///
    /// What the answer may contain (times, version bits) is the session's to check.
    pub fn hash_header(&self, answer: &Submit) -> HashedHeader {
        let mut header = [0; 80];
        header[VERSION].copy_from_slice(&answer.version.to_le_bytes());
        header[PREV_BLOCK].copy_from_slice(self.prev_block.as_byte_array());
        header[MERKLE_ROOT].copy_from_slice(&self.merkle_root(&answer.extranonce));
        header[TIME].copy_from_slice(&answer.time.to_le_bytes());
        header[BITS].copy_from_slice(&self.bits.0.to_le_bytes());
        header[NONCE].copy_from_slice(&answer.nonce.to_le_bytes());
        HashedHeader { hash: header_hash(&header), header }
    }

    fn merkle_root(&self, extranonce: &[u8; EXTRANONCE_LEN]) -> [u8; 32] {
        let mut engine = self.coinbase_midstate.0.clone();
        engine.input(extranonce);
        engine.input(&self.coinbase.suffix);
        fold_merkle_branch(sha256d::Hash::from_engine(engine).to_byte_array(), &self.merkle_branch)
    }
}
