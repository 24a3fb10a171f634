//! Template and tip to job.

use std::sync::Arc;

use log::error;
use p2pool_core::share::{CoinbaseTag, PayoutScript};
use p2pool_core::sharechain::{next_share, Sharechain};
use p2pool_core::units::UnixTime;
use p2pool_core::work::{make_job, Job, JobId, Template};

/// A process that makes fewer than 2^8 jobs a second, on average, never repeats a name of the process before.
const JOBS_PER_SECOND_BITS: u32 = 8;

/// Makes jobs with names never used before.
pub struct JobMaker {
    payout_script: PayoutScript,
    coinbase_tag: CoinbaseTag,
    next_id: u64,
}

impl JobMaker {
    /// `now` starts the names: a miner's answer to a job of the process before is unknown, not mistaken.
    pub fn new(payout_script: PayoutScript, coinbase_tag: CoinbaseTag, now: UnixTime) -> Self {
        Self { payout_script, coinbase_tag, next_id: u64::from(now.0) << JOBS_PER_SECOND_BITS }
    }

    /// A job on the tip; none if it cannot be made, which is logged.
    pub fn make(&mut self, chain: &mut Sharechain, template: &Arc<Template>, now: UnixTime) -> Option<Arc<Job>> {
        // Until the block is known the job has no latest time; it is made again then.
        let anchor = chain.tree().anchor(&template.prev_block);
        let max_time = anchor.map_or(UnixTime(u32::MAX), |anchor| anchor.latest_time_for(template.bits));
        let time = now.max(template.min_time).min(max_time);
        let facts = next_share(chain.tree(), time, self.payout_script, &self.coinbase_tag);
        let params = Arc::clone(chain.tree().params());
        let id = JobId(self.next_id);
        self.next_id += 1;
        let window = match chain.tree_mut().window(facts.parent, template.bits) {
            Ok(window) => window,
            Err(missing) => {
                error!("no job: {missing}");
                return None;
            }
        };
        let made = make_job(id, &params, template, &facts, time, |value| window.payouts(value, self.payout_script));
        made.and_then(|job| job.until(max_time)).map(Arc::new).map_err(|reason| error!("no job: {reason}")).ok()
    }
}
