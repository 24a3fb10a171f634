//! Computes how many of a template's transactions fit into a block with a given coinbase.

use super::{Template, TemplateTx};
use crate::bytes::compact_size_len;
use crate::share::coinbase::{Coinbase, Payout};

/// Weight units per non-witness byte (BIP-0141).
const WITNESS_SCALE: u64 = 4;
const HEADER_WEIGHT: u64 = 80 * WITNESS_SCALE;
/// Weight of marker, flag and the witness stack of one item, the reserved value: 2 + 1 + 1 + 32 bytes.
const COINBASE_WITNESS_WEIGHT: u64 = 36;
/// Cost of a signature operation in an output script, as in P2PKH.
const LEGACY_SIGOP_COST: u64 = WITNESS_SCALE;
/// First byte of P2PKH, `OP_DUP`. No other payout script type starts with it or has a signature operation.
const P2PKH_START: u8 = 0x76;

/// The part of a block's limits that a coinbase uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoinbaseCost {
    /// In weight units, witness included.
    pub weight: u64,
    pub sigops_cost: u64,
}

impl CoinbaseCost {
    /// The cost of `coinbase`, which pays `payouts`.
    pub fn of(coinbase: &Coinbase, payouts: &[Payout]) -> Self {
        let p2pkh = payouts.iter().filter(|payout| payout.script.as_bytes().first() == Some(&P2PKH_START)).count();
        Self { weight: weight(coinbase), sigops_cost: count(p2pkh).saturating_mul(LEGACY_SIGOP_COST) }
    }

    /// An upper bound on the cost of a coinbase with this number of payouts, given one in which all scripts are of the longest
    /// type.
    pub fn upper_bound(longest: &Coinbase, payouts: usize) -> Self {
        Self { weight: weight(longest), sigops_cost: count(payouts).saturating_mul(LEGACY_SIGOP_COST) }
    }
}

fn weight(coinbase: &Coinbase) -> u64 {
    count(coinbase.len_bytes()).saturating_mul(WITNESS_SCALE).saturating_add(COINBASE_WITNESS_WEIGHT)
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// The largest number of transactions, from the first, that fit with the coinbase; `None` if the coinbase alone does not.
///
/// Only a tail is left out. Since parents precede children, no child loses its parent.
pub fn fitting(template: &Template, coinbase: CoinbaseCost) -> Option<usize> {
    let fits = |transactions: usize, weight: u64, sigops_cost: u64| {
        let count_weight = count(compact_size_len(transactions.saturating_add(1))).saturating_mul(WITNESS_SCALE);
        weight.saturating_add(HEADER_WEIGHT).saturating_add(count_weight) <= template.weight_limit
            && sigops_cost <= template.sigops_limit
    };
    let (mut weight, mut sigops_cost) = (coinbase.weight, coinbase.sigops_cost);
    if !fits(0, weight, sigops_cost) {
        return None;
    }
    // The weight grows with every transaction, so the first one that does not fit ends the block.
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

    fn tx_with_cost(weight: u64, sigops_cost: u64) -> TemplateTx {
        TemplateTx { data: Vec::new(), txid: [0; 32], wtxid: [0; 32], fee: Sats(0), weight, sigops_cost }
    }

    /// Weight and sigops cost of a block, computed independently of the code above.
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
        fn the_kept_transactions_fit_and_one_more_does_not(
            transactions in prop::collection::vec((240u64..4_000, 0u64..100), 0..320),
            coinbase_weight in 400u64..9_000,
            coinbase_sigops in 0u64..200,
            weight_limit in 300u64..700_000,
            sigops_limit in 0u64..15_000,
        ) {
            let transactions: Vec<_> = transactions.into_iter().map(|(weight, sigops)| tx_with_cost(weight, sigops)).collect();
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
    fn the_longer_compact_size_from_253_transactions_on_is_counted() {
        let mut template = template(1, vec![tx_with_cost(400, 0); 252]);
        let coinbase = CoinbaseCost { weight: 1_000, sigops_cost: 0 };
        let weight = totals(&template.transactions, coinbase).0;
        assert_eq!(weight, 320 + 12 + 1_000 + 252 * 400);
        template.weight_limit = weight;
        assert_eq!(fitting(&template, coinbase), Some(252));
        template.weight_limit = weight - 1;
        assert_eq!(fitting(&template, coinbase), Some(251));
    }

    #[test]
    fn maximal_costs_do_not_overflow() {
        let mut template = template(1, vec![tx_with_cost(u64::MAX, u64::MAX); 3]);
        template.weight_limit = u64::MAX - 1;
        assert_eq!(fitting(&template, CoinbaseCost { weight: 1_000, sigops_cost: 0 }), Some(0));
        assert_eq!(fitting(&template, CoinbaseCost { weight: u64::MAX, sigops_cost: 0 }), None);
    }
}
