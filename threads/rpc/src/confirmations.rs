//! Tracks the confirmations of found blocks, from within the anchor thread.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bitcoin::hashes::Hash as _;
use bitcoin::BlockHash;
use p2pool_core::share::ShareId;
use p2pool_core::status::{BitcoindError, BlockStatus, BlocksStatus, TrackedBlocks};

use crate::best_chain;
use crate::verified_client::VerifiedClient;

/// Most requests per turn of the thread, so that shares do not wait for more than these. A turn takes a second at most.
const REQUESTS_PER_TURN: usize = 4;
/// Time between two requests for the same block; a new block comes every ten minutes.
const REQUEST_INTERVAL: Duration = Duration::from_secs(30);

/// Confirmations of the blocks on a list that another thread sets.
#[derive(Default)]
pub(crate) struct ConfirmationTracker {
    /// The list of blocks to track.
    pub(crate) tracked: Arc<ArcSwap<TrackedBlocks>>,
    /// The published confirmations.
    pub(crate) published: Arc<ArcSwap<BlocksStatus>>,
    /// Time of the last request for each block.
    requested: HashMap<ShareId, Instant>,
}

impl ConfirmationTracker {
    /// Sends the requests that are due.
    pub(crate) fn tick(&mut self, bitcoind: &mut VerifiedClient, now: Instant) -> Result<(), BitcoindError> {
        let due = self.due(now);
        let before = self.published.load_full();
        if due.is_empty() && before.blocks.len() == self.requested.len() {
            return Ok(());
        }
        let mut statuses = before.blocks.clone();
        let result = due.into_iter().try_for_each(|id| {
            statuses.insert(id, request_status(bitcoind, id)?);
            self.requested.insert(id, now);
            Ok(())
        });
        statuses.retain(|id, _| self.requested.contains_key(id));
        if before.blocks != statuses {
            self.published.store(Arc::new(BlocksStatus { blocks: statuses }));
        }
        result
    }

    /// Returns the blocks that are due: those never requested, then those with the oldest request. Forgets blocks that are
    /// no longer on the list.
    fn due(&mut self, now: Instant) -> Vec<ShareId> {
        let tracked = self.tracked.load();
        self.requested.retain(|id, _| tracked.0.contains(id));
        let is_due = |requested: &Instant| now.saturating_duration_since(*requested) >= REQUEST_INTERVAL;
        let requested = |id: &ShareId| self.requested.get(id).copied();
        let mut due: Vec<ShareId> =
            tracked.0.iter().filter(|id| requested(id).as_ref().is_none_or(is_due)).copied().collect();
        // A stable sort: blocks never requested stay in the order of the list.
        due.sort_by_key(requested);
        due.truncate(REQUESTS_PER_TURN);
        due
    }
}

fn request_status(bitcoind: &mut VerifiedClient, id: ShareId) -> Result<BlockStatus, BitcoindError> {
    Ok(match best_chain::confirmations(bitcoind, BlockHash::from_byte_array(id.0))? {
        None => BlockStatus::Unknown,
        Some(confirmations) => match u32::try_from(confirmations) {
            Ok(confirmations @ 1..) => BlockStatus::Confirmed { confirmations },
            _ => BlockStatus::Orphaned,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> ShareId {
        ShareId([number; 32])
    }

    #[test]
    fn new_blocks_are_due_first_then_those_with_the_oldest_request() {
        let mut tracker = ConfirmationTracker::default();
        let now = Instant::now();
        let second = Duration::from_secs(1);
        tracker.tracked.store(Arc::new(TrackedBlocks((0..6).map(id).collect())));
        assert_eq!(tracker.due(now), [id(0), id(1), id(2), id(3)]);
        for (number, ago) in [(0, 31), (1, 40), (2, 29), (3, 35)] {
            tracker.requested.insert(id(number), now - ago * second);
        }
        assert_eq!(tracker.due(now), [id(4), id(5), id(1), id(3)]);
        tracker.requested.insert(id(4), now);
        tracker.requested.insert(id(5), now);
        assert_eq!(tracker.due(now), [id(1), id(3), id(0)]);
    }

    #[test]
    fn blocks_off_the_list_are_forgotten() {
        let mut tracker = ConfirmationTracker::default();
        tracker.requested.insert(id(1), Instant::now());
        assert!(tracker.due(Instant::now()).is_empty() && tracker.requested.is_empty());
    }
}
