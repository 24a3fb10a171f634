//! What a simulated pool is like: everything that is chosen before it runs.

use p2pool_core::node::TICK_S;
use p2pool_core::params::{ChainParams, Network, RULES_VERSION_FIRST};
use p2pool_core::units::{Bits, Work};

use crate::hostile::Manner;
use crate::random::Random;

/// By how much clocks are set at times: a second, a wrong time zone, morning for evening.
pub const CLOCK_JUMPS_MS: [i64; 5] = [-7_200_000, -1_000, 1_000, 7_200_000, 43_200_000];

/// A fault or change that happens at a fixed moment.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Milliseconds after the start.
    pub at_ms: u64,
    /// What happens.
    pub kind: FaultKind,
}

/// What can go wrong.
#[derive(Clone, Debug)]
pub enum FaultKind {
    /// The node's process ends after this many more steps of its driver (a commit or an effect is one), and starts again
    /// after some time.
    Crash { host: usize, after_steps: u32, down_ms: u64 },
    /// The node stops in order and starts again.
    Restart { host: usize, down_ms: u64 },
    /// The node's disk refuses commits for some time.
    DiskFull { host: usize, for_ms: u64 },
    /// The node's clock is set by some milliseconds.
    SetClock { host: usize, by_ms: i64 },
    /// The network falls into groups: a node reaches those with which it shares a binary digit.
    Partition { groups: Vec<u8>, for_ms: u64 },
    /// The node's miners stop for some time.
    MinersFail { host: usize, for_ms: u64 },
    /// The bitcoind does not respond for some time, or is in initial download: then it responds about the headers that it
    /// knows, and does nothing else.
    BitcoindDown { bitcoind: usize, for_ms: u64, is_syncing: bool },
    /// The bitcoind stays so many blocks behind for some time.
    BitcoindLags { bitcoind: usize, blocks: usize, for_ms: u64 },
    /// Bitcoin leaves this many blocks for a longer branch.
    Reorganise { depth: u32 },
    /// Bitcoin forks with each of the next shares, at the same moment: half of the bitcoinds have one block first.
    ForkAtShares { count: u32 },
    /// Bitcoin's blocks come in this many times the mean interval from now on.
    BitcoinPace { interval: f64 },
    /// The node votes for another class of payout outputs from now on.
    Vote { host: usize, class: u8 },
    /// A connection of this node breaks.
    Disconnect { host: usize },
    /// A hostile peer, or a new node, joins now rather than at the start.
    Join { host: usize },
}

/// A miner's settings.
#[derive(Clone, Copy, Debug)]
pub struct MinerSettings {
    /// Hashes per second.
    pub hash_rate: f64,
    /// A new job is in use after at most this long; the time is drawn for each job.
    pub reaction_ms: u64,
}

/// A node's settings.
#[derive(Clone, Debug)]
pub struct HostSettings {
    /// Its miners.
    pub miners: Vec<MinerSettings>,
    /// Which bitcoind it uses.
    pub bitcoind: usize,
    /// Where it is: connections with one netgroup are limited.
    pub netgroup: u32,
    /// Whether others can connect to it.
    pub is_reachable: bool,
    /// By how much its clock is ahead at the start.
    pub clock_ahead_ms: i64,
    /// By how much its clock runs too fast, in parts per million.
    pub clock_drift_ppm: i64,
    /// Whether its bitcoind has the same clock, as one on the same machine. Otherwise that has the right one.
    pub is_bitcoinds_clock: bool,
    /// `None` for an honest node.
    pub manner: Option<Manner>,
    /// The newest version of the rules that it knows.
    pub rules_version_known: u8,
    /// The class of payout outputs that it votes for.
    pub outputs_vote: u8,
    /// Whether it runs from the start; otherwise a [`FaultKind::Join`] starts it.
    pub is_there: bool,
}

/// The connections between nodes.
#[derive(Clone, Copy, Debug)]
pub struct NetworkSettings {
    /// One-way latency of a connection, drawn between these.
    pub latency_ms: (f64, f64),
    /// Latency added to each message, drawn between zero and this: messages overtake each other.
    pub jitter_ms: f64,
    /// Bytes that a connection carries per second, each way.
    pub bytes_per_s: f64,
    /// Part of gossiped messages that get lost.
    pub loss: f64,
    /// Part of gossiped messages that come twice, the second time up to five minutes later.
    pub duplication: f64,
    /// Connections that a node opens.
    pub outbound: usize,
    /// Connections to which a node relays at once; the others are notified of what it has.
    pub mesh: usize,
}

/// Bitcoin's blocks.
#[derive(Clone, Copy, Debug)]
pub struct BitcoinSettings {
    /// Mean seconds between blocks that others find.
    pub interval_s: f64,
    /// Work of a block: the pool's share of it makes blocks of the pool rare or common.
    pub work: u128,
    /// A block reaches each bitcoind within this time.
    pub propagation_ms: f64,
    /// Part of block deliveries that take a minute more.
    pub late: f64,
    /// Number of bitcoinds.
    pub bitcoinds: usize,
    /// Transactions that are sent per second.
    pub transactions_per_s: f64,
    /// Part of the transactions that a bitcoind lacks, each of them others.
    pub transactions_lacking: f64,
}

/// A simulated pool.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub params: ChainParams,
    pub hosts: Vec<HostSettings>,
    pub network: NetworkSettings,
    pub bitcoin: BitcoinSettings,
    pub faults: Vec<Fault>,
    /// Nodes repeat what is unanswered this often; figures about mining need it less.
    pub tick_s: u32,
    /// How long miners mine and things go wrong.
    pub duration_ms: u64,
    /// How long it is quiet after that.
    pub quiet_ms: u64,
}

/// Hash rate at which a pool finds a share of some work in each period.
pub fn hash_rate_for(work: f64, period_s: u32) -> f64 {
    work / f64::from(period_s)
}

impl Scenario {
    /// Honest nodes with equal miners on good lines, no faults.
    pub fn calm(nodes: usize, share_period_s: u32, payout_window: u32, share_work: f64) -> Self {
        let params = ChainParams {
            share_period_s,
            payout_window,
            retarget_window: 36.min(payout_window),
            easiest_bits: Work(4.max(share_work as u128 / 8)).target().to_bits(),
            ..ChainParams::standard(Network::Regtest)
        };
        let hash_rate = hash_rate_for(share_work, share_period_s) / nodes as f64;
        let host = |number: usize| HostSettings {
            netgroup: number as u32 + 1,
            miners: vec![MinerSettings { hash_rate, reaction_ms: 1_000 }],
            bitcoind: 0,
            is_reachable: true,
            clock_ahead_ms: 0,
            clock_drift_ppm: 0,
            is_bitcoinds_clock: false,
            manner: None,
            rules_version_known: RULES_VERSION_FIRST,
            outputs_vote: 0,
            is_there: true,
        };
        Self {
            params,
            hosts: (0..nodes).map(host).collect(),
            network: NetworkSettings {
                latency_ms: (20.0, 100.0),
                jitter_ms: 5.0,
                bytes_per_s: 1_250_000.0,
                loss: 0.0,
                duplication: 0.0,
                outbound: 8,
                mesh: 8,
            },
            bitcoin: BitcoinSettings {
                interval_s: 20.0 * f64::from(share_period_s),
                work: (share_work * 200.0) as u128,
                propagation_ms: 500.0,
                late: 0.0,
                bitcoinds: 1,
                transactions_per_s: 0.0,
                transactions_lacking: 0.0,
            },
            faults: Vec::new(),
            tick_s: TICK_S,
            duration_ms: 3_600_000,
            quiet_ms: 600_000,
        }
    }

    /// A pool of 3 to 12 nodes of which everything is drawn from the seed.
    pub fn small(seed: u64) -> Self {
        let random = &mut Random::new(seed ^ 0x5ce0_a210);
        let nodes = 3 + random.below(10) as usize;
        let period_s = [5, 10, 30][random.below(3) as usize];
        let window = 60 + random.below(180) as u32;
        let work = random.between(16.0, 64.0);
        let mut scenario = Self::calm(nodes, period_s, window, work);
        if random.chance(0.4) {
            scenario.params.network = Network::Mainnet;
            scenario.params.work_cut_blocks = 2;
        }
        scenario.params.retarget_window = 12 + random.below(25) as u32;
        scenario.params.payout_outputs[0] = 8 + random.below(41) as u32;
        // A quarter of an hour to two hours.
        scenario.duration_ms = (random.between(120.0, 360.0) * f64::from(period_s) * 1_000.0) as u64;
        scenario.vary(random);
        scenario.add_hostile(random);
        scenario.add_faults(random);
        // From a generator of its own, so that the rest of a seed's pool stays.
        let mut clocks = Random::new(seed ^ 0xc10c_0000);
        scenario.hosts.iter_mut().for_each(|host| host.is_bitcoinds_clock = clocks.chance(0.5));
        scenario
    }

    /// A pool of more than a hundred nodes, with mainnet's periods.
    pub fn large(seed: u64) -> Self {
        let random = &mut Random::new(seed ^ 0x1a4_6e00);
        let nodes = 100 + random.below(30) as usize;
        let mut scenario = Self::calm(nodes, 30, 240, 64.0);
        scenario.duration_ms = 40 * 60_000;
        scenario.vary(random);
        scenario.network.outbound = 6;
        // Now and then nearly all nodes are behind NAT, and those that are not have no slots left.
        if random.chance(0.3) {
            scenario.hosts.iter_mut().skip(2).for_each(|host| host.is_reachable = false);
        }
        scenario.add_hostile(random);
        scenario.add_faults(random);
        scenario
    }

    fn vary(&mut self, random: &mut Random) {
        let network = &mut self.network;
        let slowest = [100.0, 400.0, 1_500.0][random.below(3) as usize];
        network.latency_ms = (10.0, slowest);
        network.jitter_ms = random.between(0.0, slowest);
        network.bytes_per_s = [60_000.0, 250_000.0, 1_250_000.0][random.below(3) as usize];
        network.loss = [0.0, 0.01, 0.1][random.below(3) as usize];
        network.duplication = [0.0, 0.05][random.below(2) as usize];
        let bitcoin = &mut self.bitcoin;
        bitcoin.bitcoinds = 1 + random.below(self.hosts.len() as u64) as usize;
        bitcoin.interval_s = f64::from(self.params.share_period_s) * random.between(4.0, 20.0);
        bitcoin.work = (bitcoin.work as f64 * random.between(0.1, 2.0)) as u128;
        bitcoin.propagation_ms = random.between(100.0, 5_000.0);
        bitcoin.late = [0.0, 0.05][random.below(2) as usize];
        bitcoin.transactions_per_s = [0.0, 5.0, 40.0][random.below(3) as usize] / bitcoin.interval_s;
        bitcoin.transactions_lacking = [0.0, 0.05, 0.5][random.below(3) as usize];
        let hash_rate: f64 = self.hosts.iter().flat_map(|host| &host.miners).map(|miner| miner.hash_rate).sum();
        let weights: Vec<f64> = self.hosts.iter().map(|_| random.unit().powi(2) + 0.01).collect();
        let sum: f64 = weights.iter().sum();
        let poor_clocks = random.chance(0.3);
        for (at, (host, weight)) in self.hosts.iter_mut().zip(weights).enumerate() {
            let miners = 1 + random.below(3) as usize;
            let reaction_ms = [500, 5_000, 30_000][random.below(3) as usize];
            host.miners =
                vec![MinerSettings { hash_rate: hash_rate * weight / sum / miners as f64, reaction_ms }; miners];
            host.bitcoind = random.below(bitcoin.bitcoinds as u64) as usize;
            host.is_reachable = at == 0 || random.chance(0.6);
            let spread_ms = if poor_clocks { 60_000.0 } else { 3_000.0 };
            host.clock_ahead_ms = random.between(-spread_ms, spread_ms) as i64;
            host.clock_drift_ppm = random.between(-100.0, 100.0) as i64;
        }
    }

    fn add_hostile(&mut self, random: &mut Random) {
        let count = random.below(3.min(self.hosts.len() as u64 / 3 + 1)) as usize;
        // All of them are in one place. Each seldom has several addresses there: floods by many take long to simulate.
        let copies = if random.chance(0.02) { 6 } else { 1 };
        let netgroup = self.hosts.len() as u32 + 1;
        for _ in 0..count {
            let manner = Manner::ALL[random.below(Manner::ALL.len() as u64) as usize];
            let host = HostSettings {
                netgroup,
                miners: Vec::new(),
                bitcoind: 0,
                is_reachable: true,
                clock_ahead_ms: 0,
                clock_drift_ppm: 0,
                is_bitcoinds_clock: false,
                manner: Some(manner),
                rules_version_known: RULES_VERSION_FIRST,
                outputs_vote: 0,
                is_there: true,
            };
            self.hosts.extend(std::iter::repeat_n(host, copies));
        }
    }

    fn add_faults(&mut self, random: &mut Random) {
        let honest: Vec<usize> = (0..self.hosts.len()).filter(|host| self.hosts[*host].manner.is_none()).collect();
        let end_ms = self.duration_ms as f64;
        let count = random.below(9);
        for _ in 0..count {
            // The last tenth is left for what lasts.
            let at_ms = random.between(0.05, 0.9) * end_ms;
            let for_ms = (random.unit().powi(2) * 0.3 * end_ms).min(0.95 * end_ms - at_ms).max(1_000.0) as u64;
            let host = random.pick(&honest).unwrap_or(0);
            let kind = match random.below(11) {
                0 | 1 => FaultKind::Crash { host, after_steps: random.below(8) as u32, down_ms: for_ms },
                2 => FaultKind::Restart { host, down_ms: for_ms },
                3 => FaultKind::DiskFull { host, for_ms },
                4 => FaultKind::SetClock { host, by_ms: random.between(-90_000.0, 90_000.0) as i64 },
                5 => {
                    let groups = self.hosts.iter().map(|_| 1 << random.below(2)).collect();
                    FaultKind::Partition { groups, for_ms }
                }
                6 => FaultKind::MinersFail { host, for_ms },
                7 => FaultKind::BitcoindDown {
                    bitcoind: random.below(self.bitcoin.bitcoinds as u64) as usize,
                    for_ms,
                    is_syncing: random.chance(0.3),
                },
                8 => FaultKind::Reorganise { depth: 1 + random.below(6) as u32 },
                9 => {
                    // Somebody notices after a while and sets it right.
                    let by_ms = random.pick(&CLOCK_JUMPS_MS).unwrap_or(0);
                    let right = FaultKind::SetClock { host, by_ms: -by_ms };
                    self.faults.push(Fault { at_ms: at_ms as u64 + for_ms, kind: right });
                    FaultKind::SetClock { host, by_ms }
                }
                _ => FaultKind::Disconnect { host },
            };
            self.faults.push(Fault { at_ms: at_ms as u64, kind });
        }
        // A newcomer.
        if random.chance(0.3) {
            let host = honest.last().copied().unwrap_or(0);
            self.hosts[host].is_there = host == 0;
            self.faults.push(Fault { at_ms: (0.5 * end_ms) as u64, kind: FaultKind::Join { host } });
        }
    }

    /// Target of Bitcoin blocks.
    pub fn block_bits(&self) -> Bits {
        Work(self.bitcoin.work.max(2)).target().to_bits()
    }
}
