//! What the bars of section 6 speak of, measured.

use super::pool::{Found, Pool};
use super::retarget::Retarget;
use super::strategy::Strategy;

/// Seeds of every measure.
pub const SEEDS: std::ops::Range<u64> = 0..20;
/// Hashes a second of the simulated pool: some hundred home miners.
pub const HASH_RATE: f64 = 1e14;
/// Shares found before anything is measured.
const WARM_UP_SHARES: usize = 500;
/// Shares that are averaged to say whether the target is right.
const AVERAGED_SHARES: usize = 40;
/// How far their average may be off.
const RIGHT_WITHIN: f64 = 0.25;
/// Part of the hash rate of an attacker.
pub const ATTACKER: f64 = 0.3;

/// A steady hash rate over some time.
#[derive(Clone, Copy, Debug)]
pub struct Steady {
    /// Mean seconds between shares, uncles included.
    pub interval_s: f64,
    /// Standard deviation of the difficulty over its mean.
    pub variation: f64,
    /// Uncles per share.
    pub uncles: f64,
}

/// Runs a pool of steady hash rate.
pub fn steady(seed: u64, rule: Retarget, shares: usize, attacker: (f64, Strategy)) -> Steady {
    let mut pool = Pool::new(seed, rule, HASH_RATE, attacker);
    pool.run(WARM_UP_SHARES);
    let start_s = pool.now_s();
    let found = pool.run(shares);
    let uncles: f64 = found.iter().map(|share| f64::from(share.uncles)).sum();
    let count = shares as f64;
    let mean = found.iter().map(|share| share.work).sum::<f64>() / count;
    let variance = found.iter().map(|share| (share.work - mean).powi(2)).sum::<f64>() / count;
    Steady {
        interval_s: (pool.now_s() - start_s) / (count + uncles),
        variation: variance.sqrt() / mean,
        uncles: uncles / count,
    }
}

/// After a change of the hash rate.
#[derive(Clone, Copy, Debug)]
pub struct Recovery {
    /// Shares until the target was right.
    pub shares: usize,
    /// Seconds until then.
    pub seconds: f64,
    /// Mean work of the 500 shares from then on, over what is right: shows that it stays so.
    pub then: f64,
}

/// Multiplies the hash rate and waits until the work of the next shares averages what is right.
///
/// `None` if that does not come about within 1,500 shares.
pub fn recovery(seed: u64, rule: Retarget, factor: f64) -> Option<Recovery> {
    let mut pool = Pool::new(seed, rule, HASH_RATE, (0.0, Strategy::Honest));
    pool.run(WARM_UP_SHARES);
    let start_s = pool.now_s();
    pool.set_hash_rate(HASH_RATE * factor);
    let right = pool.right_work();
    let found = pool.run(2_000);
    let average = |of: &[Found]| of.iter().map(|share| share.work).sum::<f64>() / of.len() as f64 / right;
    let is_right = |next: &[Found]| (average(next) - 1.0).abs() <= RIGHT_WITHIN;
    let shares = found.windows(AVERAGED_SHARES).position(is_right)?;
    let then = average(found.get(shares..shares + 500)?);
    let seconds = match shares.checked_sub(1).and_then(|last| found.get(last)) {
        Some(last) => last.at_s - start_s,
        None => 0.0,
    };
    Some(Recovery { shares, seconds, then })
}

/// How much an attacker's times move the mean interval: 0.01 if it grows by one percent.
pub fn moved(seed: u64, rule: Retarget, shares: usize, strategy: Strategy) -> f64 {
    let honest = steady(seed, rule, shares, (ATTACKER, Strategy::Honest));
    let attacked = steady(seed, rule, shares, (ATTACKER, strategy));
    attacked.interval_s / honest.interval_s - 1.0
}

/// The greatest of some figures.
pub fn greatest(figures: impl IntoIterator<Item = f64>) -> f64 {
    figures.into_iter().fold(f64::MIN, f64::max)
}

/// The mean of some figures.
pub fn mean(figures: &[f64]) -> f64 {
    figures.iter().sum::<f64>() / figures.len() as f64
}
