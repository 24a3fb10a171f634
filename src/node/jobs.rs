//! Decides whether miners may work, on which template, and when they get a new job.

use std::sync::Arc;

use super::report::Report;
use super::time::Now;
use crate::config::Config;
use crate::sharechain::{next_block_height_min, next_share, Sharechain, Tree};
use crate::sync::{Sync, SyncState};
use crate::units::{SteadyTime, UnixTime};
use crate::work::{make_job, Finder, Job, JobId, NextBlock, NoWork, Template, WorkUpdate};

/// A job waits this long for bitcoind's response about the block it builds on, which takes a millisecond; then it goes out
/// all the same, because a found block does not need it.
const ANCHOR_WAIT_S: u32 = 2;
/// Miners get a new job this long after the last one: its time advances, and the target eases with it. They are to have it
/// after 30 s at the latest: a second is left for the way to them.
const REFRESH_S: u32 = 29;
/// A process that makes fewer than 2^8 jobs per second, on average, never repeats a job id of a previous process.
const JOBS_PER_SECOND_BITS: u32 = 8;

/// The maker of jobs.
#[derive(Debug)]
pub struct Jobs {
    finder: Finder,
    /// Whether the operator chose what the shares vote for.
    is_vote_fixed: bool,
    next_id: u64,
    /// The current template.
    pub template: Option<Arc<Template>>,
    /// Since when templates build on the current block.
    template_since: SteadyTime,
    /// The current job.
    pub job: Option<Arc<Job>>,
    made_at: SteadyTime,
    /// Something changed that the next job must take into account: the tip, the sync state, a bound on the job's time.
    pub is_due: bool,
    /// Why miners have no job, as last reported to them; `None` while there is one.
    pub no_work: Option<NoWork>,
    /// The mining policy's last verdict.
    could_mine: bool,
    /// Whether the pool follows rules that this software does not know.
    is_outdated: bool,
    /// Whether this machine's clock is wrong.
    is_clock_off: bool,
}

impl Jobs {
    /// Starts without a template. Job ids start at the time, so that a submit for a job of a previous process is unknown, not
    /// mistaken for another.
    pub fn new(config: &Config, now: Now) -> Self {
        let finder = Finder {
            payout_script: config.payout_script,
            coinbase_tag: config.coinbase_tag.clone(),
            signal: config.params.rules_version_known,
            // Without work nothing is known of the miners, and no share is found either.
            outputs_vote: config.outputs_vote.unwrap_or(0),
        };
        Self {
            finder,
            is_vote_fixed: config.outputs_vote.is_some(),
            next_id: u64::from(now.time.0) << JOBS_PER_SECOND_BITS,
            template: None,
            template_since: now.steady,
            job: None,
            made_at: now.steady,
            is_due: false,
            no_work: Some(NoWork::NoTemplateYet),
            could_mine: false,
            is_outdated: false,
            is_clock_off: false,
        }
    }

    /// The class of payout outputs that the next job votes for.
    pub const fn outputs_vote(&self) -> u8 {
        self.finder.outputs_vote
    }

    /// Takes the class that the miners' firmware bears. Miners need no new job for it: it counts from the next one on.
    pub fn set_firmware_class(&mut self, class: u8) {
        if !self.is_vote_fixed {
            self.finder.outputs_vote = class;
        }
    }

    /// Takes a new template.
    pub fn set_template(&mut self, template: Arc<Template>, now: SteadyTime) {
        if self.template.as_ref().is_none_or(|before| before.prev_block != template.prev_block) {
            self.template_since = now;
        }
        self.template = Some(template);
        self.is_due = true;
    }

    /// The template is worthless for this reason.
    pub fn withdraw_template(&mut self, why: NoWork) -> Option<WorkUpdate> {
        self.is_due = false;
        let had_template = self.template.take().is_some();
        // Without a template, an earlier reason says more than that there is none for a while.
        let is_known = !had_template && why == NoWork::NoTemplate && self.no_work.is_some();
        if is_known {
            return None;
        }
        self.set_no_work(why)
    }

    /// Notes whether mining is permitted. That can change without the sync state: a node that would start a chain stops as
    /// soon as one peer has a chain.
    pub fn note_policy(&mut self, tree: &Tree, sync: &Sync) {
        let may_mine = may_mine(tree, sync);
        self.is_due |= std::mem::replace(&mut self.could_mine, may_mine) != may_mine;
    }

    /// Takes the version of the rules that the pool follows, if this software does not know it.
    pub fn set_rules_version_needed(&mut self, needed: Option<u8>) {
        self.is_outdated = needed.is_some();
        self.is_due = true;
    }

    /// Notes whether this machine's clock is wrong.
    pub fn set_clock_off(&mut self, is_off: bool) {
        self.is_clock_off = is_off;
        self.is_due = true;
    }

    /// When the next job is due; `None` without a template.
    pub fn due_at(&self, tree: &Tree) -> Option<SteadyTime> {
        let prev_block = self.template.as_ref()?.prev_block;
        let at = if self.is_due { self.made_at } else { self.made_at.plus(REFRESH_S) };
        // A share on a block that bitcoind has not confirmed yet would be deferred, in memory only.
        let is_known = tree.anchor(&prev_block).is_some();
        Some(if is_known { at } else { at.max(self.template_since.plus(ANCHOR_WAIT_S)) })
    }

    /// Makes the job that is due, or returns why miners get none.
    pub fn make(&mut self, chain: &mut Sharechain, sync: &Sync, now: Now) -> (Option<WorkUpdate>, Option<Report>) {
        let Some(template) = self.template.clone() else { return (None, None) };
        self.is_due = false;
        self.made_at = now.steady;
        if self.is_outdated {
            return (self.set_no_work(NoWork::Outdated), None);
        }
        if self.is_clock_off {
            return (self.set_no_work(NoWork::ClockOff), None);
        }
        if !may_mine(chain.tree(), sync) {
            let is_looking = matches!(sync.state(), SyncState::NoPeers { .. });
            return (self.set_no_work(if is_looking { NoWork::NoPeers } else { NoWork::Syncing }), None);
        }
        let (height, min) = (template.height, next_block_height_min(chain.tree()));
        if height < min {
            let update = self.set_no_work(NoWork::BitcoindBehind);
            let report = update.is_some().then_some(Report::TemplateTooLow { height, min });
            return (update, report);
        }
        match self.build(chain, &template, now.time) {
            Ok(job) => {
                let job = Arc::new(job);
                self.job = Some(Arc::clone(&job));
                self.no_work = None;
                (Some(WorkUpdate::Job(job)), None)
            }
            Err(report) => {
                // On another block the old job is stale; on the same one it is still good.
                let is_stale = self.job.as_ref().is_none_or(|job| job.template.prev_block != template.prev_block);
                let update = if is_stale { self.set_no_work(NoWork::JobFailed) } else { None };
                (update, Some(report))
            }
        }
    }

    fn build(&mut self, chain: &mut Sharechain, template: &Arc<Template>, now: UnixTime) -> Result<Job, Report> {
        // Until the block is known the job has no latest time; it is made again then.
        let anchor = chain.tree().anchor(&template.prev_block);
        let max_time = anchor.map_or(UnixTime(u32::MAX), |anchor| anchor.latest_time_for(template.bits));
        let time = now.max(template.min_time).min(max_time);
        let block = NextBlock { height: template.height, bits: template.bits };
        let facts = next_share(chain.tree_mut(), block, time, &self.finder);
        let params = Arc::clone(chain.tree().params());
        let id = JobId(self.next_id);
        self.next_id += 1;
        let window = chain.tree_mut().window(facts.parent, template.bits);
        let window = window.map_err(|missing| Report::NoWindow(missing.to_string()))?;
        let (script, class) = (self.finder.payout_script, facts.outputs_class);
        make_job(id, &params, template, &facts, time, |value| window.payouts(value, script, class))
            .and_then(|job| job.until(max_time))
            .map_err(Report::JobFailed)
    }

    /// Takes the job from the miners; an update only if they do not know the reason yet.
    fn set_no_work(&mut self, reason: NoWork) -> Option<WorkUpdate> {
        self.job = None;
        let is_new = self.no_work.replace(reason) != Some(reason);
        is_new.then_some(WorkUpdate::NoWork(reason))
    }
}

/// Whether mining is permitted: not before this node was synced or has waited for it, and not on a chain of its own while a peer
/// has one. Otherwise work would be lost.
fn may_mine(tree: &Tree, sync: &Sync) -> bool {
    sync.state().may_mine() && (!tree.is_empty() || sync.may_start_chain())
}
