//! What miners are to work on next.

use std::sync::Arc;

use super::Job;

/// The newest work for miners. Whether older work is stale follows from the job's `prev_block`, so an update that was
/// replaced before it was read loses nothing.
#[derive(Clone, Debug)]
pub enum WorkUpdate {
    /// Mine this.
    Job(Arc<Job>),
    /// There is nothing worth mining; sessions stay open.
    NoWork(NoWork),
}

/// Why there is no job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoWork {
    /// bitcoind has given no template for too long.
    NoTemplate,
    /// bitcoind's template is for a block below those that the sharechain's shares must build on.
    BitcoindBehind,
    /// No peer has been found yet, and the time to look for one before mining solo is not over.
    NoPeers,
    /// The sharechain is behind that of connected peers.
    Syncing,
}
