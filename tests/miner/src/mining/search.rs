//! A search thread.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::SentShare;
use crate::hasher::NonceSearch;
use crate::job::{Job, Submit};
use crate::session::{extranonce2, Session};
use crate::target::Target;

/// Number of nonces tried between checks for a newer task: one or two milliseconds.
const CHUNK: u64 = 1 << 13;
/// Wakes per second of a searcher with a limited rate, and the nonces that it tries at least before it sleeps again.
const WAKES_PER_S: u64 = 50;
const CHUNK_MIN: u64 = 16;
/// Wait for the next job after a block was found, which makes the job stale.
///
/// Without the wait, thousands of blocks of the same height would be found on regtest before the first is sent.
const AFTER_BLOCK_WAIT: Duration = Duration::from_secs(1);
/// The lowest bit that miners roll (BIP-0320).
const VERSION_SHIFT: u32 = 13;

/// What to search for, common to all searchers.
#[derive(Debug)]
pub struct SearchTask {
    job: Arc<Job>,
    pub extranonce1: Vec<u8>,
    extranonce2_len: usize,
    target: Target,
    block_target: Target,
}

/// A submit found for a task.
#[derive(Debug)]
pub struct FoundSubmit {
    pub task: Arc<SearchTask>,
    pub submit: Submit,
    hash: [u8; 32],
}

impl SearchTask {
    pub fn new(job: Arc<Job>, session: &Session) -> Self {
        Self {
            extranonce1: session.extranonce1().to_vec(),
            extranonce2_len: session.extranonce2_len(),
            target: job.target(),
            block_target: job.block_target(),
            job,
        }
    }

    /// The submit number `count` with nonce 0; each has its own extranonce2 and, if allowed, version bits.
    fn blank_submit(&self, count: u64) -> Submit {
        let mask = self.job.version_mask;
        let rolled = (u32::try_from(count % (1 << 16)).unwrap_or(0) << VERSION_SHIFT) & mask;
        Submit {
            job_id: self.job.id.clone(),
            extranonce2: extranonce2(count, self.extranonce2_len),
            time: self.job.time,
            nonce: 0,
            version_bits: (mask != 0).then_some(rolled),
        }
    }
}

impl FoundSubmit {
    pub fn share(&self) -> SentShare {
        let is_block = self.task.block_target.is_met_by(&self.hash);
        SentShare { hash: self.hash, difficulty: self.task.job.difficulty, is_block }
    }
}

/// A search thread, which takes every `stride`-th extranonce2 from `index` on.
pub struct Searcher {
    pub index: u64,
    pub stride: u64,
    /// Maximum hashes per second.
    pub rate_max: Option<u64>,
    /// The task to work on, or `None` to pause; the thread ends when the sender is dropped.
    pub tasks: Receiver<Option<Arc<SearchTask>>>,
    pub found: Sender<FoundSubmit>,
}

impl Searcher {
    /// Searches until the other end of a channel is dropped.
    pub fn run(self) {
        let mut task = None;
        loop {
            task = match task {
                None => match self.tasks.recv() {
                    Ok(task) => task,
                    Err(_) => return,
                },
                Some(task) => match self.search(&task) {
                    Some(next) => next,
                    None => return,
                },
            };
        }
    }

    /// Searches for submits for one task until there is a newer one, which it returns; `None` if the thread must end.
    fn search(&self, task: &Arc<SearchTask>) -> Option<Option<Arc<SearchTask>>> {
        let mut limiter = RateLimiter::new(self.rate_max);
        for count in (self.index..).step_by(usize::try_from(self.stride).unwrap_or(1)) {
            let mut submit = task.blank_submit(count);
            let search = NonceSearch::new(&task.job.header(&task.extranonce1, &submit));
            let mut next = 0;
            while next < 1 << 32 {
                if let Some(newer) = self.tasks.try_iter().last() {
                    return Some(newer);
                }
                let end = next + limiter.chunk;
                let hit = search.first(next..end, &task.target);
                let after = hit.map_or(end, |(nonce, _)| u64::from(nonce) + 1);
                limiter.wait(after - next);
                next = after;
                if let Some((nonce, hash)) = hit {
                    submit.nonce = nonce;
                    let found = FoundSubmit { task: task.clone(), submit: submit.clone(), hash };
                    let is_block = found.share().is_block;
                    self.found.send(found).ok()?;
                    if is_block {
                        match self.tasks.recv_timeout(AFTER_BLOCK_WAIT) {
                            Ok(newer) => return Some(self.tasks.try_iter().last().unwrap_or(newer)),
                            Err(RecvTimeoutError::Timeout) => {}
                            Err(RecvTimeoutError::Disconnected) => return None,
                        }
                    }
                }
            }
        }
        None
    }
}

/// Limits the hash rate.
struct RateLimiter {
    rate_max: Option<u64>,
    chunk: u64,
    start: Instant,
    hashes: u64,
}

impl RateLimiter {
    fn new(rate_max: Option<u64>) -> Self {
        let chunk = rate_max.map_or(CHUNK, |rate| (rate / WAKES_PER_S).clamp(CHUNK_MIN, CHUNK));
        Self { rate_max, chunk, start: Instant::now(), hashes: 0 }
    }

    /// Counts `hashes` more and sleeps until the limit allows them.
    fn wait(&mut self, hashes: u64) {
        self.hashes += hashes;
        if let Some(rate) = self.rate_max {
            let due = Duration::from_micros(self.hashes.saturating_mul(1_000_000) / rate);
            thread::sleep(due.saturating_sub(self.start.elapsed()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_rate_is_limited() {
        let mut limiter = RateLimiter::new(Some(10_000));
        assert_eq!(limiter.chunk, 200);
        for _ in 0..10 {
            limiter.wait(100);
        }
        assert!(limiter.start.elapsed() >= Duration::from_millis(100));
        assert_eq!(RateLimiter::new(None).chunk, CHUNK);
        assert_eq!(RateLimiter::new(Some(1)).chunk, CHUNK_MIN);
    }
}
