//! The submit thread's inbox.

use std::sync::Arc;

use crate::share::{ShareId, EXTRANONCE_LEN};
use crate::units::BlockHeight;
use crate::work::Job;

/// A message to rpc/submit.
#[derive(Debug)]
pub enum ToSubmit {
    /// A header met Bitcoin's own target.
    Block(FoundBlock),
    /// A block that another node found and this one put together again.
    PeersBlock {
        /// Its hash.
        id: ShareId,
        /// Its height.
        height: BlockHeight,
        /// Serialised with witnesses.
        block: Vec<u8>,
    },
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
    /// The worker's name, for the log.
    pub worker: Arc<str>,
}
