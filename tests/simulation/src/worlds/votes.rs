//! Votes for more payout outputs at the borders of 95 and 90 per cent: the class steps as the rule says.

use super::{anything, main_chain, require, Length, World};
use crate::engine::Simulation;
use crate::random::Random;
use crate::scenario::{Fault, FaultKind, Scenario};
use p2pool_core::params::OUTPUTS_CLASS_INTERVAL;

/// Two parts of the pool, one of which changes its mind: at the borders.
pub const BORDERS: World =
    World { name: "votes", scenario: borders, before_quiet: anything, at_end: steps_up_and_down };
/// Nodes with votes of all classes, which change at random.
pub const CROWD: World =
    World { name: "crowd-votes", scenario: crowd, before_quiet: anything, at_end: follows_the_rule };

/// Shares of a phase: a window has forgotten the phase before, and there are some intervals.
const PHASE: u64 = 480;

fn pool(nodes: usize, length: Length, phases: u64) -> Scenario {
    let (window, factor) = if length == Length::Short { (120, 1) } else { (8_640, 40) };
    let mut scenario = Scenario::calm(nodes, 10, window, 16.0);
    scenario.params.retarget_window = 72;
    scenario.tick_s = 5;
    scenario.duration_ms = 10_000 * PHASE * factor * phases;
    scenario
}

fn vote(at_ms: u64, host: usize, class: u8) -> Fault {
    Fault { at_ms, kind: FaultKind::Vote { host, class } }
}

/// The small part is drawn about one of the borders. It votes for more, then for nothing more, then again.
fn borders(random: &mut Random, length: Length) -> Scenario {
    let mut scenario = pool(4, length, 4);
    let all: f64 = scenario.hosts.iter().map(|host| host.miners[0].hash_rate).sum();
    let small = [0.05, 0.1][random.below(2) as usize] * random.between(0.6, 1.4);
    for (at, host) in scenario.hosts.iter_mut().enumerate() {
        host.outputs_vote = 1 + random.below(3) as u8;
        host.miners[0].hash_rate = all * if at == 0 { small } else { (1.0 - small) / 3.0 };
    }
    let phase_ms = scenario.duration_ms / 4;
    scenario.faults = vec![vote(phase_ms, 0, 0), vote(3 * phase_ms, 0, 3)];
    // For a phase, more than a tenth vote for nothing more: the class falls for certain.
    scenario.faults.extend([vote(2 * phase_ms, 1, 0), vote(3 * phase_ms, 1, 3)]);
    scenario
}

fn crowd(random: &mut Random, length: Length) -> Scenario {
    let mut scenario = pool(6, length, 5);
    for host in 0..6 {
        scenario.hosts[host].outputs_vote = random.below(4) as u8;
        for _ in 0..random.below(4) {
            let at_ms = (random.unit() * scenario.duration_ms as f64) as u64;
            scenario.faults.push(vote(at_ms, host, 1 + random.below(3) as u8));
        }
    }
    scenario
}

/// Computes each share's class from the votes of the shares before it, without the core, and compares.
fn follows_the_rule(simulation: &Simulation) -> Result<(), String> {
    let window = simulation.params.payout_window;
    let chain = main_chain(simulation, 0);
    let shares: Vec<(u128, u8, u8)> =
        chain.values().map(|share| (share.work, share.outputs.0, share.outputs.1)).collect();
    let mut class = 0;
    for (height, (_, stated, _)) in shares.iter().enumerate() {
        if height as u32 >= window && (height as u32).is_multiple_of(OUTPUTS_CLASS_INTERVAL) {
            let voters = &shares[height - window as usize..height];
            let all: u128 = voters.iter().map(|(work, ..)| work).sum();
            let at_least = |class: u8| {
                let votes = voters.iter().filter(|(.., vote)| *vote >= class).map(|(work, ..)| work);
                100 * votes.sum::<u128>()
            };
            class = match class {
                _ if class < 3 && at_least(class + 1) >= 95 * all => class + 1,
                _ if at_least(class) < 90 * all => class - 1,
                _ => class,
            };
        }
        require(*stated == class, || format!("the share at height {height} has class {stated} instead of {class}"))?;
    }
    require(shares.len() as u32 > 3 * window, || format!("the chain has {} shares", shares.len()))
}

fn steps_up_and_down(simulation: &Simulation) -> Result<(), String> {
    follows_the_rule(simulation)?;
    let classes: Vec<u8> = main_chain(simulation, 0).values().map(|share| share.outputs.0).collect();
    let has = |step: fn(&[u8]) -> bool| classes.windows(2).any(step);
    require(has(|pair| pair[1] > pair[0]), || "the class never rises".to_owned())?;
    require(has(|pair| pair[1] < pair[0]), || "the class never falls".to_owned())
}
