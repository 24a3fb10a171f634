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
        assert!((0..3).all(|_| allowance.take(later)));
        assert!(!allowance.take(later));
    }
}
