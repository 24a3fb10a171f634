//! The payout list against a naive implementation of the rule, and its invariants.

#![allow(clippy::float_arithmetic)]

use super::*;
use crate::bytes::tagged_hash;
use crate::payouts::fixtures::{id, script, seeded};
use crate::units::MAX_MONEY;
use proptest::prelude::*;
use ruint::aliases::U512;

const FINDER: u32 = 1_000_000;

/// The payout list for miners 0, 1, ... with these works and for the miner with number `finder`.
fn list(works: &[u128], value: u64, finder: u32, parent: u32, outputs_max: u32) -> Vec<Payout> {
    payout_list(outputs_max, credits(works).into_iter(), Sats(value), script(finder), id(parent))
}

fn credits(works: &[u128]) -> Vec<(PayoutScript, Work)> {
    works.iter().zip(0u32..).map(|(work, miner)| (script(miner), Work(*work))).collect()
}

fn amounts(payouts: &[Payout]) -> Vec<u64> {
    payouts.iter().map(|payout| payout.amount.0).collect()
}

/// Section 7, step 1, as the text states it.
fn naive_fee(value: u64) -> u64 {
    let fee = value / 1_000 * 5 + value % 1_000 * 5 / 1_000;
    if fee < 546 {
        0
    } else {
        fee
    }
}

/// Step 2.
fn naive_amounts(works: &[u128], value: u64) -> BTreeMap<PayoutScript, u64> {
    let all: U256 = works.iter().map(|work| U256::from(*work)).sum();
    let upto = |n: usize| {
        let cumulative: U256 = works[..n].iter().map(|work| U256::from(*work)).sum();
        (U256::from(value - naive_fee(value)) * cumulative / all).to::<u64>()
    };
    (0..works.len()).map(|i| (script(i as u32), upto(i + 1) - upto(i))).collect()
}

/// Number of outputs that a threshold leaves: n plus the tickets, as in step 3.
fn naive_outputs(amounts: &BTreeMap<PayoutScript, u64>, tau: u64) -> u64 {
    let n = amounts.values().filter(|amount| **amount >= tau).count() as u64;
    let s: u64 = amounts.values().filter(|amount| **amount < tau).sum();
    n + if s == 0 { 0 } else { (s / tau).max(1) }
}

/// Section 7 as the text states it: tau counted up one by one, every point compared with every interval.
fn naive_list(works: &[u128], value: u64, finder: u32, parent: u32, outputs_max: u32) -> Vec<Payout> {
    let amounts = naive_amounts(works, value);
    let tau = (546..).find(|tau| naive_outputs(&amounts, *tau) < u64::from(outputs_max)).unwrap();
    let mut paid: BTreeMap<_, _> = amounts.iter().filter(|(_, a)| **a >= tau).map(|(s, a)| (*s, *a)).collect();
    let small: Vec<_> = amounts.iter().filter(|(_, a)| **a < tau).map(|(s, a)| (*s, *a)).collect();
    let s: u64 = small.iter().map(|(_, a)| a).sum();
    if s > 0 && s < 546 {
        match paid.iter().max_by_key(|(script, a)| (**a, std::cmp::Reverse(**script))).map(|(script, _)| *script) {
            Some(largest) => *paid.get_mut(&largest).unwrap() += s,
            None => drop(paid.insert(script(finder), s)),
        }
    } else if s > 0 {
        for (winner, amount) in naive_draw(small, s, (s / tau).max(1), parent) {
            assert!(paid.insert(winner, amount).is_none(), "paid twice");
        }
    }
    let fee = naive_fee(value);
    if fee > 0 {
        *paid.entry(script(finder)).or_default() += fee;
    }
    let mut list: Vec<_> = paid.into_iter().map(|(script, amount)| Payout { script, amount: Sats(amount) }).collect();
    list.sort_by(|a, b| b.amount.cmp(&a.amount).then(a.script.cmp(&b.script)));
    list
}

fn naive_draw(mut small: Vec<(PayoutScript, u64)>, s: u64, m: u64, parent: u32) -> Vec<(PayoutScript, u64)> {
    let seed = tagged_hash(b"p2pool/lots", &id(parent).0);
    small.sort_by_key(|(script, _)| (tagged_hash(b"p2pool/lot-order", &[&seed, script.as_bytes()].concat()), *script));
    let u: u128 = ((U512::from(U256::from_be_bytes(seed)) * U512::from(s)) >> 256usize).to();
    let (s, mut before, mut paid) = (u128::from(s), 0u128, Vec::new());
    for (script, amount) in small {
        let stretch = u128::from(m) * before..u128::from(m) * (before + u128::from(amount));
        for k in (0..u128::from(m)).filter(|k| stretch.contains(&(u + k * s))) {
            paid.push((script, u64::try_from(s / u128::from(m) + if k == 0 { s % u128::from(m) } else { 0 }).unwrap()));
        }
        before += u128::from(amount);
    }
    paid
}

/// Works of few large and many small miners, some of them equal.
fn works(miners: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u128>> {
    let work = prop_oneof![1u128..20, 1u128..5_000, Just(77u128), 1u128 << 40..1 << 60, Just((1u128 << 108) - 1)];
    prop_oneof![
        proptest::collection::vec(1u128..1_000, miners.clone()),
        proptest::collection::vec(Just(5u128), miners.clone()),
        proptest::collection::vec(work, miners),
    ]
}

fn finder() -> impl Strategy<Value = u32> {
    prop_oneof![Just(FINDER), 0u32..8]
}

/// Checks the invariants of every payout list.
fn check_invariants(list: &[Payout], value: u64, outputs_max: u32) -> Result<(), TestCaseError> {
    prop_assert_eq!(list.iter().map(|payout| u128::from(payout.amount.0)).sum::<u128>(), u128::from(value));
    prop_assert!(list.len() <= outputs_max as usize);
    if value >= 546 {
        prop_assert!(list.iter().all(|payout| payout.amount.0 >= 546), "dust in {:?}", list);
    } else {
        prop_assert_eq!(list.len(), usize::from(value > 0));
    }
    for pair in list.windows(2) {
        prop_assert!(final_order(&pair[0]) < final_order(&pair[1]));
    }
    let scripts: std::collections::BTreeSet<_> = list.iter().map(|payout| payout.script).collect();
    prop_assert_eq!(scripts.len(), list.len());
    Ok(())
}

proptest! {
    #![proptest_config(seeded(600))]

    #[test]
    fn matches_the_naive_implementation(
        works in works(1..120), value in prop_oneof![0u64..2_000, 0u64..60_000, 109_000u64..160_000], finder in finder(), parent: u32,
        outputs_max in prop_oneof![8u32..60, Just(1_000)],
    ) {
        let list = list(&works, value, finder, parent, outputs_max);
        prop_assert_eq!(&list, &naive_list(&works, value, finder, parent, outputs_max));
        check_invariants(&list, value, outputs_max)?;
    }

    #[test]
    fn large_values_keep_the_invariants_and_use_the_smallest_tau(
        works in works(1..400), value in prop_oneof![546u64..MAX_MONEY.0, Just(MAX_MONEY.0), Just(u64::MAX)],
        finder in finder(), parent: u32, outputs_max in prop_oneof![8u32..60, Just(48), Just(1_000)],
    ) {
        check_invariants(&list(&works, value, finder, parent, outputs_max), value, outputs_max)?;
        let amounts = naive_amounts(&works, value);
        let entries: Vec<Payout> = amounts.iter().map(|(s, a)| Payout { script: *s, amount: Sats(*a) }).collect();
        let (all, tau) = (outputs_max - 1, threshold(&entries, outputs_max - 1).tau.0);
        prop_assert!(naive_outputs(&amounts, tau) <= u64::from(all));
        prop_assert!(tau == 546 || naive_outputs(&amounts, tau - 1) > u64::from(all), "tau {} too large", tau);
    }

    /// The precondition of the binary search, checked at every threshold.
    #[test]
    fn output_count_never_grows_with_the_threshold(works in works(1..60), value in 0u64..4_000) {
        let amounts = naive_amounts(&works, value);
        for tau in 1..=value.max(1) {
            prop_assert!(naive_outputs(&amounts, tau + 1) <= naive_outputs(&amounts, tau), "at {}", tau);
        }
    }

    /// The other payouts do not depend on the finder, so trying several scripts gains a finder nothing.
    #[test]
    fn the_finder_does_not_influence_the_lottery(works in works(1..200), value in 546u64..1_000_000, parent: u32, other in 0u32..300) {
        let without_fee = |finder: u32| {
            let mut list = list(&works, value, finder, parent, 12);
            for payout in list.iter_mut().filter(|payout| payout.script == script(finder)) {
                payout.amount.0 -= naive_fee(value);
            }
            list.retain(|payout| payout.amount.0 > 0);
            list.sort_by_key(|payout| payout.script);
            list
        };
        prop_assert_eq!(without_fee(FINDER), without_fee(other));
    }

    #[test]
    fn order_and_splitting_of_credits_do_not_matter(
        works in works(1..60), value in 0u64..100_000_000, finder in finder(), turn: proptest::sample::Index,
    ) {
        let expected = list(&works, value, finder, 7, 12);
        let mut pieces = Vec::new();
        for (script, work) in credits(&works) {
            pieces.extend([(script, Work(work.0 / 3)), (script, Work(work.0 - work.0 / 3)), (script, Work(0))]);
        }
        let middle = turn.index(pieces.len());
        pieces.rotate_left(middle);
        pieces.reverse();
        let list = payout_list(12, pieces.into_iter(), Sats(value), script(finder), id(7));
        prop_assert_eq!(list, expected);
    }
}

/// Over many parents each script receives on average its amount of step 2, plus the fee for the finder, within five
/// standard errors and the remainder of the tickets.
#[test]
fn mean_payments_are_the_amounts_of_step_2() {
    const DRAWS: u32 = 3_000;
    // One large, some medium, many small miners. With a limit of 8 outputs nearly all of them are in the lottery.
    let works: Vec<u128> = (0..60).map(|n| if n == 0 { 4_000 } else { 1 + 3 * n }).collect();
    let (value, outputs_max) = (1_000_003, 8);
    let finder = 7;
    let mut amounts = naive_amounts(&works, value);
    *amounts.get_mut(&script(finder)).unwrap() += 5_000;
    let mut paid: BTreeMap<PayoutScript, Vec<f64>> = BTreeMap::new();
    for parent in 0..DRAWS {
        for payout in list(&works, value, finder, parent, outputs_max) {
            paid.entry(payout.script).or_default().push(payout.amount.0 as f64);
        }
    }
    let draws = f64::from(DRAWS);
    for (script, amount) in amounts {
        let won = paid.get(&script).cloned().unwrap_or_default();
        let mean = won.iter().sum::<f64>() / draws;
        let variance = won.iter().map(|a| a * a).sum::<f64>() / draws - mean * mean;
        let bound = 5.0 * (variance.max(0.0) / draws).sqrt() + f64::from(outputs_max);
        assert!((mean - amount as f64).abs() <= bound, "{script}: {mean} instead of {amount}, bound {bound}");
    }
}

#[test]
fn output_limits_hold_with_thousands_of_tiny_payees() {
    let works = vec![1u128; 5_000];
    for outputs_max in [8, 9, 47, 48, 999, 1_000] {
        // All amounts below the dust limit, some above, all far above.
        for value in [100_000, 2_000_000, 312_500_000, MAX_MONEY.0] {
            let list = list(&works, value, FINDER, 5, outputs_max);
            check_invariants(&list, value, outputs_max).unwrap();
            // The outputs are used: as many tickets as the limit or the dust limit allows.
            let room = u64::from(outputs_max - 1).min(value / 600) as usize;
            assert!(list.len() * 10 >= room * 9, "{} outputs of {outputs_max}", list.len());
        }
    }
}

#[test]
fn a_value_of_zero_has_no_outputs() {
    for works in [&[1u128][..], &[1, 2, 3]] {
        assert!(list(works, 0, FINDER, 1, 48).is_empty());
        assert!(list(works, 0, 0, 1, 48).is_empty());
    }
    assert!(payout_list(48, std::iter::empty(), Sats(0), script(1), id(1)).is_empty());
}

#[test]
fn a_value_below_the_dust_limit_goes_to_the_finder() {
    for value in [1, 545] {
        let expected = [Payout { script: script(FINDER), amount: Sats(value) }];
        assert_eq!(list(&[5, 5, 5], value, FINDER, 1, 48), expected);
    }
}

#[test]
fn small_amounts_without_an_exact_payment_draw_for_one_ticket() {
    // 1,000 sat among ten: each below 546, together one ticket.
    let list = list(&[1; 10], 1_000, FINDER, 3, 48);
    assert_eq!(amounts(&list), [1_000]);
    assert!(list[0].script < script(10), "a finder without work is not in the lottery");
}

#[test]
fn dust_joins_the_largest_exact_payment() {
    // 10,000 sat split 1 : 60 : 39, no fee.
    let list_of = |works: &[u128]| list(works, 10_000, FINDER, 1, 48);
    let list = list_of(&[1, 60, 39]);
    assert_eq!(
        list.iter().map(|p| (p.script, p.amount.0)).collect::<Vec<_>>(),
        [(script(1), 6_000 + 100), (script(2), 3_900)]
    );
    // Among equal exact payments, the lowest script gets it.
    let list = list_of(&[4, 48, 48]);
    assert_eq!(
        list.iter().map(|p| (p.script, p.amount.0)).collect::<Vec<_>>(),
        [(script(1), 4_800 + 400), (script(2), 4_800)]
    );
    // 600 sat are not dust.
    assert_eq!(amounts(&list_of(&[6, 47, 47])), [4_700, 4_700, 600]);
}

#[test]
fn a_single_payee_gets_the_whole_value() {
    for value in [1, 546, 312_500_000, MAX_MONEY.0] {
        assert_eq!(list(&[123], value, 0, 1, 48), [Payout { script: script(0), amount: Sats(value) }]);
    }
}

#[test]
fn the_fee_is_added_to_the_finders_output_or_is_its_own() {
    assert_eq!(amounts(&list(&[1, 1], 1_000_000, 1, 1, 48)), [502_500, 497_500]);
    assert_eq!(list(&[1, 1], 1_000_000, 1, 1, 48)[0].script, script(1));
    let separate = list(&[1, 1], 1_000_000, FINDER, 1, 48);
    assert_eq!(amounts(&separate), [497_500, 497_500, 5_000]);
    assert_eq!(separate[2].script, script(FINDER));
    // The largest value without a fee, and the smallest with one.
    assert_eq!(amounts(&list(&[1, 1], 109_199, FINDER, 1, 48)), [54_600, 54_599]);
    assert_eq!(amounts(&list(&[1, 1], 109_200, FINDER, 1, 48)), [54_327, 54_327, 546]);
    // floor(value * 5 / 1000), if at least 546.
    for (value, fee) in [(0, 0), (109_199, 0), (109_200, 546), (109_399, 546), (u64::MAX, 92_233_720_368_547_758)] {
        assert_eq!(finder_fee(Sats(value)), Sats(fee));
    }
}

#[test]
fn without_work_the_finder_gets_the_whole_value() {
    let all = [Payout { script: script(4), amount: Sats(5_000_000_000) }];
    let no_credit = std::iter::empty();
    assert_eq!(payout_list(48, no_credit, Sats(5_000_000_000), script(4), ShareId::ZERO), all);
    let no_work = [(script(1), Work::ZERO)].into_iter();
    assert_eq!(payout_list(48, no_work, Sats(5_000_000_000), script(4), id(1)), all);
}

#[test]
fn maximal_works_do_not_overflow() {
    let list = list(&[u128::MAX, u128::MAX, u128::MAX], 3_000_000, FINDER, 1, 48);
    assert_eq!(amounts(&list), [995_000, 995_000, 995_000, 15_000]);
}

/// The rows of a table in a guide: the cells of each line that starts with the name of a miner.
fn rows(section: &str) -> Vec<Vec<&str>> {
    let is_row = |line: &&str| line.len() > 4 && line.starts_with("| ") && line.as_bytes().get(3) == Some(&b' ');
    section.lines().filter(is_row).map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

#[test]
fn the_example_of_the_guide_is_right() {
    const GUIDE: &str = include_str!("../../../contrib/docs/payouts.md");
    const OUTPUTS_MAX: u32 = 5;
    let number = |text: &str| text.replace(',', "").parse::<u64>().unwrap();
    let miner = |name: &str| script(u32::from(name.as_bytes()[0] - b'A'));
    let (before, after) = GUIDE.split_once("**5. The coinbase**").unwrap();
    let credits = rows(before);
    let works: Vec<u128> = credits.iter().map(|row| row[1].parse().unwrap()).collect();
    assert_eq!(works.len(), 6);
    let stated: Vec<(PayoutScript, u64)> = credits.iter().map(|row| (miner(row[0]), number(row[3]))).collect();
    assert_eq!(stated, naive_amounts(&works, 312_500_000).into_iter().collect::<Vec<_>>());
    let stated: Vec<(PayoutScript, u64)> = rows(after).iter().map(|row| (miner(row[0]), number(row[1]))).collect();
    let winners: Vec<Vec<Payout>> = (0..200).map(|parent| list(&works, 312_500_000, 1, parent, OUTPUTS_MAX)).collect();
    let stated_list: Vec<Payout> =
        stated.iter().map(|(script, sats)| Payout { script: *script, amount: Sats(*sats) }).collect();
    let count =
        |winner: &str| winners.iter().filter(|list| list.iter().any(|paid| paid.script == miner(winner))).count();
    assert!(winners.contains(&stated_list), "{:?}", winners[0]);
    // 60, 30 and 10 % of 200, within four standard deviations.
    for (winner, range) in [("D", 92..=148), ("E", 34..=86), ("F", 3..=37)] {
        assert!(range.contains(&count(winner)), "{winner} wins {} of 200", count(winner));
    }
}
