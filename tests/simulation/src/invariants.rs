//! What must always hold, checked while a simulation runs and at its end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use ::bitcoin::block::Header;
use ::bitcoin::hashes::Hash as _;
use ::bitcoin::BlockHash;
use p2pool_core::node::{Changes, Event};
use p2pool_core::params::UNCLES_MAX;
use p2pool_core::share::coinbase::Payout;
use p2pool_core::share::{Share, ShareId};
use p2pool_core::sharechain::{next_block_height_min, LinkedShare, AHEAD_MAX_S};
use p2pool_core::units::{BlockHeight, Sats, UnixTime};
use p2pool_core::work::{Job, WorkUpdate};

use crate::engine::Simulation;
use crate::host::Host;
use crate::network::WAITING_MAX;
use crate::scenario::Scenario;

/// A node that may mine has a job that is at most this old: it makes one every 29 s, and may wait 2 s for an anchor.
const JOB_AGE_MAX_MS: u64 = 60_000;
/// If Bitcoin's newest block is this old, a node on mainnet doubts its clock.
const BLOCK_AGE_MAX_S: u32 = 14_400;
/// A found block is at some bitcoind after this long, if its finder and its finder's bitcoind run.
const BLOCK_WITHIN_MS: u64 = 60_000;
/// Effects of a turn: a constant, so many per event, and so many per share that a node keeps, for a chain that replaces
/// another.
const EFFECTS_BASE: usize = 1_000;
const EFFECTS_PER_EVENT: usize = 8;
const EFFECTS_PER_SHARE: usize = 4;
const EVENTS_PER_TURN: usize = 256;
/// A coinbase value with which payout lists are compared.
const VALUE: Sats = Sats(312_500_000);

/// A statement about every run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// After the scenario's quiet time all honest nodes have one tip and equal payout lists.
    Convergence,
    /// What was committed is there after a crash, and a share is on disk before it is announced.
    Durability,
    /// No honest node bans another.
    NoHonestBan,
    /// An honest share that an honest miner's node had in time is on the main chain or an uncle.
    NoShareLeftOut,
    /// A synced node with a chain, a template and a right clock gives its miners jobs.
    WorkAvailable,
    /// The jobs of a node with a right clock have no time in the future, and name no share that has.
    PresentTimes,
    /// Every table stays within its bound.
    TableBounds,
    /// The number of effects of one turn is bounded.
    StepCost,
    /// A node never rejects its own share.
    OwnShareValid,
    /// A found Bitcoin block reaches at least one live bitcoind.
    BlockReachesBitcoind,
    /// Peers of a node that found a Bitcoin block have it as well.
    BlockRelayed,
}

/// A deliberate bug in the simulated driver or network, one for each invariant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlantedBug {
    /// Nothing is announced, and what others have is not requested: [`Invariant::Convergence`].
    SkipAnnouncements,
    /// Commits are reported as done and are not: [`Invariant::Durability`].
    DropCommits,
    /// Shares are relayed before the verdict: [`Invariant::NoHonestBan`].
    RelayBeforeVerdict,
    /// Jobs name no uncles: [`Invariant::NoShareLeftOut`].
    NameNoUncles,
    /// Miners get no new jobs after ten minutes: [`Invariant::WorkAvailable`].
    WithholdWork,
    /// Jobs have a time an hour ahead: [`Invariant::PresentTimes`].
    DateAhead,
    /// Nodes do not hear of disconnects: [`Invariant::TableBounds`].
    ForgetDisconnects,
    /// Messages that wait for a verdict are kept for ever: [`Invariant::TableBounds`].
    KeepWaiting,
    /// Each gossiped share is stepped thousands of times in one turn: [`Invariant::StepCost`].
    RepeatGossip,
    /// A byte of each own share is changed: [`Invariant::OwnShareValid`].
    SpoilOwnShares,
    /// Found blocks are neither submitted nor announced: [`Invariant::BlockReachesBitcoind`].
    LoseBlocks,
    /// Transactions of found blocks are not given: [`Invariant::BlockRelayed`].
    KeepTransactions,
}

/// An invariant that did not hold.
#[derive(Clone, Debug)]
pub struct Violation {
    pub invariant: Invariant,
    pub at_ms: u64,
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {:.1} s: {}", self.invariant, self.at_ms as f64 / 1_000.0, self.detail)
    }
}

/// A share that a node's miners found.
#[derive(Clone, Debug)]
pub struct ShareRecord {
    pub host: usize,
    pub found_ms: u64,
    /// When its job was made.
    pub job_ms: u64,
    pub parent: ShareId,
    pub height: u32,
    pub uncles: Vec<ShareId>,
    pub work: u128,
    pub rules_version: u8,
    /// The class of payout outputs in force, and the one voted for.
    pub outputs: (u8, u8),
    /// When nodes linked it.
    pub linked_ms: BTreeMap<usize, u64>,
}

/// A block that a node's miners found.
#[derive(Clone, Debug)]
pub struct BlockRecord {
    pub hash: BlockHash,
    pub host: usize,
    pub found_ms: u64,
    /// When the first bitcoind was seen to have it.
    pub reached_ms: Option<u64>,
    /// Open connections of its finder.
    pub connections: Vec<usize>,
    /// Nodes at which it arrived, each with whether it was new there: nodes relay no others.
    pub arrived: BTreeMap<usize, bool>,
    /// Nodes that have reassembled it.
    pub reassembled: BTreeSet<usize>,
}

/// What has been seen, and what was wrong with it.
pub struct Checks {
    pub violations: Vec<Violation>,
    pub shares: BTreeMap<ShareId, ShareRecord>,
    pub blocks: Vec<BlockRecord>,
    /// Own shares that could not be verified in time.
    pub own_shares_lost: u64,
    /// Submits on an old Bitcoin block.
    pub stale_submits: u64,
    /// Transactions of found blocks that peers asked for and got.
    pub transactions_given: usize,
    /// When the last share that was found is due everywhere.
    pub last_due_ms: u64,
    /// How often a node that does not know the newest rules scored an honest one that does, and the other way round.
    pub scored_across_versions: u32,
    effects_max: usize,
    /// What each node's store has acknowledged.
    acknowledged: Vec<BTreeSet<ShareId>>,
    /// The largest size of each table that was seen, and its bound.
    pub tables: BTreeMap<&'static str, (usize, usize)>,
}

impl Checks {
    /// Nothing seen yet.
    pub fn new(scenario: &Scenario) -> Self {
        let shares = scenario.params.shares_kept() as usize;
        let effects_max = EFFECTS_BASE + EFFECTS_PER_EVENT * EVENTS_PER_TURN + EFFECTS_PER_SHARE * shares;
        Self {
            violations: Vec::new(),
            shares: BTreeMap::new(),
            blocks: Vec::new(),
            own_shares_lost: 0,
            stale_submits: 0,
            transactions_given: 0,
            last_due_ms: 0,
            scored_across_versions: 0,
            effects_max,
            acknowledged: vec![BTreeSet::new(); scenario.hosts.len()],
            tables: BTreeMap::new(),
        }
    }

    /// Notes a violation; the first hundred.
    pub fn violated(&mut self, invariant: Invariant, at_ms: u64, detail: String) {
        if self.violations.len() < 100 {
            self.violations.push(Violation { invariant, at_ms, detail });
        }
    }

    /// Whether this invariant was seen not to hold.
    pub fn has_violated(&self, invariant: Invariant) -> bool {
        self.violations.iter().any(|violation| violation.invariant == invariant)
    }

    /// A miner found a share.
    pub fn share_found(&mut self, id: ShareId, host: usize, job: &Arc<Job>, job_ms: u64, now_ms: u64) {
        let record = ShareRecord {
            host,
            found_ms: now_ms,
            job_ms,
            parent: job.info.parent,
            height: job.info.share_height.0,
            uncles: job.info.uncles.clone(),
            work: job.share_target.work().map_or(0, |work| work.0),
            rules_version: job.info.rules_version,
            outputs: (job.info.outputs_class, job.info.outputs_vote),
            linked_ms: BTreeMap::new(),
        };
        self.shares.insert(id, record);
    }

    /// A node has a block that a peer found.
    pub fn reassembled(&mut self, host: usize, id: ShareId) {
        let hash = BlockHash::from_byte_array(id.0);
        if let Some(block) = self.blocks.iter_mut().rev().find(|block| block.hash == hash) {
            block.reassembled.insert(host);
        }
    }

    /// A node linked shares.
    pub fn linked(&mut self, host: usize, changes: &Changes, now_ms: u64) {
        // Its chain was replaced by a separate one, or they were pruned.
        for id in &changes.delete_shares {
            if let Some(record) = self.shares.get_mut(id) {
                record.linked_ms.remove(&host);
            }
        }
        for stored in &changes.put_shares {
            if let Some(record) = self.shares.get_mut(&stored.id) {
                record.linked_ms.entry(host).or_insert(now_ms);
            }
        }
    }

    /// A node's store says that it has a change.
    pub fn acknowledged(&mut self, host: usize, changes: &Changes) {
        let acknowledged = &mut self.acknowledged[host];
        changes.delete_shares.iter().for_each(|id| {
            acknowledged.remove(id);
        });
        acknowledged.extend(changes.put_shares.iter().map(|stored| stored.id));
    }

    /// A node announces a share of its own.
    pub fn announced(&mut self, share: &Arc<Share>, host: usize, machine: &Host, now_ms: u64) {
        let id = share.id();
        let waits = machine.node.as_ref().is_some_and(|node| {
            // While the disk refuses shares they are announced all the same.
            node.backlog().put_shares.iter().any(|stored| stored.id == id)
        });
        if !waits && !machine.store.contains(&id) {
            self.violated(Invariant::Durability, now_ms, format!("node {host} announces {id}, which is not on disk"));
        }
    }

    /// A node's process ended.
    pub fn stopped(&mut self, host: usize, machine: &Host) {
        for (id, record) in &mut self.shares {
            if !machine.store.contains(id) {
                record.linked_ms.remove(&host);
            }
        }
    }

    /// Shares that a node had linked are early by its clock and wait again.
    pub fn early(&mut self, host: usize, machine: &Host) {
        let Some(node) = &machine.node else { return };
        for (_, record) in self.shares.iter_mut().filter(|(id, _)| !node.tree().contains(id)) {
            record.linked_ms.remove(&host);
        }
    }

    /// A node started from its store.
    pub fn started(&mut self, host: usize, machine: &Host, now_ms: u64) {
        let Some(node) = &machine.node else { return };
        let tree = node.tree();
        // It prunes what it read before anything else.
        let pruned: BTreeSet<ShareId> = node.backlog().delete_shares.iter().copied().collect();
        let acknowledged = self.acknowledged[host].iter();
        let lost: Vec<ShareId> =
            acknowledged.filter(|id| !tree.contains(id) && !pruned.contains(id)).copied().collect();
        if let Some(id) = lost.first() {
            let detail = format!("node {host} has lost {} committed shares, {id} for one", lost.len());
            self.violated(Invariant::Durability, now_ms, detail);
        }
        self.acknowledged[host].retain(|id| tree.contains(id));
    }

    /// A node took a turn.
    pub fn turn(&mut self, host: usize, effects: usize, now_ms: u64) {
        if effects > self.effects_max {
            let detail =
                format!("a turn of node {host} has {effects} effects, at most {} are allowed", self.effects_max);
            self.violated(Invariant::StepCost, now_ms, detail);
        }
    }

    fn table(&mut self, host: usize, name: &'static str, len: usize, max: usize, now_ms: u64) {
        let largest = self.tables.entry(name).or_insert((0, max));
        *largest = (largest.0.max(len), max);
        if len > max {
            let detail = format!("table of {name} of node {host} has {len} entries, at most {max} are allowed");
            self.violated(Invariant::TableBounds, now_ms, detail);
        }
    }
}

impl Simulation {
    /// Checks what must hold at any time.
    pub fn check_now(&mut self) {
        for host in 0..self.hosts.len() {
            if self.hosts[host].is_honest() && self.hosts[host].node.is_some() {
                self.check_tables(host);
                self.check_work(host);
            }
        }
        self.check_blocks(false);
        self.check_relayed();
    }

    /// A miner found a block.
    pub fn block_found(&mut self, host: usize, hash: [u8; 32]) {
        let connections = self.hosts[host].peers.connections.values().copied().collect();
        self.checks.blocks.push(BlockRecord {
            hash: BlockHash::from_byte_array(hash),
            host,
            found_ms: self.now_ms,
            reached_ms: None,
            connections,
            arrived: BTreeMap::new(),
            reassembled: BTreeSet::new(),
        });
    }

    /// A node got the announcement of a block.
    pub fn block_arrived(&mut self, host: usize, header: &Header) {
        // A report of bitcoind's best chain that the node reads first may make it old.
        let is_pending = self.hosts[host].inbox.iter().any(|event| matches!(event, Event::BestChain(_)));
        let (hash, is_new) = (header.block_hash(), !is_pending && self.is_new_at(host, &header.prev_blockhash));
        if let Some(block) = self.checks.blocks.iter_mut().find(|block| block.hash == hash) {
            block.arrived.entry(host).or_insert(is_new);
        }
    }

    /// Whether a block on this one is new to a node: on its bitcoind's tip or one below, or beside the best chain no lower than
    /// the tip, on a branch that is short enough to be held by gossip (rules, section 5, rule 6).
    fn is_new_at(&self, host: usize, parent: &BlockHash) -> bool {
        let Some(headers) = self.hosts[host].node.as_ref().map(|node| node.tree().headers()) else { return false };
        let Some(tip) = headers.best().filter(|_| headers.is_settled()) else { return false };
        let ancestors =
            std::iter::successors(self.bitcoin.get(parent), |anchor| self.bitcoin.get(&anchor.header.prev_blockhash));
        let beside = ancestors.take_while(|anchor| !headers.is_on_best(&anchor.header.block_hash())).take(7).count();
        let height = self.bitcoin.height(parent);
        match beside {
            0 => height + 1 >= tip.height.0,
            1..=6 => height >= tip.height.0,
            _ => false,
        }
    }

    fn check_tables(&mut self, host: usize) {
        let machine = &self.hosts[host];
        let Some(node) = &machine.node else { return };
        let connected = machine.peers.connections.len();
        let waiting = machine.peers.waiting.len();
        // Peers that have gone may still have a place until the node has seen it.
        let peers_max = connected + machine.inbox.len();
        for table in node.tables() {
            let max = if table.name == "peers" { peers_max.min(table.max) } else { table.max };
            self.checks.table(host, table.name, table.len, max, self.now_ms);
        }
        self.checks.table(host, "messages that wait for a verdict", waiting, WAITING_MAX, self.now_ms);
    }

    fn check_work(&mut self, host: usize) {
        let machine = &self.hosts[host];
        let Some(node) = &machine.node else { return };
        let bitcoind = &self.bitcoinds[machine.settings.bitcoind];
        let height = BlockHeight(self.bitcoin.height(&bitcoind.tip) + 1);
        let should_work = bitcoind.is_up()
            && !node.tree().is_empty()
            && node.sync_state().may_mine()
            && node.rules_version_needed().is_none()
            && machine.has_right_clock(self.now_ms)
            && self.time().since(self.bitcoin.time(&bitcoind.tip)) < BLOCK_AGE_MAX_S
            && height >= next_block_height_min(node.tree());
        let machine = &mut self.hosts[host];
        let since = match should_work {
            true => *machine.work_due_ms.get_or_insert(self.now_ms),
            false => return machine.work_due_ms = None,
        };
        let last = machine.job_ms.unwrap_or(0).max(since);
        if self.now_ms - last > JOB_AGE_MAX_MS {
            let detail = format!("node {host} may mine and has had no new job for {} s", (self.now_ms - last) / 1_000);
            machine.work_due_ms = None;
            self.checks.violated(Invariant::WorkAvailable, self.now_ms, detail);
        }
    }

    /// A node gave its miners work.
    pub fn check_job_times(&mut self, host: usize) {
        let machine = &self.hosts[host];
        let (Some(WorkUpdate::Job(job)), Some(node)) = (&machine.work, &machine.node) else { return };
        if !machine.is_honest() || !machine.has_right_clock(self.now_ms) {
            return;
        }
        // By the bound of rule 5. A job's time may be just after those of shares that are as much ahead.
        let is_future = |time: UnixTime| {
            let bitcoin = node.tree().anchor(&job.template.prev_block).map(|anchor| anchor.median_time_past.plus(1));
            time > machine.now(self.now_ms).time.plus(AHEAD_MAX_S + 1).max(bitcoin.unwrap_or_default())
        };
        let uncles = job.info.uncles.iter().filter_map(|uncle| node.tree().get(uncle)).map(LinkedShare::time);
        let times = uncles.chain([job.time]).filter(|time| is_future(*time));
        if let Some(time) = times.max() {
            let detail = format!("a job of node {host} has or names time {time}, the clock shows {}", self.time());
            self.checks.violated(Invariant::PresentTimes, self.now_ms, detail);
        }
    }

    fn check_blocks(&mut self, is_end: bool) {
        let now_ms = self.now_ms;
        let mut missing = Vec::new();
        for block in self.checks.blocks.iter_mut().filter(|block| block.reached_ms.is_none()) {
            if self.bitcoinds.iter().any(|bitcoind| bitcoind.is_up() && bitcoind.has(&block.hash)) {
                block.reached_ms = Some(now_ms);
                continue;
            }
            let finder = &self.hosts[block.host];
            let is_due = now_ms - block.found_ms > BLOCK_WITHIN_MS
                && finder.up_since_ms().is_some_and(|since| now_ms - since > BLOCK_WITHIN_MS)
                && self.bitcoinds[finder.settings.bitcoind].up_for_ms(now_ms) > BLOCK_WITHIN_MS;
            if is_due || is_end {
                missing.push((block.hash, block.host, block.found_ms));
                block.reached_ms = Some(now_ms);
            }
        }
        for (hash, host, found_ms) in missing {
            let detail = format!("block {hash} of node {host}, found at {found_ms} ms, is at no bitcoind");
            self.checks.violated(Invariant::BlockReachesBitcoind, now_ms, detail);
        }
    }

    /// Peers of a block's finder have it, if they were connected and their bitcoinds ran all the time, unless it was not new when
    /// it arrived, or did not arrive because it was not new at another node. Where gossip gets lost or hostile peers take their
    /// time, this may take longer.
    fn check_relayed(&mut self) {
        let is_calm = self.scenario.network.loss == 0.0 && self.hosts.iter().all(Host::is_honest);
        let now_ms = self.now_ms;
        let is_due = |block: &&mut BlockRecord| is_calm && now_ms - block.found_ms > BLOCK_WITHIN_MS;
        let mut missing = Vec::new();
        for block in self.checks.blocks.iter_mut().filter(is_due) {
            for connection in std::mem::take(&mut block.connections) {
                let connection = &self.connections[connection];
                let peers = connection.ends.iter().map(|end| end.host).filter(|peer| *peer != block.host);
                let is_partitioned = self.groups.is_some() || self.partitioned_ms >= block.found_ms;
                missing.extend(
                    peers
                        .filter(|_| connection.is_open && !is_partitioned)
                        .filter(|peer| {
                            let bitcoind = &self.bitcoinds[self.hosts[*peer].settings.bitcoind];
                            bitcoind.up_for_ms(now_ms) > now_ms - block.found_ms
                        })
                        .filter(|peer| !block.reassembled.contains(peer))
                        .filter(|peer| match block.arrived.get(peer) {
                            Some(is_new) => *is_new,
                            None => block.arrived.values().all(|is_new| *is_new),
                        })
                        .map(|peer| (block.hash, block.host, peer)),
                );
            }
        }
        for (hash, host, peer) in missing {
            let detail = format!("node {peer} does not have block {hash} of its peer {host}");
            self.checks.violated(Invariant::BlockRelayed, now_ms, detail);
        }
    }

    /// Checks what must hold after the quiet time.
    pub fn check_end(&mut self) {
        self.check_now();
        self.check_blocks(true);
        self.check_convergence();
        self.check_left_out();
    }

    /// The honest nodes that run and know the newest rules: those that must agree.
    pub fn honest(&self) -> Vec<usize> {
        let is_one = |host: &Host| host.is_honest() && host.is_updated(&self.params) && host.node.is_some();
        (0..self.hosts.len()).filter(|host| is_one(&self.hosts[*host])).collect()
    }

    /// Whether all honest nodes have one tip.
    pub fn is_converged(&self) -> bool {
        let honest = self.honest();
        honest.iter().all(|host| self.hosts[*host].tip() == self.hosts[honest[0]].tip())
    }

    fn check_convergence(&mut self) {
        let honest = self.honest();
        let Some(first) = honest.first() else { return };
        if !self.is_converged() {
            let tips: Vec<String> = honest
                .iter()
                .map(|host| {
                    let tree = self.hosts[*host].node.as_ref().map(|node| node.tree());
                    let tip = tree.and_then(|tree| tree.tip());
                    tip.map_or("none".to_owned(), |tip| {
                        format!("{host}: {} at {}", &tip.id.to_string()[52..], tip.share.info.share_height)
                    })
                })
                .collect();
            let detail = format!("tips differ: {}", tips.join(", "));
            return self.checks.violated(Invariant::Convergence, self.now_ms, detail);
        }
        let payouts: Vec<Option<Vec<Payout>>> = honest.iter().map(|host| self.payouts(*host, *first)).collect();
        if let Some(at) = payouts.iter().position(|list| *list != payouts[0]) {
            let detail = format!("payouts of node {} are not those of node {first}", honest[at]);
            self.checks.violated(Invariant::Convergence, self.now_ms, detail);
        }
    }

    /// What a share on a node's tip pays if another node's miners find it.
    pub fn payouts(&self, host: usize, finder: usize) -> Option<Vec<Payout>> {
        let machine = &self.hosts[host];
        let mut tree = machine.node.as_ref()?.tree().snapshot();
        let tip = tree.tip()?.id;
        let window = tree.window(tip, self.scenario.block_bits()).ok()?;
        Some(window.payouts(VALUE, self.hosts[finder].script, 0))
    }

    /// A share that an honest miner's node had linked before it made a job that the share could be an uncle of.
    fn check_left_out(&mut self) {
        let honest = self.honest();
        let Some(tree) = honest.first().and_then(|host| self.hosts[*host].node.as_ref()).map(|node| node.tree()) else {
            return;
        };
        let main: BTreeMap<u32, ShareId> =
            tree.main_chain().iter().map(|node| (node.share.info.share_height.0, node.id)).collect();
        let nephews = main.values().filter_map(|id| tree.get(id));
        let uncles_of = |node: &LinkedShare| {
            let height = node.share.info.share_height.0;
            node.share.info.uncles.iter().map(move |uncle| (*uncle, height)).collect::<Vec<_>>()
        };
        // By the uncle, the height of its nephew.
        let named: BTreeMap<ShareId, u32> = nephews.flat_map(uncles_of).collect();
        let mut left_out = Vec::new();
        for (id, record) in &self.checks.shares {
            let is_on_main = main.get(&record.height) == Some(id);
            let has_main_parent = record.height > 0 && main.get(&(record.height - 1)) == Some(&record.parent);
            if is_on_main || !has_main_parent || named.contains_key(id) || !self.hosts[record.host].is_honest() {
                continue;
            }
            for nephew in (1..=3).filter_map(|above| main.get(&(record.height + above))) {
                let Some(nephew) = self.checks.shares.get(nephew) else { continue };
                let had_it = record.linked_ms.get(&nephew.host).is_some_and(|linked| *linked < nephew.job_ms);
                let is_honest = self.hosts[nephew.host].is_honest();
                // What an uncle names itself must be named on the nephew's chain, or be on it (rule 7).
                let is_near = |height: &u32| (nephew.height.saturating_sub(6)..=nephew.height).contains(height);
                let is_held = |uncle: &ShareId| {
                    named.get(uncle).is_some_and(is_near) || tree.get(uncle).is_some_and(|share| tree.is_main(share))
                };
                if !record.uncles.iter().all(is_held) {
                    continue;
                }
                if had_it && is_honest && nephew.uncles.len() < UNCLES_MAX as usize {
                    left_out.push(format!(
                        "share {id} at height {} was linked by node {} before it made the job of {}, which does not name it",
                        record.height, nephew.host, nephew.height
                    ));
                }
            }
        }
        for detail in left_out {
            self.checks.violated(Invariant::NoShareLeftOut, self.now_ms, detail);
        }
    }
}
