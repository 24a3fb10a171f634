//! The two clocks: one that runs evenly, for timeouts, and the time of day, for share times and what is published.

pub use crate::units::Now;
use crate::units::{SteadyTime, UnixTime};

/// Seconds by which the two clocks may drift apart between two readings: reading takes time, and there are leap seconds.
const READING_S: u32 = 2;

/// Converts moments of the steady clock to times of day.
#[derive(Debug)]
pub struct WallClock {
    /// The time of day at the steady clock's zero.
    zero: UnixTime,
}

impl WallClock {
    /// Aligns both clocks.
    pub const fn new(now: Now) -> Self {
        Self { zero: now.time.minus(now.steady.as_s()) }
    }

    /// The time of day of a moment.
    pub const fn time_of(&self, moment: SteadyTime) -> UnixTime {
        self.zero.plus(moment.as_s())
    }

    /// Follows the system's clock. Returns by how many seconds it was set, if it was.
    pub fn follow(&mut self, now: Now) -> Option<i64> {
        let before = self.time_of(now.steady);
        let (ahead_s, behind_s) = (now.time.since(before), before.since(now.time));
        if ahead_s.max(behind_s) <= READING_S {
            return None;
        }
        *self = Self::new(now);
        Some(i64::from(ahead_s) - i64::from(behind_s))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(steady_s: u32, time: u32) -> Now {
        Now { steady: SteadyTime::from_s(steady_s), time: UnixTime(time) }
    }

    #[test]
    fn moments_follow_a_clock_that_is_set_and_do_not_jitter() {
        let mut clock = WallClock::new(at(0, 1_000_000));
        let moment = SteadyTime::from_s(100);
        assert_eq!(clock.time_of(moment), UnixTime(1_000_100));
        assert_eq!(clock.follow(at(200, 1_000_202)), None, "one was read a little later than the other");
        assert_eq!(clock.time_of(moment), UnixTime(1_000_100));
        assert_eq!(clock.follow(at(200, 1_700_000_200)), Some(1_699_000_000));
        assert_eq!(clock.time_of(moment), UnixTime(1_700_000_100));
        assert_eq!(clock.follow(at(200, 1_699_993_000)), Some(-7_200));
        assert_eq!(clock.time_of(moment), UnixTime(1_699_992_900));
        assert_eq!(clock.follow(at(200, 50)), Some(50 - 1_699_993_000));
        assert_eq!(clock.time_of(moment), UnixTime(100), "before 1970 there is nothing");
    }
}
