//! How hard the next share is (rules, section 6).

use crate::params::{ChainParams, DIFFICULTY_STEP_MAX, RETARGET_SHARES_MIN};
use crate::units::{Bits, ShareHeight, Target, UnixTime, Work, U256};

/// What the retarget looks at in one share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetargetSample {
    /// The header's time.
    pub time: UnixTime,
    /// Height in the sharechain.
    pub height: ShareHeight,
    /// Its own work.
    pub work: Work,
    /// Its own work and that of the uncles it names.
    pub work_with_uncles: Work,
}

/// Shares at either end of the window of which the middle one counts, so that no single timestamp bends the target.
const END_SHARES: usize = 3;

/// The target of a share whose parent is the first of `newest_first`, before easing.
///
/// `newest_first` holds the parent and its ancestors, at most [`ChainParams::retarget_window`] of them: all there
/// are if there are fewer.
pub fn base_target(params: &ChainParams, newest_first: &[RetargetSample]) -> Target {
    let easiest = easiest_target(params);
    let Some(parent) = newest_first.first() else { return easiest };
    if newest_first.len() < RETARGET_SHARES_MIN as usize {
        return easiest;
    }
    let window = trimmed(newest_first, parent.work);
    if window.len() < RETARGET_SHARES_MIN as usize {
        return parent.work.target().min(easiest);
    }
    let next = next_work(params, window, parent.work);
    let least = easiest.work().unwrap_or(Work(1));
    next.max(least).max(Work(1)).target().min(easiest)
}

/// The part of the window, newest first, up to the first share whose work is too unlike the parent's.
fn trimmed(newest_first: &[RetargetSample], parent_work: Work) -> &[RetargetSample] {
    let step = u128::from(DIFFICULTY_STEP_MAX);
    let (low, high) = (parent_work.0 / step, parent_work.0.saturating_mul(step));
    let len = newest_first.iter().take_while(|share| (low..=high).contains(&share.work.0)).count();
    newest_first.get(..len).unwrap_or(newest_first)
}

/// Work that would have taken the share period, by the window's pace.
fn next_work(params: &ChainParams, window: &[RetargetSample], parent_work: Work) -> Work {
    let Some((newest, oldest)) = ends(window) else { return parent_work };
    let work = window
        .iter()
        .filter(|share| share.height > oldest.height && share.height <= newest.height)
        .fold(U256::ZERO, |sum, share| sum.saturating_add(U256::from(share.work_with_uncles.0)));
    let span_s = newest.time.since(oldest.time).max(1);
    let next = work
        .saturating_mul(U256::from(params.share_period_s))
        .checked_div(U256::from(span_s))
        .and_then(|next| u128::try_from(next).ok())
        .unwrap_or(u128::MAX);
    let step = u128::from(DIFFICULTY_STEP_MAX);
    Work(next.clamp(parent_work.0 / step, parent_work.0.saturating_mul(step)))
}

/// The middle ones, by time, of the newest and of the oldest shares.
fn ends(window: &[RetargetSample]) -> Option<(RetargetSample, RetargetSample)> {
    let oldest = window.get(window.len().checked_sub(END_SHARES)?..)?;
    Some((middle(window.get(..END_SHARES)?)?, middle(oldest)?))
}

fn middle(three: &[RetargetSample]) -> Option<RetargetSample> {
    let mut sorted: Vec<RetargetSample> = three.to_vec();
    sorted.sort_by_key(|share| (share.time, share.height));
    sorted.get(END_SHARES / 2).copied()
}

/// The base target eased `k` times: half the work each time, never easier than the chain allows.
///
/// What is halved is the work of the base target as a share states it, that is, truncated to compact form.
pub fn eased_bits(params: &ChainParams, base: Target, k: u32) -> Bits {
    let easiest = easiest_target(params);
    let base_bits = base.to_bits();
    if k == 0 {
        return base_bits;
    }
    let base_work = base_bits.target().ok().and_then(|truncated| truncated.work());
    let work = base_work.map_or(0, |work| work.0.checked_shr(k).unwrap_or(0));
    let least = easiest.work().map_or(1, |work| work.0);
    Work(work.max(least).max(1)).target().min(easiest).to_bits()
}

/// How often a target may be eased when this many seconds have gone by since the parent.
pub fn easings_allowed(params: &ChainParams, elapsed_s: u32) -> u32 {
    elapsed_s.checked_div(params.easing_interval_s()).unwrap_or(0)
}

/// Whether a share this long after its parent may have these bits.
pub fn is_allowed(params: &ChainParams, base: Target, bits: Bits, elapsed_s: u32) -> bool {
    // Past 128 halvings nothing is left to halve.
    let most = easings_allowed(params, elapsed_s).min(128);
    (0..=most).any(|k| eased_bits(params, base, k) == bits)
}

/// The easiest target the chain allows. Parameters are checked at start, so the fallback is never used.
pub fn easiest_target(params: &ChainParams) -> Target {
    params.easiest_bits.target().unwrap_or(Target::MAX)
}
