//! The incremental window against one summed from scratch.

use super::*;
use crate::params::Network;
use crate::payouts::fixtures::{id, script, seeded};
use crate::payouts::{payout_list, Credit};
use proptest::prelude::*;
use std::cell::Cell;
use std::collections::HashMap;

/// Shares by id, and how often they were asked for.
#[derive(Default)]
struct Tree {
    entries: HashMap<ShareId, WindowEntry>,
    asked: Cell<usize>,
}

impl EntrySource for Tree {
    fn entry(&self, id: &ShareId) -> Option<&WindowEntry> {
        self.asked.set(self.asked.get() + 1);
        self.entries.get(id)
    }
}

impl Tree {
    fn add(&mut self, number: u32, parent: ShareId, miner: u32, work: u128, uncles: &[(u32, u128)]) {
        let uncles = uncles.iter().map(|(miner, work)| (script(*miner), Work(*work)));
        let entry = WindowEntry::new(id(number), parent, script(miner), Work(work), uncles);
        self.entries.insert(id(number), entry);
    }

    /// A chain of shares 0..len, each of work 10 by a miner of its own.
    fn chain(len: u32) -> Self {
        let mut tree = Self::default();
        for number in 0..len {
            tree.add(number, parent_of(number), number, 10, &[]);
        }
        tree
    }

    fn asked_since_last(&self) -> usize {
        self.asked.replace(0)
    }
}

fn parent_of(number: u32) -> ShareId {
    number.checked_sub(1).map_or(ShareId::ZERO, id)
}

fn params(payout_window: u32, work_cut_blocks: u32) -> ChainParams {
    ChainParams { payout_window, work_cut_blocks, ..ChainParams::standard(Network::Regtest) }
}

/// Bits of about this much work, and how much it is exactly.
fn bits_of(work: u128) -> (Bits, u128) {
    let bits = Work(work).target().to_bits();
    (bits, bits.target().unwrap().work().unwrap().0)
}

/// The window's shares, newest first, by the rule's own words.
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
            let work: u128 = window.iter().flat_map(|entry| &entry.credits).map(|credit| credit.work.0).sum();
            if work >= u128::from(params.work_cut_blocks) * bits.target().unwrap().work().unwrap().0 {
                break;
            }
        }
    }
    Ok(window)
}

/// Everything a window can be asked, in comparable form.
type Seen = (Vec<(PayoutScript, Work)>, Work, Vec<ShareId>, Option<ShareId>, Option<ShareId>, Vec<Payout>);

const FINDER: u32 = 3;
const VALUE: Sats = Sats(50_000);

fn seen(window: &Window) -> Seen {
    assert_eq!(window.len(), window.entries.len());
    assert_eq!(window.is_empty(), window.entries.is_empty());
    assert_eq!(window.ids, window.entries.iter().map(|entry| entry.id).collect());
    let shares = window.entries.iter().rev().map(|entry| entry.id).collect();
    let payouts = window.payouts(VALUE, script(FINDER));
    (window.credits().collect(), window.total_work(), shares, window.oldest(), window.newest(), payouts)
}

fn expected(params: &ChainParams, newest_first: &[&WindowEntry]) -> Seen {
    let mut sums: BTreeMap<PayoutScript, Work> = BTreeMap::new();
    let credits: Vec<Credit> = newest_first.iter().flat_map(|entry| entry.credits.clone()).collect();
    for credit in credits.iter().filter(|credit| credit.work > Work::ZERO) {
        sums.entry(credit.script).or_default().0 += credit.work.0;
    }
    let total = Work(credits.iter().map(|credit| credit.work.0).sum());
    let shares: Vec<ShareId> = newest_first.iter().map(|entry| entry.id).collect();
    let (oldest, newest) = (shares.last().copied(), shares.first().copied());
    let credits = credits.iter().map(|credit| (credit.script, credit.work));
    let parent = newest.unwrap_or(ShareId::ZERO);
    let payouts = payout_list(params, credits, VALUE, script(FINDER), parent);
    (sums.into_iter().collect(), total, shares, oldest, newest, payouts)
}

/// One share of a random tree: how far back its parent is, miner, work, uncles.
type RandomShare = (usize, u32, u128, Vec<(u32, u128)>);

fn random_share() -> impl Strategy<Value = RandomShare> {
    // Mostly one after the other, now and then a fork, rarely a deep one.
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

/// A move: to which share and with bits of what work.
fn moves() -> impl Strategy<Value = Vec<(proptest::sample::Index, u128)>> {
    // Bits mostly stay the same, as on Bitcoin.
    let work = prop_oneof![4 => Just(60u128), 1 => 1u128..200];
    proptest::collection::vec((any::<proptest::sample::Index>(), work), 1..40)
}

/// Follows the tree in the order it grew, then jumps about in it; compares each window with the naive one.
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
        let before = seen(&window);
        match naive(params, parent, bits, tree) {
            Ok(shares) => {
                prop_assert_eq!(window.move_to(parent, bits, tree), Ok(()));
                prop_assert_eq!(seen(&window), expected(params, &shares));
            }
            Err(error) => {
                prop_assert_eq!(window.move_to(parent, bits, tree), Err(error));
                prop_assert_eq!(seen(&window), before, "a failed move changed the window");
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(seeded(400))]

    #[test]
    fn any_way_through_a_tree_leads_to_the_window_summed_from_scratch(
        shares in proptest::collection::vec(random_share(), 1..120), moves in moves(),
        payout_window in 1u32..40, work_cut_blocks in 0u32..4,
    ) {
        let tree = random_tree(&shares);
        check(&params(payout_window, work_cut_blocks), &tree, shares.len(), &moves)?;
    }

    #[test]
    fn a_pruned_base_is_missed_where_and_only_where_the_window_reaches_it(
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
fn a_genesis_share_pays_its_own_miner_everything() {
    let tree = Tree::chain(5);
    let mut window = Window::new(&params(3, 0));
    let all = [Payout { script: script(FINDER), amount: VALUE }];
    assert_eq!(window.payouts(VALUE, script(FINDER)), all);
    // Also after the window was elsewhere.
    window.move_to(id(4), Bits(0), &tree).unwrap();
    assert_ne!(window.payouts(VALUE, script(FINDER)), all);
    window.move_to(ShareId::ZERO, Bits(0), &tree).unwrap();
    assert!(window.is_empty() && window.total_work() == Work::ZERO);
    assert_eq!(window.payouts(VALUE, script(FINDER)), all);
}

#[test]
fn it_holds_as_many_shares_as_the_chain_says() {
    let tree = Tree::chain(20);
    let mut window = Window::new(&params(8, 0));
    for number in 0..20 {
        window.move_to(id(number), Bits(0), &tree).unwrap();
        assert_eq!(window.len(), 8.min(number as usize + 1));
    }
    assert_eq!((window.oldest(), window.newest()), (Some(id(12)), Some(id(19))));
}

#[test]
fn it_ends_with_the_share_that_first_reaches_the_cut() {
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
fn uncles_count_for_the_cut() {
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
fn one_more_share_costs_one_look_and_a_reorg_its_own_length() {
    let mut tree = Tree::chain(1_000);
    for number in 0..5 {
        let parent = if number == 0 { id(994) } else { id(2_000 + number - 1) };
        tree.add(2_000 + number, parent, 1, 10, &[]);
    }
    let mut window = Window::new(&params(500, 2));
    let (bits, work) = bits_of(1_000);
    let full = (2 * work).div_ceil(10) as usize;
    window.move_to(id(500), bits, &tree).unwrap();
    assert_eq!((tree.asked_since_last(), window.len()), (full, full));
    for number in 501..1_000 {
        window.move_to(id(number), bits, &tree).unwrap();
        assert_eq!(tree.asked_since_last(), 1);
    }
    window.move_to(id(2_004), bits, &tree).unwrap();
    assert_eq!(tree.asked_since_last(), 5, "five shares for five others");
    window.move_to(id(997), bits, &tree).unwrap();
    assert_eq!(tree.asked_since_last(), 3 + 2, "the branch, and what it is shorter at the old end");
    window.move_to(id(997), bits, &tree).unwrap();
    assert_eq!(tree.asked_since_last(), 0);
    window.move_to(id(997), bits_of(900).0, &tree).unwrap();
    assert_eq!(tree.asked_since_last(), 0, "a shorter window needs nothing new");
    window.move_to(id(997), bits, &tree).unwrap();
    assert_eq!(tree.asked_since_last(), full - window_len(900), "a longer one only what is added");
}

fn window_len(block_work: u128) -> usize {
    (2 * bits_of(block_work).1).div_ceil(10) as usize
}

#[test]
fn a_missing_share_is_named_and_the_window_stays() {
    let mut tree = Tree::chain(20);
    for number in 0..5 {
        tree.entries.remove(&id(number));
    }
    let mut window = Window::new(&params(10, 0));
    window.move_to(id(14), Bits(0), &tree).unwrap();
    let before = seen(&window);
    // Share 13's window ends with share 4; share 40 is unknown altogether.
    assert_eq!(window.move_to(id(13), Bits(0), &tree), Err(WindowError::MissingShare(id(4))));
    assert_eq!(window.move_to(id(40), Bits(0), &tree), Err(WindowError::MissingShare(id(40))));
    assert_eq!(seen(&window), before);
    window.move_to(id(15), Bits(0), &tree).unwrap();
    assert_eq!(window.len(), 10);
}

#[test]
fn what_changed_is_read_anew_after_clear() {
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
fn bits_matter_only_where_work_cuts() {
    let tree = Tree::chain(5);
    // Zero, negative, not canonical, and a target that takes 2^108 hashes and more.
    for bits in [0, 0x1d80_ffff, 0x1d00_001f, 0x0100_0001, 0x0101_0000] {
        let mut window = Window::new(&params(3, 2));
        assert_eq!(window.move_to(id(4), Bits(bits), &tree), Err(WindowError::Bits(Bits(bits))));
        let mut window = Window::new(&params(3, 0));
        assert_eq!(window.move_to(id(4), Bits(bits), &tree), Ok(()));
    }
}

#[test]
fn impossible_work_is_an_error_and_nothing_else() {
    let mut tree = Tree::chain(3);
    tree.add(3, id(2), 3, u128::MAX - 15, &[]);
    let mut window = Window::new(&params(10, 0));
    assert_eq!(window.move_to(id(3), Bits(0), &tree), Err(WindowError::WorkOverflow(id(1))));
    window.move_to(id(2), Bits(0), &tree).unwrap();
    let before = seen(&window);
    assert_eq!(window.move_to(id(3), Bits(0), &tree), Err(WindowError::WorkOverflow(id(2))));
    assert_eq!(seen(&window), before);
}

#[test]
fn the_largest_window_of_the_largest_works_fits() {
    let most = (1u128 << crate::units::WORK_BITS_MAX) - 1;
    let mut tree = Tree::default();
    for number in 0..8_640 {
        tree.add(number, parent_of(number), number % 7, most, &[(8, most), (9, most), (10, most)]);
    }
    let mut window = Window::new(&ChainParams::standard(Network::Testnet4));
    window.move_to(id(8_639), Bits(0), &tree).unwrap();
    assert_eq!(window.total_work(), Work(4 * 8_640 * most));
    let paid: u64 = window.payouts(crate::units::MAX_MONEY, script(1)).iter().map(|payout| payout.amount.0).sum();
    assert_eq!(paid, crate::units::MAX_MONEY.0);
}
