//! What selfish mining and block withholding gain.

use std::collections::BTreeMap;

use p2pool_core::share::PayoutScript;

use super::{mean_and_error, parallel, shown, Figure};
use crate::engine::Simulation;
use crate::hostile::Manner;
use crate::scenario::{hash_rate_for, Scenario};

const HONEST: usize = 8;
const SEEDS: [u64; 6] = [1, 2, 3, 4, 5, 6];
const SHARES: u64 = 1_500;
const WORK: f64 = 16.0;

fn pool(part: f64, manner: Manner) -> Scenario {
    let mut scenario = Scenario::calm(HONEST + 1, 30, 2_000, WORK);
    let all = hash_rate_for(WORK, 30);
    for host in &mut scenario.hosts {
        host.miners[0].hash_rate = all * (1.0 - part) / HONEST as f64;
    }
    scenario.hosts[HONEST].miners[0].hash_rate = all * part;
    scenario.hosts[HONEST].manner = Some(manner);
    scenario.bitcoin.work = (WORK * 20.0) as u128;
    scenario.duration_ms = SHARES * 30_000;
    scenario.quiet_ms = 60_000;
    scenario.tick_s = 5;
    scenario
}

/// The last node's part of the payout window over its part of the hash rate; and blocks that reached Bitcoin over those
/// found.
fn measure(seed: u64, part: f64, manner: Manner) -> (f64, f64) {
    let scenario = pool(part, manner);
    let end_ms = scenario.duration_ms + scenario.quiet_ms;
    let mut simulation = Simulation::new(seed, scenario);
    simulation.run_until(end_ms);
    let credits = credits(&simulation);
    let all: f64 = credits.values().sum();
    let own = credits.get(&simulation.hosts[HONEST].script).copied().unwrap_or(0.0);
    let blocks = simulation.bitcoin.found_by_pool() as f64;
    let shares: f64 = simulation.checks.shares.values().map(|share| share.work as f64).sum();
    (own / all / part, blocks / (shares / (WORK * 20.0)))
}

fn credits(simulation: &Simulation) -> BTreeMap<PayoutScript, f64> {
    let mut credits = BTreeMap::new();
    let Some(node) = simulation.hosts[0].node.as_ref() else { return credits };
    let mut tree = node.tree().snapshot();
    let Some(tip) = tree.tip().map(|tip| tip.id) else { return credits };
    if let Ok(window) = tree.window(tip, simulation.scenario.block_bits()) {
        for (script, work) in window.credits() {
            *credits.entry(script).or_insert(0.0) += work.0 as f64;
        }
    }
    credits
}

/// Attackers with 10 to 45 % of the hash rate.
pub fn figure() -> Figure {
    let mut rows = Vec::new();
    let mut bars = Vec::new();
    for part in [0.10, 0.20, 0.30, 0.40, 0.45] {
        let gain = |manner: Manner| {
            let runs = parallel(&SEEDS, |seed| measure(*seed, part, manner));
            let gains = mean_and_error(&runs.iter().map(|run| run.0).collect::<Vec<_>>());
            let blocks = mean_and_error(&runs.iter().map(|run| run.1).collect::<Vec<_>>());
            (gains, blocks)
        };
        let (selfish, all_blocks) = gain(Manner::Selfish);
        // One that withholds blocks mines shares like everybody.
        let (honest, blocks) = gain(Manner::WithholdsBlocks);
        rows.push(vec![
            format!("{:.0} %", 100.0 * part),
            shown(honest),
            shown(selfish),
            shown(all_blocks),
            shown(blocks),
        ]);
        bars.push((format!("{:.0} %", 100.0 * part), selfish.0));
    }
    Figure {
        title: "Selfish mining and block withholding",
        text: format!(
            "{HONEST} honest nodes and one with this part of the hash rate, real nodes, {SHARES} shares, one every 30 s, latency \
             20 to 100 ms, {} seeds. Income: its part of the payout window over its part of the hash rate, when it is honest \
             and when it mines selfishly (keeps its shares back, publishes them when others come near). Blocks: those that \
             reached Bitcoin over those that the pool's shares are worth, when it submits its own and when it withholds them: \
             the withholder loses that part of its own income too.",
            SEEDS.len()
        ),
        columns: vec!["part", "income, honest", "income, selfish", "blocks, submitted", "blocks, withholding"],
        rows,
        bars,
    }
}
