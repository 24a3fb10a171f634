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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fixtures::template;
    use super::*;
    use crate::units::Sats;

    fn numbers_only(weight: u64, sigops_cost: u64) -> TemplateTx {
        TemplateTx { data: Vec::new(), txid: [0; 32], wtxid: [0; 32], fee: Sats(0), weight, sigops_cost }
    }

    /// Weight and sigops of a whole block, written out without help from the code above.
    fn totals(transactions: &[TemplateTx], coinbase: CoinbaseCost) -> (u64, u64) {
        let count_bytes = match transactions.len() + 1 {
            0..=252 => 1,
            253..=65_535 => 3,
            _ => 5,
        };
        let weight: u64 = transactions.iter().map(|tx| tx.weight).sum();
        let sigops: u64 = transactions.iter().map(|tx| tx.sigops_cost).sum();
        (4 * (80 + count_bytes) + coinbase.weight + weight, coinbase.sigops_cost + sigops)
    }

    proptest! {
        #[test]
        fn what_is_kept_fits_and_one_more_would_not(
            transactions in prop::collection::vec((240u64..4_000, 0u64..100), 0..320),
            coinbase_weight in 400u64..9_000,
            coinbase_sigops in 0u64..200,
            weight_limit in 300u64..700_000,
            sigops_limit in 0u64..15_000,
        ) {
            let transactions: Vec<_> = transactions.into_iter().map(|(weight, sigops)| numbers_only(weight, sigops)).collect();
            let mut template = template(1, transactions.clone());
            (template.weight_limit, template.sigops_limit) = (weight_limit, sigops_limit);
            let coinbase = CoinbaseCost { weight: coinbase_weight, sigops_cost: coinbase_sigops };
            let fits = |count: usize| {
                let (weight, sigops) = totals(&transactions[..count], coinbase);
                weight <= weight_limit && sigops <= sigops_limit
            };
            match fitting(&template, coinbase) {
                Some(kept) => prop_assert!(fits(kept) && (kept == transactions.len() || !fits(kept + 1))),
                None => prop_assert!(!fits(0)),
            }
        }
    }

    #[test]
    fn the_longer_count_of_253_transactions_is_weighed() {
        let mut template = template(1, vec![numbers_only(400, 0); 252]);
        let coinbase = CoinbaseCost { weight: 1_000, sigops_cost: 0 };
        let weight = totals(&template.transactions, coinbase).0;
        assert_eq!(weight, 320 + 12 + 1_000 + 252 * 400);
        template.weight_limit = weight;
        assert_eq!(fitting(&template, coinbase), Some(252));
        template.weight_limit = weight - 1;
        assert_eq!(fitting(&template, coinbase), Some(251));
    }

    #[test]
    fn claims_beyond_all_limits_do_not_overflow() {
        let mut template = template(1, vec![numbers_only(u64::MAX, u64::MAX); 3]);
        template.weight_limit = u64::MAX - 1;
        assert_eq!(fitting(&template, CoinbaseCost { weight: 1_000, sigops_cost: 0 }), Some(0));
        assert_eq!(fitting(&template, CoinbaseCost { weight: u64::MAX, sigops_cost: 0 }), None);
    }
}
