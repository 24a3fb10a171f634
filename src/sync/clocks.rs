//! Compares this machine's clock with the peers' clocks. Nothing else in the planner depends on the time of day.

use std::collections::BTreeMap;

use super::Sync;
use crate::peer::PeerHandle;
use crate::units::{SteadyTime, UnixTime};

/// A clock this many seconds off is reported.
const CLOCK_OFF_S: u64 = 60;
/// Among fewer netgroups a single one, or two that disagree, would decide whose clock is wrong.
const CLOCK_GROUPS_MIN: usize = 3;
/// Seconds between two reports.
const CLOCK_REPORT_INTERVAL_S: u32 = 600;

impl Sync {
    /// Returns by how many seconds our clock, which shows `clock`, is ahead of the peers' median; `None` while too few have
    /// reported theirs.
    ///
    /// Peers of one netgroup count as one, whose clock is the median of theirs. Of two middle clocks the one nearer to ours
    /// counts, so that half of the peers cannot put ours in the wrong.
    pub fn clock_ahead_s(&self, now: SteadyTime, clock: UnixTime) -> Option<i64> {
        let mut groups: BTreeMap<(Option<u64>, Option<PeerHandle>), Vec<i64>> = BTreeMap::new();
        for (id, peer) in &self.peers {
            let Some(status) = &peer.status else { continue };
            // The peers' clocks advanced since their reports. Ours is read now: when it is set, the result is right at once.
            let theirs = i64::from(status.clock.0) + i64::from(now.since(peer.status_at));
            let group = id.netgroup();
            // Peers on the operator's own network share no limits.
            let own = group.is_none().then_some(*id);
            groups.entry((group, own)).or_default().push(i64::from(clock.0) - theirs);
        }
        if groups.len() < CLOCK_GROUPS_MIN {
            return None;
        }
        median_nearest_zero(groups.into_values().filter_map(median_nearest_zero).collect())
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

/// The median; of two in the middle the one nearer to zero.
fn median_nearest_zero(mut values: Vec<i64>) -> Option<i64> {
    values.sort_unstable();
    let middle = [values.len().saturating_sub(1) / 2, values.len() / 2];
    middle.into_iter().filter_map(|at| values.get(at)).min_by_key(|value| value.unsigned_abs()).copied()
}
