//! Turns credited work into the outputs of a coinbase (rules, section 7, steps 1 to 5).

use std::collections::BTreeMap;

use super::lottery;
use crate::params::{DUST_LIMIT_SATS, FINDER_FEE_PERMILLE};
use crate::share::coinbase::Payout;
use crate::share::{PayoutScript, ShareId};
use crate::units::{Sats, Work, U256};

/// Splits `value` among the credited scripts with at most `outputs_max` outputs. Outputs are ordered by amount descending, then script ascending.
///
/// `finder` is the script of the paying share's miner and `parent` that share's parent, whose id alone seeds the payout
/// lottery. A script may be credited several times, in any order. Without credited work, as for a genesis share, the
/// finder gets the whole value.
pub fn payout_list(
    outputs_max: u32,
    credits: impl Iterator<Item = (PayoutScript, Work)>,
    value: Sats,
    finder: PayoutScript,
    parent: ShareId,
) -> Vec<Payout> {
    let mut works: BTreeMap<PayoutScript, U256> = BTreeMap::new();
    let mut total = U256::ZERO;
    for (script, work) in credits {
        let work = U256::from(work.0);
        let sum = works.entry(script).or_default();
        *sum = sum.saturating_add(work);
        total = total.saturating_add(work);
    }
    payout_list_of_sums(outputs_max, works.into_iter(), total, value, finder, parent)
}

/// As [`payout_list`], for one sum per script in strictly ascending order of scripts; `total` is the sum of the sums.
pub(super) fn payout_list_of_sums(
    outputs_max: u32,
    sums: impl Iterator<Item = (PayoutScript, U256)>,
    total: U256,
    value: Sats,
    finder: PayoutScript,
    parent: ShareId,
) -> Vec<Payout> {
    if total.is_zero() {
        return single_payout(finder, value);
    }
    let fee = finder_fee(value);
    let amounts = amounts_by_work(sums, total, Sats(value.0.saturating_sub(fee.0)));
    // One output is reserved for the finder fee.
    let threshold = threshold(&amounts, outputs_max.saturating_sub(1));
    let (mut payouts, small): (Vec<Payout>, Vec<Payout>) =
        amounts.into_iter().partition(|payout| payout.amount >= threshold.tau);
    let small_sum = threshold.small_sum.0;
    if small_sum >= DUST_LIMIT_SATS {
        payouts.extend(lottery::draw(parent, small, threshold.tickets));
    } else if small_sum > 0 {
        // The first in output order is the largest; among equal amounts, the one with the lowest script.
        match payouts.iter_mut().min_by_key(|payout| final_order(payout)) {
            Some(largest) => largest.amount.0 = largest.amount.0.saturating_add(small_sum),
            None => return single_payout(finder, value),
        }
    }
    add_fee(&mut payouts, fee, finder);
    payouts.sort_unstable_by_key(final_order);
    payouts
}

/// The payout list that pays the whole value to the share's own miner; empty if the value is zero.
fn single_payout(finder: PayoutScript, value: Sats) -> Vec<Payout> {
    if value == Sats(0) {
        return Vec::new();
    }
    vec![Payout { script: finder, amount: value }]
}

/// Sort key of the output order: amount descending, then script ascending.
fn final_order(payout: &Payout) -> (std::cmp::Reverse<Sats>, PayoutScript) {
    (std::cmp::Reverse(payout.amount), payout.script)
}

/// Step 1: the finder fee of a coinbase worth `value`, `floor(value * 5 / 1000)`, or zero if that is dust.
pub fn finder_fee(value: Sats) -> Sats {
    let fee = u128::from(value.0) * u128::from(FINDER_FEE_PERMILLE) / 1_000;
    match u64::try_from(fee) {
        Ok(fee) if fee >= DUST_LIMIT_SATS => Sats(fee),
        _ => Sats(0),
    }
}

/// Step 2: splits `shared` in proportion to work. Scripts ascend, zero amounts are left out, and the sum is `shared`.
fn amounts_by_work(sums: impl Iterator<Item = (PayoutScript, U256)>, total: U256, shared: Sats) -> Vec<Payout> {
    let (mut work, mut paid) = (U256::ZERO, 0u64);
    let amounts = sums.map(|(script, own)| {
        work = work.saturating_add(own);
        // The product fits: shared < 2^64, and the work of fewer than 2^64 credits is below 2^192. The quotient is at
        // most the shared value, so it fits 64 bits.
        let up_to_here = U256::from(shared.0).saturating_mul(work).checked_div(total).unwrap_or(U256::ZERO);
        let up_to_here = u64::try_from(up_to_here).unwrap_or(u64::MAX);
        let amount = Sats(up_to_here.saturating_sub(paid));
        paid = up_to_here;
        Payout { script, amount }
    });
    // Zero amounts have no effect: they are below every threshold, add nothing and never win.
    amounts.filter(|payout| payout.amount > Sats(0)).collect()
}

/// Step 5: adds the finder fee. It comes after the lottery, so a finder cannot influence the draw by trying scripts.
fn add_fee(payouts: &mut Vec<Payout>, fee: Sats, finder: PayoutScript) {
    match payouts.iter_mut().find(|payout| payout.script == finder) {
        Some(payout) => payout.amount.0 = payout.amount.0.saturating_add(fee.0),
        None if fee > Sats(0) => payouts.push(Payout { script: finder, amount: fee }),
        None => (),
    }
}

/// The result of step 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Threshold {
    /// Amounts of at least this are paid exactly.
    tau: Sats,
    /// Sum of the smaller amounts.
    small_sum: Sats,
    /// Number of lottery tickets that the small sum is divided into.
    tickets: u64,
}

/// Step 3: finds the smallest tau, not below the dust limit, that leaves at most `outputs_max` outputs.
///
/// The number of outputs never grows with tau. Between two amounts only `floor(s / tau)` changes, and it falls. Where
/// tau passes `k` amounts of `a`, there are `k` fewer exact outputs, and the tickets become
/// `floor((s + k*a) / (a + 1))`, at most `floor(s / a) + k`. A binary search therefore finds the smallest tau.
fn threshold(amounts: &[Payout], outputs_max: u32) -> Threshold {
    let mut ascending: Vec<u64> = amounts.iter().map(|payout| payout.amount.0).collect();
    ascending.sort_unstable();
    let sums_below = sums_before_each(&ascending);
    let at = |tau: u64| {
        let small = ascending.partition_point(|amount| *amount < tau);
        let sum = sums_below.get(small).copied().unwrap_or(0);
        let tickets = if sum == 0 { 0 } else { sum.checked_div(tau).unwrap_or(0).max(1) };
        let outputs = u64::try_from(ascending.len().saturating_sub(small)).unwrap_or(u64::MAX).saturating_add(tickets);
        (Threshold { tau: Sats(tau), small_sum: Sats(sum), tickets }, outputs)
    };
    // With tau equal to the whole sum there is at most one output: an exact amount or a ticket.
    let (mut low, mut high) = (DUST_LIMIT_SATS, sums_below.last().copied().unwrap_or(0).max(DUST_LIMIT_SATS));
    while low < high {
        let middle = low + (high - low) / 2;
        if at(middle).1 <= u64::from(outputs_max) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    at(low).0
}

/// The prefix sums of `amounts`: one more than there are amounts, the first zero, the last the whole sum.
fn sums_before_each(amounts: &[u64]) -> Vec<u64> {
    let mut sums = Vec::with_capacity(amounts.len() + 1);
    let mut sum = 0u64;
    sums.push(sum);
    for amount in amounts {
        // Cannot overflow: all amounts together are at most the coinbase value.
        sum = sum.saturating_add(*amount);
        sums.push(sum);
    }
    sums
}

#[cfg(test)]
mod tests;
