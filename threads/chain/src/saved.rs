//! Keeps the store in step with the tree: gathers changes, writes them as one, and waits out a full disk.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use bitcoin::BlockHash;
use log::{error, info};
use p2pool_core::params::ChainParams;
use p2pool_core::share::ShareId;
use p2pool_core::sharechain::{Anchor, Effect, Tree};

use crate::store::{Batch, Store, StoreError, StoredShare};

/// Shares between two lines about the progress of loading.
const PROGRESS_SHARES: usize = 5_000;

/// The store, and the changes it does not have yet.
pub struct Saved {
    store: Store,
    /// Bitcoin blocks on disk, or about to be.
    anchors: HashSet<BlockHash>,
    pending: Batch,
    failing: bool,
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
        let mut saved = Self { store, anchors: hashes, pending: Batch::default(), failing: false };
        saved.forget(tree.prune());
        saved.flush();
        Ok((saved, tree))
    }

    /// Whether changes wait that the disk refused.
    pub const fn is_failing(&self) -> bool {
        self.failing
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

    /// Writes what waits. A refusal is said once; the changes stay and are tried again with the next.
    pub fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        match self.store.commit(&self.pending) {
            Ok(()) => {
                self.pending = Batch::default();
                if std::mem::take(&mut self.failing) {
                    info!("the disk takes shares again; nothing was lost");
                }
            }
            Err(failure) => {
                if !std::mem::replace(&mut self.failing, true) {
                    error!("shares cannot be stored and wait in memory: {failure}");
                }
            }
        }
    }
}
