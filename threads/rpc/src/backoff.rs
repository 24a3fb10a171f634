//! How long to wait before asking again.

use std::time::Duration;

/// The first wait: long enough not to pester, short enough for a bitcoind that hiccups.
const FIRST: Duration = Duration::from_millis(500);
/// The longest wait: what a bitcoind that came back costs at most in idle miners.
const LONGEST: Duration = Duration::from_secs(10);

/// Doubles from wait to wait.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    last: Option<Duration>,
}

impl Backoff {
    /// How long to wait now.
    pub(crate) fn next(&mut self) -> Duration {
        let next = self.last.map_or(FIRST, |last| last.saturating_mul(2).min(LONGEST));
        *self.last.insert(next)
    }

    /// The next wait is the first again.
    pub(crate) fn reset(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_ten_seconds_and_start_anew() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..7).map(|_| backoff.next().as_millis()).collect();
        assert_eq!(waits, [500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
        backoff.reset();
        assert_eq!(backoff.next(), FIRST);
    }
}
