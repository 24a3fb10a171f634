//! Whether our clock agrees with those of the peers: the only place where the time of day counts.

use super::Sync;
use crate::units::{SteadyTime, UnixTime};

/// A peers' median clock this far from ours is reported, every so often.
const CLOCK_OFF_S: u64 = 60;
/// With fewer peers one of them alone, or two that disagree, would decide whose clock is wrong.
const CLOCK_PEERS_MIN: usize = 3;
const CLOCK_REPORT_EVERY_S: u32 = 600;

impl Sync {
    /// Seconds that the connected peers' clocks, by their median, are ahead of ours, which says `clock`; none while too few
    /// have told theirs.
    ///
    /// Of two middle ones the nearer to ours counts, so that half of the peers cannot blame us.
    pub fn clock_ahead_s(&self, now: SteadyTime, clock: UnixTime) -> Option<i64> {
        let told = self.peers.values().filter_map(|peer| Some((peer.status.as_ref()?, peer.status_at)));
        // Theirs went on since: set in the meantime, ours is right at once.
        let mut ahead_s: Vec<i64> = told
            .map(|(status, at)| i64::from(status.clock.0) + i64::from(now.since(at)) - i64::from(clock.0))
            .collect();
        if ahead_s.len() < CLOCK_PEERS_MIN {
            return None;
        }
        ahead_s.sort_unstable();
        let middle = [ahead_s.len().saturating_sub(1) / 2, ahead_s.len() / 2];
        middle.into_iter().filter_map(|at| ahead_s.get(at).copied()).min_by_key(|ahead_s| ahead_s.unsigned_abs())
    }

    /// The same if our clock is off and that is to be reported now: every so often.
    pub fn clock_report(&mut self, now: SteadyTime, clock: UnixTime) -> Option<i64> {
        let is_off = |ahead_s: &i64| ahead_s.unsigned_abs() > CLOCK_OFF_S;
        let off = self.clock_ahead_s(now, clock).filter(is_off).filter(|_| now >= self.clock_report_due)?;
        self.clock_report_due = now.plus(CLOCK_REPORT_EVERY_S);
        Some(off)
    }
}
