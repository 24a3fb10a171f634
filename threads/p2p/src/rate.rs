//! How often somebody may do something.

use std::time::{Duration, Instant};

/// Allows `burst` at once and one more every `interval` after that.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// How many at once.
    pub burst: u32,
    /// How long each takes to come back.
    pub interval: Duration,
}

impl Rate {
    /// What `parties` of this rate have together.
    pub const fn times(self, parties: u32) -> Self {
        // A division by a constant above zero; `Duration` has none in constant functions.
        let interval = Duration::from_micros(self.interval.as_micros() as u64 / parties as u64);
        Self { burst: self.burst * parties, interval }
    }
}

/// One party's account under a [`Rate`]: the moment at which it is full again says all.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    rate: Rate,
    full_at: Instant,
}

impl Allowance {
    /// A full account.
    pub fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, full_at: now }
    }

    /// Whether nothing is missing.
    pub fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }

    /// Gives back one that was taken for nothing.
    pub fn give_back(&mut self) {
        self.full_at = self.full_at.checked_sub(self.rate.interval).unwrap_or(self.full_at);
    }

    /// Takes one; false if there is none.
    pub fn take(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.max(now) + self.rate.interval;
        if full_at.duration_since(now) > self.rate.interval * self.rate.burst {
            return false;
        }
        self.full_at = full_at;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_one_per_interval() {
        let start = Instant::now();
        let mut allowance = Allowance::new(Rate { burst: 3, interval: Duration::from_secs(2) }, start);
        assert!((0..3).all(|_| allowance.take(start)));
        assert!(!allowance.take(start));
        assert!(!allowance.take(start + Duration::from_millis(1_999)));
        assert!(allowance.take(start + Duration::from_secs(2)));
        assert!(!allowance.take(start + Duration::from_secs(2)));
        // Idle time fills it up to the burst and no further.
        let later = start + Duration::from_secs(1_000);
        assert!(allowance.is_full(later));
        assert!((0..3).all(|_| allowance.take(later)));
        assert!(!allowance.take(later) && !allowance.is_full(later));
        allowance.give_back();
        assert!(allowance.take(later) && !allowance.take(later));
    }

    #[test]
    fn several_have_more_at_once_and_sooner() {
        let start = Instant::now();
        let mut allowance = Allowance::new(Rate { burst: 3, interval: Duration::from_secs(2) }.times(4), start);
        assert!((0..12).all(|_| allowance.take(start)) && !allowance.take(start));
        assert!(allowance.take(start + Duration::from_millis(500)));
    }
}
