//! How much of a payout window is held, share by share: a base of thousands of shares would otherwise be walked through
//! again for each of them, only to find that its window is not held.

use crate::payouts::{Window, WindowEntry};
use crate::units::{Bits, Work};

/// What payout windows that end at a share find, at most: less once ancestors are pruned, when only walking tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowReach {
    shares: usize,
    work: Work,
    /// Down to the genesis share: there is no more.
    whole: bool,
}

impl WindowReach {
    /// Of a share with this contribution; none of a genesis share's parent.
    pub fn new(entry: Option<&WindowEntry>, parent: Option<Self>, is_genesis: bool) -> Self {
        // No window goes past a share of which an uncle is missing.
        let Some(entry) = entry else { return Self::default() };
        let below = parent.unwrap_or(Self { whole: is_genesis, ..Self::default() });
        Self {
            shares: below.shares.saturating_add(1),
            work: Work(below.work.0.saturating_add(entry.work_with_uncles.0)),
            whole: below.whole,
        }
    }

    /// Whether a window that ends here may be held, for a share whose header states `bits`.
    pub fn may_hold(&self, window: &Window, bits: Bits) -> bool {
        self.whole || window.is_enough(self.shares, self.work, bits)
    }
}
