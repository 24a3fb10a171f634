//! A pool that falls asleep and wakes up: all miners are off for an hour, a day or three.

use super::{main_chain, require, Length, World};
use crate::engine::Simulation;
use crate::random::Random;
use crate::scenario::{Fault, FaultKind, Scenario};
use p2pool_core::units::Work;

pub const WORLD: World = World { name: "idle", scenario, before_quiet: finds_shares_in_time, at_end: keeps_its_chain };

const NODES: usize = 4;
/// Shares found before.
const BEFORE: u64 = 150;
/// Shares after which the pace is to be right again, and that are measured then.
const SETTLES: usize = 120;
const MEASURED: u64 = 100;

fn scenario(random: &mut Random, length: Length) -> Scenario {
    // Much harder than the easiest target, as in any real pool: a day without shares eases to that.
    let mut scenario = Scenario::calm(NODES, 30, if length == Length::Short { 240 } else { 8_640 }, 1_024.0);
    scenario.params.easiest_bits = Work(2).target().to_bits();
    scenario.params.retarget_window = 72;
    scenario.tick_s = 30;
    // Bitcoin's blocks are really found.
    scenario.bitcoin.work = 20 * 1_024;
    let asleep_h = [1, 24, 72][random.below(3) as usize];
    let for_ms = asleep_h * 3_600_000;
    // The pool starts at the easiest target, and needs some hundred shares for the right one.
    let at_ms = 30_000 * (BEFORE + random.below(100));
    for host in 0..NODES {
        // Not all of them at the same second.
        let late_ms = random.below(60_000);
        let kind = FaultKind::MinersFail { host, for_ms: for_ms + random.below(120_000) };
        scenario.faults.push(Fault { at_ms: at_ms + late_ms, kind });
    }
    if random.chance(0.5) {
        // One is restarted meanwhile.
        let kind = FaultKind::Restart { host: random.below(NODES as u64) as usize, down_ms: 60_000 };
        scenario.faults.push(Fault { at_ms: at_ms + for_ms / 2, kind });
    }
    scenario.duration_ms = at_ms + for_ms + 30_000 * 2 * MEASURED;
    scenario
}

fn woke_ms(simulation: &Simulation) -> u64 {
    let wakes = simulation.scenario.faults.iter().filter_map(|fault| match fault.kind {
        FaultKind::MinersFail { for_ms, .. } => Some(fault.at_ms + for_ms),
        _ => None,
    });
    wakes.min().unwrap_or(0)
}

/// Soon the difficulty is right again.
fn finds_shares_in_time(simulation: &Simulation) -> Result<(), String> {
    let woke_ms = woke_ms(simulation);
    let found: Vec<u64> = main_chain(simulation, 0)
        .values()
        .map(|share| share.found_ms)
        .filter(|found_ms| *found_ms >= woke_ms)
        .collect();
    let first_s = found.first().map_or(u64::MAX, |first| (first - woke_ms) / 1_000);
    require(first_s < 300, || format!("the first share comes {first_s} s after the pool woke up"))?;
    let Some(settled) = found.get(SETTLES..).filter(|settled| settled.len() > 50) else {
        return Err(format!("{} shares since the pool woke up", found.len()));
    };
    let interval_s = (settled[settled.len() - 1] - settled[0]) as f64 / 1_000.0 / (settled.len() - 1) as f64;
    require((20.0..45.0).contains(&interval_s), || format!("a share every {interval_s:.1} s after the pool woke up"))
}

/// No earlier work is lost.
fn keeps_its_chain(simulation: &Simulation) -> Result<(), String> {
    let chain = main_chain(simulation, 0);
    let asleep_ms = simulation.scenario.faults.first().map_or(0, |fault| fault.at_ms);
    let before = chain.values().filter(|share| share.found_ms < asleep_ms).count() as u64;
    require(before >= BEFORE, || format!("{before} shares of the time before are left"))
}
