//! The stratum thread's inbox: the newest job.

use std::sync::Arc;

use super::LatestSender;
use crate::work::Job;

/// A message to the stratum thread. Newest wins; whether miners must drop older work follows from the job's
/// `prev_block`, so a job that was replaced before it was seen takes no news with it.
#[derive(Clone, Debug)]
pub enum ToStratum {
    /// Mine this.
    Job(Arc<Job>),
    /// There is nothing worth mining; miners stay connected.
    NoWork(NoWork),
}

/// Why there is no job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoWork {
    /// bitcoind has given no template for too long.
    NoTemplate,
    /// bitcoind's template is for a block below those that the sharechain's shares must be built on.
    BitcoindBehind,
    /// No peer has been found yet, and it has not been looked for one long enough to mine alone.
    NoPeers,
    /// The sharechain is behind that of reachable peers.
    Syncing,
}

/// Wakes a thread that waits in `poll(2)`.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// Puts a job in stratum's slot and wakes it.
#[derive(Clone)]
pub struct JobSender {
    slot: LatestSender<ToStratum>,
    wake: Wake,
}

impl JobSender {
    /// Joins a slot with what wakes its reader.
    pub fn new(slot: LatestSender<ToStratum>, wake: Wake) -> Self {
        Self { slot, wake }
    }

    /// Replaces the job; never blocks.
    pub fn put(&self, message: ToStratum) {
        self.slot.put(message);
        (self.wake)();
    }
}
