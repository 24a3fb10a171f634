//! Waiting times between retries.

use std::time::Duration;

/// First wait. A bitcoind with a short fault loses half a second.
const FIRST: Duration = Duration::from_millis(500);
/// Longest wait: the most that miners idle after bitcoind is back.
const LONGEST: Duration = Duration::from_secs(10);

/// Exponential backoff: each wait is twice the last one.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    last: Option<Duration>,
}

impl Backoff {
    /// Returns how long to wait now.
    pub(crate) fn next(&mut self) -> Duration {
        let next = self.last.map_or(FIRST, |last| last.saturating_mul(2).min(LONGEST));
        *self.last.insert(next)
    }

    /// Starts over with the first wait.
    pub(crate) fn reset(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_ten_seconds_and_reset_to_the_first() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..7).map(|_| backoff.next().as_millis()).collect();
        assert_eq!(waits, [500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
        backoff.reset();
        assert_eq!(backoff.next(), FIRST);
    }
}
