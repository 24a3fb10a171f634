//! Small amounts drawn into few lots without bias: step 4 of section 7.

#![deny(clippy::float_arithmetic, clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use bitcoin::hashes::{sha256, Hash as _, HashEngine as _};

use crate::bytes::{tagged_engine, tagged_hash};
use crate::share::coinbase::Payout;
use crate::share::{PayoutScript, ShareId};
use crate::units::{Sats, U256};

/// Twice the width of a hash: room for the product of the seed and a sum.
type U512 = ruint::aliases::U512;

/// Draws which of the small amounts are paid, each with a probability in proportion to it.
///
/// The sum of `small` is split into `lots` lots. Unless there is but one, each amount must be at most one lot, as step 3
/// arranges, so nobody wins twice. The payouts add up to the sum, the winner of `k = 0` first.
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

/// The entries in the order in which they lie on the line of the draw.
///
/// It is hashed with the seed, so nobody can place a script at a chosen point of the line.
fn in_draw_order(seed: &[u8; 32], small: Vec<Payout>) -> Vec<Payout> {
    // Tag and seed are the same for all: hashed once, as there may be as many entries as shares in the window.
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

/// `floor(seed * sum / 2^256)`, the seed read big-endian: a number below `sum`.
fn offset(seed: &[u8; 32], sum: u64) -> u64 {
    let product = U512::from(U256::from_be_bytes(*seed)).saturating_mul(U512::from(sum));
    u64::try_from(product >> 256usize).unwrap_or(u64::MAX)
}

/// Systematic sampling: which places of `amounts`, whose sum is `sum`, hold one of the points `offset + k * sum` for
/// `k` below `lots` on a line where each amount is `lots` times as long; by `k` ascending.
///
/// All amounts together are `lots * sum` long, so there is no point past the last of the `lots`. The stretch of an amount
/// of at most `sum / lots` is no longer than the step from point to point, so it holds at most one.
fn winners(amounts: impl Iterator<Item = u64>, sum: u64, tickets: u64, offset: u64) -> impl Iterator<Item = usize> {
    let (sum, tickets) = (u128::from(sum), u128::from(tickets));
    let mut point = u128::from(offset);
    let mut end = 0u128;
    amounts.enumerate().filter_map(move |(place, amount)| {
        // Factors are below 2^64, products below 2^128.
        end = end.saturating_add(tickets.saturating_mul(u128::from(amount)));
        let wins = point < end;
        if wins {
            point = point.saturating_add(sum);
        }
        wins.then_some(place)
    })
}

#[cfg(test)]
mod tests;
