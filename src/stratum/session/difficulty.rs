//! The difficulty of a session, and its idle timeout.
//!
//! Two things change the announced difficulty: what suits the miner (vardiff, its suggestion, its operator's setting) and
//! the ceiling, the share difficulty, which changes with every share of the pool. Only a change of the former restarts
//! vardiff and the idle timer: a credit is worth its difficulty under any ceiling.

use crate::stratum::difficulty::{Difficulty, HASHES_PER_DIFFICULTY};
use crate::stratum::difficulty_history::DifficultyHistory;
use crate::stratum::limits::{Limits, ASSUMED_HASHES_PER_S, IDLE_MS_MAX};
use crate::stratum::user_agents::DifficultyRange;
use crate::stratum::vardiff::{Vardiff, TARGET_INTERVAL_S};
use crate::units::SteadyTime;

/// The difficulty of a session.
#[derive(Debug)]
pub struct SessionDifficulty {
    vardiff: Vardiff,
    /// The difficulty that the miner's operator fixed.
    fixed: Option<Difficulty>,
    /// The lowest difficulty that the miner accepts; [`Difficulty::FLOOR`] if it accepts any.
    own_floor: Difficulty,
    /// The range of difficulties that its firmware is known to need.
    firmware: DifficultyRange,
    /// The suitable difficulty at the last [`Self::on_job`].
    last_suitable: Option<Difficulty>,
    history: DifficultyHistory,
    effective_since: SteadyTime,
}

impl SessionDifficulty {
    pub fn new(start: Difficulty, now: SteadyTime) -> Self {
        Self {
            vardiff: Vardiff::new(start, now),
            fixed: None,
            own_floor: Difficulty::FLOOR,
            firmware: DifficultyRange::default(),
            last_suitable: None,
            history: DifficultyHistory::default(),
            effective_since: now,
        }
    }

    /// The last announced difficulty.
    pub fn announced(&self) -> Option<Difficulty> {
        self.history.announced()
    }

    /// When the suitable difficulty took effect: with the first job, or the first one after it changed.
    pub fn effective_since(&self) -> SteadyTime {
        self.effective_since
    }

    /// Sets the difficulty that the miner suggests, or that its firmware is known to need.
    pub fn suggest(&mut self, difficulty: Difficulty, now: SteadyTime) {
        self.vardiff.suggest(difficulty, now);
    }

    /// As [`Self::suggest`], but only lowers the difficulty.
    pub fn suggest_at_most(&mut self, difficulty: Difficulty, now: SteadyTime) {
        if difficulty < self.vardiff.difficulty() {
            self.suggest(difficulty, now);
        }
    }

    /// Fixes the difficulty.
    pub fn fix(&mut self, difficulty: Difficulty) {
        self.fixed = Some(difficulty.max(Difficulty::FLOOR));
    }

    /// Sets the lowest difficulty that the miner accepts; [`Difficulty::FLOOR`] if it accepts any.
    ///
    /// The ceiling may still be lower: above it, the miner would not submit all shares.
    pub fn set_floor(&mut self, floor: Difficulty) {
        self.own_floor = floor.announced_up();
        self.apply_floors();
    }

    /// Sets the range of difficulties that the miner's firmware is known to need.
    pub fn set_firmware_range(&mut self, range: DifficultyRange) {
        self.firmware = range;
        self.apply_floors();
    }

    fn apply_floors(&mut self) {
        self.vardiff.set_floor(self.firmware.floor.map_or(self.own_floor, |floor| floor.max(self.own_floor)));
    }

    /// Suspends vardiff until the next job if the suitable difficulty has changed.
    ///
    /// The change is announced with that job and not before: some firmware judges work in progress by the last difficulty
    /// it received. Nor is the current job sent again, since firmware would begin it again with the same nonces.
    pub fn await_job_if_changed(&mut self) {
        if self.last_suitable.is_some_and(|last| last != self.suitable()) {
            self.vardiff.await_job();
        }
    }

    /// Returns the difficulty to announce directly before a job, if it differs from the last announced one. It applies from
    /// the job with sequence number `from_job` on.
    pub fn on_job(&mut self, ceiling: Difficulty, from_job: u64, now: SteadyTime) -> Option<Difficulty> {
        let suitable = self.suitable();
        if self.last_suitable.replace(suitable) != Some(suitable) || self.vardiff.awaits_job() {
            self.vardiff.restart(now);
            self.effective_since = now;
        }
        let difficulty = suitable.min(ceiling);
        let difficulty = self.firmware.least().map_or(difficulty, |least| difficulty.max(least));
        if self.announced() == Some(difficulty) {
            return None;
        }
        self.history.announce(from_job, difficulty);
        Some(difficulty)
    }

    /// The difficulty that a hash is credited with for a job, if any.
    pub fn credit(&self, job: u64, hash: &[u8; 32]) -> Option<Difficulty> {
        self.history.credit(job, hash)
    }

    /// Counts an accepted submit. Returns whether the suitable difficulty changed.
    pub fn on_share(&mut self, credit: Difficulty, now: SteadyTime) -> bool {
        self.fixed.is_none() && self.vardiff.on_share(credit, now)
    }

    /// Checks vardiff's timers. Returns whether the suitable difficulty changed.
    pub fn on_tick(&mut self, now: SteadyTime) -> bool {
        let Some(current) = self.announced() else { return false };
        self.fixed.is_none() && self.vardiff.on_tick(current, now)
    }

    /// Restarts vardiff while there is no work, since silence then means nothing.
    pub fn pause(&mut self, now: SteadyTime) {
        self.vardiff.restart(now);
    }

    /// The idle timeout of the session.
    pub fn idle_timeout_ms(&self, limits: &Limits, history: ShareHistory) -> u64 {
        let difficulty = self.announced().map_or(0.0, Difficulty::get);
        // The conversion to an integer saturates.
        let shares_ms = |share_s: f64| (limits.idle_shares * share_s * 1_000.0) as u64;
        let bounded = |ms: u64, ms_max: u64| ms.clamp(limits.idle_ms_min, ms_max.max(limits.idle_ms_min));
        if history.credited > 0.0 {
            let mined_ms = |mined_s: f64| shares_ms(difficulty * mined_s / history.credited);
            bounded(mined_ms(history.mined_s), IDLE_MS_MAX.max(mined_ms(history.until_silence_s)))
        } else if self.fixed.is_some() || self.is_at_own_floor() {
            bounded(shares_ms(difficulty * HASHES_PER_DIFFICULTY / ASSUMED_HASHES_PER_S), IDLE_MS_MAX)
        } else {
            // Vardiff lowers the difficulty of a silent session until it suits; each change restarts the idle timer.
            bounded(shares_ms(TARGET_INTERVAL_S), IDLE_MS_MAX)
        }
    }

    /// Whether the difficulty is at the miner's own floor, so that silence cannot lower it further.
    fn is_at_own_floor(&self) -> bool {
        self.own_floor > Difficulty::FLOOR && self.vardiff.difficulty() <= self.own_floor
    }

    /// The difficulty without the share difficulty as its ceiling.
    fn suitable(&self) -> Difficulty {
        let suitable = self.fixed.unwrap_or(self.vardiff.difficulty()).announced().max(self.vardiff.floor());
        self.firmware.ceiling.map_or(suitable, |ceiling| suitable.min(ceiling))
    }
}

/// What is known of a session's hash rate.
#[derive(Clone, Copy, Debug)]
pub struct ShareHistory {
    /// Sum of the difficulties of its accepted submits.
    pub credited: f64,
    /// Seconds since it connected.
    pub mined_s: f64,
    /// Seconds from connecting to its last line.
    pub until_silence_s: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_S: f64 = 3_600.0;
    const DAY_S: f64 = 24.0 * HOUR_S;

    fn difficulty(number: f64) -> Difficulty {
        Difficulty::new(number).unwrap()
    }

    /// Idle timeout in seconds of a session at difficulty `fixed` that found `shares` until `silent_s` ago.
    fn timeout_s(fixed: f64, shares: f64, until_silence_s: f64, silent_s: f64) -> f64 {
        let mut session = SessionDifficulty::new(Difficulty::FLOOR, SteadyTime::default());
        session.fix(difficulty(fixed));
        session.on_job(difficulty(1e9), 0, SteadyTime::default());
        let history = ShareHistory { credited: shares * fixed, mined_s: until_silence_s + silent_s, until_silence_s };
        session.idle_timeout_ms(&Limits::default(), history) as f64 / 1_000.0
    }

    #[test]
    fn a_miner_known_to_be_slow_has_the_time_of_twenty_shares() {
        // One share a day gives 20 days, which the current silence does not extend.
        for silent_s in [0.0, DAY_S, 19.0 * DAY_S, 400.0 * DAY_S] {
            assert_eq!(timeout_s(1.0, 3.0, 3.0 * DAY_S, silent_s), 20.0 * DAY_S);
        }
        assert_eq!(timeout_s(1.0, 1_000.0, 1_000.0 * 360.0, 0.0), 2.0 * HOUR_S, "ten per hour");
        assert_eq!(timeout_s(1.0, 360.0, HOUR_S, 0.0), 300.0, "never less than five minutes");
    }

    #[test]
    fn a_miner_with_few_shares_has_at_most_a_day() {
        // A share in the first minute may have been luck, but the timeout is bounded.
        assert_eq!(timeout_s(1.0, 1.0, 60.0, 0.0), 20.0 * 60.0);
        assert_eq!(timeout_s(1.0, 1.0, 60.0, HOUR_S), 20.0 * (60.0 + HOUR_S));
        assert_eq!(timeout_s(1.0, 1.0, 60.0, 2.0 * DAY_S), DAY_S);
        // Without shares: 20 shares of a CPU, and a day at a difficulty that would take a CPU years.
        assert!((timeout_s(0.5, 0.0, 0.0, 0.0) - 20.0 * 0.5 * 4_295.03).abs() < 1.0);
        assert_eq!(timeout_s(1e6, 0.0, 0.0, 0.0), DAY_S);
    }
}
