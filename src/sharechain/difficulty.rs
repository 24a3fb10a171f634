//! The target of the next share (rules, section 6).

use crate::params::{ChainParams, DIFFICULTY_STEP_MAX, RETARGET_SHARES_MIN};
use crate::units::{Bits, ShareHeight, Target, UnixTime, Work, U256};

/// What the retarget reads of one share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetargetSample {
    /// The header's time.
    pub time: UnixTime,
    pub height: ShareHeight,
    /// The share's own work.
    pub work: Work,
    /// The share's own work and that of the uncles it names.
    pub work_with_uncles: Work,
}

/// Number of shares at each end of the window. The median of their times counts, so that no single timestamp bends
/// the target.
const END_SHARES: usize = 3;

/// Returns the target of the share after `newest_first[0]`, its parent, before easing.
///
/// `newest_first` holds the parent and its ancestors: [`ChainParams::retarget_window`] of them, or all if there are
/// fewer.
pub fn base_target(params: &ChainParams, newest_first: &[RetargetSample]) -> Target {
    let shares_min = RETARGET_SHARES_MIN as usize;
    let easiest = easiest_target(params);
    let Some(parent) = newest_first.first().filter(|_| newest_first.len() >= shares_min) else { return easiest };
    let window = trimmed(newest_first, parent.work);
    if window.len() < shares_min {
        return parent.work.target().min(easiest);
    }
    next_work(params, window, parent.work).max(work_min(easiest)).target().min(easiest)
}

/// Returns the newest samples before the first one whose work differs too much from the parent's.
fn trimmed(newest_first: &[RetargetSample], parent_work: Work) -> &[RetargetSample] {
    let step = u128::from(DIFFICULTY_STEP_MAX);
    let (low, high) = (parent_work.0 / step, parent_work.0.saturating_mul(step));
    let len = newest_first.iter().take_while(|sample| (low..=high).contains(&sample.work.0)).count();
    &newest_first[..len]
}

/// Returns the work that takes one share period at the window's hash rate, within a step of the parent's work.
fn next_work(params: &ChainParams, window: &[RetargetSample], parent_work: Work) -> Work {
    let newest = middle(&window[..END_SHARES]);
    let oldest = middle(&window[window.len() - END_SHARES..]);
    let work = window
        .iter()
        .filter(|sample| sample.height > oldest.height && sample.height <= newest.height)
        .fold(U256::ZERO, |sum, sample| sum.saturating_add(U256::from(sample.work_with_uncles.0)));
    let span_s = newest.time.since(oldest.time).max(1);
    let next = work.saturating_mul(U256::from(params.share_period_s)) / U256::from(span_s);
    let step = u128::from(DIFFICULTY_STEP_MAX);
    let next = u128::try_from(next).unwrap_or(u128::MAX);
    Work(next.clamp(parent_work.0 / step, parent_work.0.saturating_mul(step)))
}

/// Returns the middle one of three samples by time, then height.
fn middle(samples: &[RetargetSample]) -> RetargetSample {
    let mut sorted = samples.to_vec();
    sorted.sort_by_key(|sample| (sample.time, sample.height));
    sorted[END_SHARES / 2]
}

/// Returns the base target eased `k` times: half the work each time, but not easier than the chain allows.
///
/// What is halved is the work of the base target in compact form, which truncates it.
pub fn eased_bits(params: &ChainParams, base: Target, k: u32) -> Bits {
    let easiest = easiest_target(params);
    let base_bits = base.to_bits();
    if k == 0 {
        return base_bits;
    }
    let base_work = base_bits.target().ok().and_then(|truncated| truncated.work());
    let eased = Work(base_work.map_or(0, |work| work.0.checked_shr(k).unwrap_or(0)));
    eased.max(work_min(easiest)).target().min(easiest).to_bits()
}

/// Returns how often the target may be eased this many seconds after the parent.
pub fn easings_allowed(params: &ChainParams, elapsed_s: u32) -> u32 {
    elapsed_s.checked_div(params.easing_interval_s()).unwrap_or(0)
}

/// Returns whether a share this many seconds after its parent may state `bits`.
pub fn is_allowed(params: &ChainParams, base: Target, bits: Bits, elapsed_s: u32) -> bool {
    // Work has 128 bits: more halvings change nothing.
    let most = easings_allowed(params, elapsed_s).min(128);
    (0..=most).any(|k| eased_bits(params, base, k) == bits)
}

/// Returns the easiest target the chain allows.
///
/// # Panics
/// The parameters state no canonical target. They are checked when the program starts.
pub fn easiest_target(params: &ChainParams) -> Target {
    params.easiest_bits.target().expect("a chain's easiest bits are canonical")
}

/// Returns the least work of a share, never zero.
fn work_min(easiest: Target) -> Work {
    easiest.work().unwrap_or_default().max(Work(1))
}
