//! The simulation bars of the rules, section 6, and the fairness of payouts, section 7.

use p2pool_test_simulation::rules::attack::{Attack, Times};
use p2pool_test_simulation::rules::fairness::fairness;
use p2pool_test_simulation::rules::measure::{mean, moved, recovery, steady, SEEDS};
use p2pool_test_simulation::rules::race::Race;
use p2pool_test_simulation::rules::retarget::Retarget;
use p2pool_test_simulation::rules::strategy::Strategy;

const RULE: Retarget = Retarget::Bounded;
const HONEST: (f64, Strategy) = (0.0, Strategy::Honest);

#[test]
fn a_steady_hash_rate_finds_shares_in_time() {
    for seed in SEEDS {
        let run = steady(seed, RULE, 20_000, HONEST);
        assert!((29.4..=30.6).contains(&run.interval_s), "seed {seed}: {run:?}");
        assert!(run.variation <= 0.15, "seed {seed}: {run:?}");
        // One second in thirty is enough for a sibling: if there were none, uncles would not be tested here.
        assert!((0.02..=0.05).contains(&run.uncles), "seed {seed}: {run:?}");
    }
}

#[test]
fn a_thousandfold_hash_rate_is_met_within_250_shares() {
    for seed in SEEDS {
        let run = recovery(seed, RULE, 1_000.0).expect("the target becomes right");
        assert!(run.shares > 0 && run.shares <= 250, "seed {seed}: {run:?}");
        assert!((0.8..=1.2).contains(&run.then), "seed {seed}: {run:?}");
    }
}

#[test]
fn a_hash_rate_that_leaves_is_met_within_hours() {
    for (factor, hours) in [(0.1, 2.0), (0.01, 3.0), (0.001, 3.5)] {
        for seed in SEEDS {
            let run = recovery(seed, RULE, factor).expect("the target becomes right");
            assert!(run.shares > 0 && run.seconds <= hours * 3_600.0, "x {factor}, seed {seed}: {run:?}");
            assert!((0.8..=1.2).contains(&run.then), "x {factor}, seed {seed}: {run:?}");
        }
    }
}

#[test]
fn false_timestamps_hardly_move_the_interval() {
    for strategy in Strategy::ATTACKS {
        for seed in SEEDS {
            let by = moved(seed, RULE, 5_000, strategy);
            assert!(by.abs() <= 0.03, "{strategy:?}, seed {seed}: {by}");
        }
    }
}

/// The measure itself sees what it is to see: a pool whose miners all lie does get another interval.
#[test]
fn the_measure_sees_a_pool_that_lies() {
    let honest = steady(1, RULE, 3_000, HONEST);
    let lying = steady(1, RULE, 3_000, (1.0, Strategy::EasingClaims));
    assert!((lying.interval_s / honest.interval_s - 1.0).abs() > 0.03, "{honest:?} {lying:?}");
}

/// Mean gain of an attack over ten seeds: 1 is fair.
fn gain(part: f64, attack: Attack) -> f64 {
    mean(&(0..10).map(|seed| Race::new(seed, RULE, part, attack).gain(10_000)).collect::<Vec<_>>())
}

#[test]
fn false_times_and_easing_gain_nothing() {
    let like = Strategy::ATTACKS.map(Times::Like);
    let steps = [(0, 0), (0, 600), (1_800, 120)].map(|(first_s, then_s)| Times::Steps { first_s, then_s, future_s: 0 });
    for times in like.into_iter().chain(steps) {
        for eases in [true, false] {
            let gain = gain(0.3, Attack { public_times: times, eases, ..Attack::honest() });
            assert!((0.97..1.02).contains(&gain), "{times:?}, eases {eases}: {gain}");
        }
    }
}

/// The measure sees the known: a selfish miner gains with much of the hash rate, and loses with little.
#[test]
fn the_race_is_fair_to_the_honest_and_sees_selfish_mining() {
    let selfish = Attack { withholds: 1.0, margin: 0.5, gives_up: 1.0, ..Attack::honest() };
    for part in [0.1, 0.45] {
        let honest = gain(part, Attack::honest());
        assert!((0.98..1.03).contains(&honest), "{part}: {honest}");
    }
    let gains = [0.1, 0.45].map(|part| gain(part, selfish));
    assert!(gains[0] < 0.995 && gains[1] > 1.2, "{gains:?}");
}

#[test]
fn a_ramp_seldom_removes_twenty_shares_and_a_majority_does() {
    let ramp = Attack { private_times: Times::Like(Strategy::Earliest), gives_up: 20.0, ..Attack::honest() };
    let removed = |part| (0..100).filter(|seed| Race::new(*seed, RULE, part, ramp).removes(20)).count();
    let (minority, majority) = (removed(0.3), removed(0.6));
    assert!(minority <= 20 && majority >= 50, "{minority} and {majority} of 100");
}

#[test]
fn payouts_come_to_what_work_earned() {
    for seed in [1, 2, 3] {
        let fair = fairness(seed);
        assert_eq!(fair.deviations.len(), 300);
        for by in &fair.deviations {
            assert!(by.abs() < 4.5, "seed {seed}: {by} standard deviations");
        }
        let square = mean(&fair.deviations.iter().map(|by| by * by).collect::<Vec<_>>());
        // Draws vary. Without any payout drawn, this would be close to zero.
        assert!((0.3..=1.4).contains(&square), "seed {seed}: {square}");
        assert!(fair.smallest_tenth_deviation.abs() < 3.5, "seed {seed}: {fair:?}");
    }
}
