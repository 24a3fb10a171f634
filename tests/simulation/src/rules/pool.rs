//! A pool over time: who finds the next share when, what its target is, and which shares become uncles.

use p2pool_core::params::{ChainParams, Network, UNCLES_MAX, UNCLE_DEPTH_MAX};
use p2pool_core::sharechain::difficulty::{eased_bits, easings_allowed, is_allowed, RetargetSample};
use p2pool_core::units::{Bits, ShareHeight, UnixTime, Work};

use super::retarget::Retarget;
use super::strategy::{Situation, Strategy};
use crate::random::Random;

/// After this long everybody has a new share and works on it.
pub(super) const PROPAGATION_S: f64 = 1.0;
/// Interval at which jobs are renewed, and with them their time and easing.
pub(super) const JOB_REFRESH_S: f64 = 30.0;
/// Ancestors whose median time a share must exceed (rules, section 5, rule 5).
pub(super) const MEDIAN_SHARES: usize = 11;
/// A share is at most this much older than its parent (rules, section 5, rule 5).
pub(super) const BEFORE_PARENT_MAX_S: u32 = 600;
/// When the simulated pool begins.
pub(super) const START_S: u32 = 1_700_000_000;

/// One share of the main chain, for the measures.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Seconds since the start.
    pub at_s: f64,
    /// Its work.
    pub work: f64,
    /// Uncles it names.
    pub uncles: u32,
}

/// What a miner works on until the job is renewed.
#[derive(Clone, Copy, Debug)]
struct Job {
    time: UnixTime,
    work: Work,
}

#[derive(Clone, Copy, Debug)]
struct Stale {
    height: u32,
    work: Work,
}

/// The pool.
pub struct Pool {
    params: ChainParams,
    rule: Retarget,
    random: Random,
    /// Hashes a second, of all miners.
    hash_rate: f64,
    /// The part of the hash rate that follows a strategy of its own.
    attacker: (f64, Strategy),
    attacker_found: u64,
    now_s: f64,
    /// The parent and its ancestors, newest first, as many as the retarget looks at.
    window: Vec<RetargetSample>,
    base: Bits,
    stale: Vec<Stale>,
}

impl Pool {
    /// A pool on mainnet's parameters that has found shares at the right target for one window.
    pub fn new(seed: u64, rule: Retarget, hash_rate: f64, attacker: (f64, Strategy)) -> Self {
        let params = ChainParams::standard(Network::Mainnet);
        let right = Work((hash_rate * f64::from(params.share_period_s)) as u128);
        let count = params.retarget_window;
        let pace = |back: u32| RetargetSample {
            time: UnixTime(START_S - back * params.share_period_s),
            height: ShareHeight(count - 1 - back),
            work: right,
            base_work: right,
            work_with_uncles: right,
        };
        let window: Vec<RetargetSample> = (0..count).map(pace).collect();
        let base = rule.base_bits(&params, &window);
        let random = Random::new(seed);
        Self {
            params,
            rule,
            random,
            hash_rate,
            attacker,
            attacker_found: 0,
            now_s: 0.0,
            window,
            base,
            stale: Vec::new(),
        }
    }

    /// Changes the hash rate from now on.
    pub fn set_hash_rate(&mut self, hash_rate: f64) {
        self.hash_rate = hash_rate;
    }

    /// Work at which this hash rate finds a share in each period.
    pub fn right_work(&self) -> f64 {
        self.hash_rate * f64::from(self.params.share_period_s)
    }

    /// Seconds since the start.
    pub const fn now_s(&self) -> f64 {
        self.now_s
    }

    /// Runs until this many more shares are on the main chain.
    pub fn run(&mut self, shares: usize) -> Vec<Found> {
        (0..shares).map(|_| self.next_share()).collect()
    }

    /// Runs until the main chain has one more share.
    fn next_share(&mut self) -> Found {
        self.late_shares();
        loop {
            let (honest, attacking) = (self.job(Strategy::Honest), self.job(self.attacker.1));
            let part = self.attacker.0;
            let rates =
                (self.hash_rate * (1.0 - part) / honest.work.0 as f64, self.hash_rate * part / attacking.work.0 as f64);
            let wait_s = self.random.exponential(rates.0 + rates.1);
            if wait_s > JOB_REFRESH_S {
                // Waiting has no memory, so what was drawn beyond the refresh can be forgotten.
                self.now_s += JOB_REFRESH_S;
                continue;
            }
            self.now_s += wait_s;
            return if self.random.unit() * (rates.0 + rates.1) < rates.1 {
                self.attacker_found += 1;
                self.link(attacking)
            } else {
                self.link(honest)
            };
        }
    }

    /// Siblings of the newest share that are found while not everybody has it.
    fn late_shares(&mut self) {
        let Some(newest) = self.window.first().copied() else { return };
        let rate = self.hash_rate / newest.work.0 as f64;
        let mut at_s = self.random.exponential(rate);
        while at_s < PROPAGATION_S {
            self.stale.push(Stale { height: newest.height.0, work: newest.work });
            at_s += self.random.exponential(rate);
        }
        self.now_s += PROPAGATION_S;
    }

    fn clock(&self) -> UnixTime {
        UnixTime(START_S).plus(self.now_s as u32)
    }

    fn parent(&self) -> RetargetSample {
        self.window[0]
    }

    /// The earliest time that rule 5 allows.
    fn earliest(&self) -> UnixTime {
        let mut times: Vec<UnixTime> = self.window.iter().take(MEDIAN_SHARES).map(|share| share.time).collect();
        times.sort_unstable();
        times[times.len() / 2].plus(1).max(self.parent().time.minus(BEFORE_PARENT_MAX_S))
    }

    /// The job that a miner makes now.
    fn job(&self, strategy: Strategy) -> Job {
        let time = strategy.time(Situation {
            now: self.clock(),
            parent: self.parent().time,
            earliest: self.earliest(),
            easing_interval_s: self.params.easing_interval_s(),
            found: self.attacker_found,
        });
        let elapsed_s = time.since(self.parent().time);
        let bits = eased_bits(&self.params, self.base, easings_allowed(&self.params, elapsed_s));
        debug_assert!(is_allowed(&self.params, self.base, bits, elapsed_s));
        let work = bits.work().expect("the rules give only canonical targets");
        Job { time, work }
    }

    /// Puts a share on the main chain; it names what uncles it can, the oldest first.
    fn link(&mut self, job: Job) -> Found {
        let height = self.parent().height.0 + 1;
        self.stale.retain(|stale| stale.height + UNCLE_DEPTH_MAX >= height);
        let named = self.stale.len().min(UNCLES_MAX as usize);
        let uncle_work: u128 = self.stale.drain(..named).map(|stale| stale.work.0).sum();
        let pace = RetargetSample {
            time: job.time,
            height: ShareHeight(height),
            work: job.work,
            base_work: self.base.work().expect("the rules give only canonical targets"),
            work_with_uncles: Work(job.work.0 + uncle_work),
        };
        self.window.insert(0, pace);
        self.window.truncate(self.params.retarget_window as usize);
        self.base = self.rule.base_bits(&self.params, &self.window);
        Found { at_s: self.now_s, work: job.work.0 as f64, uncles: named as u32 }
    }
}
