//! Rate limits. Time is an argument.

use std::ops::{Add, Sub};
use std::time::Duration;

/// A rate limit: `burst` tokens at once, and one more every `interval` after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Tokens of a full bucket.
    pub burst: u32,
    /// Time in which one token comes back.
    pub interval: Duration,
}

impl Rate {
    /// Returns the rate of `count` buckets together.
    pub const fn times(self, count: u32) -> Self {
        // `Duration` has no constant division.
        let interval = Duration::from_micros(self.interval.as_micros() as u64 / count as u64);
        Self { burst: self.burst * count, interval }
    }
}

/// A token bucket. `T` is a point in steady time: an `Instant`, or the `Duration` since some start.
///
/// The time at which the bucket is full again is all it stores.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket<T> {
    rate: Rate,
    full_at: T,
}

impl<T: Copy + Ord + Add<Duration, Output = T> + Sub<Duration, Output = T>> TokenBucket<T> {
    /// A full bucket.
    pub fn new(rate: Rate, now: T) -> Self {
        Self { rate, full_at: now }
    }

    /// Whether no token is missing.
    pub fn is_full(&self, now: T) -> bool {
        self.full_at <= now
    }

    /// Takes a token; false if there is none.
    pub fn take(&mut self, now: T) -> bool {
        let full_at = self.full_at.max(now) + self.rate.interval;
        if full_at > now + self.rate.interval * self.rate.burst {
            return false;
        }
        self.full_at = full_at;
        true
    }

    /// Gives back a token that was taken.
    pub fn give_back(&mut self) {
        self.full_at = self.full_at - self.rate.interval;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_one_per_interval() {
        let start = Duration::from_secs(5);
        let mut bucket = TokenBucket::new(Rate { burst: 3, interval: Duration::from_secs(2) }, start);
        assert!((0..3).all(|_| bucket.take(start)));
        assert!(!bucket.take(start));
        assert!(!bucket.take(start + Duration::from_millis(1_999)));
        assert!(bucket.take(start + Duration::from_secs(2)));
        assert!(!bucket.take(start + Duration::from_secs(2)));
        // Idle time fills it up to the burst and no further.
        let later = start + Duration::from_secs(1_000);
        assert!(bucket.is_full(later));
        assert!((0..3).all(|_| bucket.take(later)));
        assert!(!bucket.take(later) && !bucket.is_full(later));
        bucket.give_back();
        assert!(bucket.take(later) && !bucket.take(later));
    }

    #[test]
    fn a_multiple_has_a_larger_burst_and_a_shorter_interval() {
        let start = Duration::ZERO;
        let mut bucket = TokenBucket::new(Rate { burst: 3, interval: Duration::from_secs(2) }.times(4), start);
        assert!((0..12).all(|_| bucket.take(start)) && !bucket.take(start));
        assert!(bucket.take(start + Duration::from_millis(500)));
    }
}
