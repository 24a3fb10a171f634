//! The lottery is proportional and exact, and no script wins twice.

use super::*;
use crate::payouts::fixtures::{id, script, seeded};
use proptest::prelude::*;

/// The rule as its text states it: entry `i` wins if some `u + k*s` with `0 <= k < m` falls in `[m*S_(i-1), m*S_i)`.
fn naive_winners(amounts: &[u64], tickets: u64, u: u64) -> Vec<(usize, u64)> {
    let sum: u128 = amounts.iter().map(|a| u128::from(*a)).sum();
    let mut found = Vec::new();
    for k in 0..tickets {
        let point = u128::from(u) + u128::from(k) * sum;
        let mut before = 0u128;
        for (i, amount) in amounts.iter().enumerate() {
            let upto = before + u128::from(*amount);
            if (u128::from(tickets) * before..u128::from(tickets) * upto).contains(&point) {
                found.push((i, k));
            }
            before = upto;
        }
    }
    found
}

/// Amounts and a number of tickets as step 3 may give them: no amount above one ticket.
fn small_amounts(amounts: std::ops::Range<usize>, most: u64) -> impl Strategy<Value = (Vec<u64>, u64)> {
    (proptest::collection::vec(1..most, amounts), any::<proptest::sample::Index>()).prop_map(|(amounts, index)| {
        let (sum, largest) = (amounts.iter().sum::<u64>(), *amounts.iter().max().unwrap());
        let tickets = 1 + index.index(usize::try_from(sum / largest).unwrap()) as u64;
        (amounts, tickets)
    })
}

fn payouts(amounts: &[u64]) -> Vec<Payout> {
    let miners = 0u32..;
    amounts.iter().zip(miners).map(|(a, miner)| Payout { script: script(miner), amount: Sats(*a) }).collect()
}

proptest! {
    #![proptest_config(seeded(600))]

    #[test]
    fn winners_match_the_naive_implementation((amounts, tickets) in small_amounts(1..60, 2_000), u: proptest::sample::Index) {
        let sum: u64 = amounts.iter().sum();
        let u = u.index(usize::try_from(sum).unwrap()) as u64;
        let naive = naive_winners(&amounts, tickets, u);
        let fast: Vec<(usize, u64)> = winners(amounts.iter().copied(), sum, tickets, u).zip(0..).collect();
        prop_assert_eq!(fast, naive);
    }

    /// Over all values of `u` an amount `a` wins exactly `tickets * a` times of `sum`.
    #[test]
    fn the_chance_to_win_is_exactly_proportional((amounts, tickets) in small_amounts(1..20, 60)) {
        let sum: u64 = amounts.iter().sum();
        let mut wins = vec![0u64; amounts.len()];
        for u in 0..sum {
            for winner in winners(amounts.iter().copied(), sum, tickets, u) {
                wins[winner] += 1;
            }
        }
        let expected: Vec<u64> = amounts.iter().map(|amount| tickets * amount).collect();
        prop_assert_eq!(wins, expected);
    }

    #[test]
    fn each_ticket_has_another_winner_and_the_sum_is_exact((amounts, tickets) in small_amounts(1..200, 100_000), parent: u32) {
        let sum: u64 = amounts.iter().sum();
        let drawn = draw(id(parent), payouts(&amounts), tickets);
        prop_assert_eq!(drawn.len() as u64, tickets);
        prop_assert_eq!(drawn.iter().map(|payout| payout.amount.0).sum::<u64>(), sum);
        let scripts: std::collections::BTreeSet<_> = drawn.iter().map(|payout| payout.script).collect();
        prop_assert_eq!(scripts.len(), drawn.len(), "a script won twice");
        prop_assert_eq!(drawn[0].amount.0, sum / tickets + sum % tickets);
        prop_assert!(drawn[1..].iter().all(|payout| payout.amount.0 == sum / tickets));
    }

    #[test]
    fn the_order_of_entries_does_not_matter((amounts, tickets) in small_amounts(1..60, 1_000), parent: u32) {
        let entries = payouts(&amounts);
        let reversed = entries.iter().rev().copied().collect();
        prop_assert_eq!(draw(id(parent), entries, tickets), draw(id(parent), reversed, tickets));
    }
}

/// Over many parents each script wins in proportion to its amount, within five standard deviations.
#[test]
fn seeds_draw_in_proportion() {
    const DRAWS: u32 = 4_000;
    let amounts: Vec<u64> = (1..=40).map(|n| 25 * n).collect();
    let (sum, tickets) = (amounts.iter().sum::<u64>(), 12);
    let mut wins = vec![0u32; amounts.len()];
    for parent in 0..DRAWS {
        for won in draw(id(parent), payouts(&amounts), tickets) {
            wins[payouts(&amounts).iter().position(|p| p.script == won.script).unwrap()] += 1;
        }
    }
    for (amount, wins) in amounts.iter().zip(wins) {
        let chance = (tickets * amount) as f64 / sum as f64;
        let expected = chance * f64::from(DRAWS);
        let deviation = (expected * (1.0 - chance)).sqrt();
        assert!((f64::from(wins) - expected).abs() <= 5.0 * deviation, "{amount} sat: {wins} wins of {expected}");
    }
}

#[test]
fn a_single_ticket_has_one_winner_whatever_the_amounts() {
    for u in [0, 1, 699, 700, 701, 999] {
        let won: Vec<usize> = winners([700, 1, 299].into_iter(), 1_000, 1, u).collect();
        assert_eq!(won, [if u < 700 { 0 } else { 1 + usize::from(u > 700) }], "u = {u}");
    }
}

#[test]
fn offsets_cover_the_sum() {
    assert_eq!(offset(&[0; 32], 1_000), 0);
    assert_eq!(offset(&[0xff; 32], 1_000), 999);
    assert_eq!(offset(&[0xff; 32], u64::MAX), u64::MAX - 1);
    let mut half = [0; 32];
    half[0] = 0x80;
    assert_eq!(offset(&half, 1_001), 500, "the first byte is the most significant");
}

#[test]
fn order_and_winners_depend_on_the_parent() {
    let amounts = [500u64; 40];
    let first: Vec<PayoutScript> = draw(id(1), payouts(&amounts), 10).iter().map(|p| p.script).collect();
    let second: Vec<PayoutScript> = draw(id(2), payouts(&amounts), 10).iter().map(|p| p.script).collect();
    assert_ne!(first, second);
    let order = |parent: u32| in_draw_order(&[parent as u8; 32], payouts(&amounts));
    assert_ne!(order(1), order(2), "the order differs between parents");
    assert_ne!(order(1), payouts(&amounts), "entries are not ordered by script");
}

#[test]
fn an_empty_lottery_has_no_winners() {
    assert!(draw(id(1), Vec::new(), 1).is_empty());
    assert!(draw(id(1), payouts(&[600]), 0).is_empty());
}
