//! The newest work for miners.

use std::sync::Arc;

use super::Job;

/// The newest work for miners.
///
/// An update may be replaced before it is read: whether older work is stale follows from the job's `prev_block`.
#[derive(Clone, Debug)]
pub enum WorkUpdate {
    Job(Arc<Job>),
    /// There is nothing to mine.
    NoWork(NoWork),
}

/// Why there is no job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoWork {
    /// bitcoind has sent no block template for too long.
    NoTemplate,
    /// bitcoind's template is below the block height that the sharechain requires.
    BitcoindBehind,
    /// No peer has been found yet, and the wait before mining solo is not over.
    NoPeers,
    /// The sharechain is behind that of connected peers.
    Syncing,
    /// The pool follows rules that this software does not know. Only an update helps, so sessions are closed.
    Outdated,
}
