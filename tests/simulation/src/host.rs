//! A machine with a node on it: the driver of the real [`Node`], its clocks, its disk, and what it gives its miners.
//!
//! One turn is the chain thread's (`threads/chain/src/thread.rs`): step the events that have arrived, advance, commit
//! the changes, report the outcome, perform the effects in order. The process may end between any two of these.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use ::bitcoin::BlockHash;
use p2pool_core::config::Config;
use p2pool_core::node::{Effect, Event, Node, Now, Report};
use p2pool_core::params::ChainParams;
use p2pool_core::share::{PayoutScript, ShareId};
use p2pool_core::sharechain::AHEAD_MAX_S;
use p2pool_core::units::{SteadyTime, UnixTime, Work};
use p2pool_core::work::{make_job, Finder, Job, JobId, NextShare, WorkUpdate};

use crate::engine::{Action, Simulation, TEMPLATE_EVERY_MS};
use crate::hostile::Actor;
use crate::invariants::{Invariant, PlantedBug};
use crate::network::Peers;
use crate::scenario::HostSettings;
use crate::store::Store;

/// Events stepped before their effects are performed.
const EVENTS_PER_TURN_MAX: usize = 256;
/// A node takes up to this long to look at its inbox.
const REACTION_MS: u64 = 4;
/// Time of day when the simulation starts.
pub const START: UnixTime = UnixTime(1_700_000_000);
/// Nodes judge clocks to the second, and not at once.
const CLOCK_MARGIN_S: u64 = 10;
/// Jobs whose time of making is remembered.
const JOBS_REMEMBERED: usize = 2_000;

/// A machine.
pub struct Host {
    pub settings: HostSettings,
    /// `None` while its process does not run.
    pub node: Option<Node>,
    /// Counts its processes.
    pub boot: u32,
    started_ms: u64,
    pub inbox: VecDeque<Event>,
    wake_ms: u64,
    pub store: Store,
    /// By how much its clock was set since the start, and when that was last.
    pub clock_set_ms: i64,
    pub clock_changed_ms: u64,
    pub peers: Peers,
    /// Where its miners are paid.
    pub script: PayoutScript,
    /// Its miners, by number.
    pub miners: Vec<usize>,
    /// What its miners were last given, and since when that has not been a job.
    pub work: Option<WorkUpdate>,
    pub idle_since_ms: Option<u64>,
    /// When its miners last got a job.
    pub job_ms: Option<u64>,
    /// Since when it should have jobs.
    pub work_due_ms: Option<u64>,
    /// When its jobs were made.
    pub jobs_ms: BTreeMap<JobId, u64>,
    /// Its process ends after this many more steps of the driver, and starts again after some milliseconds.
    pub crash_after: Option<(u32, u64)>,
    /// Found blocks that its bitcoind does not have yet: on disk, so they survive a crash.
    pub blocks: Vec<Vec<u8>>,
    /// What was last reported to it of its bitcoind: the tip, and whether it had caught up.
    pub best: Option<(BlockHash, bool)>,
    /// What a hostile node does besides.
    pub actor: Option<Actor>,
    /// The most effects of one turn.
    pub effects_max: usize,
}

impl Host {
    /// A machine whose node does not run yet.
    pub fn new(number: usize, settings: HostSettings) -> Self {
        let actor = settings.manner.map(|_| Actor::default());
        Self {
            settings,
            node: None,
            boot: 0,
            best: None,
            started_ms: 0,
            inbox: VecDeque::new(),
            wake_ms: u64::MAX,
            store: Store::default(),
            clock_set_ms: 0,
            clock_changed_ms: 0,
            peers: Peers::default(),
            script: script(number),
            miners: Vec::new(),
            work: None,
            idle_since_ms: None,
            job_ms: None,
            work_due_ms: None,
            jobs_ms: BTreeMap::new(),
            crash_after: None,
            blocks: Vec::new(),
            actor,
            effects_max: 0,
        }
    }

    /// Whether it follows the rules.
    pub const fn is_honest(&self) -> bool {
        self.settings.manner.is_none()
    }

    /// Both clocks of its process.
    pub fn now(&self, now_ms: u64) -> Now {
        let drift_ms = now_ms as i64 / 1_000 * self.settings.clock_drift_ppm / 1_000;
        let ahead_ms = self.settings.clock_ahead_ms + self.clock_set_ms + drift_ms;
        let time_ms = i64::from(START.0) * 1_000 + now_ms as i64 + ahead_ms;
        Now { steady: self.steady(now_ms), time: UnixTime((time_ms / 1_000) as u32) }
    }

    /// Whether its clock has been as right as nodes ask for since its bitcoind gave a template.
    pub fn has_right_clock(&self, now_ms: u64) -> bool {
        let right = i64::from(START.0) + now_ms as i64 / 1_000;
        let ahead_s = i64::from(self.now(now_ms).time.0) - right;
        // Until then the two clocks of one machine are not known to agree.
        let is_known = !self.settings.is_bitcoinds_clock || now_ms > self.clock_changed_ms + TEMPLATE_EVERY_MS;
        ahead_s.unsigned_abs() < u64::from(AHEAD_MAX_S) - CLOCK_MARGIN_S && is_known
    }

    const fn steady(&self, now_ms: u64) -> SteadyTime {
        SteadyTime::from_ms(now_ms - self.started_ms)
    }

    /// When its process started, if it runs.
    pub fn up_since_ms(&self) -> Option<u64> {
        self.node.as_ref().map(|_| self.started_ms)
    }

    /// Whether it follows the newest rules that the chain has.
    pub fn is_updated(&self, params: &ChainParams) -> bool {
        params.activations.iter().all(|activation| activation.version <= self.settings.rules_version_known)
    }

    /// The tip of its node.
    pub fn tip(&self) -> Option<ShareId> {
        self.node.as_ref()?.tree().tip().map(|tip| tip.id)
    }
}

/// The script of a node's miners.
pub fn script(number: usize) -> PayoutScript {
    let mut bytes = [0; 22];
    bytes[1] = 20;
    // Scattered, so that the order of scripts says nothing of the order of nodes.
    bytes[2..6].copy_from_slice(&(number as u32).wrapping_mul(0x9e37_79b1).to_be_bytes());
    bytes[6..10].copy_from_slice(&(number as u32).to_be_bytes());
    PayoutScript::new(&bytes).expect("P2WPKH")
}

/// The same job with other facts.
fn with_facts(job: &Job, params: &ChainParams, edit: impl FnOnce(&mut NextShare)) -> Job {
    let own = job.share_target.work().unwrap_or(Work::ZERO);
    let mut facts = NextShare {
        rules_version: job.info.rules_version,
        parent: job.info.parent,
        uncles: job.info.uncles.clone(),
        share_height: job.info.share_height,
        parent_work: Work(job.info.chain_work.0 - own.0),
        share_bits: job.info.share_bits,
        base_bits: job.info.base_bits,
        outputs_class: job.info.outputs_class,
        finder: Finder {
            payout_script: job.info.payout_script,
            coinbase_tag: job.info.coinbase_tag.clone(),
            signal: job.info.signal,
            outputs_vote: job.info.outputs_vote,
        },
        min_time: job.min_time,
    };
    edit(&mut facts);
    make_job(job.id, params, &job.template, &facts, job.time, |_| job.payouts.to_vec()).expect("the job could be made")
}

impl Simulation {
    /// Starts a node from its store.
    pub fn start(&mut self, host: usize) {
        let now_ms = self.now_ms;
        let machine = &mut self.hosts[host];
        let rules_version_known = machine.settings.rules_version_known;
        let params = Arc::new(ChainParams { rules_version_known, ..(*self.params).clone() });
        if machine.node.is_some() {
            return;
        }
        machine.boot += 1;
        machine.started_ms = now_ms;
        machine.inbox.clear();
        machine.peers = machine.peers.after_restart();
        machine.work = None;
        machine.idle_since_ms = None;
        machine.job_ms = None;
        machine.work_due_ms = None;
        // Where the clock was set back, numbers of jobs come again.
        machine.jobs_ms.clear();
        machine.wake_ms = u64::MAX;
        let config = Config { payout_script: machine.script, ..Config::for_tests((*params).clone(), "") };
        let tree = machine.store.load(&params);
        let mut node = Node::new(&config, true, tree, machine.now(now_ms));
        node.tick_s = self.scenario.tick_s;
        machine.node = Some(node);
        self.checks.started(host, &self.hosts[host], now_ms);
        let boot = self.hosts[host].boot;
        self.schedule_about(now_ms, 1_000, Action::Dial { host, boot });
        self.hosts[host].best = None;
        self.schedule_about(now_ms, 300, Action::Follow { host, boot });
        self.schedule_about(now_ms + 200, 300, Action::Template { host, boot });
        self.schedule(now_ms + 1_000, Action::SubmitBlocks { host, boot });
        if self.hosts[host].actor.is_some() {
            self.schedule(now_ms + 5_000, Action::Attack { host, boot });
        }
        self.wake(host, now_ms);
    }

    /// Ends a node's process. An orderly stop commits what waits.
    pub fn stop(&mut self, host: usize, in_order: bool) {
        let machine = &mut self.hosts[host];
        let Some(node) = machine.node.take() else { return };
        if in_order {
            // A disk that refuses loses them; the real process says so.
            if machine.store.commit(node.backlog()).is_ok() {
                self.checks.acknowledged(host, node.backlog());
            }
        }
        machine.inbox.clear();
        machine.crash_after = None;
        machine.work = None;
        self.checks.stopped(host, &self.hosts[host]);
        self.disconnect_all(host);
        self.miners_lose_work(host);
    }

    /// Gives a node an event, which it looks at soon.
    pub fn push(&mut self, host: usize, event: Event) {
        if self.hosts[host].node.is_none() {
            return;
        }
        self.hosts[host].inbox.push_back(event);
        let at_ms = self.now_ms + self.random.below(REACTION_MS + 1);
        self.wake(host, at_ms);
    }

    /// Has a node take a turn at a time, if it takes none before.
    fn wake(&mut self, host: usize, at_ms: u64) {
        let machine = &mut self.hosts[host];
        if at_ms < machine.wake_ms {
            machine.wake_ms = at_ms;
            let boot = machine.boot;
            self.schedule(at_ms, Action::Wake { host, boot });
        }
    }

    /// A node's turn, if it is due.
    pub fn wake_due(&mut self, host: usize, boot: u32) {
        let machine = &mut self.hosts[host];
        if machine.boot != boot || machine.wake_ms != self.now_ms || machine.node.is_none() {
            return;
        }
        machine.wake_ms = u64::MAX;
        self.turn(host);
        let now_ms = self.now_ms;
        let machine = &self.hosts[host];
        let Some(node) = &machine.node else { return };
        let next_ms = match machine.inbox.is_empty() {
            true => machine.started_ms.saturating_add(node.wake_at().as_ms()).max(now_ms + 1),
            false => now_ms,
        };
        self.wake(host, next_ms);
    }

    fn turn(&mut self, host: usize) {
        let now_ms = self.now_ms;
        let machine = &mut self.hosts[host];
        let now = machine.now(now_ms);
        let Some(node) = machine.node.as_mut() else { return };
        let count = match self.planted {
            Some(PlantedBug::RepeatGossip) => machine.inbox.len(),
            _ => machine.inbox.len().min(EVENTS_PER_TURN_MAX),
        };
        for event in machine.inbox.drain(..count) {
            node.step(event, now);
        }
        node.advance(now);
        if self.crashes(host) {
            return;
        }
        let machine = &mut self.hosts[host];
        let Some(node) = machine.node.as_mut() else { return };
        if let Some(changes) = node.changes(now.steady) {
            self.checks.linked(host, changes, now_ms);
            let result = match self.planted {
                Some(PlantedBug::DropCommits) => Ok(()),
                _ => machine.store.commit(changes),
            };
            if result.is_ok() {
                self.checks.acknowledged(host, changes);
            }
            node.committed(result, now.steady);
        }
        let effects = node.take_effects();
        machine.effects_max = machine.effects_max.max(effects.len());
        self.checks.turn(host, effects.len(), now_ms);
        for effect in effects {
            if self.crashes(host) {
                return;
            }
            self.perform(host, effect);
        }
        if self.hosts[host].actor.is_some() {
            self.be_selfish(host);
        }
    }

    /// Whether the process ends at this step of its driver.
    fn crashes(&mut self, host: usize) -> bool {
        match self.hosts[host].crash_after {
            None => false,
            Some((0, down_ms)) => {
                self.crash(host, down_ms);
                true
            }
            Some((steps, down_ms)) => {
                self.hosts[host].crash_after = Some((steps - 1, down_ms));
                false
            }
        }
    }

    /// Ends a process at once and starts it again later.
    pub fn crash(&mut self, host: usize, down_ms: u64) {
        if self.is_traced {
            self.trace(host, "crashes");
        }
        self.stop(host, false);
        self.schedule(self.now_ms + down_ms.max(1), Action::Start { host });
    }

    fn perform(&mut self, host: usize, effect: Effect) {
        match effect {
            Effect::Network(command) => self.network_command(host, command),
            Effect::LookUp(lookup) => {
                let boot = self.hosts[host].boot;
                let at_ms = self.now_ms + 1 + self.random.below(10);
                self.schedule(at_ms, Action::LookUp { host, boot, lookup });
            }
            Effect::SubmitBlock(block) => self.keep_block(host, block.block),
            Effect::Work(update) => self.give_work(host, update),
            Effect::Report(report) => self.on_report(host, &report),
        }
    }

    fn on_report(&mut self, host: usize, report: &Report) {
        match report {
            Report::OwnShareRejected { .. } if self.hosts[host].is_honest() => {
                self.checks.violated(Invariant::OwnShareValid, self.now_ms, format!("node {host}: {report}"));
            }
            Report::OwnShareLost(_) => self.checks.own_shares_lost += 1,
            Report::SharesEarly { .. } => self.checks.early(host, &self.hosts[host]),
            Report::BlockReassembled { id, .. } => self.checks.reassembled(host, *id),
            Report::NewTip(id) => {
                let prefix: [u8; 8] = std::array::from_fn(|at| id.0[at]);
                self.fingerprint(u64::from_le_bytes(prefix));
            }
            _ => {}
        }
        if self.is_traced {
            self.trace(host, &report.to_string());
        }
    }

    fn give_work(&mut self, host: usize, update: WorkUpdate) {
        let now_ms = self.now_ms;
        if self.planted == Some(PlantedBug::WithholdWork) && now_ms > 600_000 {
            return;
        }
        let machine = &mut self.hosts[host];
        let vote = machine.settings.outputs_vote;
        let update = match update {
            WorkUpdate::Job(job) if self.planted == Some(PlantedBug::NameNoUncles) => {
                WorkUpdate::Job(Arc::new(with_facts(&job, &self.params, |facts| facts.uncles.clear())))
            }
            WorkUpdate::Job(job) if self.planted == Some(PlantedBug::DateAhead) => {
                let min_time = job.time.plus(3_600);
                WorkUpdate::Job(Arc::new(with_facts(&job, &self.params, |facts| facts.min_time = min_time)))
            }
            WorkUpdate::Job(job) if job.info.outputs_vote != vote => {
                WorkUpdate::Job(Arc::new(with_facts(&job, &self.params, |facts| facts.finder.outputs_vote = vote)))
            }
            update => update,
        };
        match &update {
            WorkUpdate::Job(job) => {
                machine.idle_since_ms = None;
                machine.job_ms = Some(now_ms);
                machine.jobs_ms.entry(job.id).or_insert(now_ms);
                if machine.jobs_ms.len() > JOBS_REMEMBERED {
                    machine.jobs_ms.pop_first();
                }
            }
            WorkUpdate::NoWork(_) => machine.idle_since_ms = machine.idle_since_ms.or(Some(now_ms)),
        }
        machine.work = Some(update);
        self.check_job_times(host);
        self.miners_get_work(host);
    }
}
