//! The JSON documents. Field names are part of the interface, `openapi.json` describes them.
//!
//! Hashes are hexadecimal as Bitcoin shows them, last byte first; amounts are satoshis; times are Unix seconds; rates are
//! hashes per second. What is not known is `null`.

pub mod blocks;
pub mod health;
pub mod miners;
pub mod payouts;
pub mod peers;
pub mod share;
pub mod state;
pub mod status;
mod words;

use p2pool_core::params::Network;
use p2pool_core::share::coinbase::Payout;
use serde::Serialize;

/// What went wrong.
#[derive(Serialize)]
pub struct ErrorDocument<'a> {
    /// In words.
    pub error: &'a str,
}

/// One output of a coinbase.
#[derive(Serialize)]
pub struct PayoutEntry {
    address: String,
    amount: u64,
    /// Per cent of the coinbase's value.
    pct: f64,
}

impl PayoutEntry {
    /// All outputs, largest first as they are in the coinbase.
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

/// 0 of nothing.
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    part as f64 * 100.0 / whole as f64
}
