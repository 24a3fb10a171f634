//! The clocks: one that runs evenly, for waits, and the time of day, for what others must agree on.

use std::time::{Instant, SystemTime};

use log::warn;
use p2pool_core::units::{SteadyTime, UnixTime};

/// Seconds between the two clocks' readings that come from reading one after the other, and from leap seconds.
const READING_S: u32 = 2;

/// Both clocks.
pub struct Clock {
    started: Instant,
    /// The time of day of the start.
    started_at: UnixTime,
}

impl Clock {
    /// Starts the steady one.
    pub fn start() -> Self {
        Self { started: Instant::now(), started_at: now() }
    }

    /// Now, for waits.
    pub fn steady(&self) -> SteadyTime {
        SteadyTime::from(self.started.elapsed())
    }

    /// The time of day of a moment of the steady clock.
    pub const fn time_of(&self, moment: SteadyTime) -> UnixTime {
        self.started_at.plus(moment.0)
    }

    /// Follows the system's clock where it was set.
    pub fn follow(&mut self) {
        self.follow_to(self.steady(), now());
    }

    fn follow_to(&mut self, steady: SteadyTime, now: UnixTime) {
        let before = self.time_of(steady);
        let (ahead_s, behind_s) = (now.since(before), before.since(now));
        if ahead_s.max(behind_s) > READING_S {
            warn!("the system's clock was set by {} s", i64::from(ahead_s) - i64::from(behind_s));
            self.started_at = now.minus(steady.0);
        }
    }
}

/// The time of day.
pub(crate) fn now() -> UnixTime {
    UnixTime::from(SystemTime::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_shown_by_the_clock_as_it_is_set_and_do_not_tremble() {
        let mut clock = Clock { started: Instant::now(), started_at: UnixTime(1_000_000) };
        let moment = SteadyTime(100);
        assert_eq!(clock.time_of(moment), UnixTime(1_000_100));
        // Read a little later than the other.
        clock.follow_to(SteadyTime(200), UnixTime(1_000_202));
        assert_eq!(clock.time_of(moment), UnixTime(1_000_100));
        for set in [UnixTime(1_700_000_200), UnixTime(1_699_993_000), UnixTime(50)] {
            clock.follow_to(SteadyTime(200), set);
            assert_eq!(clock.time_of(moment), if set.0 < 100 { UnixTime(100) } else { set.minus(100) });
            assert_eq!(clock.time_of(SteadyTime(200)).max(UnixTime(200)), set.max(UnixTime(200)));
        }
    }

    #[test]
    fn the_steady_clock_starts_at_nothing() {
        assert!(Clock::start().steady() < SteadyTime(60));
    }
}
