//! Shares and blocks found by this node's miners.

use std::fmt;
use std::sync::Arc;

use bitcoin::hex::DisplayHex as _;

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

/// What a block can be assembled from by hand.
impl fmt::Display for FoundBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { job, header, extranonce, .. } = self;
        write!(f, "job {}, header {}, extranonce {}", job.id, header.as_hex(), extranonce.as_hex())
    }
}
