//! How many of a template's transactions fit into a block beside a given coinbase.

use bitcoin::VarInt;

use super::{Template, TemplateTx};
use crate::share::coinbase::{Coinbase, Payout};

/// Weight units of a byte that is no witness (BIP-0141).
const WITNESS_SCALE: u64 = 4;
/// Weight units of a block header.
const HEADER_WEIGHT: u64 = 80 * WITNESS_SCALE;
/// Marker, flag, and the reserved value as a stack of one item: 2 + 1 + 1 + 32 bytes of witness.
const COINBASE_WITNESS_WEIGHT: u64 = 36;
/// A signature operation in an output's script (the one of P2PKH) costs this much of a block's limit.
const LEGACY_SIGOP_COST: u64 = WITNESS_SCALE;
/// First byte of P2PKH, `OP_DUP`: no other kind that is paid to starts so, or has a signature operation.
const P2PKH_START: u8 = 0x76;

/// What a coinbase takes of a block's limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoinbaseCost {
    /// Weight units, witness included.
    pub weight: u64,
    /// Cost of its signature operations.
    pub sigops_cost: u64,
}

impl CoinbaseCost {
    /// The cost of a coinbase that pays `payouts`.
    pub fn of(coinbase: &Coinbase, payouts: &[Payout]) -> Self {
        let p2pkh = payouts.iter().filter(|payout| payout.script.as_bytes().first() == Some(&P2PKH_START)).count();
        Self { weight: weight(coinbase), sigops_cost: count(p2pkh).saturating_mul(LEGACY_SIGOP_COST) }
    }

    /// The most that a coinbase of `payouts` outputs can cost, given one whose scripts are all of the longest kind.
    pub fn most(longest: &Coinbase, payouts: usize) -> Self {
        Self { weight: weight(longest), sigops_cost: count(payouts).saturating_mul(LEGACY_SIGOP_COST) }
    }
}

fn weight(coinbase: &Coinbase) -> u64 {
    count(coinbase.len_bytes()).saturating_mul(WITNESS_SCALE).saturating_add(COINBASE_WITNESS_WEIGHT)
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// The greatest number of transactions, counted from the first, that fit beside the coinbase.
///
/// Nothing but a tail is ever left out: a child never stands before its parent, so no child is left without
/// it. `None` if not even the coinbase alone fits.
pub fn fitting(template: &Template, coinbase: CoinbaseCost) -> Option<usize> {
    let fits = |transactions: usize, weight: u64, sigops_cost: u64| {
        let count_weight = count(VarInt::from(transactions.saturating_add(1)).size()).saturating_mul(WITNESS_SCALE);
        weight.saturating_add(HEADER_WEIGHT).saturating_add(count_weight) <= template.weight_limit
            && sigops_cost <= template.sigops_limit
    };
    let (mut weight, mut sigops_cost) = (coinbase.weight, coinbase.sigops_cost);
    if !fits(0, weight, sigops_cost) {
        return None;
    }
    // Weight grows with every transaction, so the first that does not fit ends the block.
    let grows = |(at, tx): (usize, &TemplateTx)| {
        weight = weight.saturating_add(tx.weight);
        sigops_cost = sigops_cost.saturating_add(tx.sigops_cost);
        fits(at.saturating_add(1), weight, sigops_cost)
    };
    Some(template.transactions.iter().enumerate().map(grows).take_while(|fits| *fits).count())
}
