//! One searching thread.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::Share;
use crate::hasher::Search;
use crate::job::{Answer, Job};
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
pub struct Order {
    job: Arc<Job>,
    pub extranonce1: Vec<u8>,
    extranonce2_len: usize,
    target: Target,
    block_target: Target,
}

/// An answer to an order.
#[derive(Debug)]
pub struct Found {
    pub order: Arc<Order>,
    pub answer: Answer,
    hash: [u8; 32],
}

impl Order {
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
    fn blank_answer(&self, count: u64) -> Answer {
        let mask = self.job.version_mask;
        let rolled = (u32::try_from(count % (1 << 16)).unwrap_or(0) << VERSION_SHIFT) & mask;
        Answer {
            job_id: self.job.id.clone(),
            extranonce2: extranonce2(count, self.extranonce2_len),
            time: self.job.time,
            nonce: 0,
            version_bits: (mask != 0).then_some(rolled),
        }
    }
}

impl Found {
    pub fn share(&self) -> Share {
        let is_block = self.order.block_target.is_met_by(&self.hash);
        Share { hash: self.hash, difficulty: self.order.job.difficulty, is_block }
    }
}

/// One searching thread: takes every `stride`-th extranonce2 from `index` on.
pub struct Searcher {
    pub index: u64,
    pub stride: u64,
    /// Hashes a second.
    pub rate_max: Option<u64>,
    /// What to search for, or nothing; ends with its senders.
    pub orders: Receiver<Option<Arc<Order>>>,
    pub found: Sender<Found>,
}

impl Searcher {
    /// Searches until nobody gives orders or takes answers.
    pub fn run(self) {
        let mut order = None;
        loop {
            order = match order {
                None => match self.orders.recv() {
                    Ok(order) => order,
                    Err(_) => return,
                },
                Some(order) => match self.answer(&order) {
                    Some(next) => next,
                    None => return,
                },
            };
        }
    }

    /// Searches for answers to one order until there is another, which it returns; `None`: all is over.
    fn answer(&self, order: &Arc<Order>) -> Option<Option<Arc<Order>>> {
        let mut pace = Pace::new(self.rate_max);
        for count in (self.index..).step_by(usize::try_from(self.stride).unwrap_or(1)) {
            let mut answer = order.blank_answer(count);
            let search = Search::new(&order.job.header(&order.extranonce1, &answer));
            let mut next = 0;
            while next < 1 << 32 {
                if let Some(newer) = self.orders.try_iter().last() {
                    return Some(newer);
                }
                let end = next + pace.chunk;
                let hit = search.first(next..end, &order.target);
                let after = hit.map_or(end, |(nonce, _)| u64::from(nonce) + 1);
                pace.keep(after - next);
                next = after;
                if let Some((nonce, hash)) = hit {
                    answer.nonce = nonce;
                    let found = Found { order: order.clone(), answer: answer.clone(), hash };
                    let is_block = found.share().is_block;
                    self.found.send(found).ok()?;
                    if is_block {
                        match self.orders.recv_timeout(AFTER_BLOCK_WAIT) {
                            Ok(newer) => return Some(self.orders.try_iter().last().unwrap_or(newer)),
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
struct Pace {
    rate_max: Option<u64>,
    chunk: u64,
    start: Instant,
    hashes: u64,
}

impl Pace {
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
        let mut pace = Pace::new(Some(10_000));
        assert_eq!(pace.chunk, 200);
        for _ in 0..10 {
            pace.keep(100);
        }
        assert!(pace.start.elapsed() >= Duration::from_millis(100));
        assert_eq!(Pace::new(None).chunk, CHUNK);
        assert_eq!(Pace::new(Some(1)).chunk, 1);
    }
}
