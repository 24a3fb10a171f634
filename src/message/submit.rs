//! The submit thread's inbox.

use std::sync::Arc;

use crate::share::EXTRANONCE_LEN;
use crate::work::Job;

/// A message to rpc/submit.
#[derive(Debug)]
pub enum ToSubmit {
    /// A header met Bitcoin's own target.
    Block(FoundBlock),
    /// Finish what is under way and end.
    Stop,
}

/// A found Bitcoin block.
#[derive(Clone, Debug)]
pub struct FoundBlock {
    /// The job it answers: holds the coinbase and the transactions.
    pub job: Arc<Job>,
    /// The header.
    pub header: [u8; 80],
    /// The header's hash, as the hash function gave it.
    pub hash: [u8; 32],
    /// Server's and miner's part.
    pub extranonce: [u8; EXTRANONCE_LEN],
    /// The worker's name as the miner gave it, for the log.
    pub worker: Arc<str>,
}
