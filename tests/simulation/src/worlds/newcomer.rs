//! A newcomer that at first reaches only hostile peers: liars, and miners of private chains; then one honest peer as well.

use super::{anything, main_chain, require, Length, World};
use crate::engine::Simulation;
use crate::hostile::Manner;
use crate::random::Random;
use crate::scenario::{Fault, FaultKind, HostSettings, MinerSettings, Scenario};

pub const WORLD: World = World { name: "newcomer", scenario, before_quiet, at_end: anything };

const HONEST: usize = 4;
/// Those that follow the pool's chain and lie about it.
const LIARS: [Manner; 8] = [
    Manner::Boasts,
    Manner::WithholdsShares,
    Manner::Slow,
    Manner::Substitutes,
    Manner::Forges,
    Manner::Silent,
    Manner::Busy,
    Manner::FalseHeaders,
];
/// Who reaches whom: the pool and the liars, the liars and the newcomer, the private miners and the newcomer, the newcomer and
/// the honest peer that it meets.
const POOL: u8 = 1;
const LIES: u8 = 2;
const PRIVATE: u8 = 4;
const PEER: u8 = 8;

fn scenario(random: &mut Random, length: Length) -> Scenario {
    let (period_s, window, factor) = match length {
        Length::Short => (10, 60, 1),
        Length::Long => (30, 8_640, 100),
    };
    let mut scenario = Scenario::calm(HONEST + 1, period_s, window, 32.0);
    let all: f64 = scenario.hosts.iter().map(|host| host.miners[0].hash_rate).sum();
    let newcomer = HONEST;
    scenario.hosts[newcomer].is_there = false;
    scenario.bitcoin.bitcoinds = 2;
    scenario.hosts[newcomer].bitcoind = 1;
    let mut masks = vec![POOL; HONEST];
    masks.push(LIES | PRIVATE);
    for manner in LIARS {
        if random.chance(0.7) {
            add(&mut scenario, manner, None);
            masks.push(POOL | LIES);
        }
    }
    for part in [0.05, 0.3] {
        add(&mut scenario, Manner::Private, Some(all * part));
        masks.push(PRIVATE);
    }
    // The pool has a chain longer than what nodes keep, or a short one.
    let period_ms = u64::from(period_s) * 1_000;
    let joins_ms = period_ms * (50 + random.below(250 * factor));
    let alone_ms = [30, 120, 900, 1_800][random.below(4) as usize] * 1_000;
    let meets_ms = joins_ms + alone_ms;
    scenario.duration_ms = meets_ms + 1_800_000;
    let mut met = masks.clone();
    met[0] |= PEER;
    met[newcomer] |= PEER;
    let fault = |at_ms, kind| Fault { at_ms, kind };
    scenario.faults = vec![
        fault(0, FaultKind::Partition { groups: masks, for_ms: meets_ms }),
        fault(joins_ms, FaultKind::Join { host: newcomer }),
        fault(meets_ms, FaultKind::Partition { groups: met, for_ms: 1_800_000 }),
    ];
    scenario
}

fn add(scenario: &mut Scenario, manner: Manner, hash_rate: Option<f64>) {
    let netgroup = scenario.hosts.len() as u32 + 1;
    let miners = hash_rate.map(|hash_rate| MinerSettings { hash_rate, reaction_ms: 1_000 });
    let miners = miners.into_iter().collect();
    let like = scenario.hosts[0].clone();
    scenario.hosts.push(HostSettings { netgroup, miners, manner: Some(manner), ..like });
}

/// With all its other peers hostile, it follows the pool's chain.
fn before_quiet(simulation: &Simulation) -> Result<(), String> {
    let chain = main_chain(simulation, HONEST);
    let hostile = chain.values().filter(|share| share.host > HONEST).count();
    require(hostile == 0 && !chain.is_empty(), || {
        format!("the newcomer's chain has {} shares, {hostile} of them of private chains", chain.len())
    })?;
    let pool = simulation.hosts[0].node.as_ref().map(|node| node.tree());
    // A share may be on its way.
    let (tip, theirs) = (simulation.hosts[HONEST].tip(), pool.and_then(|tree| tree.tip()));
    let near = theirs.and_then(|tip| tip.share.info.share_height.0.checked_sub(3)).unwrap_or(0);
    let is_near = chain.last_key_value().is_some_and(|(height, _)| *height >= near);
    let is_in_pool = tip.zip(pool).is_some_and(|(tip, tree)| tree.contains(&tip));
    require(is_near && is_in_pool, || format!("the newcomer's tip {tip:?} is not the pool's"))
}
