//! `mining.submit`: hashes the header first, submits blocks and shares, then responds.
//!
//! 1. Parse the parameters. Without an extranonce or a known job there is no header. Before subscribe and authorize, this is
//!    the error, whatever the parameters are.
//! 2. Rebuild and hash the header. If it is a Bitcoin block, it goes to bitcoind, whatever step 3 finds: a stale job,
//!    no authorize, bits outside the mask, too many submits.
//! 3. Check that the session may submit, that time and version are allowed, that the job is on the current Bitcoin tip,
//!    that the hash meets the job's difficulty, and that it is new.
//! 4. If the hash meets the share target, submit the share to the chain thread. If that cannot take it, reject the submit.
//! 5. Respond.

use std::sync::Arc;

use super::workers::WorkerIndex;
use super::{Session, Step};
use crate::share::EXTRANONCE_LEN;
use crate::stratum::difficulty::Difficulty;
use crate::stratum::extranonces::Extranonce1;
use crate::stratum::job_table::{AnnouncedJob, JobLookup};
use crate::stratum::label::display_name;
use crate::stratum::reject::Reject;
use crate::stratum::reply;
use crate::stratum::request::SubmitParams;
use crate::stratum::sink::SessionEvent;
use crate::stratum::SharedState;
use crate::units::Now;
use crate::work::{FoundBlock, FoundShare, HashedHeader, Job, JobId, Submit};

/// Largest number of seconds that a header's time may be after its job's; firmware is known to stay within it.
const TIME_AFTER_JOB_S: u32 = 7_000;
/// Bitcoin's limit: a header's time may be up to two hours in the future.
const TIME_AHEAD_S: u32 = 7_200;

/// A submit with its job and its hashed header.
struct HashedSubmit {
    announced: AnnouncedJob,
    /// Whether the job is on the current Bitcoin tip.
    is_current: bool,
    submit: Submit,
    hashed: HashedHeader,
}

impl Session {
    /// `mining.submit`. Does not allocate.
    pub(super) fn submit(&mut self, id: &str, params: &str, step: &mut Step<'_>) {
        let is_within_rate = self.submits.take(step.now.steady);
        let params = SubmitParams::parse(params);
        let stated = params.as_ref().ok().and_then(SubmitParams::worker);
        let worker = stated.map_or(WorkerIndex::FIRST, |name| self.workers.named(&name));
        match self.check_submit(params, worker, is_within_rate, step) {
            Ok((credit, hash)) => {
                step.shared.metrics.shares_accepted.inc();
                self.workers.stats_mut(worker).accept(credit, &hash, step.now);
                step.shared.firmware_work.add(self.firmware.id, credit, step.now.steady);
                reply::result(step.out, id, "true");
                if self.difficulty.on_share(credit, step.now.steady) {
                    self.difficulty.await_job_if_changed();
                }
            }
            Err(reject) => {
                step.shared.metrics.shares_rejected.values()[reject.index()].inc();
                self.workers.stats_mut(worker).reject(reject);
                reply::error(step.out, id, reject);
            }
        }
    }

    /// Steps 1 to 4. Returns the credited difficulty and the hash.
    fn check_submit(
        &mut self,
        params: Result<SubmitParams<'_>, Reject>,
        worker: WorkerIndex,
        is_within_rate: bool,
        step: &mut Step<'_>,
    ) -> Result<(Difficulty, [u8; 32]), Reject> {
        let extranonce1 = self.extranonce1.ok_or(Reject::NotSubscribed)?;
        let hashed_submit =
            params.and_then(|params| Ok((params, self.hash_submit(extranonce1, &params, step.shared)?)));
        if let Ok((_, hashed_submit)) = &hashed_submit {
            self.submit_block(hashed_submit, worker, step);
        }
        if self.workers.is_empty() {
            return Err(Reject::Unauthorised);
        }
        let (params, HashedSubmit { announced, is_current, submit, hashed }) = hashed_submit?;
        if !is_within_rate {
            return Err(Reject::TooMany);
        }
        let mask = self.version_rolling.mask();
        if let Some(bits) = params.version_bits.filter(|bits| bits & !mask != 0) {
            self.report_version_bits(worker, bits, mask, step);
            return Err(Reject::Malformed("version bits outside the mask"));
        }
        check_time(&announced.job, submit.time, step.now)?;
        if !is_current {
            return Err(Reject::Stale);
        }
        let is_share = hashed.meets(&announced.job.share_target);
        let credit = match self.difficulty.credit(announced.sequence, &hashed.hash) {
            Some(credit) => credit,
            // A job from before a reconnect may have been easier than the session's difficulty since then.
            None if is_share => Difficulty::at_most(&announced.job.share_target),
            None => return Err(Reject::LowDifficulty),
        };
        if step.shared.seen.contains(&hashed.hash) {
            return Err(Reject::Duplicate);
        }
        if is_share {
            let HashedHeader { header, hash } = hashed;
            let share = FoundShare { job: announced.job, header, hash, extranonce: submit.extranonce };
            step.sink.submit_share(share).map_err(|_| Reject::Busy)?;
        }
        step.shared.seen.insert(&hashed.hash);
        Ok((credit, hashed.hash))
    }

    /// Reports version bits outside the mask to the operator, once for each mask of the session.
    fn report_version_bits(&mut self, worker: WorkerIndex, bits: u32, mask: u32, step: &mut Step<'_>) {
        if self.reported_mask.replace(mask) == Some(mask) {
            return;
        }
        let (worker, user_agent) = (self.workers.name(worker).map_or("", |name| display_name(name)), &*self.user_agent);
        step.sink.report(SessionEvent::VersionBits { worker, user_agent, bits, mask });
    }

    /// Rebuilds and hashes the header.
    fn hash_submit(
        &self,
        extranonce1: Extranonce1,
        params: &SubmitParams<'_>,
        shared: &SharedState,
    ) -> Result<HashedSubmit, Reject> {
        let (announced, is_current) = match shared.jobs.find(JobId(params.job)) {
            JobLookup::Current(announced) => (announced.clone(), true),
            JobLookup::Stale(announced) => (announced.clone(), false),
            JobLookup::Unknown => return Err(Reject::UnknownJob),
        };
        let mut extranonce = [0; EXTRANONCE_LEN];
        for (byte, part) in extranonce.iter_mut().zip(extranonce1.into_iter().chain(params.extranonce2)) {
            *byte = part;
        }
        let version = self.version_rolling.header_version(&announced.job, announced.sequence, params.version_bits);
        let submit = Submit { extranonce, time: params.time, nonce: params.nonce, version };
        let hashed = announced.job.hash_header(&submit);
        Ok(HashedSubmit { announced, is_current, submit, hashed })
    }

    /// Submits a block before any further check.
    fn submit_block(&self, hashed_submit: &HashedSubmit, worker: WorkerIndex, step: &mut Step<'_>) {
        let HashedSubmit { announced, submit, hashed: HashedHeader { header, hash }, .. } = hashed_submit;
        if !announced.job.block_target.is_met_by(hash) || !step.shared.recent_blocks.insert(hash) {
            return;
        }
        let worker = self.finder(worker);
        let (job, extranonce) = (Arc::clone(&announced.job), submit.extranonce);
        step.sink.submit_block(FoundBlock { job, header: *header, hash: *hash, extranonce, worker });
        step.shared.metrics.blocks_found.inc();
    }

    /// The finder of a block, for log lines.
    fn finder(&self, worker: WorkerIndex) -> Arc<str> {
        match self.workers.name(worker) {
            Some(worker) if !worker.is_empty() => Arc::clone(worker),
            Some(nameless) => display_name(nameless).into(),
            None => "unauthorised".into(),
        }
    }
}

fn check_time(job: &Job, time: u32, now: Now) -> Result<(), Reject> {
    if time < job.min_time.0 {
        return Err(Reject::Malformed("ntime too early"));
    }
    let latest = job.time.plus(TIME_AFTER_JOB_S).min(now.time.plus(TIME_AHEAD_S)).min(job.max_time);
    if time > latest.0 {
        return Err(Reject::Malformed("ntime too late"));
    }
    Ok(())
}
