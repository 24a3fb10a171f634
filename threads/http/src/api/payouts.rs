//! Whom a block found now would pay, and for what.

use std::cmp::Reverse;

use p2pool_core::params::{Network, DUST_LIMIT_SATS};
use p2pool_core::payouts::{finder_fee, Window};
use p2pool_core::share::{PayoutScript, ShareId};
use p2pool_core::units::{Bits, Work};
use serde::Serialize;

use super::{percent, PayoutEntry};
use crate::view::View;

/// Scripts listed with their work at most, our own apart: the window can hold thousands.
const WEIGHTS_MAX: usize = 256;

/// The document.
#[derive(Serialize)]
pub struct PayoutsDocument {
    our_address: String,
    /// What a block found by this node now would pay to its address.
    our_amount: u64,
    /// What one found by another node would.
    our_amount_without_fee: u64,
    our_pct: f64,
    our_weight_fraction: Option<f64>,
    coinbase_value: Option<u64>,
    coinbase_bytes: Option<usize>,
    block_height: Option<u32>,
    payout_entries: Vec<PayoutEntry>,
    /// None while it is not known.
    window_shares: Option<usize>,
    /// Hashes, as a decimal number that may not fit a double.
    window_work: Option<String>,
    weights: Vec<Weight>,
    /// Scripts with work beyond those listed.
    weights_omitted: usize,
}

/// One script's part of the payout window.
#[derive(Serialize)]
pub struct Weight {
    /// Where it is paid.
    pub address: String,
    /// Work in the window, as a decimal number that may not fit a double.
    pub work: String,
    /// Per cent of the window's work.
    pub pct: f64,
}

/// What is known of the payout window.
pub struct Weights {
    /// Shares in it; none while this node does not hold them, or does not know yet which they are.
    pub shares: Option<usize>,
    /// Their work with that of their uncles; none as above.
    pub work: Option<Work>,
    /// Work by script, most first: the first [`WEIGHTS_MAX`], and our own wherever it stands.
    pub list: Vec<Weight>,
    /// Scripts with work that are not in the list.
    pub omitted: usize,
    /// Our part of the work, 0 to 1; none as above.
    pub our_fraction: Option<f64>,
}

impl Weights {
    /// Of the window that the next share's payouts come from.
    pub fn of(view: &View, window: &mut Window, our_script: &PayoutScript) -> Self {
        if move_to_next(view, window) {
            return Self::of_held(window, our_script, view.tree().params().network);
        }
        // Without a tip there is nothing to hold, and that is known once it is the pool's chain that is empty.
        let is_empty = view.tree().tip().is_none() && view.is_chain_known();
        Self {
            shares: is_empty.then_some(0),
            work: is_empty.then_some(Work::ZERO),
            list: Vec::new(),
            omitted: 0,
            our_fraction: is_empty.then_some(0.0),
        }
    }

    fn of_held(window: &Window, our_script: &PayoutScript, network: Network) -> Self {
        let total = window.total_work();
        let part = |work: Work| if total > Work::ZERO { work.0 as f64 / total.0 as f64 } else { 0.0 };
        let mut credits: Vec<(PayoutScript, Work)> = window.credits().collect();
        let ours = credits.iter().find(|(script, _)| script == our_script).map(|(_, work)| *work);
        credits.sort_by_key(|(script, work)| (Reverse(*work), *script));
        let count = credits.len();
        let mut rank = 0;
        credits.retain(|(script, _)| {
            rank += 1;
            rank <= WEIGHTS_MAX || script == our_script
        });
        let weight = |(script, work): &(PayoutScript, Work)| Weight {
            address: script.to_address(network),
            work: work.to_string(),
            pct: part(*work) * 100.0,
        };
        Self {
            shares: Some(window.len()),
            work: Some(total),
            list: credits.iter().map(weight).collect(),
            omitted: count.saturating_sub(credits.len()),
            our_fraction: Some(ours.map_or(0.0, part)),
        }
    }
}

/// Moves the window to where the next share's payouts come from; false if that much is not held.
fn move_to_next(view: &View, window: &mut Window) -> bool {
    // The tree is published less often than jobs: while it lacks the job's parent, its own tip is as near as it gets.
    let Some(tip) = view.tree().tip() else { return false };
    let bits = view.job().map_or(Bits(tip.share.header.bits.to_consensus()), |job| job.bits);
    let parent = view.job().map(|job| job.info.parent).filter(|parent| view.tree().contains(parent));
    let parent = parent.unwrap_or(tip.id);
    window.move_to(parent, bits, view.tree()).is_ok()
}

/// What the job pays to a script.
pub fn amount_for(view: &View, script: &PayoutScript) -> u64 {
    let payouts = view.job().map(|job| &*job.payouts).unwrap_or_default();
    payouts.iter().find(|payout| payout.script == *script).map_or(0, |payout| payout.amount.0)
}

/// What a block of another node, with as much to pay out, would pay to our script: the same without the finder's fee.
pub fn amount_without_fee(view: &View, our_script: &PayoutScript) -> u64 {
    let Some(job) = view.job() else { return 0 };
    let value = job.info.coinbase_value;
    let fee = finder_fee(value);
    // The finder gets all where there is no work to pay for, or less to pay for it than an output may have.
    let is_all_the_finders = job.info.parent == ShareId::ZERO || value.0.saturating_sub(fee.0) < DUST_LIMIT_SATS;
    if is_all_the_finders {
        return 0;
    }
    amount_for(view, our_script).saturating_sub(fee.0)
}

impl PayoutsDocument {
    /// Of the present job.
    pub fn of(view: &View, window: &mut Window, our_script: &PayoutScript, our_address: &str) -> Self {
        let network = view.tree().params().network;
        let job = view.job();
        let weights = Weights::of(view, window, our_script);
        let our_amount = amount_for(view, our_script);
        Self {
            our_address: our_address.to_owned(),
            our_amount,
            our_amount_without_fee: amount_without_fee(view, our_script),
            our_pct: percent(our_amount, job.map_or(0, |job| job.info.coinbase_value.0)),
            our_weight_fraction: weights.our_fraction,
            coinbase_value: job.map(|job| job.info.coinbase_value.0),
            coinbase_bytes: job.map(|job| job.coinbase.len_bytes()),
            block_height: job.map(|job| job.block_height.0),
            payout_entries: job.map(|job| PayoutEntry::list(&job.payouts, network)).unwrap_or_default(),
            window_shares: weights.shares,
            window_work: weights.work.map(|work| work.to_string()),
            weights: weights.list,
            weights_omitted: weights.omitted,
        }
    }
}

#[cfg(test)]
mod tests;
