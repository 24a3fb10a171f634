//! For how long hostile peers keep a node from mining.

use p2pool_core::units::Work;
use p2pool_core::work::WorkUpdate;

use super::{parallel, Figure};
use crate::engine::Simulation;
use crate::hostile::Manner;
use crate::scenario::{Fault, FaultKind, HostSettings, MinerSettings, Scenario};

/// A node's situation when it meets the hostile peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Situation {
    /// It has mined solo for an hour.
    Lone,
    /// The same, and then its program restarts.
    Restarted,
    /// It starts without a chain.
    Newcomer,
}

impl Situation {
    pub const ALL: [Self; 3] = [Self::Lone, Self::Restarted, Self::Newcomer];
}

/// How hostile peers that matter here behave.
pub const MANNERS: [Manner; 10] = [
    Manner::Baits,
    Manner::Boasts,
    Manner::WithholdsShares,
    Manner::Silent,
    Manner::Busy,
    Manner::Slow,
    Manner::Substitutes,
    Manner::Forges,
    Manner::FalseHeaders,
    Manner::Private,
];

/// Runs; the node, and how many hostile peers it meets.
const SEEDS: u64 = 2;
const VICTIM: usize = 0;
const HOSTILE: usize = 3;
/// Expected hashes of one of its shares in its first hour; the easiest target is a sixty-fourth of that, and a hostile miner
/// has a twentieth of its hash rate.
const SHARE_WORK: f64 = 256.0;
const EASIEST_WORK: u128 = 4;
const HOSTILE_PART: f64 = 0.05;
/// They meet after this long, and are watched for as long again. Connections break this often.
const MEET_MS: u64 = 3_600_000;
const BREAK_EVERY_MS: u64 = 60_000;

/// Seconds of an hour for which the node's miners have no job. Without `manner` there are no hostile peers.
pub fn seconds_without_jobs(seed: u64, situation: Situation, manner: Option<Manner>) -> u32 {
    let mut simulation = Simulation::new(seed, scenario(situation, manner));
    simulation.run_until(MEET_MS);
    let has_job = |simulation: &Simulation| matches!(simulation.hosts[VICTIM].work, Some(WorkUpdate::Job(_)));
    let seconds = (1..=MEET_MS / 1_000).filter(|second| {
        simulation.run_until(MEET_MS + second * 1_000);
        !has_job(&simulation)
    });
    u32::try_from(seconds.count()).expect("an hour")
}

fn scenario(situation: Situation, manner: Option<Manner>) -> Scenario {
    let mut scenario = Scenario::calm(1, 30, 240, SHARE_WORK);
    scenario.params.easiest_bits = Work(EASIEST_WORK).target().to_bits();
    let victim = scenario.hosts[VICTIM].clone();
    let hash_rate = victim.miners[0].hash_rate * HOSTILE_PART;
    let hostile = if manner.is_some() { HOSTILE } else { 0 };
    for number in 0..hostile {
        let mines = matches!(manner, Some(Manner::Baits | Manner::Private));
        let miners = if mines { vec![MinerSettings { hash_rate, reaction_ms: 1_000 }] } else { Vec::new() };
        scenario.hosts.push(HostSettings { netgroup: number as u32 + 2, miners, manner, ..victim.clone() });
    }
    let fault = |at_ms, kind| Fault { at_ms, kind };
    let groups = (0..=hostile).map(|host| 1 + u8::from(host != VICTIM)).collect();
    scenario.faults.push(fault(0, FaultKind::Partition { groups, for_ms: MEET_MS }));
    match situation {
        Situation::Lone => {}
        Situation::Restarted => {
            scenario.faults.push(fault(MEET_MS - 1_000, FaultKind::Restart { host: VICTIM, down_ms: 1_000 }));
        }
        Situation::Newcomer => {
            scenario.hosts[VICTIM].is_there = false;
            scenario.faults.push(fault(MEET_MS, FaultKind::Join { host: VICTIM }));
        }
    }
    let breaks = (1..MEET_MS / BREAK_EVERY_MS).map(|number| MEET_MS + number * BREAK_EVERY_MS);
    scenario.faults.extend(breaks.map(|at_ms| fault(at_ms, FaultKind::Disconnect { host: VICTIM })));
    scenario.duration_ms = 2 * MEET_MS + 1;
    scenario
}

/// All kinds of hostile peers in all situations.
pub fn figure() -> Figure {
    let manners: Vec<Option<Manner>> = std::iter::once(None).chain(MANNERS.map(Some)).collect();
    let rows = parallel(&manners, |manner| {
        let most = |situation| (0..SEEDS).map(|seed| seconds_without_jobs(seed, situation, *manner)).max();
        let name = manner.map_or("none".to_owned(), |manner| format!("{manner:?}"));
        let seconds = Situation::ALL.map(|situation| most(situation).unwrap_or(0).to_string());
        std::iter::once(name).chain(seconds).collect()
    });
    Figure {
        title: "Work withheld from a node that meets hostile peers only",
        text: format!(
            "Seconds of an hour for which its miners have no job, the most of {SEEDS} seeds, beside {HOSTILE} hostile peers of one kind \
             whose connections break once a minute. A lone node has mined solo for an hour; then the same with a restart at \
             that moment (one second is the restart); a newcomer has no chain. Miners of private chains have a twentieth of the \
             node's hash rate."
        ),
        columns: vec!["hostile peers", "lone node", "restarted", "newcomer"],
        rows,
        bars: Vec::new(),
    }
}
