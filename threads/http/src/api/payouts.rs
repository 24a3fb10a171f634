//! Whom a block found now would pay, and for what.

use p2pool_core::payouts::Window;
use p2pool_core::share::PayoutScript;
use p2pool_core::units::Bits;
use serde::Serialize;

use super::{percent, PayoutEntry};
use crate::view::View;

/// Scripts listed with their work at most: the window can hold thousands.
pub const WEIGHTS_MAX: usize = 256;

/// The document.
#[derive(Serialize)]
pub struct PayoutsDocument {
    our_address: String,
    /// What a block found by this node now would pay to its address.
    our_amount: u64,
    our_pct: f64,
    coinbase_value: Option<u64>,
    coinbase_bytes: Option<usize>,
    block_height: Option<u32>,
    payout_entries: Vec<PayoutEntry>,
    window_shares: usize,
    /// Hashes, as a decimal number that may not fit a double.
    window_work: String,
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

/// The window's work by script, most first, at most [`WEIGHTS_MAX`] of them, and how many more there are.
pub fn weights(view: &View, window: &Window) -> (Vec<Weight>, usize) {
    let network = view.tree().params().network;
    let total = window.total_work().0 as f64;
    let mut credits: Vec<(PayoutScript, u128)> = window.credits().map(|(script, work)| (script, work.0)).collect();
    credits.sort_by_key(|(script, work)| (std::cmp::Reverse(*work), *script));
    let omitted = credits.len().saturating_sub(WEIGHTS_MAX);
    let weight = |(script, work): (PayoutScript, u128)| Weight {
        address: script.to_address(network),
        work: work.to_string(),
        pct: if total > 0.0 { work as f64 * 100.0 / total } else { 0.0 },
    };
    (credits.into_iter().take(WEIGHTS_MAX).map(weight).collect(), omitted)
}

/// Moves the window to where the next share's payouts come from; false if that much is not held.
pub fn move_to_next(view: &View, window: &mut Window) -> bool {
    // The tree is published less often than jobs: while it lacks the job's parent, its own tip is as near as it gets.
    let Some(tip) = view.tree().tip() else { return false };
    let bits = view.job().map_or(Bits(tip.share.header.bits.to_consensus()), |job| job.bits);
    let parent = view.job().map(|job| job.info.parent).filter(|parent| view.tree().node(parent).is_some());
    let parent = parent.unwrap_or(tip.id);
    window.move_to(parent, bits, view.tree()).is_ok()
}

/// What the job pays to a script.
pub fn amount_for(view: &View, script: &PayoutScript) -> u64 {
    let payouts = view.job().map(|job| &*job.payouts).unwrap_or_default();
    payouts.iter().find(|payout| payout.script == *script).map_or(0, |payout| payout.amount.0)
}

impl PayoutsDocument {
    /// Of the present job.
    pub fn of(view: &View, window: &mut Window, our_script: &PayoutScript, our_address: &str) -> Self {
        let network = view.tree().params().network;
        let job = view.job();
        let is_held = move_to_next(view, window);
        let (weights, weights_omitted) = if is_held { weights(view, window) } else { Default::default() };
        let our_amount = amount_for(view, our_script);
        Self {
            our_address: our_address.to_owned(),
            our_amount,
            our_pct: percent(our_amount, job.map_or(0, |job| job.info.coinbase_value.0)),
            coinbase_value: job.map(|job| job.info.coinbase_value.0),
            coinbase_bytes: job.map(|job| job.coinbase.len_bytes()),
            block_height: job.map(|job| job.block_height.0),
            payout_entries: job.map(|job| PayoutEntry::list(&job.payouts, network)).unwrap_or_default(),
            window_shares: if is_held { window.len() } else { 0 },
            window_work: if is_held { window.total_work().to_string() } else { "0".to_owned() },
            weights,
            weights_omitted,
        }
    }
}
