//! The simulation: virtual time, one queue of what is to happen, one source of chance.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use ::bitcoin::consensus::deserialize;
use ::bitcoin::BlockHash;
use p2pool_core::node::{AnchorLookup, Event};
use p2pool_core::params::ChainParams;
use p2pool_core::peer::RequestId;
use p2pool_core::share::ShareId;
use p2pool_core::sharechain::AHEAD_MAX_S;
use p2pool_core::units::UnixTime;
use p2pool_core::work::{Job, WorkUpdate};

use crate::bitcoin::{is_valid, Bitcoin, Bitcoind};
use crate::host::{Host, START};
use crate::invariants::{Checks, PlantedBug};
use crate::miner::Miner;
use crate::network::{Connection, Payload};
use crate::random::Random;
use crate::scenario::{FaultKind, Scenario};

/// Invariants that need a look at all nodes are checked this often.
const CHECK_EVERY_MS: u64 = 5_000;
/// bitcoind gives a template this often although nothing changed.
const TEMPLATE_EVERY_MS: u64 = 60_000;
/// A node looks at its bitcoind's best chain this often.
const FOLLOW_EVERY_MS: u64 = 1_000;
/// Templates are withdrawn when bitcoind has not responded for this long.
const WITHDRAWN_MS: u64 = 60_000;
/// A found block that bitcoind has not taken is given to it again after this long.
const SUBMIT_AGAIN_MS: u64 = 5_000;

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
    LookUp { host: usize, boot: u32, hash: BlockHash },
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
    /// When the last partition ended.
    pub partitioned_ms: u64,
    pub bitcoin: Bitcoin,
    pub bitcoinds: Vec<Bitcoind>,
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
            bitcoin,
            bitcoinds,
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
            Action::EndPartition => self.end_partition(),
            Action::LookUp { host, boot, hash } => self.look_up(host, boot, hash),
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

    /// Mining ends, and everything that was broken works again.
    fn become_quiet(&mut self) {
        self.is_quiet = true;
        self.end_partition();
        self.miners.iter_mut().for_each(Miner::lose_work);
        for bitcoind in 0..self.bitcoinds.len() {
            if !self.bitcoinds[bitcoind].is_up() {
                self.bitcoinds[bitcoind].come_back(&self.bitcoin, self.now_ms);
                self.best_chain_changed(bitcoind);
            }
        }
        for host in 0..self.hosts.len() {
            self.hosts[host].store.is_full = false;
            if self.hosts[host].crash_after.take().is_none() && self.hosts[host].node.is_none() {
                self.start(host);
            }
        }
    }

    fn fault(&mut self, number: usize) {
        let now_ms = self.now_ms;
        let kind = self.scenario.faults[number].kind.clone();
        if self.is_traced {
            self.trace(0, &format!("fault: {kind:?}"));
        }
        match kind {
            FaultKind::Crash { host, after_steps, down_ms } => {
                self.hosts[host].crash_after = Some((after_steps, down_ms))
            }
            FaultKind::Restart { host, down_ms } => {
                self.stop(host, true);
                self.schedule(now_ms + down_ms, Action::Start { host });
            }
            FaultKind::DiskFull { host, for_ms } => {
                self.hosts[host].store.is_full = true;
                self.schedule(now_ms + for_ms, Action::DiskFree { host });
            }
            FaultKind::SetClock { host, by_ms } => self.hosts[host].clock_set_ms += by_ms,
            FaultKind::Partition { groups, for_ms } => {
                self.begin_partition(groups);
                self.schedule(now_ms + for_ms, Action::EndPartition);
            }
            FaultKind::MinersFail { host, for_ms } => {
                self.set_miners_down(host, true);
                self.schedule(now_ms + for_ms, Action::MinersUp { host });
            }
            FaultKind::BitcoindDown { bitcoind, for_ms, is_syncing } => {
                self.bitcoinds[bitcoind].is_syncing = is_syncing;
                self.bitcoinds[bitcoind].down_since_ms = Some(now_ms);
                self.best_chain_changed(bitcoind);
                self.schedule(now_ms + WITHDRAWN_MS, Action::TemplatesOver { bitcoind });
                self.schedule(now_ms + for_ms, Action::BitcoindUp { bitcoind });
            }
            FaultKind::Reorganise { depth } => self.reorganise(depth),
            FaultKind::Disconnect { host } => {
                let connections: Vec<usize> = self.hosts[host].peers.connections.values().copied().collect();
                if let Some(connection) = self.random.pick(&connections) {
                    self.disconnect(connection);
                }
            }
            FaultKind::Join { host } => self.start(host),
        }
    }

    // Bitcoin.

    /// The true time of day.
    pub fn time(&self) -> UnixTime {
        START.plus((self.now_ms / 1_000) as u32)
    }

    fn schedule_bitcoin_block(&mut self) {
        let wait_s = self.random.exponential(1.0 / self.scenario.bitcoin.interval_s);
        self.schedule(self.now_ms + 1 + (wait_s * 1_000.0) as u64, Action::BitcoinBlock);
    }

    /// Somebody else's block, on what one of the bitcoinds has: forks come by themselves.
    fn others_find_block(&mut self) {
        if self.is_quiet {
            return;
        }
        let bitcoind = self.random.below(self.bitcoinds.len() as u64) as usize;
        let parent = match self.bitcoinds[bitcoind].is_up() {
            true => self.bitcoinds[bitcoind].tip,
            false => self.best_block(),
        };
        let time = self.time();
        let merkle_root = self.random.bytes();
        let block = self.bitcoin.add_other(parent, time, merkle_root);
        self.spread_block(block);
        self.schedule_bitcoin_block();
    }

    fn best_block(&self) -> BlockHash {
        let tips = self.bitcoinds.iter().map(|bitcoind| bitcoind.tip);
        tips.max_by_key(|tip| self.bitcoin.height(tip)).expect("there is a bitcoind")
    }

    /// A block travels to every bitcoind.
    fn spread_block(&mut self, block: BlockHash) {
        let settings = self.scenario.bitcoin;
        for bitcoind in 0..self.bitcoinds.len() {
            let late_ms = if self.random.chance(settings.late) { 60_000 } else { 0 };
            let at_ms = self.now_ms + 1 + (self.random.unit() * settings.propagation_ms) as u64 + late_ms;
            self.schedule(at_ms, Action::BlockArrives { bitcoind, block });
        }
    }

    /// Bitcoin leaves its last blocks for a branch that is one longer.
    fn reorganise(&mut self, depth: u32) {
        let mut at = self.bitcoin.ancestor(self.best_block(), depth);
        for _ in 0..=depth {
            let time = self.time();
            let merkle_root = self.random.bytes();
            at = self.bitcoin.add_other(at, time, merkle_root);
        }
        self.spread_block(at);
    }

    fn block_arrives(&mut self, bitcoind: usize, block: BlockHash) {
        if self.bitcoinds[bitcoind].take(&self.bitcoin, block) {
            self.best_chain_changed(bitcoind);
        }
    }

    /// All nodes of a bitcoind get its template at once, and look at its best chain within a second.
    fn best_chain_changed(&mut self, bitcoind: usize) {
        self.templates(bitcoind);
        for host in 0..self.hosts.len() {
            if self.hosts[host].settings.bitcoind == bitcoind {
                let boot = self.hosts[host].boot;
                let at_ms = self.now_ms + 1 + self.random.below(FOLLOW_EVERY_MS);
                self.schedule(at_ms, Action::Follow { host, boot });
            }
        }
    }

    /// A node's look at its bitcoind's best chain.
    fn follow(&mut self, host: usize, boot: u32) {
        let machine = &self.hosts[host];
        if machine.boot != boot || machine.node.is_none() {
            return;
        }
        let bitcoind = &self.bitcoinds[machine.settings.bitcoind];
        let Some(is_settled) = bitcoind.is_settled() else { return };
        let best = Some((bitcoind.tip, is_settled));
        if machine.best != best {
            let before = machine.best.map(|(tip, _)| tip);
            let report = self.bitcoin.report(before, bitcoind.tip, is_settled);
            self.hosts[host].best = best;
            self.push(host, Event::BestChain(report));
        }
    }

    /// All nodes of a bitcoind get its template.
    fn templates(&mut self, bitcoind: usize) {
        for host in 0..self.hosts.len() {
            if self.hosts[host].settings.bitcoind == bitcoind {
                let boot = self.hosts[host].boot;
                self.template(host, boot, false);
            }
        }
    }

    fn template(&mut self, host: usize, boot: u32, again: bool) {
        let machine = &self.hosts[host];
        if machine.boot != boot || machine.node.is_none() {
            return;
        }
        if again {
            self.schedule(self.now_ms + TEMPLATE_EVERY_MS, Action::Template { host, boot });
        }
        let number = self.hosts[host].settings.bitcoind;
        let (bitcoind, now) = (&self.bitcoinds[number], self.time());
        if bitcoind.is_up() {
            let fees = self.random.below(10_000_000);
            let template = self.bitcoin.template(number, &bitcoind.tip, now, fees);
            self.push(host, Event::Template(Arc::new(template)));
        }
    }

    fn templates_over(&mut self, bitcoind: usize) {
        let is_over = |since: u64| self.now_ms - since >= WITHDRAWN_MS;
        if !self.bitcoinds[bitcoind].down_since_ms.is_some_and(is_over) {
            return;
        }
        for host in 0..self.hosts.len() {
            if self.hosts[host].settings.bitcoind == bitcoind {
                self.push(host, Event::TemplateWithdrawn);
            }
        }
    }

    fn look_up(&mut self, host: usize, boot: u32, hash: BlockHash) {
        self.follow(host, boot);
        if self.hosts[host].boot == boot {
            let bitcoind = &self.bitcoinds[self.hosts[host].settings.bitcoind];
            let result = bitcoind.look_up(&self.bitcoin, &hash);
            self.push(host, Event::Anchor(AnchorLookup { hash, result }));
        }
    }

    /// A found block goes to disk, and from there to bitcoind until that has it.
    pub fn keep_block(&mut self, host: usize, block: Vec<u8>) {
        if self.planted == Some(PlantedBug::LoseBlocks) {
            return;
        }
        self.hosts[host].blocks.push(block);
        self.submit_all(host);
    }

    fn submit_blocks(&mut self, host: usize, boot: u32) {
        if self.hosts[host].boot != boot || self.hosts[host].node.is_none() {
            return;
        }
        self.submit_all(host);
        self.schedule(self.now_ms + SUBMIT_AGAIN_MS, Action::SubmitBlocks { host, boot });
    }

    fn submit_all(&mut self, host: usize) {
        let bitcoind = self.hosts[host].settings.bitcoind;
        if !self.bitcoinds[bitcoind].is_up() {
            return;
        }
        for bytes in std::mem::take(&mut self.hosts[host].blocks) {
            let block: ::bitcoin::Block = deserialize(&bytes).expect("a found block can be read");
            // One whose parent it lacks is rejected for good, as by the real one.
            if self.bitcoinds[bitcoind].has(&block.header.prev_blockhash) && is_valid(&block, self.time()) {
                let is_new = self.bitcoin.get(&block.block_hash()).is_none();
                let hash = self.bitcoin.add(block.header);
                self.block_arrives(bitcoind, hash);
                if is_new {
                    self.spread_block(hash);
                }
            }
        }
    }

    // Mining.

    /// A node's miners hear of its work.
    pub fn miners_get_work(&mut self, host: usize) {
        if self.is_quiet {
            return;
        }
        let job = match &self.hosts[host].work {
            Some(WorkUpdate::Job(job)) => Some(Arc::clone(job)),
            _ => None,
        };
        for at in 0..self.hosts[host].miners.len() {
            let miner = self.hosts[host].miners[at];
            let reaction_ms = self.miners[miner].reaction_ms;
            let at_ms = self.now_ms + 1 + self.random.below(reaction_ms + 1);
            let life = self.miners[miner].life;
            self.schedule(at_ms, Action::PickUp { miner, life, job: job.clone() });
        }
    }

    /// A node's miners lose their connection to it.
    pub fn miners_lose_work(&mut self, host: usize) {
        for at in 0..self.hosts[host].miners.len() {
            let miner = self.hosts[host].miners[at];
            self.miners[miner].lose_work();
        }
    }

    fn set_miners_down(&mut self, host: usize, is_down: bool) {
        self.miners_lose_work(host);
        for at in 0..self.hosts[host].miners.len() {
            let miner = self.hosts[host].miners[at];
            self.miners[miner].is_down = is_down;
        }
        if !is_down {
            self.miners_get_work(host);
        }
    }

    fn pick_up(&mut self, miner: usize, life: u64, job: Option<Arc<Job>>) {
        let machine = &mut self.miners[miner];
        // A newer job may have overtaken it on its way.
        let is_old = match (&machine.job, &job) {
            (Some(old), Some(new)) => new.id <= old.id,
            _ => false,
        };
        if machine.is_down || is_old || machine.life != life {
            return;
        }
        machine.job = job;
        machine.generation += 1;
        self.schedule_find(miner);
    }

    fn schedule_find(&mut self, miner: usize) {
        let rate = self.miners[miner].rate();
        if rate <= 0.0 || self.is_quiet {
            return;
        }
        let wait_ms = self.random.exponential(rate) * 1_000.0;
        // What comes later than any job lasts is drawn again with the next job.
        if wait_ms < 3_600_000.0 {
            let generation = self.miners[miner].generation;
            self.schedule(self.now_ms + 1 + wait_ms as u64, Action::Find { miner, generation });
        }
    }

    fn find(&mut self, miner: usize, generation: u64) {
        if self.miners[miner].generation != generation {
            return;
        }
        let Some(mut found) = self.miners[miner].find() else { return };
        let host = self.miners[miner].host;
        self.schedule_find(miner);
        if self.hosts[host].node.is_none() {
            return;
        }
        let job = Arc::clone(&found.job);
        if job.block_target.is_met_by(&found.hash) && self.keeps_blocks(host) {
            let block = job.unchecked_block(&found.header, &found.extranonce);
            if is_valid(&deserialize(&block).expect("a found block can be read"), self.time()) {
                self.block_found(host, found.hash);
            }
            if self.planted != Some(PlantedBug::LoseBlocks) {
                self.push(host, Event::BlockFound { height: job.template.height, block: block.clone() });
            }
            self.keep_block(host, block);
        }
        // Shares on an old Bitcoin block are stale.
        let is_stale = match &self.hosts[host].work {
            Some(WorkUpdate::Job(current)) => current.template.prev_block != job.template.prev_block,
            _ => true,
        };
        if is_stale {
            self.checks.stale_submits += 1;
            return;
        }
        let job_ms = self.hosts[host].jobs_ms.get(&job.id).copied().unwrap_or(0);
        self.checks.share_found(ShareId(found.hash), host, &job, job_ms, self.now_ms);
        let due_s = job.time.since(START.plus(AHEAD_MAX_S));
        self.checks.last_due_ms = self.checks.last_due_ms.max(u64::from(due_s) * 1_000);
        if self.planted == Some(PlantedBug::SpoilOwnShares) {
            found.extranonce[11] ^= 1;
        }
        self.push(host, Event::ShareFound(found));
    }
}
