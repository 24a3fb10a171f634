//! Mining: shares are really found, by trying nonces, at times that a hash rate gives.

use std::sync::Arc;

use p2pool_core::share::{header_hash, EXTRANONCE_LEN};
use p2pool_core::units::{Target, Work};
use p2pool_core::work::{FoundShare, Job, Submit};

/// A miner.
pub struct Miner {
    /// Which node it mines for.
    pub host: usize,
    /// Hashes per second.
    pub hash_rate: f64,
    /// A new job is in use after at most this long.
    pub reaction_ms: u64,
    /// What it works on.
    pub job: Option<Arc<Job>>,
    /// Counts its changes of work: a find that was planned before the last one is void.
    pub generation: u64,
    /// Counts its interruptions: a job on its way to it before one is lost.
    pub life: u64,
    /// Whether it is broken.
    pub is_down: bool,
    extranonce: u64,
    number: u32,
}

impl Miner {
    /// A miner without work. Each has another number.
    pub const fn new(number: u32, host: usize, hash_rate: f64, reaction_ms: u64) -> Self {
        Self { host, hash_rate, reaction_ms, job: None, generation: 0, life: 0, is_down: false, extranonce: 0, number }
    }

    /// It has no work any more.
    pub fn lose_work(&mut self) {
        self.job = None;
        self.generation += 1;
        self.life += 1;
    }

    /// Shares per second at its job's target.
    pub fn rate(&self) -> f64 {
        let work = self.job.as_ref().and_then(|job| job.share_target.work()).unwrap_or(Work::ZERO);
        if work == Work::ZERO {
            0.0
        } else {
            self.hash_rate / work.0 as f64
        }
    }

    /// Finds a share of its job.
    pub fn find(&mut self) -> Option<FoundShare> {
        let job = Arc::clone(self.job.as_ref()?);
        self.extranonce += 1;
        let mut extranonce = [0; EXTRANONCE_LEN];
        extranonce[..4].copy_from_slice(&self.number.to_le_bytes());
        extranonce[4..].copy_from_slice(&self.extranonce.to_le_bytes());
        Some(solve(&job, extranonce))
    }
}

/// Tries nonces until a header meets the job's share target.
pub fn solve(job: &Arc<Job>, extranonce: [u8; EXTRANONCE_LEN]) -> FoundShare {
    let submit = Submit { extranonce, time: job.time.0, nonce: 0, version: job.template.version };
    let header = grind(job.hash_header(&submit).header, &job.share_target);
    // What the node would do with the miner's submit must give the same header.
    let nonce = u32::from_le_bytes([header[76], header[77], header[78], header[79]]);
    let judged = job.hash_header(&Submit { nonce, ..submit });
    debug_assert_eq!(judged.header, header);
    FoundShare { job: Arc::clone(job), header, hash: judged.hash, extranonce }
}

/// A header with the first nonce that meets a target. Time and merkle root stay.
pub fn grind(mut header: [u8; 80], target: &Target) -> [u8; 80] {
    for nonce in 0u32.. {
        header[76..].copy_from_slice(&nonce.to_le_bytes());
        if target.is_met_by(&header_hash(&header)) {
            break;
        }
    }
    header
}
