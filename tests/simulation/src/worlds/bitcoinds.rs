//! bitcoinds that lag, sleep, reorganise, and fork at the moment of a share.

use p2pool_core::params::Network;

use super::{anything, Length, World};
use crate::random::Random;
use crate::scenario::{Fault, FaultKind, Scenario};

pub const WORLD: World = World { name: "bitcoinds", scenario, before_quiet: anything, at_end: anything };

const BITCOINDS: usize = 4;

fn scenario(random: &mut Random, length: Length) -> Scenario {
    let (window, factor) = if length == Length::Short { (120, 1) } else { (8_640, 40) };
    let mut scenario = Scenario::calm(6, 10, window, 32.0);
    // The height floor is that of all networks but regtest.
    scenario.params.network = if random.chance(0.8) { Network::Mainnet } else { Network::Regtest };
    scenario.bitcoin.bitcoinds = BITCOINDS;
    scenario.bitcoin.interval_s = random.between(30.0, 120.0);
    scenario.bitcoin.work = (scenario.bitcoin.work as f64 * random.between(0.1, 1.0)) as u128;
    scenario.bitcoin.propagation_ms = random.between(100.0, 10_000.0);
    for (at, host) in scenario.hosts.iter_mut().enumerate() {
        host.bitcoind = at % BITCOINDS;
    }
    // Long enough that Bitcoin has blocks to leave.
    let (begin_s, end_s) = (2_400.0, 2_400.0 + 3_600.0 * f64::from(factor));
    for _ in 0..12 * factor {
        let at_ms = (random.between(begin_s, end_s) * 1_000.0) as u64;
        let bitcoind = random.below(BITCOINDS as u64) as usize;
        let for_ms = (random.between(30.0, 1_200.0) * 1_000.0) as u64;
        let kind = match random.below(8) {
            0..3 => FaultKind::BitcoindLags { bitcoind, blocks: 1 + random.below(10) as usize, for_ms },
            3 => FaultKind::BitcoindDown { bitcoind, for_ms, is_syncing: random.chance(0.5) },
            4 | 5 => FaultKind::Reorganise { depth: 1 + random.below(24) as u32 },
            _ => FaultKind::ForkAtShares { count: 1 + random.below(5) as u32 },
        };
        scenario.faults.push(Fault { at_ms, kind });
    }
    scenario.duration_ms = (end_s * 1_000.0) as u64 + 1_200_000;
    scenario
}
