//! What the planner must know of our chain.

use super::serve::locator_of;
use crate::share::ShareId;
use crate::sharechain::Tree;
use crate::units::Work;

/// A branch off the main chain, by the share that it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// Chain work alone tells which branch is better.
    Fresh,
    /// Old shares above it count less: only the shares tell which branch is better (rules, section 6).
    Aged,
    /// The branch cannot be verified from there on, so it is fetched whole, like a chain that does not join.
    TooDeep,
}

/// Our chain, as the planner sees it.
pub trait ChainView {
    /// Whether a share is in the tree.
    fn holds(&self, id: &ShareId) -> bool;

    /// The tip and its chain work; `None` before the first share.
    fn tip(&self) -> Option<(ShareId, Work)>;

    /// Whether bitcoind has caught up. Before, no chain is adopted.
    fn may_adopt(&self) -> bool;

    /// The locator of the main chain, see [`locator_of`].
    fn locator(&self) -> Vec<ShareId>;

    /// What can be said of a branch that leaves the main chain at this share.
    fn join(&self, id: &ShareId) -> Join;

    /// Number of heights from a share of the main chain to the tip; `None` if the share is not on the main chain.
    fn below_tip(&self, id: &ShareId) -> Option<u32>;
}

impl ChainView for Tree {
    fn holds(&self, id: &ShareId) -> bool {
        self.contains(id)
    }

    fn tip(&self) -> Option<(ShareId, Work)> {
        self.tip().map(|tip| (tip.id, tip.share.info.chain_work))
    }

    fn may_adopt(&self) -> bool {
        self.headers().is_settled()
    }

    fn locator(&self) -> Vec<ShareId> {
        locator_of(self.main_chain(), |share| share.id)
    }

    fn join(&self, id: &ShareId) -> Join {
        match self.get(id) {
            Some(share) if !self.can_verify_above(share) => Join::TooDeep,
            Some(share) if self.is_fresh_above(share) => Join::Fresh,
            _ => Join::Aged,
        }
    }

    fn below_tip(&self, id: &ShareId) -> Option<u32> {
        let node = self.get(id).filter(|node| self.is_main(node))?;
        let tip = self.tip().expect("a tree with a main chain has a tip");
        Some(tip.share.info.share_height.0 - node.share.info.share_height.0)
    }
}
