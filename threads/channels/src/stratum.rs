//! The way to the stratum thread: a slot with the newest work.

use p2pool_core::work::WorkUpdate;

use super::{LatestSender, Wake};

/// Puts work in the stratum thread's slot and wakes it.
#[derive(Clone)]
pub struct WorkSender {
    slot: LatestSender<WorkUpdate>,
    wake: Wake,
}

impl WorkSender {
    /// Joins a slot with the function that wakes its reader.
    pub fn new(slot: LatestSender<WorkUpdate>, wake: Wake) -> Self {
        Self { slot, wake }
    }

    /// Replaces the work; never blocks.
    pub fn put(&self, update: WorkUpdate) {
        self.slot.put(update);
        (self.wake)();
    }
}
