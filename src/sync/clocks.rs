//! Compares this machine's clock with the peers' clocks. Nothing else in the planner depends on the time of day.

use super::Sync;
use crate::units::{SteadyTime, UnixTime};

/// A clock this many seconds off is reported.
const CLOCK_OFF_S: u64 = 60;
/// Among fewer peers a single one, or two that disagree, would decide whose clock is wrong.
const CLOCK_PEERS_MIN: usize = 3;
/// Seconds between two reports.
const CLOCK_REPORT_INTERVAL_S: u32 = 600;

impl Sync {
    /// Returns by how many seconds the peers' median clock is ahead of ours, which shows `clock`; `None` while too few peers
    /// have reported theirs.
    ///
    /// Of two middle clocks the one nearer to ours counts, so that half of the peers cannot put ours in the wrong.
    pub fn clock_ahead_s(&self, now: SteadyTime, clock: UnixTime) -> Option<i64> {
        let reported = self.peers.values().filter_map(|peer| Some((peer.status.as_ref()?, peer.status_at)));
        // The peers' clocks advanced since their reports. Ours is read now: when it is set, the result is right at once.
        let mut ahead_s: Vec<i64> = reported
            .map(|(status, at)| i64::from(status.clock.0) + i64::from(now.since(at)) - i64::from(clock.0))
            .collect();
        if ahead_s.len() < CLOCK_PEERS_MIN {
            return None;
        }
        ahead_s.sort_unstable();
        let middle = [(ahead_s.len() - 1) / 2, ahead_s.len() / 2];
        middle.into_iter().map(|at| ahead_s[at]).min_by_key(|ahead_s| ahead_s.unsigned_abs())
    }

    /// Returns the same if our clock is off and no report was made for a while.
    pub fn clock_report(&mut self, now: SteadyTime, clock: UnixTime) -> Option<i64> {
        if now < self.clock_report_due {
            return None;
        }
        let ahead_s = self.clock_ahead_s(now, clock).filter(|ahead_s| ahead_s.unsigned_abs() > CLOCK_OFF_S)?;
        self.clock_report_due = now.plus(CLOCK_REPORT_INTERVAL_S);
        Some(ahead_s)
    }
}
