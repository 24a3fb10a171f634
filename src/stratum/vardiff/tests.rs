//! Simulated miners that find shares at random times.

use super::*;
use crate::stratum::difficulty::HASHES_PER_DIFFICULTY;

/// Interval of jobs, with which changes take effect.
const JOB_EVERY_MS: u64 = 30_000;
const STEP_MS: u64 = 100;

/// A seeded random number generator (SplitMix64).
struct Random(u64);

impl Random {
    /// Uniform in 0..1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Poisson distributed with this mean.
    fn poisson(&mut self, mean: f64) -> u32 {
        let (limit, mut product, mut count) = ((-mean.min(50.0)).exp(), self.next(), 0);
        while product > limit {
            product *= self.next();
            count += 1;
        }
        count
    }
}

/// A miner and its session's vardiff.
struct Simulation {
    vardiff: Vardiff,
    random: Random,
    hashes_per_s: f64,
    /// The difficulty of the miner's current job.
    current: Difficulty,
    now: SteadyTime,
    changes: u32,
    shares: u32,
}

impl Simulation {
    fn new(start: f64, hashes_per_s: f64, seed: u64) -> Self {
        let vardiff = Vardiff::new(Difficulty::new(start).unwrap(), SteadyTime::default());
        let current = vardiff.difficulty().announced();
        Self { vardiff, random: Random(seed), hashes_per_s, current, now: SteadyTime::default(), changes: 0, shares: 0 }
    }

    fn ideal(&self) -> f64 {
        self.hashes_per_s * TARGET_INTERVAL_S / HASHES_PER_DIFFICULTY
    }

    fn run(&mut self, seconds: u64) {
        let end = self.now.plus_ms(seconds * 1_000);
        while self.now < end {
            self.now = self.now.plus_ms(STEP_MS);
            let expected = self.hashes_per_s * STEP_MS as f64 / 1_000.0 / (self.current.get() * HASHES_PER_DIFFICULTY);
            let found = self.random.poisson(expected);
            self.shares += found;
            let mut changed = (0..found).any(|_| self.vardiff.on_share(self.current, self.now));
            if self.now.as_ms().is_multiple_of(1_000) {
                changed |= self.vardiff.on_tick(self.current, self.now);
            }
            if changed {
                self.changes += 1;
                self.vardiff.await_job();
            }
            if self.now.as_ms().is_multiple_of(JOB_EVERY_MS) && self.vardiff.awaits_job() {
                self.current = self.vardiff.difficulty().announced();
                self.vardiff.restart(self.now);
            }
        }
    }

    /// Seconds until the difficulty is within a factor of the ideal one.
    fn seconds_until_within(&mut self, factor: f64) -> u64 {
        (0..600)
            .find(|_| {
                self.run(10);
                let off = self.current.get() / self.ideal();
                off < factor && off > 1.0 / factor
            })
            .map_or(u64::MAX, |tens| (tens + 1) * 10)
    }
}

fn at(ms: u64) -> SteadyTime {
    SteadyTime::from_ms(ms)
}

const BITAXE: f64 = 1.2e12;
const FARM_MACHINE: f64 = 200e12;
const CPU: f64 = 1e6;

#[test]
fn every_miner_soon_has_a_suitable_difficulty() {
    for seed in 0..20 {
        for (start, hashes_per_s, seconds_max) in [
            (1_000.0, BITAXE, 600),
            (100_000.0, BITAXE, 900),
            (100_000.0, FARM_MACHINE, 600),
            (1.0, FARM_MACHINE, 300),
            (0.001, CPU, 600),
            (100_000.0, CPU, 1_200),
        ] {
            let mut simulation = Simulation::new(start, hashes_per_s, seed);
            let seconds = simulation.seconds_until_within(2.0);
            assert!(seconds <= seconds_max, "from {start} to {}: {seconds} s, seed {seed}", simulation.ideal());
        }
    }
}

#[test]
fn a_suitable_difficulty_rarely_changes() {
    let (mut changes, mut shares) = (0, 0);
    for seed in 0..20 {
        let mut simulation = Simulation::new(2_794.0, BITAXE, seed);
        for _ in 0..6 * 60 {
            simulation.run(60);
            let off = simulation.current.get() / simulation.ideal();
            assert!(off < 3.5 && off > 1.0 / 3.5, "seed {seed}: off by {off}");
        }
        changes += simulation.changes;
        shares += simulation.shares;
    }
    let hours = 20.0 * 6.0;
    // Measured: 1.3 changes and 374 shares per hour.
    assert!(f64::from(changes) / hours < 2.0, "{changes} changes in {hours} hours");
    let interval_s = hours * 3_600.0 / f64::from(shares);
    assert!((interval_s / TARGET_INTERVAL_S - 1.0).abs() < 0.1, "a share every {interval_s} s");
}

#[test]
fn changes_of_the_hash_rate_are_followed() {
    for seed in 0..20 {
        let mut simulation = Simulation::new(2_794.0, BITAXE, seed);
        simulation.run(3_600);
        simulation.hashes_per_s = BITAXE / 20.0;
        let seconds = simulation.seconds_until_within(2.0);
        assert!(seconds <= 1_200, "slower: {seconds} s, seed {seed}");
        simulation.hashes_per_s = BITAXE * 100.0;
        let seconds = simulation.seconds_until_within(2.0);
        assert!(seconds <= 300, "faster: {seconds} s, seed {seed}");
    }
}

#[test]
fn eight_shares_at_a_much_too_high_rate_change_the_difficulty() {
    let one = Difficulty::new(1.0).unwrap();
    let mut vardiff = Vardiff::new(one, at(0));
    // 8 shares in 9.9 s are 8.08 times the target rate.
    let changed: Vec<bool> = (1..=8).map(|share| vardiff.on_share(one, at(share * 9_900 / 8))).collect();
    assert_eq!(changed, [false, false, false, false, false, false, false, true]);
    assert!((vardiff.difficulty().get() - 8.08).abs() < 0.01);
    // At a slightly lower rate, the minute must pass.
    let mut vardiff = Vardiff::new(one, at(0));
    assert!((1..=8).all(|share| !vardiff.on_share(one, at(share * 10_100 / 8))));
    assert!(!vardiff.on_tick(one, at(59_999)));
}

#[test]
fn silence_lowers_the_difficulty_by_timer() {
    let start = Difficulty::new(100_000.0).unwrap();
    let mut vardiff = Vardiff::new(start, at(0));
    let mut difficulties = Vec::new();
    for minute in 1..=8 {
        vardiff.on_tick(vardiff.difficulty(), at(minute * 60_000));
        difficulties.push(vardiff.difficulty().get());
    }
    assert_eq!(difficulties[..3], [25_000.0, 1_562.5, 24.414_062_5]);
    assert_eq!(difficulties[7], 0.000_01, "not below the floor");
}

#[test]
fn silence_after_shares_halves_the_difficulty_a_bounded_number_of_times() {
    let start = Difficulty::new(1_024.0).unwrap();
    let mut vardiff = Vardiff::new(start, at(0));
    vardiff.on_share(start, at(1_000));
    vardiff.restart(at(1_000));
    for minute in 1..=60 {
        vardiff.on_tick(vardiff.difficulty(), at(minute * 61_000));
    }
    assert_eq!(vardiff.difficulty().get(), 4.0, "eight halvings");
}

#[test]
fn decay_starts_from_the_announced_difficulty() {
    let mut vardiff = Vardiff::new(Difficulty::new(100_000.0).unwrap(), at(0));
    vardiff.on_tick(Difficulty::new(8.0).unwrap(), at(60_000));
    assert_eq!(vardiff.difficulty().get(), 2.0);
}

#[test]
fn nothing_is_evaluated_while_a_change_waits_for_a_job() {
    let one = Difficulty::new(1.0).unwrap();
    let mut vardiff = Vardiff::new(one, at(0));
    vardiff.await_job();
    assert!((0..100).all(|_| !vardiff.on_share(one, at(10))));
    assert!(!vardiff.on_tick(one, at(600_000)));
    vardiff.restart(at(600_000));
    assert!(vardiff.on_tick(one, at(660_000)));
}

#[test]
fn the_difficulty_never_falls_below_the_miners_floor() {
    let mut vardiff = Vardiff::new(Difficulty::new(1.0).unwrap(), at(0));
    vardiff.set_floor(Difficulty::new(64.0).unwrap());
    assert_eq!(vardiff.difficulty().get(), 64.0);
    vardiff.on_tick(vardiff.difficulty(), at(60_000));
    assert_eq!(vardiff.difficulty().get(), 64.0);
    vardiff.suggest(Difficulty::new(2.0).unwrap(), at(0));
    assert_eq!(vardiff.difficulty().get(), 64.0);
}
