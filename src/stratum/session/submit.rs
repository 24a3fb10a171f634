//! The way of a submit: hash first, hand over what is worth it, then answer.
//!
//! 1. Read the parameters; nothing can be hashed without an extranonce or the job.
//! 2. Rebuild the header and hash it. If it is a Bitcoin block it goes to bitcoind, whatever step 3 says:
//!    stale job, no authorize, bits outside the mask, too many submits.
//! 3. Judge: may this session send it, may the header be so, is the job of the present Bitcoin tip, does the hash
//!    meet the job's difficulty, is it new.
//! 4. If it meets the share target, hand it to the chain; a share that the chain cannot take is refused.
//! 5. Answer.

use std::sync::Arc;
use std::time::Duration;

use super::{Session, Step};
use crate::share::EXTRANONCE_LEN;
use crate::stratum::difficulty::Difficulty;
use crate::stratum::job_table::{AnnouncedJob, JobLookup};
use crate::stratum::label::display_name;
use crate::stratum::reject::Reject;
use crate::stratum::reply;
use crate::stratum::request::SubmitParams;
use crate::stratum::{Now, SharedState};
use crate::work::{FoundBlock, FoundShare};
use crate::work::{HashedHeader, Job, JobId, Submit};

/// A header may be this much later than its job's time: the range firmware is known to keep to.
const TIME_AFTER_JOB_S: u32 = 7_000;
/// Bitcoin's own bound: a header may be two hours ahead of the clock.
const TIME_AHEAD_S: u32 = 7_200;

/// A submit whose header is put together.
struct HashedSubmit {
    known: AnnouncedJob,
    is_present: bool,
    answer: Submit,
    judged: HashedHeader,
}

impl Session {
    /// `mining.submit`. Allocates nothing.
    pub(super) fn submit(&mut self, id: &str, params: &str, step: &mut Step<'_>) {
        let in_time = self.submits.take(Duration::from_millis(step.now.uptime_ms));
        match self.check_submit(params, in_time, step) {
            Ok((credit, hash)) => {
                step.shared.counters.shares_accepted.inc();
                self.stats.accept(credit, &hash, step.now);
                reply::result(step.out, id, "true");
                if self.difficulty.on_share(credit, step.now.uptime_ms) {
                    self.announce_difficulty(step);
                }
            }
            Err(reject) => {
                count_rejected(step.shared, reject);
                self.stats.reject(reject);
                reply::error(step.out, id, reject);
            }
        }
    }

    /// Steps 1 to 4; the difficulty at which the submit counts and its hash.
    fn check_submit(&self, params: &str, in_time: bool, step: &mut Step<'_>) -> Result<(Difficulty, [u8; 32]), Reject> {
        let submit = SubmitParams::read(params)?;
        let hashed_submit = self.hashed_submit(&submit, step.shared)?;
        self.submit_block(&hashed_submit, step);

        let HashedSubmit { known, is_present, answer, judged } = hashed_submit;
        if self.worker.is_none() {
            return Err(Reject::Unauthorised);
        }
        if !in_time {
            return Err(Reject::TooMany);
        }
        if submit.version_bits.is_some_and(|bits| bits & !self.version_mask != 0) {
            return Err(Reject::Malformed("version bits outside the mask"));
        }
        check_time(&known.job, answer.time, step.now)?;
        if !is_present {
            return Err(Reject::Stale);
        }
        let is_share = judged.meets(&known.job.share_target);
        let credit = match self.difficulty.credit(known.sequence, &judged.hash) {
            Some(credit) => credit,
            // A job from before a reconnect may have been easier than what the session was given since.
            None if is_share => Difficulty::at_most(&known.job.share_target),
            None => return Err(Reject::LowDifficulty),
        };
        if step.shared.seen.contains(&judged.hash) {
            return Err(Reject::Duplicate);
        }
        if is_share {
            let HashedHeader { header, hash } = judged;
            let share = FoundShare { job: known.job, header, hash, extranonce: answer.extranonce };
            step.sink.share(share).map_err(|_| Reject::Busy)?;
        }
        step.shared.seen.insert(&judged.hash);
        Ok((credit, judged.hash))
    }

    /// The header that the submit stands for.
    fn hashed_submit(&self, submit: &SubmitParams, shared: &SharedState) -> Result<HashedSubmit, Reject> {
        let extranonce1 = self.extranonce1.ok_or(Reject::NotSubscribed)?;
        let (known, is_present) = match shared.jobs.find(JobId(submit.job)) {
            JobLookup::Current(known) => (known.clone(), true),
            JobLookup::Stale(known) => (known.clone(), false),
            JobLookup::Unknown => return Err(Reject::UnknownJob),
        };
        let mut extranonce = [0; EXTRANONCE_LEN];
        for (byte, part) in extranonce.iter_mut().zip(extranonce1.into_iter().chain(submit.extranonce2)) {
            *byte = part;
        }
        let version = rolled_version(known.job.version, self.version_mask, submit.version_bits);
        let answer = Submit { extranonce, time: submit.time, nonce: submit.nonce, version };
        let judged = known.job.hash_header(&answer);
        Ok(HashedSubmit { known, is_present, answer, judged })
    }

    /// A block goes to bitcoind before anything else is asked.
    fn submit_block(&self, hashed_submit: &HashedSubmit, step: &mut Step<'_>) {
        let HashedSubmit { known, answer, judged: HashedHeader { header, hash }, .. } = hashed_submit;
        if !known.job.block_target.is_met_by(hash) || !step.shared.remember_block(hash) {
            return;
        }
        let worker = self.finder();
        let (job, extranonce) = (Arc::clone(&known.job), answer.extranonce);
        step.sink.block(FoundBlock { job, header: *header, hash: *hash, extranonce, worker });
        step.shared.counters.blocks_found.inc();
    }

    /// Who found a block, for the log.
    fn finder(&self) -> Arc<str> {
        match &self.worker {
            Some(worker) if !worker.is_empty() => Arc::clone(worker),
            Some(nameless) => display_name(nameless).into(),
            None => "unauthorised".into(),
        }
    }
}

/// The header's version (BIP-0310): the job's, with the bits of the mask replaced by the miner's.
///
/// Bits outside the mask are refused later; here they are taken as sent, since the miner hashed them, and a
/// block must not be lost for it.
fn rolled_version(version: i32, mask: u32, bits: Option<u32>) -> i32 {
    match bits {
        Some(bits) => ((version as u32 & !mask) | bits) as i32,
        None => version,
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

fn count_rejected(shared: &SharedState, reject: Reject) {
    let counters = &shared.counters;
    let counter = match reject {
        Reject::Malformed(_) => &counters.shares_rejected.malformed,
        Reject::TooMany | Reject::Busy => &counters.shares_rejected.busy,
        Reject::UnknownJob | Reject::Stale => &counters.shares_rejected.stale,
        Reject::Duplicate => &counters.shares_rejected.duplicate,
        Reject::LowDifficulty => &counters.shares_rejected.low_difficulty,
        Reject::Unauthorised | Reject::NotSubscribed => &counters.shares_rejected.unauthorised,
    };
    counter.inc();
}
