//! Simulated miners: shares as they fall by chance, time by argument.

use super::*;
use crate::stratum::difficulty::HASHES_PER_DIFFICULTY;

/// Jobs come this often, and changes count from the next one.
const JOB_EVERY_MS: u64 = 30_000;
const STEP_MS: u64 = 100;

/// A small generator of random numbers, the same on every run (SplitMix64).
struct Random(u64);

impl Random {
    /// Evenly within 0..1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// How many of rare independent events happen if `mean` is expected.
    fn poisson(&mut self, mean: f64) -> u32 {
        let (limit, mut product, mut count) = ((-mean.min(50.0)).exp(), self.next(), 0);
        while product > limit {
            product *= self.next();
            count += 1;
        }
        count
    }
}

/// A miner and what it was given.
struct Simulation {
    vardiff: Vardiff,
    random: Random,
    hashes_per_s: f64,
    /// What the miner works at, from its last job.
    present: Difficulty,
    now_ms: u64,
    changes: u32,
    shares: u32,
}

impl Simulation {
    fn new(start: f64, hashes_per_s: f64, seed: u64) -> Self {
        let vardiff = Vardiff::new(Difficulty::new(start).unwrap(), 0);
        let present = vardiff.wanted().announced();
        Self { vardiff, random: Random(seed), hashes_per_s, present, now_ms: 0, changes: 0, shares: 0 }
    }

    fn ideal(&self) -> f64 {
        self.hashes_per_s * AIM_S / HASHES_PER_DIFFICULTY
    }

    fn run(&mut self, seconds: u64) {
        let end_ms = self.now_ms + seconds * 1_000;
        while self.now_ms < end_ms {
            self.now_ms += STEP_MS;
            let expected = self.hashes_per_s * STEP_MS as f64 / 1_000.0 / (self.present.get() * HASHES_PER_DIFFICULTY);
            let found = self.random.poisson(expected);
            self.shares += found;
            let mut changed = (0..found).any(|_| self.vardiff.on_share(self.present, self.now_ms));
            if self.now_ms.is_multiple_of(1_000) {
                changed |= self.vardiff.on_tick(self.present, self.now_ms);
            }
            if changed {
                self.changes += 1;
                self.vardiff.hold();
            }
            if self.now_ms.is_multiple_of(JOB_EVERY_MS) && self.vardiff.is_held() {
                self.present = self.vardiff.wanted().announced();
                self.vardiff.begin(self.now_ms);
            }
        }
    }

    /// Seconds until the difficulty first is within a factor of what suits.
    fn seconds_until_within(&mut self, factor: f64) -> u64 {
        (0..600)
            .find(|_| {
                self.run(10);
                let off = self.present.get() / self.ideal();
                off < factor && off > 1.0 / factor
            })
            .map_or(u64::MAX, |tens| (tens + 1) * 10)
    }
}

const BITAXE: f64 = 1.2e12;
const FARM_MACHINE: f64 = 200e12;
const CPU: f64 = 1e6;

#[test]
fn every_miner_soon_has_a_difficulty_that_suits_it() {
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
fn a_difficulty_that_suits_is_left_alone() {
    let (mut changes, mut shares) = (0, 0);
    for seed in 0..20 {
        let mut simulation = Simulation::new(2_794.0, BITAXE, seed);
        for _ in 0..6 * 60 {
            simulation.run(60);
            let off = simulation.present.get() / simulation.ideal();
            assert!(off < 3.5 && off > 1.0 / 3.5, "seed {seed}: off by {off}");
        }
        changes += simulation.changes;
        shares += simulation.shares;
    }
    let hours = 20.0 * 6.0;
    // Measured: 1.3 changes an hour, 374 shares.
    assert!(f64::from(changes) / hours < 2.0, "{changes} changes in {hours} hours");
    let interval_s = hours * 3_600.0 / f64::from(shares);
    assert!((interval_s / AIM_S - 1.0).abs() < 0.1, "a share every {interval_s} s");
}

#[test]
fn a_change_of_pace_is_followed() {
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
fn eight_shares_far_too_fast_are_enough() {
    let one = Difficulty::new(1.0).unwrap();
    let mut vardiff = Vardiff::new(one, 0);
    // 8 shares in 9.9 s are 8.08 times the aimed rate.
    let changed: Vec<bool> = (1..=8).map(|share| vardiff.on_share(one, share * 9_900 / 8)).collect();
    assert_eq!(changed, [false, false, false, false, false, false, false, true]);
    assert!((vardiff.wanted().get() - 8.08).abs() < 0.01);
    // A little slower, and the minute is waited for.
    let mut vardiff = Vardiff::new(one, 0);
    assert!((1..=8).all(|share| !vardiff.on_share(one, share * 10_100 / 8)));
    assert!(!vardiff.on_tick(one, 59_999));
}

#[test]
fn silence_lowers_the_difficulty_by_timer() {
    let start = Difficulty::new(100_000.0).unwrap();
    let mut vardiff = Vardiff::new(start, 0);
    let mut wanted = Vec::new();
    for minute in 1..=8 {
        vardiff.on_tick(vardiff.wanted(), minute * 60_000);
        wanted.push(vardiff.wanted().get());
    }
    assert_eq!(wanted[..3], [25_000.0, 1_562.5, 24.414_062_5]);
    assert_eq!(wanted[7], 0.000_01, "and no lower than the floor");
}

#[test]
fn a_miner_that_paused_is_not_flooded_with_easy_work() {
    let start = Difficulty::new(1_024.0).unwrap();
    let mut vardiff = Vardiff::new(start, 0);
    vardiff.on_share(start, 1_000);
    vardiff.begin(1_000);
    for minute in 1..=60 {
        vardiff.on_tick(vardiff.wanted(), minute * 61_000);
    }
    assert_eq!(vardiff.wanted().get(), 4.0, "eight halvings");
}

#[test]
fn a_decay_starts_from_what_the_miner_really_had() {
    let mut vardiff = Vardiff::new(Difficulty::new(100_000.0).unwrap(), 0);
    vardiff.on_tick(Difficulty::new(8.0).unwrap(), 60_000);
    assert_eq!(vardiff.wanted().get(), 2.0);
}

#[test]
fn nothing_is_judged_while_a_change_waits_for_a_job() {
    let one = Difficulty::new(1.0).unwrap();
    let mut vardiff = Vardiff::new(one, 0);
    vardiff.hold();
    assert!((0..100).all(|_| !vardiff.on_share(one, 10)));
    assert!(!vardiff.on_tick(one, 600_000));
    vardiff.begin(600_000);
    assert!(vardiff.on_tick(one, 660_000));
}

#[test]
fn the_miners_own_floor_holds() {
    let mut vardiff = Vardiff::new(Difficulty::new(1.0).unwrap(), 0);
    vardiff.set_floor(Difficulty::new(64.0).unwrap());
    assert_eq!(vardiff.wanted().get(), 64.0);
    vardiff.on_tick(vardiff.wanted(), 60_000);
    assert_eq!(vardiff.wanted().get(), 64.0);
    vardiff.suggest(Difficulty::new(2.0).unwrap(), 0);
    assert_eq!(vardiff.wanted().get(), 64.0);
}
