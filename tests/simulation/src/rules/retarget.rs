//! Rules for the target of the next share: the one that the pool has, and one to compare it with.

use p2pool_core::params::ChainParams;
use p2pool_core::sharechain::difficulty::{base_bits, easiest_target, RetargetSample};
use p2pool_core::units::{Bits, Work};

/// Shares of lag after which ASERT halves the difficulty.
const ASERT_HALF_LIFE_SHARES: f64 = 24.0;

/// A rule for the target of the next share before easing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retarget {
    /// The bounded window of consensus.md, section 6.
    Bounded,
    /// Relative ASERT: the parent's base target, halved or doubled for each half-life that the parent was early or late. An
    /// uncle counts as a share.
    Asert,
}

impl Retarget {
    /// The base target of a child of `newest_first[0]`.
    pub fn base_bits(self, params: &ChainParams, newest_first: &[RetargetSample]) -> Bits {
        match (self, newest_first) {
            (Self::Asert, [parent, before, ..]) => {
                let period_s = f64::from(params.share_period_s);
                let due_s = period_s * parent.work_with_uncles.0 as f64 / parent.work.0 as f64;
                let late_s = f64::from(parent.time.0) - f64::from(before.time.0) - due_s;
                let work = parent.base_work.0 as f64 * (-late_s / (ASERT_HALF_LIFE_SHARES * period_s)).exp2();
                let easiest = easiest_target(params);
                Work(work.max(1.0) as u128).target().min(easiest).to_bits()
            }
            _ => base_bits(params, newest_first),
        }
    }
}
