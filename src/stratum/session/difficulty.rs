//! A session's difficulty: what suits the miner, what it was told, how long it may be silent.
//!
//! Two things move what a miner is told. What suits it: vardiff, its own wish, its operator's. And the ceiling, the
//! share difficulty, which moves with every share of the pool. Only the first says something of the miner, so only
//! the first makes vardiff and the idle timer start anew: a credit is worth its difficulty whatever the ceiling was.

use crate::stratum::difficulty::{Difficulty, HASHES_PER_DIFFICULTY};
use crate::stratum::difficulty_history::DifficultyHistory;
use crate::stratum::limits::{Limits, ASSUMED_HASHES_PER_S, IDLE_MS_MAX};
use crate::stratum::vardiff::{Vardiff, AIM_S};

/// A session's difficulty.
#[derive(Debug)]
pub struct SessionDifficulty {
    vardiff: Vardiff,
    /// The operator of the miner wants this one and no other.
    fixed: Option<Difficulty>,
    /// What suited the miner when [`Self::announce`] was last asked.
    suited: Option<Difficulty>,
    history: DifficultyHistory,
    suited_ms: u64,
}

impl SessionDifficulty {
    /// Nothing is announced yet.
    pub fn new(start: Difficulty, now_ms: u64) -> Self {
        Self {
            vardiff: Vardiff::new(start, now_ms),
            fixed: None,
            suited: None,
            history: DifficultyHistory::default(),
            suited_ms: now_ms,
        }
    }

    /// The difficulty announced last.
    pub fn announced(&self) -> Option<Difficulty> {
        self.history.announced()
    }

    /// Since when the miner works at what suits it: its first job, or the first after that changed.
    pub fn suited_ms(&self) -> u64 {
        self.suited_ms
    }

    /// The miner, or what is known of its firmware, suggests this.
    pub fn suggest(&mut self, difficulty: Difficulty, now_ms: u64) {
        self.vardiff.suggest(difficulty, now_ms);
    }

    /// As [`Self::suggest`], but only downwards.
    pub fn suggest_at_most(&mut self, difficulty: Difficulty, now_ms: u64) {
        if difficulty < self.vardiff.wanted() {
            self.suggest(difficulty, now_ms);
        }
    }

    /// From now on this one and no other.
    pub fn fix(&mut self, difficulty: Difficulty) {
        self.fixed = Some(difficulty.max(Difficulty::FLOOR));
    }

    /// The miner takes nothing below this; [`Difficulty::FLOOR`] if it takes anything.
    ///
    /// Only the ceiling may be lower: a pool that asked for more would leave shares in the miner.
    pub fn set_floor(&mut self, floor: Difficulty) {
        self.vardiff.set_floor(floor.announced_up());
    }

    /// Announces what suits under the ceiling, if it differs from what was announced; it binds from `from_job` on.
    pub fn announce(&mut self, ceiling: Difficulty, from_job: u64) -> Option<Difficulty> {
        let suits = self.suits();
        let suited = self.suited.replace(suits);
        let difficulty = suits.min(ceiling);
        if self.announced() == Some(difficulty) {
            return None;
        }
        self.history.announce(from_job, difficulty);
        if suited != Some(suits) {
            self.vardiff.hold();
        }
        Some(difficulty)
    }

    /// As [`Self::announce`], right before a job: what was announced before is in force from now on.
    pub fn on_job(&mut self, ceiling: Difficulty, from_job: u64, now_ms: u64) -> Option<Difficulty> {
        let announced = self.announce(ceiling, from_job);
        if self.vardiff.is_held() {
            self.vardiff.begin(now_ms);
            self.suited_ms = now_ms;
        }
        announced
    }

    /// The difficulty at which a hash counts for a job, if any.
    pub fn credit(&self, job: u64, hash: &[u8; 32]) -> Option<Difficulty> {
        self.history.credit(job, hash)
    }

    /// A share counted; whether another difficulty suits now.
    pub fn on_share(&mut self, credit: Difficulty, now_ms: u64) -> bool {
        self.fixed.is_none() && self.vardiff.on_share(credit, now_ms)
    }

    /// Time has passed; whether another difficulty suits now.
    pub fn on_tick(&mut self, now_ms: u64) -> bool {
        let Some(present) = self.announced() else { return false };
        self.fixed.is_none() && self.vardiff.on_tick(present, now_ms)
    }

    /// There is no work, so nothing can be concluded from silence.
    pub fn pause(&mut self, now_ms: u64) {
        self.vardiff.begin(now_ms);
    }

    /// How long a session may be silent.
    pub fn silence_allowed_ms(&self, limits: &Limits, shown: ShareHistory) -> u64 {
        let difficulty = self.announced().map_or(0.0, Difficulty::get);
        // A float too large for the integer saturates.
        let shares_ms = |share_s: f64| (limits.idle_shares * share_s * 1_000.0) as u64;
        let bounded = |ms: u64, ms_max: u64| ms.clamp(limits.idle_ms_min, ms_max.max(limits.idle_ms_min));
        if shown.credited > 0.0 {
            let mined_ms = |mined_s: f64| shares_ms(difficulty * mined_s / shown.credited);
            bounded(mined_ms(shown.mined_s), IDLE_MS_MAX.max(mined_ms(shown.until_silence_s)))
        } else if self.fixed.is_some() || self.vardiff.is_at_own_floor() {
            bounded(shares_ms(difficulty * HASHES_PER_DIFFICULTY / ASSUMED_HASHES_PER_S), IDLE_MS_MAX)
        } else {
            // Vardiff lowers the difficulty of a silent session until it suits; each time counts from anew.
            bounded(shares_ms(AIM_S), IDLE_MS_MAX)
        }
    }

    /// What the miner would be told if there were no ceiling.
    fn suits(&self) -> Difficulty {
        self.fixed.unwrap_or(self.vardiff.wanted()).announced().max(self.vardiff.floor())
    }
}

/// What a session has shown of its hash rate.
#[derive(Clone, Copy, Debug)]
pub struct ShareHistory {
    /// Sum of the difficulties of its shares.
    pub credited: f64,
    /// How long it has been there.
    pub mined_s: f64,
    /// How long it had been there at its last line.
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

    /// Seconds for which a session may be silent that is told `fixed` and `silent_s` ago had found `shares`.
    fn allowed_s(fixed: f64, shares: f64, until_silence_s: f64, silent_s: f64) -> f64 {
        let mut session = SessionDifficulty::new(Difficulty::FLOOR, 0);
        session.fix(difficulty(fixed));
        session.on_job(difficulty(1e9), 0, 0);
        let shown = ShareHistory { credited: shares * fixed, mined_s: until_silence_s + silent_s, until_silence_s };
        session.silence_allowed_ms(&Limits::default(), shown) as f64 / 1_000.0
    }

    #[test]
    fn a_miner_known_to_be_slow_has_the_time_of_twenty_shares() {
        // One share a day: 20 days, which the session's own silence does not prolong.
        for silent_s in [0.0, DAY_S, 19.0 * DAY_S, 400.0 * DAY_S] {
            assert_eq!(allowed_s(1.0, 3.0, 3.0 * DAY_S, silent_s), 20.0 * DAY_S);
        }
        assert_eq!(allowed_s(1.0, 1_000.0, 1_000.0 * 360.0, 0.0), 2.0 * HOUR_S, "ten an hour");
        assert_eq!(allowed_s(1.0, 360.0, HOUR_S, 0.0), 300.0, "never less than five minutes");
    }

    #[test]
    fn a_miner_of_which_little_is_known_has_a_day() {
        // A share in its first minute may have been luck; but it is not waited for ever.
        assert_eq!(allowed_s(1.0, 1.0, 60.0, 0.0), 20.0 * 60.0);
        assert_eq!(allowed_s(1.0, 1.0, 60.0, HOUR_S), 20.0 * (60.0 + HOUR_S));
        assert_eq!(allowed_s(1.0, 1.0, 60.0, 2.0 * DAY_S), DAY_S);
        // None yet: 20 shares of a CPU, and a day at a difficulty that would take it years.
        assert!((allowed_s(0.5, 0.0, 0.0, 0.0) - 20.0 * 0.5 * 4_295.03).abs() < 1.0);
        assert_eq!(allowed_s(1e6, 0.0, 0.0, 0.0), DAY_S);
    }
}
