//! A node's disk: what was committed survives a crash, everything else does not.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::bitcoin::BlockHash;
use p2pool_core::node::{Changes, StoredShare};
use p2pool_core::params::ChainParams;
use p2pool_core::share::{Share, ShareId};
use p2pool_core::sharechain::{Anchor, Tree};

/// The store of one node.
#[derive(Default)]
pub struct Store {
    shares: BTreeMap<ShareId, StoredShare>,
    anchors: BTreeMap<BlockHash, Anchor>,
    /// The disk refuses commits.
    pub is_full: bool,
}

impl Store {
    /// Writes one atomic change.
    pub fn commit(&mut self, changes: &Changes) -> Result<(), String> {
        if self.is_full {
            return Err("disk full".to_owned());
        }
        changes.delete_shares.iter().for_each(|id| drop(self.shares.remove(id)));
        self.shares.extend(changes.put_shares.iter().map(|stored| (stored.id, stored.clone())));
        self.anchors.retain(|hash, _| !changes.delete_anchors.contains(hash));
        let anchors = changes.put_anchors.iter().map(|anchor| (anchor.header.block_hash(), anchor.clone()));
        self.anchors.extend(anchors);
        Ok(())
    }

    /// Whether a share is on disk.
    pub fn contains(&self, id: &ShareId) -> bool {
        self.shares.contains_key(id)
    }

    /// Ids of the shares on disk.
    pub fn ids(&self) -> impl Iterator<Item = &ShareId> {
        self.shares.keys()
    }

    /// The tree that the store holds, read as the chain thread reads it: parents first, from canonical bytes.
    pub fn load(&self, params: &Arc<ChainParams>) -> Tree {
        let mut tree = Tree::new(Arc::clone(params));
        self.anchors.values().for_each(|anchor| tree.add_anchor(anchor.clone()));
        let mut shares: Vec<&StoredShare> = self.shares.values().collect();
        shares.sort_by_key(|stored| (stored.share.info.share_height, stored.id));
        for stored in shares {
            let share = Share::decode(&stored.share.encode()).expect("a stored share can be read");
            tree.restore(Arc::new(share), stored.verified);
        }
        tree
    }
}
