//! Shares and blocks found by this node's miners.

use std::sync::Arc;

use super::Job;
use crate::share::EXTRANONCE_LEN;

/// A header that meets the share target, with the data that its share is built from. Created without allocation.
#[derive(Clone, Debug)]
pub struct FoundShare {
    pub job: Arc<Job>,
    pub header: [u8; 80],
    /// The header's hash, in internal byte order.
    pub hash: [u8; 32],
    /// The server's four bytes, then the miner's eight.
    pub extranonce: [u8; EXTRANONCE_LEN],
}

/// A header that meets Bitcoin's target, with the data that its block is built from.
#[derive(Clone, Debug)]
pub struct FoundBlock {
    pub job: Arc<Job>,
    pub header: [u8; 80],
    /// The header's hash, in internal byte order.
    pub hash: [u8; 32],
    /// The server's four bytes, then the miner's eight.
    pub extranonce: [u8; EXTRANONCE_LEN],
    /// The worker's name, for log lines.
    pub worker: Arc<str>,
}
