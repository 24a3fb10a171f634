//! Purpose the planner must know of our own chain.

use super::serve::locator_of;
use crate::share::ShareId;
use crate::sharechain::Tree;
use crate::units::Work;

/// Our own chain, as the planner sees it.
pub trait ChainView {
    /// Whether a share is valid and held.
    fn holds(&self, id: &ShareId) -> bool;

    /// The tip and its chain work; none before the first share.
    fn tip(&self) -> Option<(ShareId, Work)>;

    /// Newest first: ten shares one by one, then in doubling steps, then the oldest.
    fn locator(&self) -> Vec<ShareId>;

    /// How many heights below the tip a share of the main chain is.
    fn below_tip(&self, id: &ShareId) -> Option<u32>;
}

impl ChainView for Tree {
    fn holds(&self, id: &ShareId) -> bool {
        self.contains(id)
    }

    fn tip(&self) -> Option<(ShareId, Work)> {
        self.tip().map(|tip| (tip.id, tip.share.info.chain_work))
    }

    fn locator(&self) -> Vec<ShareId> {
        locator_of(self.main_chain())
    }

    fn below_tip(&self, id: &ShareId) -> Option<u32> {
        let node = self.get(id).filter(|node| self.is_main(node))?;
        let tip = self.tip()?;
        tip.share.info.share_height.0.checked_sub(node.share.info.share_height.0)
    }
}
