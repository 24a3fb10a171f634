//! How fast a peer gives what it is asked for: whoever is too slow, or fails too often, stands in nobody's way for long.

/// Shares a minute that whoever serves a list must give while it is asked for some: half of what it takes to give two
/// whole batches in the time for an answer, 6 kB a second. A chain of full length comes within 34 minutes at worst.
const PER_MINUTE_MIN: i64 = 512;
/// Seconds that a peer may be behind that: slow lines have pauses.
const PATIENCE_S: i64 = 90;
/// What a batch not given costs, in seconds: the fourth in a row is too many, with nothing given between them.
const FAILURE_S: i64 = 25;
/// A share buys this much time at the slowest rate: a second costs [`PER_MINUTE_MIN`] of the same unit.
const PER_SHARE: i64 = 60;

/// What a peer has left, in sixtieths of a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace(i64);

impl Pace {
    const FULL: i64 = PER_MINUTE_MIN * PATIENCE_S;

    pub const fn new() -> Self {
        Self(Self::FULL)
    }

    /// Something was asked of it for so long.
    pub fn waited(&mut self, seconds: u32) {
        self.spend(i64::from(seconds));
    }

    /// It did not give a batch.
    pub fn failed(&mut self) {
        self.spend(FAILURE_S);
    }

    /// However long it was slow with nobody else there: once it is fast again that is forgotten as fast.
    fn spend(&mut self, seconds: i64) {
        self.0 = (self.0 - PER_MINUTE_MIN * seconds).max(-Self::FULL);
    }

    /// It gave shares. What was given fast in the past is no excuse for long.
    pub fn gave(&mut self, shares: usize) {
        let earned = i64::try_from(shares).unwrap_or(i64::MAX).saturating_mul(PER_SHARE);
        self.0 = self.0.saturating_add(earned).min(Self::FULL);
    }

    pub const fn is_too_slow(self) -> bool {
        self.0 < 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_and_a_half_is_forgiven_and_no_more() {
        let mut pace = Pace::new();
        pace.waited(90);
        assert!(!pace.is_too_slow());
        pace.waited(1);
        assert!(pace.is_too_slow());
        pace.gave(9);
        assert!(!pace.is_too_slow());
    }

    #[test]
    fn the_slowest_rate_is_kept_up_for_ever_and_half_of_it_for_three_minutes() {
        let (mut slowest, mut half) = (Pace::new(), Pace::new());
        for _ in 0..1_000 {
            slowest.waited(30);
            slowest.gave(256);
            assert!(!slowest.is_too_slow());
        }
        let minutes = (1..).find(|_| {
            half.waited(60);
            half.gave(256);
            half.is_too_slow()
        });
        assert_eq!(minutes, Some(4));
        // What was given fast before gives no credit.
        let mut pace = Pace::new();
        pace.gave(100_000);
        pace.waited(91);
        assert!(pace.is_too_slow());
    }

    #[test]
    fn the_fourth_failure_is_too_many() {
        let mut pace = Pace::new();
        (0..3).for_each(|_| pace.failed());
        assert!(!pace.is_too_slow());
        pace.failed();
        assert!(pace.is_too_slow());
    }
}
