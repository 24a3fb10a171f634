//! What became of found blocks: asked a few at a time, from within the anchor thread.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bitcoin::hashes::Hash as _;
use bitcoin::BlockHash;
use p2pool_core::share::ShareId;
use p2pool_core::status::{BitcoindError, BlockFate, BlocksStatus, WatchedBlocks};

use crate::known::confirmations;
use crate::node::Node;

/// Questions in one turn of the thread, which has one a second or more: no share waits for more than these.
const QUESTIONS_MAX: usize = 4;
/// Each block is asked for anew after so long: Bitcoin finds one in ten minutes.
const ROUND_INTERVAL: Duration = Duration::from_secs(30);

/// What is known of the blocks that somebody watches.
#[derive(Default)]
pub(crate) struct Fates {
    watched: Arc<ArcSwap<WatchedBlocks>>,
    published: Arc<ArcSwap<BlocksStatus>>,
    /// When each was last asked for.
    asked: HashMap<ShareId, Instant>,
}

impl Fates {
    /// The blocks to ask about.
    pub(crate) fn watched(&self) -> Arc<ArcSwap<WatchedBlocks>> {
        Arc::clone(&self.watched)
    }

    /// The answers.
    pub(crate) fn published(&self) -> Arc<ArcSwap<BlocksStatus>> {
        Arc::clone(&self.published)
    }

    /// Asks what is due.
    pub(crate) fn tick(&mut self, node: &mut Node, now: Instant) -> Result<(), BitcoindError> {
        let due = self.due(now);
        let before = self.published.load_full();
        if due.is_empty() && before.fates.len() == self.asked.len() {
            return Ok(());
        }
        let mut fates = before.fates.clone();
        let result = due.into_iter().try_for_each(|id| {
            fates.insert(id, fate(node, id)?);
            self.asked.insert(id, now);
            Ok(())
        });
        fates.retain(|id, _| self.asked.contains_key(id));
        if before.fates != fates {
            self.published.store(Arc::new(BlocksStatus { fates }));
        }
        result
    }

    /// Those never asked for, then those whose answer is oldest; what is watched no more is forgotten.
    fn due(&mut self, now: Instant) -> Vec<ShareId> {
        let watched = self.watched.load();
        self.asked.retain(|id, _| watched.0.contains(id));
        let is_due = |asked: &Instant| now.saturating_duration_since(*asked) >= ROUND_INTERVAL;
        let asked = |id: &ShareId| self.asked.get(id).copied();
        let mut due: Vec<ShareId> =
            watched.0.iter().filter(|id| asked(id).as_ref().is_none_or(is_due)).copied().collect();
        // A stable sort: among those never asked for the order of the list stands.
        due.sort_by_key(asked);
        due.truncate(QUESTIONS_MAX);
        due
    }
}

fn fate(node: &mut Node, id: ShareId) -> Result<BlockFate, BitcoindError> {
    Ok(match confirmations(node, BlockHash::from_byte_array(id.0))? {
        None => BlockFate::Unknown,
        Some(confirmations) => match u32::try_from(confirmations) {
            Ok(confirmations @ 1..) => BlockFate::Confirmed { confirmations },
            _ => BlockFate::Orphaned,
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
    fn new_blocks_come_first_then_the_longest_unasked() {
        let mut fates = Fates::default();
        let now = Instant::now();
        let second = Duration::from_secs(1);
        fates.watched.store(Arc::new(WatchedBlocks((0..6).map(id).collect())));
        assert_eq!(fates.due(now), [id(0), id(1), id(2), id(3)]);
        for (number, ago) in [(0, 31), (1, 40), (2, 29), (3, 35)] {
            fates.asked.insert(id(number), now - ago * second);
        }
        assert_eq!(fates.due(now), [id(4), id(5), id(1), id(3)]);
        fates.asked.insert(id(4), now);
        fates.asked.insert(id(5), now);
        assert_eq!(fates.due(now), [id(1), id(3), id(0)]);
    }

    #[test]
    fn what_is_watched_no_more_is_forgotten() {
        let mut fates = Fates::default();
        fates.asked.insert(id(1), Instant::now());
        assert!(fates.due(Instant::now()).is_empty() && fates.asked.is_empty());
    }
}
