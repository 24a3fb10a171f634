//! Clocks that are wrong for a while, from the start or in between, with bitcoind's clock or without it.

use p2pool_core::params::Network;

use super::{anything, main_chain, require, Length, World};
use crate::engine::Simulation;
use crate::host::START;
use crate::random::Random;
use crate::scenario::{Fault, FaultKind, Scenario, CLOCK_JUMPS_MS};

pub const WORLD: World = World { name: "clocks", scenario, before_quiet: everybody_works, at_end: anything };

const NODES: usize = 5;
const THREE_DAYS_MS: i64 = 259_200_000;
/// When clocks go wrong, and for how long they are.
const WRONG_AT_MS: u64 = 600_000;
const WRONG_FOR_MS: u64 = 1_200_000;
/// How long after that every node has found shares.
const SETTLED_MS: u64 = 900_000;

fn scenario(random: &mut Random, length: Length) -> Scenario {
    let mut scenario = Scenario::calm(NODES, 10, if length == Length::Short { 120 } else { 8_640 }, 32.0);
    if random.chance(0.5) {
        scenario.params.network = Network::Mainnet;
    }
    let everybody = random.chance(0.5);
    for host in 0..NODES {
        let settings = &mut scenario.hosts[host];
        settings.is_bitcoinds_clock = random.chance(0.8);
        if !everybody && random.chance(0.5) {
            continue;
        }
        let jumps: Vec<i64> = CLOCK_JUMPS_MS.into_iter().chain([THREE_DAYS_MS]).collect();
        let by_ms = random.pick(&jumps).unwrap_or(0);
        let set = |at_ms, by_ms| Fault { at_ms, kind: FaultKind::SetClock { host, by_ms } };
        if random.chance(0.3) {
            settings.clock_ahead_ms = by_ms;
        } else {
            scenario.faults.push(set(WRONG_AT_MS + random.below(60_000), by_ms));
        }
        let right_ms = WRONG_AT_MS + WRONG_FOR_MS - random.below(60_000);
        if random.chance(0.3) {
            // The clock is put right while the node is down.
            let kind = FaultKind::Restart { host, down_ms: 30_000 };
            scenario.faults.push(Fault { at_ms: right_ms - 10_000, kind });
        }
        scenario.faults.push(set(right_ms, -by_ms));
    }
    scenario.duration_ms = WRONG_AT_MS + WRONG_FOR_MS + SETTLED_MS;
    scenario
}

/// Every node has found shares of the main chain since, and none of that is from the future.
fn everybody_works(simulation: &Simulation) -> Result<(), String> {
    let right_ms = WRONG_AT_MS + WRONG_FOR_MS;
    let chain = main_chain(simulation, 0);
    for host in 0..NODES {
        let found = chain.values().filter(|share| share.host == host && share.found_ms > right_ms).count();
        require(found > 0, || format!("no share of node {host} is on the main chain since the clocks are right"))?;
    }
    let tree = simulation.hosts[0].node.as_ref().map(|node| node.tree());
    let now = START.plus((simulation.now_ms / 1_000) as u32);
    let future =
        tree.into_iter().flat_map(|tree| tree.main_chain()).filter(|share| share.time() > now.plus(121)).count();
    require(future == 0, || format!("{future} shares of the main chain are from the future"))
}
