//! A later version of the rules begins while a fifth, a third or a half of the pool does not know it.

use super::{anything, main_chain, require, Length, World};
use crate::engine::Simulation;
use crate::host::Host;
use crate::random::Random;
use crate::scenario::Scenario;
use p2pool_core::params::{Activation, Network, RULES_VERSION_FIRST, RULES_VERSION_TEST};
use p2pool_core::units::BlockHeight;
use p2pool_core::work::WorkUpdate;

pub const WORLD: World = World { name: "activation", scenario, before_quiet: anything, at_end };

const NODES: usize = 5;
const UPDATED: usize = 3;
/// Bitcoin's height from which the version may begin; the simulated one starts at about 1,011.
const HEIGHT: u32 = 1_500;

fn scenario(random: &mut Random, length: Length) -> Scenario {
    let mut scenario = Scenario::calm(NODES, 30, if length == Length::Short { 120 } else { 2_000 }, 16.0);
    // On slow lines, so that there are uncles: the version allows two.
    scenario.network.latency_ms = (100.0, 1_500.0);
    // Without retargets of Bitcoin, which thousands of blocks in hours would cause.
    scenario.params.network = Network::Regtest;
    let activation = Activation { version: RULES_VERSION_TEST, height: BlockHeight(HEIGHT) };
    scenario.params.activations = vec![activation];
    let outdated = [0.2, 1.0 / 3.0, 0.5][random.below(3) as usize];
    let all: f64 = scenario.hosts.iter().map(|host| host.miners[0].hash_rate).sum();
    for (at, host) in scenario.hosts.iter_mut().enumerate() {
        let is_updated = at < UPDATED;
        host.rules_version_known = if is_updated { RULES_VERSION_TEST } else { RULES_VERSION_FIRST };
        host.miners[0].hash_rate = all
            * match is_updated {
                true => (1.0 - outdated) / UPDATED as f64,
                false => outdated / (NODES - UPDATED) as f64,
            };
    }
    // Bitcoin's blocks are really found.
    scenario.bitcoin.work = 20 * 16;
    // It begins 4,032 blocks after its height at the latest.
    scenario.bitcoin.interval_s = if length == Length::Short { 3.0 } else { 15.0 };
    scenario.duration_ms = (scenario.bitcoin.interval_s * 1_000.0 * 4_032.0 * 1.1) as u64 + 3_600_000;
    scenario.tick_s = 5;
    scenario
}

fn at_end(simulation: &Simulation) -> Result<(), String> {
    let chain = main_chain(simulation, 0);
    let versions: Vec<u8> = chain.values().map(|share| share.rules_version).collect();
    let tip = versions.last().copied().unwrap_or(0);
    require(tip == RULES_VERSION_TEST, || format!("the updated nodes' tip has version {tip}"))?;
    require(versions.is_sorted(), || "the version falls along the chain".to_owned())?;
    let is_above = |share: &&&crate::invariants::ShareRecord| share.rules_version == RULES_VERSION_TEST;
    let others = chain.values().filter(is_above).filter(|share| share.host >= UPDATED).count();
    require(others == 0, || format!("{others} shares of outdated nodes after the version began"))?;
    let before = chain.values().filter(|share| share.rules_version == RULES_VERSION_FIRST);
    let theirs = before.filter(|share| share.host >= UPDATED).count();
    require(theirs > 0, || "no share of an outdated node counts from before the version began".to_owned())?;
    let scored = simulation.checks.scored_across_versions;
    require(scored == 0, || format!("outdated and updated nodes scored each other {scored} times"))?;
    (UPDATED..NODES).try_for_each(|host| check_outdated(simulation, host))
}

/// What an outdated node is like once the version has begun: it stays on shares that it can judge. If clearly less than half of
/// the hash rate is outdated, it has no work and names the version that it needs.
fn check_outdated(simulation: &Simulation, host: usize) -> Result<(), String> {
    let Some(node) = &simulation.hosts[host].node else { return Err(format!("node {host} does not run")) };
    let newer = node.tree().shares().filter(|share| share.share.info.rules_version != RULES_VERSION_FIRST).count();
    require(newer == 0, || format!("outdated node {host} holds {newer} shares that it cannot judge"))?;
    let rate = |hosts: &[Host]| hosts.iter().map(|host| host.settings.miners[0].hash_rate).sum::<f64>();
    let is_minority = rate(&simulation.hosts[UPDATED..]) < 0.4 * rate(&simulation.hosts);
    let needed = node.rules_version_needed();
    require(!is_minority || needed == Some(RULES_VERSION_TEST), || format!("outdated node {host} needs {needed:?}"))?;
    let has_work = matches!(simulation.hosts[host].work, Some(WorkUpdate::Job(_)));
    require(has_work == needed.is_none(), || format!("outdated node {host} has work: {has_work}, and needs {needed:?}"))
}
