//! Whether payouts over many blocks come to what the miners' work earned (rules, section 7).

use std::collections::BTreeMap;

use p2pool_core::params::{ChainParams, Network, FINDER_FEE_PERMILLE};
use p2pool_core::payouts::{EntrySource, Vote, Window, WindowEntry};
use p2pool_core::share::{PayoutScript, ShareId};
use p2pool_core::units::{Bits, Sats, Work};

use crate::random::Random;

/// Miners of the simulated pool: far more than a coinbase has outputs for.
const MINERS: u32 = 300;
/// Blocks found, one after each of this many shares.
const BLOCKS: usize = 3_000;
const SHARES_PER_BLOCK: usize = 20;
/// A short window, so that it turns over many times.
const WINDOW_SHARES: u32 = 600;
/// One share in this many names an uncle.
const UNCLE_EVERY: u64 = 30;
const VALUE: Sats = Sats(312_500_000);
const SHARE_WORK: Work = Work(1_000_003);

/// What came of many blocks.
#[derive(Clone, Debug)]
pub struct Fairness {
    /// Blocks paid.
    pub blocks: usize,
    /// For each miner, paid less earned, in standard deviations of the draw; zero where nothing is drawn.
    pub deviations: Vec<f64>,
    /// Of the tenth of the miners that earned least: paid over earned.
    pub smallest_tenth: f64,
    /// The standard deviation of that.
    pub smallest_tenth_error: f64,
    /// The same in standard deviations.
    pub smallest_tenth_deviation: f64,
}

/// One miner's account.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    earned: f64,
    paid: f64,
    /// Upper bound of the variance of what the draws paid.
    variance: f64,
}

struct Entries(std::collections::HashMap<ShareId, WindowEntry>);

impl EntrySource for Entries {
    fn entry(&self, id: &ShareId) -> Option<&WindowEntry> {
        self.0.get(id)
    }
}

/// Runs a pool of very unequal miners and sums up what it pays.
pub fn fairness(seed: u64) -> Fairness {
    fairness_of(seed, MINERS, BLOCKS)
}

/// The same with so many miners and blocks.
pub fn fairness_of(seed: u64, miners: u32, blocks: usize) -> Fairness {
    let window_shares = WINDOW_SHARES.max(2 * miners);
    let sizes = Sizes::new(miners);
    let params = ChainParams { payout_window: window_shares, ..ChainParams::standard(Network::Regtest) };
    let mut random = Random::new(seed);
    let mut entries = Entries(std::collections::HashMap::new());
    let mut window = Window::new(&params);
    let mut accounts: BTreeMap<PayoutScript, Account> = BTreeMap::new();
    let mut parent = ShareId::ZERO;
    for number in 0..window_shares as usize + blocks * SHARES_PER_BLOCK {
        let entry = share(&mut random, &sizes, parent);
        let is_block = number >= window_shares as usize && number.is_multiple_of(SHARES_PER_BLOCK);
        if is_block {
            window.move_to(parent, Bits(0x207f_ffff), &entries).expect("every share is held");
            pay(&mut accounts, &window, entry.credits[0].script, params.payout_outputs_max(0));
        }
        parent = entry.id;
        entries.0.insert(entry.id, entry);
    }
    summary(&accounts, blocks)
}

/// A share of some miner, now and then with an uncle of another.
fn share(random: &mut Random, sizes: &Sizes, parent: ShareId) -> WindowEntry {
    let mut id = [0; 32];
    for part in id.chunks_mut(8) {
        part.copy_from_slice(&random.bits().to_le_bytes());
    }
    let own = sizes.draw(random);
    let uncle = random.bits().is_multiple_of(UNCLE_EVERY).then(|| (sizes.draw(random), SHARE_WORK));
    WindowEntry::new(ShareId(id), parent, own, Vote { work: SHARE_WORK, ..Vote::default() }, uncle.into_iter())
}

/// Miner i finds shares in proportion to 1 / (i + 1)^1.2: a few large ones and many small.
struct Sizes {
    cumulative: Vec<f64>,
}

impl Sizes {
    fn new(miners: u32) -> Self {
        let mut sum = 0.0;
        let weights = (0..miners).map(|number| f64::from(number + 1).powf(-1.2));
        Self {
            cumulative: weights
                .map(|weight| {
                    sum += weight;
                    sum
                })
                .collect(),
        }
    }

    /// The miner who finds the next share.
    fn draw(&self, random: &mut Random) -> PayoutScript {
        let point = random.unit() * self.cumulative.last().copied().unwrap_or(0.0);
        let number = self.cumulative.partition_point(|end| *end <= point) as u32;
        // Scattered, so that the order of scripts says nothing of size.
        let mut bytes = [0; 22];
        bytes[1] = 20;
        bytes[2..6].copy_from_slice(&number.wrapping_mul(0x9e37_79b1).to_be_bytes());
        PayoutScript::new(&bytes).expect("P2WPKH")
    }
}

/// Books one block: what each miner earned by work, and what the list pays.
fn pay(accounts: &mut BTreeMap<PayoutScript, Account>, window: &Window, finder: PayoutScript, outputs_max: u32) {
    let payouts = window.payouts(VALUE, finder, 0);
    assert!(payouts.len() <= outputs_max as usize);
    assert_eq!(payouts.iter().map(|payout| payout.amount.0).sum::<u64>(), VALUE.0);
    let fee = (VALUE.0 * u64::from(FINDER_FEE_PERMILLE) / 1_000) as f64;
    let total = window.total_work().0 as f64;
    // The smallest output is a ticket; the finder's, which may be the fee alone, is none.
    let others = payouts.iter().filter(|payout| payout.script != finder);
    let lot = others.map(|payout| payout.amount.0).min().unwrap_or(0) as f64;
    for (script, work) in window.credits() {
        let earned = (VALUE.0 as f64 - fee) * work.0 as f64 / total;
        let account = accounts.entry(script).or_default();
        account.earned += earned;
        // Drawn: a lot with probability earned / lot. Paid exactly, it has no variance and earned >= lot.
        account.variance += (earned * (lot - earned)).max(0.0);
    }
    for payout in &payouts {
        accounts.entry(payout.script).or_default().paid += payout.amount.0 as f64;
    }
    accounts.entry(finder).or_default().earned += fee;
}

fn summary(accounts: &BTreeMap<PayoutScript, Account>, blocks: usize) -> Fairness {
    let mut all: Vec<Account> = accounts.values().copied().collect();
    all.sort_by(|a, b| a.earned.total_cmp(&b.earned));
    let tenth = &all[..all.len().div_ceil(10)];
    let sum = |of: fn(&Account) -> f64| tenth.iter().map(of).sum::<f64>();
    let (paid, earned) = (sum(|account| account.paid), sum(|account| account.earned));
    // A satoshi a block is lost or won to rounding.
    let rounding = blocks as f64;
    let deviation = |account: &Account| (account.paid - account.earned) / (account.variance.sqrt() + rounding);
    Fairness {
        blocks,
        deviations: all.iter().map(deviation).collect(),
        smallest_tenth: paid / earned,
        smallest_tenth_error: sum(|account| account.variance).sqrt() / earned,
        smallest_tenth_deviation: (paid - earned) / sum(|account| account.variance).sqrt(),
    }
}
