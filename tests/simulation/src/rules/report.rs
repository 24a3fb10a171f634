//! Prints the figures that the simulation bars of the rules (section 6) are about.

use super::fairness::fairness;
use super::measure::{greatest, mean, moved, recovery, steady, SEEDS};
use super::retarget::Retarget;
use super::strategy::Strategy;

/// Prints all of them.
pub fn print() {
    let runs: Vec<_> = SEEDS.map(|seed| steady(seed, Retarget::Bounded, 20_000, (0.0, Strategy::Honest))).collect();
    let intervals: Vec<f64> = runs.iter().map(|run| run.interval_s).collect();
    let lowest = -greatest(intervals.iter().map(|interval| -interval));
    println!("steady, {} seeds of 20,000 shares", runs.len());
    println!(
        "  interval of shares and uncles: {:.2} s, {lowest:.2} to {:.2}",
        mean(&intervals),
        greatest(intervals.clone())
    );
    println!("  variation of difficulty: at most {:.3}", greatest(runs.iter().map(|run| run.variation)));
    println!("  uncles per share: at most {:.3}", greatest(runs.iter().map(|run| run.uncles)));
    for factor in [1_000.0, 0.1, 0.01, 0.001] {
        let runs: Vec<_> = SEEDS.map(|seed| recovery(seed, Retarget::Bounded, factor)).collect();
        let all: Vec<_> = runs.iter().flatten().collect();
        println!(
            "hash rate x {factor}: right after at most {} shares, {:.2} h, then off by at most {:.1} % ({} of {} seeds)",
            all.iter().map(|run| run.shares).max().unwrap_or(0),
            greatest(all.iter().map(|run| run.seconds)) / 3_600.0,
            100.0 * greatest(all.iter().map(|run| (run.then - 1.0).abs())),
            all.len(),
            runs.len(),
        );
    }
    for strategy in Strategy::ATTACKS {
        let moves: Vec<f64> = SEEDS.map(|seed| moved(seed, Retarget::Bounded, 10_000, strategy)).collect();
        println!(
            "30 % with {strategy:?} times move the interval by {:+.2} %, at most {:.2} %",
            100.0 * mean(&moves),
            100.0 * greatest(moves.iter().map(|by| by.abs()))
        );
    }
    let fair = fairness(1);
    println!(
        "payouts of {} blocks to {} miners: sums off by {:.2} standard deviations at most, {:.2} in the mean square",
        fair.blocks,
        fair.deviations.len(),
        greatest(fair.deviations.iter().map(|by| by.abs())),
        mean(&fair.deviations.iter().map(|by| by * by).collect::<Vec<_>>()),
    );
    println!("  the smallest tenth of them got {:.4} of what it earned", fair.smallest_tenth);
}
