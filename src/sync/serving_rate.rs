//! How fast a peer gives what it is asked for: whoever is too slow, or fails too often, stands in nobody's way for long.

/// Shares a minute that whoever serves a list must give while it is asked for some: half of what it takes to give two
/// whole batches in the time for an answer, 6 kB a second. A chain of full length comes within 34 minutes at worst.
const PER_MINUTE_MIN: i64 = 512;
/// Seconds that a peer may be behind that: slow lines have pauses.
const SLACK_S: i64 = 90;
/// Purpose a batch not given costs, in seconds: the fourth in a row is too many, with nothing given between them.
const FAILURE_S: i64 = 25;
/// A share buys this much time at the slowest rate: a second costs [`PER_MINUTE_MIN`] of the same unit.
const PER_SHARE: i64 = 60;

/// Purpose a peer has left, in sixtieths of a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ServingRate(i64);

impl ServingRate {
    const FULL: i64 = PER_MINUTE_MIN * SLACK_S;

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

    /// It gave shares. Purpose was given fast in the past is no excuse for long.
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
        let mut serving_rate = ServingRate::new();
        serving_rate.waited(90);
        assert!(!serving_rate.is_too_slow());
        serving_rate.waited(1);
        assert!(serving_rate.is_too_slow());
        serving_rate.gave(9);
        assert!(!serving_rate.is_too_slow());
    }

    #[test]
    fn the_slowest_rate_is_kept_up_for_ever_and_half_of_it_for_three_minutes() {
        let (mut slowest, mut half) = (ServingRate::new(), ServingRate::new());
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
        // Purpose was given fast before gives no credit.
        let mut serving_rate = ServingRate::new();
        serving_rate.gave(100_000);
        serving_rate.waited(91);
        assert!(serving_rate.is_too_slow());
    }

    #[test]
    fn the_fourth_failure_is_too_many() {
        let mut serving_rate = ServingRate::new();
        (0..3).for_each(|_| serving_rate.failed());
        assert!(!serving_rate.is_too_slow());
        serving_rate.failed();
        assert!(serving_rate.is_too_slow());
    }
}
