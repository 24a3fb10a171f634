//! The JSON documents. Their field names are a public interface, described in `openapi.json`.
//!
//! Hashes are hexadecimal in Bitcoin's display order, last byte first. Amounts are in satoshis, times in Unix seconds, rates
//! in hashes per second. Unknown values are `null`.

pub mod bans;
pub mod blocks;
pub mod chain_fit;
mod format;
pub mod health;
pub mod miners;
pub mod notice;
pub mod outputs;
pub mod payouts;
pub mod peers;
pub mod rules;
pub mod share;
pub mod shares;
pub mod status;

use p2pool_core::params::Network;
use p2pool_core::share::coinbase::Payout;
use serde::Serialize;

/// The body of an error response.
#[derive(Serialize)]
pub struct ErrorDocument<'a> {
    /// What is wrong.
    pub error: &'a str,
}

/// A payout output of a coinbase.
#[derive(Serialize)]
pub struct PayoutEntry {
    address: String,
    amount: u64,
    /// Per cent of the coinbase value.
    pct: f64,
}

impl PayoutEntry {
    /// Lists all payouts in the order of the coinbase, largest first.
    pub fn list(payouts: &[Payout], network: Network) -> Vec<Self> {
        let total: u64 = payouts.iter().map(|payout| payout.amount.0).sum();
        payouts
            .iter()
            .map(|payout| Self {
                address: payout.script.to_address(network),
                amount: payout.amount.0,
                pct: percent(payout.amount.0, total),
            })
            .collect()
    }
}

/// Returns `part` in per cent of `whole`, 0 if `whole` is 0.
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    part as f64 * 100.0 / whole as f64
}
