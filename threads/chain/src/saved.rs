//! Keeps the store in step with the tree: gathers changes, writes them as one, and waits out a full disk.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bitcoin::BlockHash;
use log::{error, info};
use p2pool_core::params::ChainParams;
use p2pool_core::share::ShareId;
use p2pool_core::sharechain::{Anchor, Effect, Tree};

use crate::store::{Batch, Store, StoreError, StoredShare};
use crate::thread::ChainError;

/// Shares between two lines about the progress of loading.
const PROGRESS_SHARES: usize = 5_000;
/// While the disk refuses shares that is said this often: often enough not to scroll away, rare enough not to help to
/// fill the disk that is full.
const ALARM_INTERVAL: Duration = Duration::from_secs(300);

/// The store, and the changes it does not have yet.
pub struct Saved {
    store: Store,
    /// Bitcoin blocks on disk, or about to be.
    anchors: HashSet<BlockHash>,
    pending: Batch,
    /// Only while the disk refuses.
    failing: Option<Failing>,
}

/// A store that refuses.
struct Failing {
    since: Instant,
    next_alarm: Instant,
    cause: StoreError,
}

impl Saved {
    /// Opens the store and builds the tree that it holds.
    ///
    /// # Errors
    /// The store cannot be opened or read.
    pub fn load(dir: &std::path::Path, params: &Arc<ChainParams>) -> Result<(Self, Tree), StoreError> {
        let mut store = Store::open(dir, params)?;
        let started = Instant::now();
        let mut tree = Tree::new(Arc::clone(params));
        let mut anchors = Vec::new();
        let mut count = 0usize;
        store.load(
            |stored| {
                tree.restore(Arc::new(stored.share), stored.verified);
                count += 1;
                if count.is_multiple_of(PROGRESS_SHARES) {
                    info!("{count} shares loaded");
                }
                Ok(())
            },
            |anchor| {
                anchors.push(anchor);
                Ok(())
            },
        )?;
        let hashes = anchors.iter().map(|anchor: &Anchor| anchor.header.block_hash()).collect();
        anchors.into_iter().for_each(|anchor| tree.add_anchor(anchor));
        match tree.tip() {
            Some(tip) => info!(
                "sharechain of {count} shares loaded in {} ms, tip {} at height {}",
                started.elapsed().as_millis(),
                tip.id,
                tip.share.info.share_height
            ),
            None => info!("the sharechain is empty: its first share will be its genesis"),
        }
        let mut saved = Self { store, anchors: hashes, pending: Batch::default(), failing: None };
        saved.forget(tree.prune());
        saved.flush(true, Instant::now());
        Ok((saved, tree))
    }

    /// Whether changes wait that the disk refused.
    pub const fn is_failing(&self) -> bool {
        self.failing.is_some()
    }

    /// Notes what an effect changes.
    pub fn note(&mut self, effect: &Effect, tree: &Tree) {
        match effect {
            Effect::Linked(id) => self.put_share(id, tree),
            Effect::Unlinked(id) => {
                self.pending.put_shares.retain(|stored| stored.id != *id);
                self.pending.delete_shares.push(*id);
            }
            Effect::NewTip(id) => self.pending.tip = Some(*id),
            Effect::Verdict { .. } | Effect::Ask { .. } | Effect::Apart { .. } => {}
        }
    }

    fn put_share(&mut self, id: &ShareId, tree: &Tree) {
        let Some(node) = tree.node(id) else { return };
        if let Some(anchor) = tree.anchor(&node.share.header.prev_blockhash) {
            if self.anchors.insert(node.share.header.prev_blockhash) {
                self.pending.put_anchors.push(anchor.clone());
            }
        }
        let share = (*node.share).clone();
        self.pending.put_shares.push(StoredShare { id: *id, share, verified: node.verified });
    }

    /// Notes what was forgotten as too old: shares and Bitcoin blocks.
    pub fn forget(&mut self, (shares, anchors): (Vec<ShareId>, Vec<BlockHash>)) {
        self.pending.put_shares.retain(|stored| !shares.contains(&stored.id));
        self.pending.delete_shares.extend(shares);
        self.pending.put_anchors.retain(|anchor| !anchors.contains(&anchor.header.block_hash()));
        self.anchors.retain(|hash| !anchors.contains(hash));
        self.pending.delete_anchors.extend(anchors);
    }

    /// Writes what waits. What the disk refused stays, and goes with what comes later; it is tried `again` only when
    /// that is said, for each try opens the store afresh and writes all of it.
    pub fn flush(&mut self, again: bool, now: Instant) {
        self.flush_by(Store::commit, again, now);
    }

    /// `commit` is the store's.
    fn flush_by(
        &mut self,
        commit: impl FnOnce(&mut Store, &Batch) -> Result<(), StoreError>,
        again: bool,
        now: Instant,
    ) {
        if self.pending.is_empty() || (self.failing.is_some() && !again) {
            return;
        }
        match commit(&mut self.store, &self.pending) {
            Ok(()) => {
                self.pending = Batch::default();
                if self.failing.take().is_some() {
                    info!("the disk takes shares again; nothing was lost");
                }
            }
            Err(cause) => self.refused(cause, now),
        }
    }

    fn refused(&mut self, cause: StoreError, now: Instant) {
        let before = self.failing.as_ref();
        let since = before.map_or(now, |failing| failing.since);
        let mut next_alarm = before.map_or(now, |failing| failing.next_alarm);
        if now >= next_alarm {
            next_alarm = now + ALARM_INTERVAL;
            let (shares, for_s) = (self.pending.put_shares.len(), now.duration_since(since).as_secs());
            error!(
                "SHARES ARE NOT STORED: {shares} wait in memory, for {for_s} s now, and are lost with this process unless \
                 other nodes have them; make room on the disk: {cause}"
            );
        }
        self.failing = Some(Failing { since, next_alarm, cause });
    }

    /// Writes what waits for the last time.
    ///
    /// # Errors
    /// [`ChainError::Unsaved`]: shares are not on disk.
    pub fn close(mut self, now: Instant) -> Result<(), ChainError> {
        self.flush(true, now);
        self.unsaved()
    }

    fn unsaved(self) -> Result<(), ChainError> {
        let shares = self.pending.put_shares.len();
        match self.failing {
            // Whatever else could not be written, the tip or what is too old, follows from the shares at the next start.
            Some(Failing { cause, .. }) if shares > 0 => Err(ChainError::Unsaved { shares, cause }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
