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
    /// The work of its target before easing.
    pub base_work: Work,
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
pub fn base_bits(params: &ChainParams, newest_first: &[RetargetSample]) -> Bits {
    let shares_min = RETARGET_SHARES_MIN as usize;
    let Some(parent) = newest_first.first().filter(|_| newest_first.len() >= shares_min) else {
        return params.easiest_bits;
    };
    let window = trimmed(newest_first, parent.base_work);
    if window.len() < shares_min {
        return bits_of_work(params, parent.work);
    }
    let next = next_work(params, window, parent.work);
    bits_of_work(params, next.min(ramp_work_max(newest_first)))
}

/// Returns the target of a work, not easier than the chain allows.
fn bits_of_work(params: &ChainParams, work: Work) -> Bits {
    let easiest = easiest_target(params);
    let work_min = easiest.work().unwrap_or_default().max(Work(1));
    work.max(work_min).target().min(easiest).to_bits()
}

/// Returns the newest samples before the first one whose base work differs too much from the parent's.
///
/// An eased share does not cut the window: its base work is that of the shares before it.
fn trimmed(newest_first: &[RetargetSample], parent_base_work: Work) -> &[RetargetSample] {
    let (low, high) = step_bounds(parent_base_work);
    let len = newest_first.iter().take_while(|sample| (low..=high).contains(&sample.base_work)).count();
    newest_first.get(..len).unwrap_or_default()
}

/// Returns the most work that the next share may have: a step above the median of the whole window. It bounds a branch
/// whose difficulty rises share by share.
fn ramp_work_max(newest_first: &[RetargetSample]) -> Work {
    let mut works: Vec<Work> = newest_first.iter().map(|sample| sample.work).collect();
    let middle = works.len() / 2;
    let (_, median, _) = works.select_nth_unstable(middle);
    step_bounds(*median).1
}

/// A step down, rounded down, and a step up from a work.
fn step_bounds(work: Work) -> (Work, Work) {
    let step = u128::from(DIFFICULTY_STEP_MAX);
    (Work(work.0 / step), Work(work.0.saturating_mul(step)))
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
    let (low, high) = step_bounds(parent_work);
    Work(u128::try_from(next).unwrap_or(u128::MAX)).clamp(low, high)
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
pub fn eased_bits(params: &ChainParams, base: Bits, k: u32) -> Bits {
    if k == 0 {
        return base;
    }
    let base_work = base.target().ok().and_then(|target| target.work()).unwrap_or_default();
    bits_of_work(params, Work(base_work.0.checked_shr(k).unwrap_or(0)))
}

/// Returns how often the target may be eased this many seconds after the parent.
pub fn easings_allowed(params: &ChainParams, elapsed_s: u32) -> u32 {
    elapsed_s.checked_div(params.easing_interval_s()).unwrap_or(0)
}

/// Returns whether a share this many seconds after its parent may state `bits`.
pub fn is_allowed(params: &ChainParams, base: Bits, bits: Bits, elapsed_s: u32) -> bool {
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
