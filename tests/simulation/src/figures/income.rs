//! What miners are paid for their work: by size, latency and reaction time, and by the number of payees.

use p2pool_core::params::{UNCLES_MAX, UNCLE_CREDIT, UNCLE_DEPTH_MAX};

use super::{mean_and_error, parallel, shown, Figure};
use crate::random::Random;
use crate::rules::fairness::fairness_of;

const PERIOD_S: f64 = 30.0;
/// Shares of the smallest miner that are waited for in each batch, and the number of batches.
const BATCHES: usize = 10;
/// A job is made again this often, with new uncles.
const REFRESH_S: f64 = 29.0;

#[derive(Clone, Copy)]
struct Found {
    at_s: f64,
    height: u32,
    /// Of two equally high ones the lower wins.
    id: f64,
    is_own: bool,
    parent: usize,
    is_named: bool,
}

/// One miner of some size beside a rest of very small ones, each of which hears of a share after the latency, and works
/// on it after a reaction time drawn up to the greatest. Gives the miner's part of all credits over its part of all work.
fn ratio(seed: u64, size: f64, latency_s: f64, reaction_s: f64, shares: usize) -> f64 {
    let mut random = Random::new(seed);
    let mut chain: Vec<Found> =
        vec![Found { at_s: -1e9, height: 0, id: 0.0, is_own: false, parent: 0, is_named: true }];
    let (mut at_s, mut own_found) = (0.0, 0usize);
    for _ in 0..shares {
        at_s += random.exponential(1.0 / PERIOD_S);
        let is_own = random.chance(size);
        own_found += usize::from(is_own);
        let (delay_s, own_delay_s) = {
            let reaction_s = random.unit() * reaction_s;
            (latency_s + reaction_s, reaction_s)
        };
        // What the finder works on: the best share that it had heard of when its job was made.
        let mut parent = 0;
        for back in (chain.len().saturating_sub(40)..chain.len()).rev() {
            let share = chain[back];
            let heard_s = share.at_s + if is_own && share.is_own { own_delay_s } else { delay_s };
            let is_better = share.height > chain[parent].height
                || (share.height == chain[parent].height && share.id < chain[parent].id);
            if heard_s <= at_s && is_better {
                parent = back;
            }
        }
        let height = chain[parent].height + 1;
        chain.push(Found { at_s, height, id: random.unit(), is_own, parent, is_named: false });
    }
    credit(&mut chain, latency_s, reaction_s, &mut random) / (own_found as f64 / shares as f64)
}

/// The miner's part of all credits.
fn credit(chain: &mut [Found], latency_s: f64, reaction_s: f64, random: &mut Random) -> f64 {
    let mut main = Vec::new();
    let mut at = (0..chain.len()).max_by_key(|at| (chain[*at].height, usize::MAX - at)).unwrap_or(0);
    while at > 0 {
        main.push(at);
        chain[at].is_named = true;
        at = chain[at].parent;
    }
    let part = f64::from(UNCLE_CREDIT.0) / f64::from(UNCLE_CREDIT.1);
    let (mut own, mut all) = (0.0, 0.0);
    let mut give = |is_own: bool, work: f64| {
        own += if is_own { work } else { 0.0 };
        all += work;
    };
    for at in main.into_iter().rev() {
        let nephew = chain[at];
        give(nephew.is_own, 1.0);
        // The job was made when the parent came, or at the last refresh.
        let job_s = nephew.at_s - random.unit() * (nephew.at_s - chain[nephew.parent].at_s).min(REFRESH_S);
        let job_s = job_s - random.unit() * reaction_s;
        let mut named = 0;
        for uncle in at.saturating_sub(60)..at {
            let share = chain[uncle];
            let is_near = share.height < nephew.height && nephew.height - share.height <= UNCLE_DEPTH_MAX;
            let on_main = chain[share.parent].is_named;
            let heard_s = share.at_s + if share.is_own && nephew.is_own { 0.0 } else { latency_s };
            if !share.is_named && is_near && on_main && heard_s <= job_s && named < UNCLES_MAX {
                named += 1;
                chain[uncle].is_named = true;
                give(share.is_own, part);
                give(nephew.is_own, 1.0 - part);
            }
        }
    }
    own / all
}

/// By miner size, latency and reaction time.
pub fn figure() -> Figure {
    let mut rows = Vec::new();
    let mut bars = Vec::new();
    for size in [1e-5, 1e-3, 0.01, 0.1, 0.3] {
        for (latency_s, reaction_s) in [(0.1, 1.0), (1.0, 1.0), (3.0, 1.0), (5.0, 1.0), (1.0, 30.0), (3.0, 30.0)] {
            // The smallest need most shares for a figure of any precision.
            let shares = ((400.0 / size) as usize).clamp(20_000, 1_000_000);
            let seeds: Vec<u64> = (0..BATCHES as u64).collect();
            let ratios = parallel(&seeds, |seed| ratio(*seed + 1, size, latency_s, reaction_s, shares));
            let (mean, error) =
                mean_and_error(&ratios.into_iter().filter(|ratio| ratio.is_finite()).collect::<Vec<_>>());
            rows.push(vec![
                format!("{size}"),
                format!("{latency_s} s"),
                format!("{reaction_s} s"),
                shown((mean, error)),
            ]);
            if reaction_s < 2.0 {
                bars.push((format!("{size}, {latency_s} s"), mean));
            }
        }
    }
    Figure {
        title: "Paid share over work share, by miner size",
        text: "A model (a miner of this part of the hash rate among very many small ones; the core's uncle rules and \
               credits): its part of all credited work over its part of all shares found. 1.000 is fair. Every node hears \
               of a share after the latency, and its hardware changes to a new job after a time drawn up to the reaction \
               time. Payouts are credits, without bias (next table)."
            .to_owned(),
        columns: vec!["size", "latency", "reaction", "paid / work (mean ± 95 %)"],
        rows,
        bars,
    }
}

/// By the number of payees.
pub fn payees() -> Figure {
    let mut rows = Vec::new();
    let counts = [1u32, 10, 47, 300, 1_000, 5_000];
    let runs = parallel(&counts, |count| fairness_of(1, *count, if *count > 500 { 1_500 } else { 3_000 }));
    for (count, fair) in counts.iter().zip(runs) {
        let (smallest, error) = (fair.smallest_tenth, fair.smallest_tenth_error);
        let most = fair.deviations.iter().map(|by| by.abs()).fold(0.0, f64::max);
        rows.push(vec![
            count.to_string(),
            fair.blocks.to_string(),
            format!("{smallest:.3} ± {:.3}", 1.96 * error),
            format!("{most:.2}"),
        ]);
    }
    Figure {
        title: "Paid over earned, by number of payees",
        text: "The core's window and payout list without nodes: miners of sizes 1 / i^1.2, 48 outputs. The tenth of the \
               miners that earned least: paid over earned, with the error of the draw. Then the largest deviation of any \
               miner in standard deviations of the draw."
            .to_owned(),
        columns: vec!["payees", "blocks", "smallest tenth (± 95 %)", "largest deviation"],
        rows,
        bars: Vec::new(),
    }
}
