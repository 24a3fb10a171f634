//! One searching thread.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::SentShare;
use crate::hasher::NonceSearch;
use crate::job::{Job, Submit};
use crate::session::{extranonce2, Session};
use crate::target::Target;

/// Nonces tried before looking for a newer order: a millisecond or two.
const CHUNK: u64 = 1 << 13;
/// With a limited rate, how often a second a searcher wakes.
const WAKES_PER_S: u64 = 50;
/// A found block makes its job worthless, and the next job is on its way: this long it is waited for. Without the
/// wait, on regtest, thousands of blocks of one height would be found before the first is told of.
const AFTER_BLOCK_WAIT: Duration = Duration::from_secs(1);
/// The lowest bit that miners roll (BIP-0320).
const VERSION_SHIFT: u32 = 13;

/// What to search for, the same for every searcher.
#[derive(Debug)]
pub struct SearchTask {
    job: Arc<Job>,
    pub extranonce1: Vec<u8>,
    extranonce2_len: usize,
    target: Target,
    block_target: Target,
}

/// An answer to an order.
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

    /// The answer with nonce 0 that counts `count`: each has its own extranonce2 and, if allowed, version bits.
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

/// One searching thread: takes every `stride`-th extranonce2 from `index` on.
pub struct Searcher {
    pub index: u64,
    pub stride: u64,
    /// Hashes a second.
    pub rate_max: Option<u64>,
    /// What to search for, or nothing; ends with its senders.
    pub tasks: Receiver<Option<Arc<SearchTask>>>,
    pub found: Sender<FoundSubmit>,
}

impl Searcher {
    /// Searches until nobody gives orders or takes answers.
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

    /// Searches for answers to one order until there is another, which it returns; `None`: all is over.
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
                limiter.keep(after - next);
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

/// Keeps to a rate of hashing.
struct RateLimiter {
    rate_max: Option<u64>,
    chunk: u64,
    start: Instant,
    hashes: u64,
}

impl RateLimiter {
    fn new(rate_max: Option<u64>) -> Self {
        let chunk = rate_max.map_or(CHUNK, |rate| (rate / WAKES_PER_S).clamp(1, CHUNK));
        Self { rate_max, chunk, start: Instant::now(), hashes: 0 }
    }

    /// Counts `hashes` more and sleeps until they are due.
    fn keep(&mut self, hashes: u64) {
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
    fn the_pace_is_kept() {
        let mut limiter = RateLimiter::new(Some(10_000));
        assert_eq!(limiter.chunk, 200);
        for _ in 0..10 {
            limiter.keep(100);
        }
        assert!(limiter.start.elapsed() >= Duration::from_millis(100));
        assert_eq!(RateLimiter::new(None).chunk, CHUNK);
        assert_eq!(RateLimiter::new(Some(1)).chunk, 1);
    }
}
