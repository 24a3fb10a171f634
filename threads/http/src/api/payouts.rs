//! `/api/v1/payouts`: the payouts of a block found now, and the work they are based on.

use std::cmp::Reverse;

use p2pool_core::config::Config;
use p2pool_core::params::{Network, DUST_LIMIT_SATS};
use p2pool_core::payouts::{finder_fee, Window};
use p2pool_core::share::{PayoutScript, ShareId};
use p2pool_core::units::{Bits, Work};
use p2pool_core::work::Job;
use serde::Serialize;

use super::outputs::PayoutOutputs;
use super::{percent, PayoutEntry};
use crate::snapshot::Snapshot;

/// Most scripts listed with their work, besides our own: the window can contain thousands.
const WEIGHTS_MAX: usize = 256;

/// The payouts of the current job, and the payout window.
#[derive(Serialize)]
pub struct PayoutsDocument {
    pub our_address: String,
    /// Payout to `our_address` if this node finds the block.
    pub our_amount: u64,
    /// Payout to `our_address` if another node finds it.
    pub our_amount_without_fee: u64,
    our_pct: f64,
    /// Our part of the work, 0 to 1; `None` as for `window_shares`.
    pub our_weight_fraction: Option<f64>,
    /// Value of the coinbase; `None` without a job.
    pub coinbase_value: Option<u64>,
    /// Size of the coinbase; `None` without a job.
    pub coinbase_bytes: Option<usize>,
    /// Height of the block; `None` without a job.
    pub block_height: Option<u32>,
    /// The limit on the number of payouts, and the votes that change it.
    pub payout_outputs: PayoutOutputs,
    /// The payouts, largest first.
    pub payout_entries: Vec<PayoutEntry>,
    /// Shares in the window; `None` while this node does not have all of them, or does not know yet which they are.
    pub window_shares: Option<usize>,
    /// Work of the window with uncles, as a decimal number that may exceed a double; `None` as above.
    window_work: Option<String>,
    /// Work by script, most first: the first [`WEIGHTS_MAX`], and our own if it is not among them.
    pub weights: Vec<Weight>,
    /// Number of scripts with work that are not in `weights`.
    pub weights_omitted: usize,
}

/// The work of one script in the payout window.
#[derive(Serialize)]
pub struct Weight {
    pub address: String,
    /// Its credited work, as a decimal number that may exceed a double.
    pub work: String,
    /// Per cent of the window's work.
    pub pct: f64,
}

/// Summary of a payout window; see the fields of [`PayoutsDocument`].
#[derive(Default)]
struct WindowSummary {
    shares: Option<usize>,
    work: Option<Work>,
    weights: Vec<Weight>,
    omitted: usize,
    our_fraction: Option<f64>,
}

impl WindowSummary {
    /// Summarises the window that the next share's payouts come from, and moves `window` there.
    fn of_next_share(snapshot: &Snapshot, window: &mut Window, our_script: &PayoutScript) -> Self {
        if move_to_next_share(snapshot, window) {
            return Self::of_window(window, our_script, snapshot.tree().params().network);
        }
        // Without a tip the window is empty, if this node knows that the pool's chain is.
        if snapshot.tree().tip().is_none() && snapshot.is_chain_known() {
            return Self { shares: Some(0), work: Some(Work::ZERO), our_fraction: Some(0.0), ..Self::default() };
        }
        Self::default()
    }

    fn of_window(window: &Window, our_script: &PayoutScript, network: Network) -> Self {
        let total = window.total_work();
        let fraction = |work: Work| if total > Work::ZERO { work.0 as f64 / total.0 as f64 } else { 0.0 };
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
            pct: fraction(*work) * 100.0,
        };
        Self {
            shares: Some(window.len()),
            work: Some(total),
            weights: credits.iter().map(weight).collect(),
            omitted: count.saturating_sub(credits.len()),
            our_fraction: Some(ours.map_or(0.0, fraction)),
        }
    }
}

/// Describes the votes for the number of payout outputs, and moves `window` to that of the next share.
pub fn payout_outputs(snapshot: &Snapshot, window: &mut Window, config: &Config) -> PayoutOutputs {
    let is_known = move_to_next_share(snapshot, window);
    PayoutOutputs::new(snapshot, config, is_known.then(|| window.ballot()))
}

/// Moves the window to the one of the next share; false if not all of its shares are stored.
fn move_to_next_share(snapshot: &Snapshot, window: &mut Window) -> bool {
    // The tree is published less often than jobs. While it lacks the job's parent, its tip is the best approximation.
    let Some(tip) = snapshot.tree().tip() else { return false };
    let bits = snapshot.job().map_or(Bits(tip.share.header.bits.to_consensus()), |job| job.template.bits);
    let parent = snapshot.job().map(|job| job.info.parent).filter(|parent| snapshot.tree().contains(parent));
    window.move_to(parent.unwrap_or(tip.id), bits, snapshot.tree()).is_ok()
}

/// Returns what a block with this job pays to our script, if this node finds it and if another node finds a block with
/// the same value, in satoshis.
fn our_amounts(job: &Job, our_script: &PayoutScript) -> (u64, u64) {
    let amount = job.payouts.iter().find(|payout| payout.script == *our_script).map_or(0, |payout| payout.amount.0);
    let value = job.info.coinbase_value;
    let fee = finder_fee(value);
    // The finder gets the whole value if there is no work to pay for, or what is left beside the fee is dust.
    let finder_gets_all = job.info.parent == ShareId::ZERO || value.0.saturating_sub(fee.0) < DUST_LIMIT_SATS;
    (amount, if finder_gets_all { 0 } else { amount.saturating_sub(fee.0) })
}

impl PayoutsDocument {
    /// Makes the document, and moves `window` to that of the next share.
    pub fn new(snapshot: &Snapshot, window: &mut Window, config: &Config) -> Self {
        let (our_script, network) = (&config.payout_script, config.params.network);
        let job = snapshot.job();
        let summary = WindowSummary::of_next_share(snapshot, window, our_script);
        let (our_amount, our_amount_without_fee) = job.map_or((0, 0), |job| our_amounts(job, our_script));
        Self {
            our_address: config.payout_address.clone(),
            our_amount,
            our_amount_without_fee,
            our_pct: percent(our_amount, job.map_or(0, |job| job.info.coinbase_value.0)),
            our_weight_fraction: summary.our_fraction,
            coinbase_value: job.map(|job| job.info.coinbase_value.0),
            coinbase_bytes: job.map(|job| job.coinbase.len_bytes()),
            block_height: job.map(|job| job.template.height.0),
            payout_outputs: PayoutOutputs::new(snapshot, config, summary.shares.map(|_| window.ballot())),
            payout_entries: job.map(|job| PayoutEntry::list(&job.payouts, network)).unwrap_or_default(),
            window_shares: summary.shares,
            window_work: summary.work.map(|work| work.to_string()),
            weights: summary.weights,
            weights_omitted: summary.omitted,
        }
    }
}

#[cfg(test)]
mod tests;
