//! The hot path: rebuilds the header of a miner's submit and hashes it, on the stack, without allocation.

use std::fmt;
use std::ops::Range;

use bitcoin::hashes::{sha256, sha256d, Hash as _, HashEngine as _};

use super::Job;
use crate::share::coinbase::{fold_merkle_branch, Coinbase};
use crate::share::{header_hash, ShareId, EXTRANONCE_LEN};
use crate::units::Target;

// Byte ranges of the header's fields.
const VERSION: Range<usize> = 0..4;
const PREV_BLOCK: Range<usize> = 4..36;
pub(super) const MERKLE_ROOT: Range<usize> = 36..68;
const TIME: Range<usize> = 68..72;
const BITS: Range<usize> = 72..76;
const NONCE: Range<usize> = 76..80;

/// The SHA-256 midstate of the coinbase up to the extranonce, the part common to all submits for a job.
#[derive(Clone)]
pub(super) struct CoinbaseMidstate(sha256::HashEngine);

impl CoinbaseMidstate {
    pub fn new(coinbase: &Coinbase) -> Self {
        let mut engine = sha256::HashEngine::default();
        engine.input(&coinbase.prefix);
        Self(engine)
    }
}

impl fmt::Debug for CoinbaseMidstate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SHA-256 midstate after {} bytes", self.0.n_bytes_hashed())
    }
}

/// The parts of a header that a miner chooses, as sent with `mining.submit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submit {
    /// The server's four bytes, then the miner's eight.
    pub extranonce: [u8; EXTRANONCE_LEN],
    pub time: u32,
    pub nonce: u32,
    /// Includes rolled bits.
    pub version: i32,
}

/// A header and its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashedHeader {
    pub header: [u8; 80],
    /// In internal byte order.
    pub hash: [u8; 32],
}

impl HashedHeader {
    pub fn meets(&self, target: &Target) -> bool {
        target.is_met_by(&self.hash)
    }

    /// The id of the share with this header.
    pub fn id(&self) -> ShareId {
        ShareId(self.hash)
    }
}

impl Job {
    /// Rebuilds the header of a submit and hashes it. Does not allocate.
    ///
    /// Does not check the submit's time and version bits; the session does.
    pub fn hash_header(&self, submit: &Submit) -> HashedHeader {
        let mut header = [0; 80];
        header[VERSION].copy_from_slice(&submit.version.to_le_bytes());
        header[PREV_BLOCK].copy_from_slice(self.template.prev_block.as_byte_array());
        header[MERKLE_ROOT].copy_from_slice(&self.merkle_root(&submit.extranonce));
        header[TIME].copy_from_slice(&submit.time.to_le_bytes());
        header[BITS].copy_from_slice(&self.template.bits.0.to_le_bytes());
        header[NONCE].copy_from_slice(&submit.nonce.to_le_bytes());
        HashedHeader { hash: header_hash(&header), header }
    }

    fn merkle_root(&self, extranonce: &[u8; EXTRANONCE_LEN]) -> [u8; 32] {
        let mut engine = self.coinbase_midstate.0.clone();
        engine.input(extranonce);
        engine.input(&self.coinbase.suffix);
        fold_merkle_branch(sha256d::Hash::from_engine(engine).to_byte_array(), &self.merkle_branch)
    }
}
