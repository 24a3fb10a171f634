//! Counts and hash rate of a worker of a session.

use super::difficulty::{Difficulty, HASHES_PER_DIFFICULTY};
use super::reject::Reject;
use super::silence::Activity;
use crate::status::Rejections;
use crate::units::{Now, SteadyTime, UnixTime};

/// The hash rate is estimated over one to two of these spans. At 10 s per share its error is about 15 %.
const RATE_SPAN_MS: u64 = 300_000;

/// Counts of a worker of a session.
#[derive(Clone, Debug)]
pub struct SessionStats {
    pub accepted: u64,
    pub rejected: Rejections,
    /// Greatest difficulty of an accepted hash.
    pub best_difficulty: f64,
    /// Time of the last accepted submit.
    pub last_share: Option<UnixTime>,
    /// The same by the steady clock.
    last_accepted: Option<SteadyTime>,
    started: SteadyTime,
    /// Sum of the credited difficulties.
    pub credited: f64,
    /// The current span, and the one before it.
    current: Span,
    previous: Option<Span>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    start: SteadyTime,
    credited: f64,
}

impl SessionStats {
    pub fn new(now: SteadyTime) -> Self {
        Self {
            accepted: 0,
            rejected: Rejections::default(),
            best_difficulty: 0.0,
            last_share: None,
            last_accepted: None,
            started: now,
            credited: 0.0,
            current: Span { start: now, credited: 0.0 },
            previous: None,
        }
    }

    /// Counts an accepted submit.
    pub fn accept(&mut self, credit: Difficulty, hash: &[u8; 32], now: Now) {
        self.update_spans(now.steady);
        self.accepted += 1;
        self.credited += credit.get();
        self.current.credited += credit.get();
        self.last_share = Some(now.time);
        self.last_accepted = Some(now.steady);
        self.best_difficulty = self.best_difficulty.max(Difficulty::of_hash(hash).get());
    }

    /// Counts a rejected submit.
    pub fn reject(&mut self, reject: Reject) {
        *self.rejected.values_mut()[reject.index()] += 1;
    }

    /// What the worker has done at this difficulty; it could submit nothing before `able_since`.
    pub fn activity(&self, difficulty: f64, able_since: SteadyTime, now: SteadyTime) -> Activity {
        let last = self.last_accepted.unwrap_or(self.started);
        Activity {
            quiet_s: now.since(last.max(able_since)),
            mined_s: last.since(self.started),
            accepted: self.accepted,
            credited: self.credited,
            difficulty,
        }
    }

    /// Estimated hash rate over the last five to ten minutes, in hashes per second.
    pub fn hashes_per_s(&mut self, now: SteadyTime) -> f64 {
        self.update_spans(now);
        let previous = self.previous.unwrap_or(Span { start: self.current.start, credited: 0.0 });
        let span_s = now.since_ms(previous.start).max(1_000) as f64 / 1_000.0;
        (previous.credited + self.current.credited) * HASHES_PER_DIFFICULTY / span_s
    }

    /// Starts the next span if the current one is over.
    fn update_spans(&mut self, now: SteadyTime) {
        let spans = now.since_ms(self.current.start) / RATE_SPAN_MS;
        if spans == 0 {
            return;
        }
        let start = self.current.start.plus_ms(spans * RATE_SPAN_MS);
        self.previous = Some(match spans {
            1 => self.current,
            _ => Span { start: self.current.start.plus_ms((spans - 1) * RATE_SPAN_MS), credited: 0.0 },
        });
        self.current = Span { start, credited: 0.0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u32) -> Now {
        Now { steady: SteadyTime::from_s(seconds), time: UnixTime(1_700_000_000 + seconds) }
    }

    #[test]
    fn the_hash_rate_covers_the_last_minutes() {
        let mut stats = SessionStats::new(at(0).steady);
        let difficulty = Difficulty::new(100.0).unwrap();
        let expected = 100.0 * HASHES_PER_DIFFICULTY / 10.0;
        for share in 1..=100 {
            stats.accept(difficulty, &[0xff; 32], at(share * 10));
            let rate = stats.hashes_per_s(at(share * 10).steady);
            assert!((rate / expected - 1.0).abs() < 0.05, "after {} s: {rate} instead of {expected}", share * 10);
        }
        // After the miner stops, the rate falls within minutes.
        assert!(stats.hashes_per_s(at(1_300).steady) < expected * 0.7);
        assert_eq!(stats.hashes_per_s(at(2_000).steady), 0.0);
        assert_eq!(stats.accepted, 100);
        assert_eq!(stats.last_share, Some(at(1_000).time));
    }

    #[test]
    fn the_best_difficulty_is_kept() {
        let mut stats = SessionStats::new(at(0).steady);
        for number in [3.0, 700.0, 20.0] {
            let hash = Difficulty::new(number).unwrap().target().0.to_le_bytes();
            stats.accept(Difficulty::FLOOR, &hash, at(1));
        }
        assert!((stats.best_difficulty / 700.0 - 1.0).abs() < 1e-9);
    }
}
