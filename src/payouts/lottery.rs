//! The payout lottery: draws unbiasedly which small amounts become outputs (rules, section 7, step 4).

use bitcoin::hashes::{sha256, Hash as _, HashEngine as _};

use crate::bytes::{tagged_engine, tagged_hash};
use crate::share::coinbase::Payout;
use crate::share::{PayoutScript, ShareId};
use crate::units::{Sats, U256};

/// Wide enough for the product of the seed and a sum.
type U512 = ruint::aliases::U512;

/// Draws which of the small amounts are paid, each with a probability proportional to the amount.
///
/// The sum of `small` is divided into `tickets` equal tickets. If there are several, each amount must be at most one
/// ticket, as step 3 ensures, so no script wins twice. The payouts add up to the sum; the winner of `k = 0`, which gets
/// the remainder, comes first.
pub(super) fn draw(parent: ShareId, small: Vec<Payout>, tickets: u64) -> Vec<Payout> {
    let seed = tagged_hash(b"p2pool/lots", &parent.0);
    let sum = small.iter().fold(0u64, |sum, payout| sum.saturating_add(payout.amount.0));
    let ordered = in_draw_order(&seed, small);
    let amounts = ordered.iter().map(|payout| payout.amount.0);
    let (Some(ticket), Some(rest)) = (sum.checked_div(tickets), sum.checked_rem(tickets)) else { return Vec::new() };
    let mut winners: Vec<Payout> = winners(amounts, sum, tickets, offset(&seed, sum))
        .filter_map(|winner| ordered.get(winner))
        .map(|payout| Payout { script: payout.script, amount: Sats(ticket) })
        .collect();
    if let Some(first) = winners.first_mut() {
        first.amount.0 = first.amount.0.saturating_add(rest);
    }
    winners
}

/// Sorts the entries by the hash of seed and script, so that a script cannot be placed at a chosen position.
fn in_draw_order(seed: &[u8; 32], small: Vec<Payout>) -> Vec<Payout> {
    // Tag and seed are common to all entries, of which there may be as many as shares in the window: hash them once.
    let mut seeded = tagged_engine(b"p2pool/lot-order");
    seeded.input(seed);
    let mut keyed: Vec<([u8; 32], PayoutScript, Payout)> = small
        .into_iter()
        .map(|payout| {
            let mut engine = seeded.clone();
            engine.input(payout.script.as_bytes());
            (sha256::Hash::from_engine(engine).to_byte_array(), payout.script, payout)
        })
        .collect();
    keyed.sort_unstable_by_key(|(hash, script, _)| (*hash, *script));
    keyed.into_iter().map(|(_, _, payout)| payout).collect()
}

/// `floor(seed * sum / 2^256)` with the seed read big-endian; below `sum`.
fn offset(seed: &[u8; 32], sum: u64) -> u64 {
    let product = U512::from(U256::from_be_bytes(*seed)).saturating_mul(U512::from(sum));
    u64::try_from(product >> 256usize).unwrap_or(u64::MAX)
}

/// Systematic sampling: returns the indexes of the winning `amounts`, whose sum is `sum`, by ascending `k`.
///
/// On a line each amount is a stretch `tickets` times as long as the amount. A stretch wins if it contains one of the
/// points `offset + k * sum`, with `k` from 0 to `tickets - 1`. The line is `tickets * sum` long, so there are no further
/// points. The stretch of an amount of at most `sum / tickets` is no longer than the distance between points, so it
/// contains at most one.
fn winners(amounts: impl Iterator<Item = u64>, sum: u64, tickets: u64, offset: u64) -> impl Iterator<Item = usize> {
    let (sum, tickets) = (u128::from(sum), u128::from(tickets));
    let mut point = u128::from(offset);
    let mut end = 0u128;
    amounts.enumerate().filter_map(move |(index, amount)| {
        // Factors are below 2^64, products below 2^128.
        end = end.saturating_add(tickets.saturating_mul(u128::from(amount)));
        let wins = point < end;
        if wins {
            point = point.saturating_add(sum);
        }
        wins.then_some(index)
    })
}

#[cfg(test)]
mod tests;
