//! The lowest acceptable rate at which a peer serves shares. A peer that is too slow, or fails too often, is replaced.

/// Shares per minute that a peer must serve while some are requested from it: half of two full batches per response
/// timeout, or 6 kB/s. A chain of full length arrives within 34 minutes at worst.
const PER_MINUTE_MIN: i64 = 512;
/// Seconds that a peer may fall behind that rate, because slow connections have pauses.
const SLACK_S: i64 = 90;
/// Seconds that a failed batch costs: the fourth in a row, without a share in between, is too many.
const FAILURE_S: i64 = 25;
/// Credit for one share, in the unit of which each second costs [`PER_MINUTE_MIN`].
const PER_SHARE: i64 = 60;

/// Credit of a peer that serves shares, in sixtieths of a share. Time spent waiting for the peer consumes it at the lowest
/// acceptable rate, received shares restore it, and a peer whose credit is negative is too slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ServingRate(i64);

impl ServingRate {
    const FULL: i64 = PER_MINUTE_MIN * SLACK_S;

    pub const fn new() -> Self {
        Self(Self::FULL)
    }

    /// Something was awaited from the peer for so many seconds.
    pub fn waited(&mut self, seconds: u32) {
        self.spend(i64::from(seconds));
    }

    /// The peer failed to give a batch.
    pub fn failed(&mut self) {
        self.spend(FAILURE_S);
    }

    /// The debt is bounded: a peer that was slow for long, while no other could replace it, soon recovers when it is fast.
    fn spend(&mut self, seconds: i64) {
        self.0 = (self.0 - PER_MINUTE_MIN * seconds).max(-Self::FULL);
    }

    /// The peer gave shares. The credit is bounded: past speed does not excuse a long pause.
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
    fn a_peer_may_stall_for_ninety_seconds() {
        let mut rate = ServingRate::new();
        rate.waited(90);
        assert!(!rate.is_too_slow());
        rate.waited(1);
        assert!(rate.is_too_slow());
        rate.gave(9);
        assert!(!rate.is_too_slow());
    }

    #[test]
    fn the_lowest_rate_is_acceptable_for_any_time_and_half_of_it_for_three_minutes() {
        let (mut lowest, mut half) = (ServingRate::new(), ServingRate::new());
        for _ in 0..1_000 {
            lowest.waited(30);
            lowest.gave(256);
            assert!(!lowest.is_too_slow());
        }
        let minutes = (1..).find(|_| {
            half.waited(60);
            half.gave(256);
            half.is_too_slow()
        });
        assert_eq!(minutes, Some(4));
        // Past speed gives no further credit.
        let mut rate = ServingRate::new();
        rate.gave(100_000);
        rate.waited(91);
        assert!(rate.is_too_slow());
    }

    #[test]
    fn the_fourth_failure_in_a_row_is_too_many() {
        let mut rate = ServingRate::new();
        (0..3).for_each(|_| rate.failed());
        assert!(!rate.is_too_slow());
        rate.failed();
        assert!(rate.is_too_slow());
    }
}
