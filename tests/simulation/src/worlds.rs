//! Worlds: pools to which one thing happens, each drawn from a seed, with what must hold then besides the invariants.
//!
//! Each has a short version, with shorter windows where that changes nothing else, and a long one.

mod activation;
mod bitcoinds;
mod clocks;
mod idle;
mod newcomer;
mod splits;
mod votes;

use std::collections::BTreeMap;

use p2pool_core::share::ShareId;

use crate::engine::Simulation;
use crate::invariants::ShareRecord;
use crate::random::Random;
use crate::scenario::Scenario;

/// How much time a world takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Seconds.
    Short,
    /// Minutes: mainnet's windows and times.
    Long,
}

/// What must hold in one world.
type Check = fn(&Simulation) -> Result<(), String>;

/// A world.
pub struct World {
    /// How the command names it.
    pub name: &'static str,
    /// Draws it.
    scenario: fn(&mut Random, Length) -> Scenario,
    /// Holds when mining ends, before everything that was broken works again.
    before_quiet: Check,
    /// Holds at the end.
    at_end: Check,
}

/// All worlds.
pub const ALL: [World; 10] = [
    newcomer::WORLD,
    splits::TWO,
    splits::THREE,
    splits::WEEKS,
    bitcoinds::WORLD,
    clocks::WORLD,
    idle::WORLD,
    activation::WORLD,
    votes::BORDERS,
    votes::CROWD,
];

/// The world of this name.
pub fn by_name(name: &str) -> Option<&'static World> {
    ALL.iter().find(|world| world.name == name)
}

impl World {
    /// Runs the world of a seed. Returns the simulation and what was wrong.
    pub fn run(&self, seed: u64, length: Length, is_traced: bool) -> (Simulation, Vec<String>) {
        let scenario = (self.scenario)(&mut Random::new(seed ^ 0x000a_11d5), length);
        let end_ms = scenario.duration_ms;
        let mut simulation = Simulation::new(seed, scenario);
        simulation.is_traced = is_traced;
        simulation.run_until(end_ms - 1);
        let before = (self.before_quiet)(&simulation);
        simulation.run();
        let after = (self.at_end)(&simulation);
        let violations = simulation.checks.violations.iter().map(ToString::to_string);
        let wrong = violations.chain(before.err()).chain(after.err()).collect();
        (simulation, wrong)
    }

    /// The command that shows a run again.
    pub fn replay(&self, seed: u64, length: Length) -> String {
        let length = if length == Length::Long { " long" } else { "" };
        format!("cargo run --release -p p2pool-test-simulation -- world {} {seed}{length} trace", self.name)
    }
}

/// Nothing.
fn anything(_: &Simulation) -> Result<(), String> {
    Ok(())
}

/// The shares of a node's main chain back to its genesis share, by height, as far as nodes of the simulation found them.
fn main_chain(simulation: &Simulation, host: usize) -> BTreeMap<u32, &ShareRecord> {
    let mut at = simulation.hosts[host].tip();
    let mut chain = BTreeMap::new();
    while let Some(record) = at.and_then(|id| simulation.checks.shares.get(&id)) {
        chain.insert(record.height, record);
        at = Some(record.parent).filter(|parent| *parent != ShareId::ZERO);
    }
    chain
}

/// An error with its text, if a condition does not hold.
fn require(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    match holds {
        true => Ok(()),
        false => Err(what()),
    }
}
