//! Splits of the pool of a minute to ten days, with Bitcoin's pace changing meanwhile: everybody ends on one chain.

use super::{anything, main_chain, require, Length, World};
use crate::engine::Simulation;
use crate::random::Random;
use crate::scenario::{Fault, FaultKind, Scenario};

/// Two parts.
pub const TWO: World = World { name: "split", scenario: two, before_quiet: anything, at_end: heavier_part_wins };
/// Three parts, of which two rejoin before the third does.
pub const THREE: World = World { name: "three-way", scenario: three, before_quiet: anything, at_end: anything };
/// Two parts while Bitcoin is slow and fast by turns, until the shares' anchors have nearly the age of a step, or two.
pub const WEEKS: World = World { name: "weeks", scenario: weeks, before_quiet: anything, at_end: anything };

const NODES: usize = 6;
/// The short version has mainnet's proportions, and everything is this many times shorter.
const SCALE: u32 = 36;

/// Six nodes with parts of the hash rate drawn at random, and mainnet's windows and age step or a part of them.
fn pool(random: &mut Random, length: Length) -> Scenario {
    let scale = if length == Length::Short { SCALE } else { 1 };
    let mut scenario = Scenario::calm(NODES, 30, 8_640 / scale, 16.0);
    scenario.params.retarget_window = 72;
    scenario.params.age_step_s /= scale;
    scenario.bitcoin.interval_s = (600.0 / f64::from(scale)).max(20.0);
    scenario.bitcoin.bitcoinds = 3;
    scenario.tick_s = 5;
    let all: f64 = scenario.hosts.iter().map(|host| host.miners[0].hash_rate).sum();
    let weights: Vec<f64> = scenario.hosts.iter().map(|_| random.between(0.2, 1.0)).collect();
    let sum: f64 = weights.iter().sum();
    for (at, (host, weight)) in scenario.hosts.iter_mut().zip(weights).enumerate() {
        host.miners[0].hash_rate = all * weight / sum;
        host.bitcoind = at % 3;
    }
    scenario
}

/// Milliseconds between a minute and ten days, every magnitude as likely; the short version's are shorter.
fn time_ms(random: &mut Random, length: Length) -> u64 {
    let days_ms = if length == Length::Short { 864_000_000 / u64::from(SCALE) } else { 864_000_000 };
    (60_000.0 * (days_ms as f64 / 60_000.0).powf(random.unit())) as u64
}

/// The pool is together until then.
fn before_ms(random: &mut Random, scenario: &Scenario) -> u64 {
    u64::from(scenario.params.share_period_s) * 1_000 * (80 + random.below(u64::from(scenario.params.payout_window)))
}

fn split(at_ms: u64, groups: &[u8], for_ms: u64) -> Fault {
    Fault { at_ms, kind: FaultKind::Partition { groups: groups.to_vec(), for_ms } }
}

fn two(random: &mut Random, length: Length) -> Scenario {
    let mut scenario = pool(random, length);
    let (at_ms, for_ms) = (before_ms(random, &scenario), time_ms(random, length));
    let first = 1 + random.below(NODES as u64 - 1) as usize;
    let groups: Vec<u8> = (0..NODES).map(|host| 1 + u8::from(host >= first)).collect();
    scenario.faults = vec![split(at_ms, &groups, for_ms)];
    scenario.duration_ms = at_ms + for_ms + 1_800_000;
    scenario
}

fn three(random: &mut Random, length: Length) -> Scenario {
    let mut scenario = pool(random, length);
    let at_ms = before_ms(random, &scenario);
    let (first_ms, then_ms) = (time_ms(random, length), time_ms(random, length) / 2 + 60_000);
    let groups = [1, 1, 2, 2, 4, 4];
    scenario.faults = vec![split(at_ms, &groups, first_ms), split(at_ms + first_ms, &[1, 1, 1, 1, 4, 4], then_ms)];
    scenario.duration_ms = at_ms + first_ms + then_ms + 1_800_000;
    scenario
}

fn weeks(random: &mut Random, length: Length) -> Scenario {
    let mut scenario = pool(random, length);
    let step_ms = u64::from(scenario.params.age_step_s) * 1_000;
    let at_ms = before_ms(random, &scenario);
    // So that what was found just before is a step or two old when the parts meet, a little more or less.
    let steps = 1 + random.below(2);
    let for_ms = (step_ms * steps) as f64 * random.between(0.9, 1.1);
    let end_ms = at_ms + for_ms as u64;
    scenario.faults = vec![split(at_ms, &[1, 1, 1, 2, 2, 2], for_ms as u64)];
    let mut pace_ms = 0;
    while pace_ms < end_ms {
        let interval = 0.5 * 6f64.powf(random.unit());
        scenario.faults.push(Fault { at_ms: pace_ms, kind: FaultKind::BitcoinPace { interval } });
        pace_ms += (step_ms as f64 * random.between(0.1, 0.7)) as u64;
    }
    // bitcoinds learn of blocks one after the other, so nodes compare at different times of Bitcoin.
    for bitcoind in 0..3 {
        let blocks = random.below(4) as usize;
        let kind = FaultKind::BitcoindLags { bitcoind, blocks, for_ms: 3_600_000 };
        scenario.faults.push(Fault { at_ms: end_ms.saturating_sub(1_800_000), kind });
    }
    scenario.duration_ms = end_ms + 3_600_000;
    scenario
}

/// If one part has clearly more hash rate, the chain that is left from the time of the split is its own.
fn heavier_part_wins(simulation: &Simulation) -> Result<(), String> {
    let Some(Fault { at_ms, kind: FaultKind::Partition { groups, for_ms } }) = simulation.scenario.faults.first()
    else {
        return Ok(());
    };
    let rate = |host: usize| simulation.hosts[host].settings.miners[0].hash_rate;
    let part = (0..NODES).filter(|host| groups[*host] == 1).map(rate).sum::<f64>() / (0..NODES).map(rate).sum::<f64>();
    // What counts is the work of the last steps of age.
    let counted_ms = u64::from(simulation.params.age_step_s) * 1_000;
    let expected = (*for_ms).min(counted_ms) as f64 / 1_000.0 / f64::from(simulation.params.share_period_s);
    // Four standard deviations of the difference of what the parts find.
    let margin = 2.0 / expected.sqrt();
    if (part - 0.5).abs() < margin {
        return Ok(());
    }
    let winner = if part > 0.5 { 1 } else { 2 };
    let settled_ms = 30_000;
    let during = |found_ms: u64| found_ms > at_ms + settled_ms && found_ms < at_ms + for_ms;
    let chain = main_chain(simulation, 0);
    let others = chain.values().filter(|share| during(share.found_ms) && groups[share.host] != winner).count();
    require(others == 0, || {
        format!(
            "{others} shares of the part with {part:.2} of the hash rate, or the rest, are on the chain of the other"
        )
    })
}
