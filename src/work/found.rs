//! Headers found by this node's miners that meet a target.

use std::sync::Arc;

use super::Job;
use crate::share::EXTRANONCE_LEN;

/// A header that meets the share target, with everything its share needs. Fixed size, no allocation.
#[derive(Clone, Debug)]
pub struct FoundShare {
    /// The job that was mined.
    pub job: Arc<Job>,
    /// The header.
    pub header: [u8; 80],
    /// The header's hash, in the byte order of the hash function.
    pub hash: [u8; 32],
    /// The server's four bytes, then the miner's eight.
    pub extranonce: [u8; EXTRANONCE_LEN],
}

/// A header that meets Bitcoin's target.
#[derive(Clone, Debug)]
pub struct FoundBlock {
    /// The job that was mined: holds the coinbase and the transactions.
    pub job: Arc<Job>,
    /// The header.
    pub header: [u8; 80],
    /// The header's hash, in the byte order of the hash function.
    pub hash: [u8; 32],
    /// The server's four bytes, then the miner's eight.
    pub extranonce: [u8; EXTRANONCE_LEN],
    /// The worker's name, for the log.
    pub worker: Arc<str>,
}
