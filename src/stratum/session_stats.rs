//! What a session has achieved.

use super::difficulty::{Difficulty, HASHES_PER_DIFFICULTY};
use super::reject::Reject;
use super::Now;
use crate::status::Rejections;
use crate::units::UnixTime;

/// The hash rate is estimated over one to two of these: at 10 s per share its error is then about 15 %.
const RATE_SPAN_MS: u64 = 300_000;

/// Counts of one session.
#[derive(Clone, Debug)]
pub struct SessionStats {
    /// Submits that counted.
    pub accepted: u64,
    /// Submits that did not.
    pub rejected: Rejections,
    /// Greatest difficulty of a hash.
    pub best: f64,
    /// When the last counted submit came.
    pub last_share: Option<UnixTime>,
    /// Sum of credited difficulties.
    pub credited: f64,
    /// The present span's beginning and sum, and those of the one before.
    present: Span,
    before: Option<Span>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    since_ms: u64,
    credited: f64,
}

impl SessionStats {
    /// Nothing yet.
    pub fn new(now: Now) -> Self {
        Self {
            accepted: 0,
            rejected: Rejections::default(),
            best: 0.0,
            last_share: None,
            credited: 0.0,
            present: Span { since_ms: now.uptime_ms, credited: 0.0 },
            before: None,
        }
    }

    /// A submit counted.
    pub fn accept(&mut self, credit: Difficulty, hash: &[u8; 32], now: Now) {
        self.turn(now);
        self.accepted += 1;
        self.credited += credit.get();
        self.present.credited += credit.get();
        self.last_share = Some(now.time);
        self.best = self.best.max(Difficulty::of_hash(hash).get());
    }

    /// A submit did not count.
    pub fn reject(&mut self, reject: Reject) {
        let rejected = &mut self.rejected;
        let count = match reject {
            Reject::Malformed(_) => &mut rejected.malformed,
            Reject::TooMany | Reject::Busy => &mut rejected.busy,
            Reject::UnknownJob | Reject::Stale => &mut rejected.stale,
            Reject::Duplicate => &mut rejected.duplicate,
            Reject::LowDifficulty => &mut rejected.low_difficulty,
            Reject::Unauthorised | Reject::NotSubscribed => &mut rejected.unauthorised,
        };
        *count += 1;
    }

    /// Estimated hashes per second over the last five to ten minutes.
    pub fn hashes_per_s(&mut self, now: Now) -> f64 {
        self.turn(now);
        let before = self.before.unwrap_or(Span { since_ms: self.present.since_ms, credited: 0.0 });
        let span_s = now.since_ms(before.since_ms).max(1_000) as f64 / 1_000.0;
        (before.credited + self.present.credited) * HASHES_PER_DIFFICULTY / span_s
    }

    /// Begins the next span if the present one is over.
    fn turn(&mut self, now: Now) {
        let passed_ms = now.since_ms(self.present.since_ms);
        if passed_ms < RATE_SPAN_MS {
            return;
        }
        let since_ms = now.uptime_ms - passed_ms % RATE_SPAN_MS;
        self.before = Some(match passed_ms < 2 * RATE_SPAN_MS {
            true => self.present,
            false => Span { since_ms: since_ms - RATE_SPAN_MS, credited: 0.0 },
        });
        self.present = Span { since_ms, credited: 0.0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Now {
        Now { uptime_ms: seconds * 1_000, time: UnixTime(1_700_000_000 + seconds as u32) }
    }

    #[test]
    fn hash_rate_is_that_of_the_last_minutes() {
        let mut stats = SessionStats::new(at(0));
        let difficulty = Difficulty::new(100.0).unwrap();
        let expected = 100.0 * HASHES_PER_DIFFICULTY / 10.0;
        for share in 1..=100 {
            stats.accept(difficulty, &[0xff; 32], at(share * 10));
            let rate = stats.hashes_per_s(at(share * 10));
            assert!((rate / expected - 1.0).abs() < 0.05, "after {} s: {rate} instead of {expected}", share * 10);
        }
        // It stops: half after some minutes, then nothing.
        assert!(stats.hashes_per_s(at(1_300)) < expected * 0.7);
        assert_eq!(stats.hashes_per_s(at(2_000)), 0.0);
        assert_eq!(stats.accepted, 100);
        assert_eq!(stats.last_share, Some(at(1_000).time));
    }

    #[test]
    fn the_best_share_is_kept() {
        let mut stats = SessionStats::new(at(0));
        for number in [3.0, 700.0, 20.0] {
            let hash = Difficulty::new(number).unwrap().target().0.to_le_bytes();
            stats.accept(Difficulty::FLOOR, &hash, at(1));
        }
        assert!((stats.best / 700.0 - 1.0).abs() < 1e-9);
    }
}
