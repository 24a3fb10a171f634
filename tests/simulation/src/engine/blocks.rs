//! Bitcoin's blocks: who finds them, when bitcoinds and nodes have them.

use std::sync::Arc;

use ::bitcoin::consensus::deserialize;
use ::bitcoin::BlockHash;
use p2pool_core::node::{AnchorLookup, AnchorResult, BlockLookup, Event};
use p2pool_core::sharechain::BEST_CHAIN_DEPTH;
use p2pool_core::units::UnixTime;
use p2pool_core::work::NoWork;

use super::{Action, Simulation, WITHDRAWN_MS};
use crate::bitcoin::is_valid;
use crate::host::START;
use crate::invariants::PlantedBug;

/// bitcoind gives a template this often although nothing changed.
pub const TEMPLATE_EVERY_MS: u64 = 60_000;
/// A node looks at its bitcoind's best chain this often.
const FOLLOW_EVERY_MS: u64 = 1_000;
/// A found block that bitcoind has not taken is given to it again after this long.
const SUBMIT_AGAIN_MS: u64 = 5_000;

impl Simulation {
    /// The true time of day.
    pub fn time(&self) -> UnixTime {
        START.plus((self.now_ms / 1_000) as u32)
    }

    pub(super) fn schedule_bitcoin_block(&mut self) {
        let wait_s = self.random.exponential(1.0 / (self.scenario.bitcoin.interval_s * self.pace));
        self.schedule(self.now_ms + 1 + (wait_s * 1_000.0) as u64, Action::BitcoinBlock);
    }

    /// Somebody else's block, on what one of the bitcoinds has: forks come by themselves.
    pub(super) fn others_find_block(&mut self) {
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

    /// Two blocks are found at once, and each reaches half of the bitcoinds first.
    pub(super) fn fork_bitcoin(&mut self) {
        let (parent, time) = (self.best_block(), self.time());
        let blocks = [0, 1].map(|_| {
            let merkle_root = self.random.bytes();
            self.bitcoin.add_other(parent, time, merkle_root)
        });
        for bitcoind in 0..self.bitcoinds.len() {
            self.block_arrives(bitcoind, blocks[bitcoind % 2]);
        }
        blocks.into_iter().for_each(|block| self.spread_block(block));
    }

    /// Bitcoin leaves its last blocks for a branch that is one longer.
    pub(super) fn reorganise(&mut self, depth: u32) {
        let mut at = self.bitcoin.ancestor(self.best_block(), depth);
        for _ in 0..=depth {
            let time = self.time();
            let merkle_root = self.random.bytes();
            at = self.bitcoin.add_other(at, time, merkle_root);
        }
        self.spread_block(at);
    }

    pub(super) fn block_arrives(&mut self, bitcoind: usize, block: BlockHash) {
        if self.bitcoinds[bitcoind].take(&self.bitcoin, block) {
            self.best_chain_changed(bitcoind);
        }
    }

    /// All nodes of a bitcoind get its template at once, and look at its best chain within a second.
    pub(super) fn best_chain_changed(&mut self, bitcoind: usize) {
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
    pub(super) fn follow(&mut self, host: usize, boot: u32) {
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

    pub(super) fn template(&mut self, host: usize, boot: u32, again: bool) {
        let machine = &self.hosts[host];
        if machine.boot != boot || machine.node.is_none() {
            return;
        }
        if again {
            self.schedule(self.now_ms + TEMPLATE_EVERY_MS, Action::Template { host, boot });
        }
        let number = self.hosts[host].settings.bitcoind;
        let bitcoind = &self.bitcoinds[number];
        let machine = &self.hosts[host];
        let now = if machine.settings.is_bitcoinds_clock { machine.now(self.now_ms).time } else { self.time() };
        if bitcoind.is_up() {
            let fees = self.random.below(10_000_000);
            let template = self.bitcoin.template(number, &bitcoind.tip, now, fees);
            self.push(host, Event::Template(Arc::new(template)));
        }
    }

    pub(super) fn templates_over(&mut self, bitcoind: usize) {
        let is_over = |since: u64| self.now_ms - since >= WITHDRAWN_MS;
        if !self.bitcoinds[bitcoind].down_since_ms.is_some_and(is_over) {
            return;
        }
        for host in 0..self.hosts.len() {
            if self.hosts[host].settings.bitcoind == bitcoind {
                self.push(host, Event::TemplateWithdrawn(NoWork::NoTemplate));
            }
        }
    }

    pub(super) fn look_up(&mut self, host: usize, boot: u32, lookup: BlockLookup) {
        self.follow(host, boot);
        if self.hosts[host].boot == boot {
            let bitcoind = &self.bitcoinds[self.hosts[host].settings.bitcoind];
            let tip = self.bitcoin.get(&bitcoind.tip).map_or(0, |tip| tip.height.0);
            let result = match bitcoind.look_up(&self.bitcoin, &lookup.hash) {
                AnchorResult::Known(anchor) if anchor.height.0 + BEST_CHAIN_DEPTH > tip => AnchorResult::Reported,
                AnchorResult::Known(_) if !lookup.may_be_old => AnchorResult::Unknown,
                result => result,
            };
            self.push(host, Event::Anchor(AnchorLookup { hash: lookup.hash, result }));
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

    pub(super) fn submit_blocks(&mut self, host: usize, boot: u32) {
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
}
