//! How far a payout window that ends at a share reaches through the shares that are held.
//!
//! It is kept for each share. Otherwise every share of a base would walk through thousands of ancestors only to find
//! that its window is not held.

use crate::payouts::{Window, WindowEntry};
use crate::units::{Bits, Work};

/// An upper bound of what a payout window that ends at a share finds held: pruned ancestors still count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowReach {
    shares: usize,
    /// Work of these shares, uncles included.
    work: Work,
    /// Whether they reach down to the genesis share.
    whole: bool,
}

impl WindowReach {
    /// The reach of a share from its own entry and its parent's reach; `parent` is `None` if the parent is not held.
    pub fn new(entry: Option<&WindowEntry>, parent: Option<Self>, is_genesis: bool) -> Self {
        // A window cannot reach past a share with a missing uncle.
        let Some(entry) = entry else { return Self::default() };
        let below = parent.unwrap_or(Self { whole: is_genesis, ..Self::default() });
        Self {
            shares: below.shares.saturating_add(1),
            work: Work(below.work.0.saturating_add(entry.work_with_uncles.0)),
            whole: below.whole,
        }
    }

    /// Whether the window that ends here may be held, for a share whose header states `bits`. If false, it is not held.
    pub fn may_hold(&self, window: &Window, bits: Bits) -> bool {
        self.whole || window.is_enough(self.shares, self.work, bits)
    }
}
