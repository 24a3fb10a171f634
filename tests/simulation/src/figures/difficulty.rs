//! The rules for the next target side by side: how fast they adapt, how much they vary, and what they let an attacker gain.

use super::{mean_and_error, parallel, Figure};
use crate::rules::attack::{best_attacks, best_gain, best_ramps, best_removal, Attack, Best, Effort, Means};
use crate::rules::measure::{greatest, mean, moved, recovery, steady, SEEDS};
use crate::rules::retarget::Retarget;
use crate::rules::strategy::Strategy;

const RULES: [Retarget; 2] = [Retarget::Bounded, Retarget::Asert];
const PARTS: [f64; 4] = [0.10, 0.20, 0.30, 0.45];
/// Shares that a ramp is to remove, and who tries.
const REMOVED: u32 = 100;
const RAMPING: [f64; 2] = [0.30, 0.40];

/// The column of a rule.
fn at(rule: Retarget) -> usize {
    usize::from(rule == Retarget::Asert)
}

fn seeds() -> Vec<u64> {
    SEEDS.collect()
}

/// Shares and hours until the target is right after the hash rate was multiplied: mean and worst.
fn adapts(rule: Retarget, factor: f64) -> String {
    let runs: Vec<_> = parallel(&seeds(), |seed| recovery(*seed, rule, factor)).into_iter().flatten().collect();
    if runs.len() < seeds().len() {
        return "not within 1,500 shares".to_owned();
    }
    let shares: Vec<f64> = runs.iter().map(|run| run.shares as f64).collect();
    let hours: Vec<f64> = runs.iter().map(|run| run.seconds / 3_600.0).collect();
    match factor > 1.0 {
        true => format!("{:.0} shares (worst {:.0})", mean(&shares), greatest(shares.clone())),
        false => format!("{:.2} h (worst {:.2})", mean(&hours), greatest(hours.clone())),
    }
}

fn gain(best: &Best) -> String {
    format!("{:.3} ± {:.3}", best.gain.0, best.gain.1)
}

/// Prints the best attack of one search. Returns false if there is no such rule or means.
pub fn print_attack(rule: &str, part: f64, means: &str) -> bool {
    let Some(rule) = RULES.into_iter().find(|known| format!("{known:?}").eq_ignore_ascii_case(rule)) else {
        return false;
    };
    let means = match means {
        "times" => Means::Times,
        "withholding" => Means::Withholding,
        "all" => Means::All,
        "ramp" => {
            let ramps = best_ramps(rule, part, REMOVED, Effort::FULL);
            println!("{:?}", best_removal(rule, part, REMOVED, ramps, Effort::FULL));
            return true;
        }
        _ => return false,
    };
    let attacks = best_attacks(rule, part, means, &[], Effort::FULL);
    println!("{:?}", best_gain(rule, part, attacks, Effort::FULL));
    true
}

/// One row for both rules; it is shown at once, for it takes minutes until all are there.
fn row(name: String, of: impl Fn(Retarget) -> String) -> Vec<String> {
    let row: Vec<String> = std::iter::once(name).chain(RULES.map(of)).collect();
    eprintln!("{}", row.join(" | "));
    row
}

/// Everything.
pub fn figure() -> Figure {
    let mut rows = Vec::new();
    let interval = |rule| {
        let runs = parallel(&seeds(), |seed| steady(*seed, rule, 20_000, (0.0, Strategy::Honest)));
        let of =
            |of: fn(&crate::rules::measure::Steady) -> f64| mean_and_error(&runs.iter().map(of).collect::<Vec<_>>());
        (of(|run| run.interval_s), of(|run| run.variation))
    };
    let steady = RULES.map(interval);
    let of = |rule| &steady[at(rule)];
    rows.push(row("mean interval, steady".to_owned(), |rule| format!("{:.2} s", of(rule).0 .0)));
    rows.push(row("coefficient of variation of the difficulty".to_owned(), |rule| format!("{:.3}", of(rule).1 .0)));
    for (factor, name) in [(10.0, "x10"), (1_000.0, "x1000"), (0.1, "/10"), (0.01, "/100"), (0.001, "/1000")] {
        rows.push(row(format!("right again after {name}"), |rule| adapts(rule, factor)));
    }
    rows.push(row("30 % with false times move the mean interval by at most".to_owned(), |rule| {
        let by = Strategy::ATTACKS
            .map(|strategy| mean(&parallel(&seeds(), |seed| moved(*seed, rule, 10_000, strategy))).abs());
        format!("{:.1} %", 100.0 * greatest(by))
    }));
    for part in PARTS {
        let percent = format!("{:.0} %", 100.0 * part);
        let mut known = vec![Attack::honest()];
        let gains = |attacks: &[Attack]| RULES.map(|rule| best_gain(rule, part, attacks.to_vec(), Effort::FULL));
        let honest = gains(&known);
        rows.push(row(format!("{percent}, honest"), |rule| gain(&honest[at(rule)])));
        for (means, name) in
            [(Means::Times, "times and easing"), (Means::Withholding, "withholding"), (Means::All, "both, with ramps")]
        {
            // Both rules face what was found against either, and by other means.
            let start: &[Attack] = if means == Means::All { &known } else { &[] };
            let found: Vec<Attack> =
                RULES.iter().flat_map(|rule| best_attacks(*rule, part, means, start, Effort::FULL)).collect();
            let bests = gains(&[start, &found].concat());
            rows.push(row(format!("{percent}, {name}"), |rule| gain(&bests[at(rule)])));
            eprintln!("  {:?}", bests[0].attack);
            known.extend(bests.map(|best| best.attack));
        }
    }
    for part in RAMPING {
        let percent = format!("{:.0} %", 100.0 * part);
        let odds = |name: &str, attacks: &[Attack]| {
            let bests = RULES.map(|rule| best_removal(rule, part, REMOVED, attacks.to_vec(), Effort::FULL));
            let shown = |rule| {
                let (mean, error) = bests[at(rule)].gain;
                format!("{:.2} ± {:.2}", 1_000.0 * mean, 1_000.0 * error)
            };
            let row = row(format!("{percent}: {name} removes {REMOVED} shares or more, of 1,000 tries"), shown);
            eprintln!("  {:?}", bests[0].attack);
            row
        };
        rows.push(odds("a branch with honest times", &Attack::patient()));
        let ramps: Vec<Attack> = RULES.iter().flat_map(|rule| best_ramps(*rule, part, REMOVED, Effort::FULL)).collect();
        rows.push(odds("a ramp", &ramps));
    }
    Figure {
        title: "Difficulty: the bounded window and ASERT",
        text: format!(
            "Models without nodes and hashing; the core's own functions decide targets and easing, as in consensus.md, section 6. ASERT \
             is relative to the parent, with a half-life of 24 shares and the same easing. Adaptation: {} seeds. Then what a part of \
             the hash rate is credited, uncles included, over that part: 1.000 is fair. It hears of shares at once, the others after \
             a second, and plays the best of {} attacks of a seeded search, scored again on {} fresh seeds of {} shares: the \
             times of its headers, when it eases, what it keeps back and when it publishes or gives up, which uncles it names. A \
             ramp is a private branch that overtakes the public one, searched for in the same way.",
            SEEDS.end,
            Effort::FULL.drawn + Effort::FULL.varied,
            Effort::FULL.seeds,
            Effort::FULL.last,
        ),
        columns: vec!["", "bounded window", "ASERT"],
        rows,
        bars: Vec::new(),
    }
}
