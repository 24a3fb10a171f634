//! Miners: when they get work, and what becomes of what they find.

use std::sync::Arc;

use ::bitcoin::consensus::deserialize;
use p2pool_core::node::Event;
use p2pool_core::share::ShareId;
use p2pool_core::sharechain::AHEAD_MAX_S;
use p2pool_core::work::{Job, WorkUpdate};

use super::{Action, Simulation};
use crate::bitcoin::is_valid;
use crate::host::START;
use crate::invariants::PlantedBug;

impl Simulation {
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

    pub(super) fn set_miners_down(&mut self, host: usize, is_down: bool) {
        self.miners_lose_work(host);
        for at in 0..self.hosts[host].miners.len() {
            let miner = self.hosts[host].miners[at];
            self.miners[miner].is_down = is_down;
        }
        if !is_down {
            self.miners_get_work(host);
        }
    }

    pub(super) fn pick_up(&mut self, miner: usize, life: u64, job: Option<Arc<Job>>) {
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

    pub(super) fn find(&mut self, miner: usize, generation: u64) {
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
        if self.forks_left > 0 {
            self.forks_left -= 1;
            self.fork_bitcoin();
        }
    }
}
