//! The simulation: virtual time, one queue of what is to happen, one source of chance.

mod blocks;
mod faults;
mod mining;

pub use blocks::TEMPLATE_EVERY_MS;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use ::bitcoin::BlockHash;
use p2pool_core::node::BlockLookup;
use p2pool_core::params::ChainParams;
use p2pool_core::peer::RequestId;
use p2pool_core::work::Job;

use crate::bitcoin::{Bitcoin, Bitcoind};
use crate::host::Host;
use crate::invariants::{Checks, PlantedBug};
use crate::miner::Miner;
use crate::network::{Connection, Payload};
use crate::random::Random;
use crate::scenario::Scenario;

/// Invariants that need a look at all nodes are checked this often.
const CHECK_EVERY_MS: u64 = 5_000;
/// Templates are withdrawn when bitcoind has not responded for this long.
const WITHDRAWN_MS: u64 = 60_000;

/// Something that happens at a moment.
pub enum Action {
    Wake { host: usize, boot: u32 },
    Start { host: usize },
    Dial { host: usize, boot: u32 },
    Deliver { connection: usize, end: usize, payload: Payload },
    SendLate { connection: usize, host: usize, payload: Payload },
    RequestTimeout { connection: usize, host: usize, id: RequestId },
    LeaveSlot { connection: usize },
    BreakAcross,
    EndPartition,
    LookUp { host: usize, boot: u32, lookup: BlockLookup },
    Follow { host: usize, boot: u32 },
    Template { host: usize, boot: u32 },
    SubmitBlocks { host: usize, boot: u32 },
    BitcoinBlock,
    BlockArrives { bitcoind: usize, block: BlockHash },
    BitcoindUp { bitcoind: usize },
    TemplatesOver { bitcoind: usize },
    PickUp { miner: usize, life: u64, job: Option<Arc<Job>> },
    Find { miner: usize, generation: u64 },
    MinersUp { host: usize },
    DiskFree { host: usize },
    Fault { number: usize },
    Attack { host: usize, boot: u32 },
    Quiet,
    Check,
}

struct Scheduled {
    at_ms: u64,
    number: u64,
    action: Action,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_ms, self.number).cmp(&(other.at_ms, other.number))
    }
}

/// A simulated pool.
pub struct Simulation {
    /// Milliseconds since the start.
    pub now_ms: u64,
    queue: BinaryHeap<Reverse<Scheduled>>,
    scheduled: u64,
    pub random: Random,
    pub scenario: Scenario,
    pub params: Arc<ChainParams>,
    pub hosts: Vec<Host>,
    pub connections: Vec<Connection>,
    /// Which nodes reach each other; all while this is `None`.
    pub groups: Option<Vec<u8>>,
    /// When the last partition ended, and when it was to end.
    pub partitioned_ms: u64,
    pub partition_ends_ms: u64,
    pub bitcoin: Bitcoin,
    pub bitcoinds: Vec<Bitcoind>,
    /// The mean interval of Bitcoin's blocks now, over the scenario's.
    pub pace: f64,
    /// Shares left with which Bitcoin forks.
    pub forks_left: u32,
    pub miners: Vec<Miner>,
    /// Whether mining and faults are over.
    pub is_quiet: bool,
    pub checks: Checks,
    /// A deliberate bug, to see that it is found.
    pub planted: Option<PlantedBug>,
    /// Whether what happens is printed.
    pub is_traced: bool,
    fingerprint: u64,
    /// Actions that have happened.
    pub steps: u64,
}

impl Simulation {
    /// A pool at its start. Everything that happens follows from the scenario and the seed.
    pub fn new(seed: u64, scenario: Scenario) -> Self {
        let bits = scenario.block_bits();
        let (bitcoin, tip) = Bitcoin::new(scenario.params.network, bits, scenario.bitcoin);
        let bitcoinds = (0..scenario.bitcoin.bitcoinds).map(|_| Bitcoind::new(&bitcoin, tip)).collect();
        let hosts: Vec<Host> =
            scenario.hosts.iter().enumerate().map(|(number, host)| Host::new(number, host.clone())).collect();
        let mut simulation = Self {
            now_ms: 0,
            queue: BinaryHeap::new(),
            scheduled: 0,
            random: Random::new(seed),
            params: Arc::new(scenario.params.clone()),
            checks: Checks::new(&scenario),
            connections: Vec::new(),
            groups: None,
            partitioned_ms: 0,
            partition_ends_ms: 0,
            bitcoin,
            bitcoinds,
            pace: 1.0,
            forks_left: 0,
            miners: Vec::new(),
            hosts,
            is_quiet: false,
            planted: None,
            is_traced: false,
            fingerprint: seed,
            steps: 0,
            scenario,
        };
        simulation.prepare();
        simulation
    }

    fn prepare(&mut self) {
        for host in 0..self.hosts.len() {
            for settings in self.hosts[host].settings.miners.clone() {
                let number = self.miners.len();
                self.miners.push(Miner::new(number as u32, host, settings.hash_rate, settings.reaction_ms));
                self.hosts[host].miners.push(number);
            }
            if self.hosts[host].settings.is_there {
                let at_ms = self.random.below(2_000);
                self.schedule(at_ms, Action::Start { host });
            }
        }
        for number in 0..self.scenario.faults.len() {
            self.schedule(self.scenario.faults[number].at_ms, Action::Fault { number });
        }
        self.schedule_bitcoin_block();
        self.schedule(self.scenario.duration_ms, Action::Quiet);
        self.schedule(CHECK_EVERY_MS, Action::Check);
    }

    /// Runs to the end of the scenario and checks what holds then.
    pub fn run(&mut self) -> &Checks {
        let end_ms = self.scenario.duration_ms + self.scenario.quiet_ms;
        self.run_until(end_ms);
        // Shares that were found while a clock was hours ahead may be due only later, and nodes apart until then.
        let due_ms = self.checks.last_due_ms.saturating_add(self.scenario.quiet_ms);
        if due_ms > end_ms && !self.is_converged() {
            self.run_until(due_ms);
        }
        self.check_end();
        &self.checks
    }

    /// Runs until a moment.
    pub fn run_until(&mut self, until_ms: u64) {
        while self.queue.peek().is_some_and(|Reverse(next)| next.at_ms <= until_ms) {
            let Some(Reverse(next)) = self.queue.pop() else { break };
            self.now_ms = next.at_ms;
            self.steps += 1;
            self.happen(next.action);
        }
        self.now_ms = until_ms;
    }

    /// Has something happen at a moment.
    pub fn schedule(&mut self, at_ms: u64, action: Action) {
        self.scheduled += 1;
        self.queue.push(Reverse(Scheduled { at_ms, number: self.scheduled, action }));
    }

    /// Has something happen after some time and up to `spread_ms` more.
    pub fn schedule_about(&mut self, at_ms: u64, spread_ms: u64, action: Action) {
        let at_ms = at_ms + self.random.below(spread_ms);
        self.schedule(at_ms, action);
    }

    /// Mixes something that happened into the run's fingerprint.
    pub fn fingerprint(&mut self, value: u64) {
        self.fingerprint = Random::new(self.fingerprint ^ value ^ self.now_ms.rotate_left(32)).bits();
    }

    /// What identifies everything that happened: equal for two runs of one seed.
    pub const fn fingerprint_so_far(&self) -> u64 {
        self.fingerprint
    }

    /// Prints what happened.
    pub fn trace(&self, host: usize, what: &str) {
        println!("{:>10.3} s  node {host:>3}  {what}", self.now_ms as f64 / 1_000.0);
    }

    fn happen(&mut self, action: Action) {
        match action {
            Action::Wake { host, boot } => self.wake_due(host, boot),
            Action::Start { host } => self.start(host),
            Action::Dial { host, boot } => self.dial(host, boot),
            Action::Deliver { connection, end, payload } => self.deliver(connection, end, payload),
            Action::SendLate { connection, host, payload } => self.send_late(connection, host, payload),
            Action::RequestTimeout { connection, host, id } => self.request_timeout(connection, host, id),
            Action::LeaveSlot { connection } => self.leave_slot(connection),
            Action::BreakAcross => self.break_across(),
            Action::EndPartition => self.partition_is_over(),
            Action::LookUp { host, boot, lookup } => self.look_up(host, boot, lookup),
            Action::Follow { host, boot } => self.follow(host, boot),
            Action::Template { host, boot } => self.template(host, boot, true),
            Action::SubmitBlocks { host, boot } => self.submit_blocks(host, boot),
            Action::BitcoinBlock => self.others_find_block(),
            Action::BlockArrives { bitcoind, block } => self.block_arrives(bitcoind, block),
            Action::BitcoindUp { bitcoind } => {
                self.bitcoinds[bitcoind].come_back(&self.bitcoin, self.now_ms);
                self.best_chain_changed(bitcoind);
            }
            Action::TemplatesOver { bitcoind } => self.templates_over(bitcoind),
            Action::PickUp { miner, life, job } => self.pick_up(miner, life, job),
            Action::Find { miner, generation } => self.find(miner, generation),
            Action::MinersUp { host } => self.set_miners_down(host, false),
            Action::DiskFree { host } => self.hosts[host].store.is_full = false,
            Action::Fault { number } => self.fault(number),
            Action::Attack { host, boot } => self.attack(host, boot),
            Action::Quiet => self.become_quiet(),
            Action::Check => {
                self.check_now();
                for host in 0..self.hosts.len() {
                    self.forget_gossip(host);
                }
                self.schedule(self.now_ms + CHECK_EVERY_MS, Action::Check);
            }
        }
    }
}
