//! The incremental window against one computed from scratch.

use super::*;
use crate::params::Network;
use crate::payouts::fixtures::{id, script, seeded};
use crate::payouts::Vote;
use crate::payouts::{payout_list, Credit};
use proptest::prelude::*;
use std::cell::Cell;
use std::collections::HashMap;

/// Shares by id, and the number of reads.
#[derive(Default)]
struct Tree {
    entries: HashMap<ShareId, WindowEntry>,
    reads: Cell<usize>,
}

impl EntrySource for Tree {
    fn entry(&self, id: &ShareId) -> Option<&WindowEntry> {
        self.reads.set(self.reads.get() + 1);
        self.entries.get(id)
    }
}

impl Tree {
    fn add(&mut self, number: u32, parent: ShareId, miner: u32, work: u128, uncles: &[(u32, u128)]) {
        let uncles = uncles.iter().map(|(miner, work)| (script(*miner), Work(*work)));
        let entry =
            WindowEntry::new(id(number), parent, script(miner), Vote { work: Work(work), ..Vote::default() }, uncles);
        self.entries.insert(id(number), entry);
    }

    /// A chain of shares 0..len, each with work 10 and a different miner.
    fn chain(len: u32) -> Self {
        let mut tree = Self::default();
        for number in 0..len {
            tree.add(number, parent_of(number), number, 10, &[]);
        }
        tree
    }

    fn reads_since_last(&self) -> usize {
        self.reads.replace(0)
    }
}

fn parent_of(number: u32) -> ShareId {
    number.checked_sub(1).map_or(ShareId::ZERO, id)
}

fn params(payout_window: u32, work_cut_blocks: u32) -> ChainParams {
    ChainParams { payout_window, work_cut_blocks, ..ChainParams::standard(Network::Regtest) }
}

/// Bits of about this work, and their exact work.
fn bits_of(work: u128) -> (Bits, u128) {
    let bits = Work(work).target().to_bits();
    (bits, bits.target().unwrap().work().unwrap().0)
}

/// The window's shares, newest first, computed as the rule states it.
fn naive<'a>(
    params: &ChainParams,
    parent: ShareId,
    bits: Bits,
    tree: &'a Tree,
) -> Result<Vec<&'a WindowEntry>, WindowError> {
    let mut window: Vec<&WindowEntry> = Vec::new();
    let mut next = parent;
    while next != ShareId::ZERO && window.len() < params.payout_window as usize {
        let entry = tree.entries.get(&next).ok_or(WindowError::MissingShare(next))?;
        window.push(entry);
        next = entry.parent;
        if params.work_cut_blocks > 0 {
            let work: u128 = window.iter().flat_map(|entry| entry.credits.iter()).map(|credit| credit.work.0).sum();
            if work >= u128::from(params.work_cut_blocks) * bits.target().unwrap().work().unwrap().0 {
                break;
            }
        }
    }
    Ok(window)
}

/// Everything that a window returns, in comparable form.
type Observed = (Vec<(PayoutScript, Work)>, Work, Vec<ShareId>, Option<ShareId>, Option<ShareId>, Vec<Payout>);

const FINDER: u32 = 3;
const VALUE: Sats = Sats(50_000);

fn observed(window: &Window) -> Observed {
    assert_eq!(window.len(), window.entries.len());
    assert_eq!(window.is_empty(), window.entries.is_empty());
    assert_eq!(window.ids, window.entries.iter().map(|entry| entry.id).collect());
    let shares = window.entries.iter().rev().map(|entry| entry.id).collect();
    let payouts = window.payouts(VALUE, script(FINDER), 0);
    (window.credits().collect(), window.total_work(), shares, window.oldest(), window.newest(), payouts)
}

fn expected(params: &ChainParams, newest_first: &[&WindowEntry]) -> Observed {
    let mut sums: BTreeMap<PayoutScript, Work> = BTreeMap::new();
    let credits: Vec<Credit> = newest_first.iter().flat_map(|entry| entry.credits.to_vec()).collect();
    for credit in credits.iter().filter(|credit| credit.work > Work::ZERO) {
        sums.entry(credit.script).or_default().0 += credit.work.0;
    }
    let total = Work(credits.iter().map(|credit| credit.work.0).sum());
    let shares: Vec<ShareId> = newest_first.iter().map(|entry| entry.id).collect();
    let (oldest, newest) = (shares.last().copied(), shares.first().copied());
    let credits = credits.iter().map(|credit| (credit.script, credit.work));
    let parent = newest.unwrap_or(ShareId::ZERO);
    let payouts = payout_list(params.payout_outputs_max(0), credits, VALUE, script(FINDER), parent);
    (sums.into_iter().collect(), total, shares, oldest, newest, payouts)
}

/// A share of a random tree: distance to its parent, miner, work and uncles.
type RandomShare = (usize, u32, u128, Vec<(u32, u128)>);

fn random_share() -> impl Strategy<Value = RandomShare> {
    // Mostly a chain, sometimes a fork, rarely a deep one.
    let back = prop_oneof![12 => Just(1usize), 3 => 2usize..4, 1 => 4usize..40];
    let uncles = prop_oneof![4 => Just(0usize..1), 1 => Just(1usize..4)]
        .prop_flat_map(|count| proptest::collection::vec((0u32..12, 1u128..30), count));
    (back, 0u32..12, prop_oneof![1u128..30, Just(1u128)], uncles)
}

fn random_tree(shares: &[RandomShare]) -> Tree {
    let mut tree = Tree::default();
    for (number, (back, miner, work, uncles)) in shares.iter().enumerate() {
        let parent = number.checked_sub(*back).map_or(ShareId::ZERO, |parent| id(parent as u32));
        tree.add(number as u32, parent, *miner, *work, uncles);
    }
    tree
}

/// A sequence of moves: the share to move to, and the work of the bits.
fn moves() -> impl Strategy<Value = Vec<(proptest::sample::Index, u128)>> {
    // Bits mostly stay the same, as on Bitcoin.
    let work = prop_oneof![4 => Just(60u128), 1 => 1u128..200];
    proptest::collection::vec((any::<proptest::sample::Index>(), work), 1..40)
}

/// Moves through the tree in the order in which it grew, then to random shares; compares each window with the naive one.
fn check(
    params: &ChainParams,
    tree: &Tree,
    shares: usize,
    moves: &[(proptest::sample::Index, u128)],
) -> Result<(), TestCaseError> {
    let mut window = Window::new(params);
    let (usual, _) = bits_of(60);
    let grown = (0..shares).map(|number| (id(number as u32), usual));
    let jumps = moves.iter().map(|(to, work)| {
        // One past the last stands for the empty window of a genesis share.
        let to = to.index(shares + 1);
        (if to == shares { ShareId::ZERO } else { id(to as u32) }, bits_of(*work).0)
    });
    for (parent, bits) in grown.chain(jumps) {
        let before = observed(&window);
        match naive(params, parent, bits, tree) {
            Ok(shares) => {
                prop_assert_eq!(window.move_to(parent, bits, tree), Ok(()));
                prop_assert_eq!(observed(&window), expected(params, &shares));
            }
            Err(error) => {
                prop_assert_eq!(window.move_to(parent, bits, tree), Err(error));
                prop_assert_eq!(observed(&window), before, "a failed move changed the window");
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(seeded(400))]

    #[test]
    fn after_any_moves_the_window_equals_one_computed_from_scratch(
        shares in proptest::collection::vec(random_share(), 1..120), moves in moves(),
        payout_window in 1u32..40, work_cut_blocks in 0u32..4,
    ) {
        let tree = random_tree(&shares);
        check(&params(payout_window, work_cut_blocks), &tree, shares.len(), &moves)?;
    }

    #[test]
    fn a_pruned_base_is_an_error_exactly_where_the_window_reaches_it(
        shares in proptest::collection::vec(random_share(), 20..120), moves in moves(), pruned in 1u32..30,
        payout_window in 1u32..40, work_cut_blocks in 0u32..4,
    ) {
        let mut tree = random_tree(&shares);
        for number in 0..pruned {
            tree.entries.remove(&id(number));
        }
        check(&params(payout_window, work_cut_blocks), &tree, shares.len(), &moves)?;
    }
}

#[test]
fn a_genesis_share_pays_the_whole_value_to_its_own_miner() {
    let tree = Tree::chain(5);
    let mut window = Window::new(&params(3, 0));
    let all = [Payout { script: script(FINDER), amount: VALUE }];
    assert_eq!(window.payouts(VALUE, script(FINDER), 0), all);
    // Also after the window was moved.
    window.move_to(id(4), Bits(0), &tree).unwrap();
    assert_ne!(window.payouts(VALUE, script(FINDER), 0), all);
    window.move_to(ShareId::ZERO, Bits(0), &tree).unwrap();
    assert!(window.is_empty() && window.total_work() == Work::ZERO);
    assert_eq!(window.payouts(VALUE, script(FINDER), 0), all);
}

#[test]
fn the_window_has_the_configured_number_of_shares() {
    let tree = Tree::chain(20);
    let mut window = Window::new(&params(8, 0));
    for number in 0..20 {
        window.move_to(id(number), Bits(0), &tree).unwrap();
        assert_eq!(window.len(), 8.min(number as usize + 1));
    }
    assert_eq!((window.oldest(), window.newest()), (Some(id(12)), Some(id(19))));
}

#[test]
fn the_window_ends_with_the_share_that_first_reaches_the_cut() {
    let tree = Tree::chain(20);
    let mut window = Window::new(&params(15, 2));
    for wanted in [1, 14, 15, 16, 40, 41, 60, 74, 75, 76, 1_000, 15] {
        let (bits, work) = bits_of(wanted);
        window.move_to(id(19), bits, &tree).unwrap();
        let shares = 15.min((2 * work).div_ceil(10) as usize);
        assert_eq!(window.len(), shares, "bits of {work} hashes");
        assert_eq!(window.total_work(), Work(10 * shares as u128));
    }
}

#[test]
fn uncle_work_counts_towards_the_cut() {
    let mut tree = Tree::chain(10);
    tree.add(10, id(9), 10, 10, &[(40, 25)]);
    let (bits, work) = bits_of(16);
    assert!((31..=35).contains(&(2 * work)), "35 reach it, 10 and 25 alone do not: {work}");
    let mut window = Window::new(&params(8, 2));
    window.move_to(id(10), bits, &tree).unwrap();
    assert_eq!((window.len(), window.total_work()), (1, Work(35)));
    let credits: Vec<_> = window.credits().collect();
    assert_eq!(credits, [(script(10), Work(13)), (script(40), Work(22))]);
}

#[test]
fn one_more_share_costs_one_read_and_a_reorg_its_length() {
    let mut tree = Tree::chain(1_000);
    for number in 0..5 {
        let parent = if number == 0 { id(994) } else { id(2_000 + number - 1) };
        tree.add(2_000 + number, parent, 1, 10, &[]);
    }
    let mut window = Window::new(&params(500, 2));
    let (bits, work) = bits_of(1_000);
    let full = (2 * work).div_ceil(10) as usize;
    window.move_to(id(500), bits, &tree).unwrap();
    assert_eq!((tree.reads_since_last(), window.len()), (full, full));
    for number in 501..1_000 {
        window.move_to(id(number), bits, &tree).unwrap();
        assert_eq!(tree.reads_since_last(), 1);
    }
    window.move_to(id(2_004), bits, &tree).unwrap();
    assert_eq!(tree.reads_since_last(), 5, "five shares replace five others");
    window.move_to(id(997), bits, &tree).unwrap();
    assert_eq!(tree.reads_since_last(), 3 + 2, "the branch, and two shares at the oldest end");
    window.move_to(id(997), bits, &tree).unwrap();
    assert_eq!(tree.reads_since_last(), 0);
    window.move_to(id(997), bits_of(900).0, &tree).unwrap();
    assert_eq!(tree.reads_since_last(), 0, "a shorter window reads nothing");
    window.move_to(id(997), bits, &tree).unwrap();
    assert_eq!(tree.reads_since_last(), full - window_len(900), "a longer one reads only the shares that join");
}

fn window_len(block_work: u128) -> usize {
    (2 * bits_of(block_work).1).div_ceil(10) as usize
}

#[test]
fn a_missing_share_is_named_and_the_window_is_unchanged() {
    let mut tree = Tree::chain(20);
    for number in 0..5 {
        tree.entries.remove(&id(number));
    }
    let mut window = Window::new(&params(10, 0));
    window.move_to(id(14), Bits(0), &tree).unwrap();
    let before = observed(&window);
    // The window of share 13 ends with share 4; share 40 does not exist.
    assert_eq!(window.move_to(id(13), Bits(0), &tree), Err(WindowError::MissingShare(id(4))));
    assert_eq!(window.move_to(id(40), Bits(0), &tree), Err(WindowError::MissingShare(id(40))));
    assert_eq!(observed(&window), before);
    window.move_to(id(15), Bits(0), &tree).unwrap();
    assert_eq!(window.len(), 10);
}

#[test]
fn entries_are_read_again_after_clear() {
    let mut tree = Tree::chain(5);
    let mut window = Window::new(&params(10, 0));
    window.move_to(id(4), Bits(0), &tree).unwrap();
    tree.add(2, id(1), 2, 99, &[]);
    window.clear();
    assert!(window.is_empty() && window.newest().is_none() && window.credits().next().is_none());
    window.move_to(id(4), Bits(0), &tree).unwrap();
    assert_eq!(window.total_work(), Work(4 * 10 + 99));
}

#[test]
fn bits_matter_only_if_the_window_is_cut_by_work() {
    let tree = Tree::chain(5);
    // Zero, negative, not canonical, and two targets that take 2^108 hashes or more.
    for bits in [0, 0x1d80_ffff, 0x1d00_001f, 0x0100_0001, 0x0101_0000] {
        let mut window = Window::new(&params(3, 2));
        assert_eq!(window.move_to(id(4), Bits(bits), &tree), Err(WindowError::Bits(Bits(bits))));
        let mut window = Window::new(&params(3, 0));
        assert_eq!(window.move_to(id(4), Bits(bits), &tree), Ok(()));
    }
}

#[test]
fn work_overflow_is_an_error_and_the_window_is_unchanged() {
    let mut tree = Tree::chain(3);
    tree.add(3, id(2), 3, u128::MAX - 15, &[]);
    let mut window = Window::new(&params(10, 0));
    assert_eq!(window.move_to(id(3), Bits(0), &tree), Err(WindowError::WorkOverflow(id(1))));
    window.move_to(id(2), Bits(0), &tree).unwrap();
    let before = observed(&window);
    assert_eq!(window.move_to(id(3), Bits(0), &tree), Err(WindowError::WorkOverflow(id(2))));
    assert_eq!(observed(&window), before);
}

#[test]
fn the_largest_window_of_maximal_works_does_not_overflow() {
    let most = (1u128 << crate::units::WORK_BITS_MAX) - 1;
    let mut tree = Tree::default();
    for number in 0..8_640 {
        tree.add(number, parent_of(number), number % 7, most, &[(8, most), (9, most), (10, most)]);
    }
    let mut window = Window::new(&ChainParams::standard(Network::Testnet4));
    window.move_to(id(8_639), Bits(0), &tree).unwrap();
    assert_eq!(window.total_work(), Work(4 * 8_640 * most));
    let paid: u64 = window.payouts(crate::units::MAX_MONEY, script(1), 0).iter().map(|payout| payout.amount.0).sum();
    assert_eq!(paid, crate::units::MAX_MONEY.0);
}

/// However many scripts a window credits, a list has as many outputs as its class allows, and its sum is exact.
#[test]
fn thousands_of_payees_get_no_more_outputs_than_the_class_allows() {
    let params = ChainParams::standard(Network::Testnet4);
    for payees in [100, 1_000, 5_000, 8_640] {
        let mut tree = Tree::default();
        (0..8_640).for_each(|number| tree.add(number, parent_of(number), number % payees, 1 << 60, &[]));
        let mut window = Window::new(&params);
        window.move_to(id(8_639), Bits(0), &tree).unwrap();
        assert_eq!(window.credits().count(), payees as usize);
        for (class, outputs_max) in (0..).zip(params.payout_outputs) {
            let payouts = window.payouts(Sats(312_500_000), script(1), class);
            // One output is kept for the finder's fee, which may not need it.
            let outputs = (payees.min(outputs_max - 1) as usize)..=outputs_max as usize;
            assert!(outputs.contains(&payouts.len()), "{payees} payees, class {class}: {}", payouts.len());
            assert_eq!(payouts.iter().map(|payout| payout.amount.0).sum::<u64>(), 312_500_000);
        }
    }
}
