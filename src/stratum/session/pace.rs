//! A session's difficulty: what suits the miner, what it was told, how long it may be silent.
//!
//! Two things move what a miner is told. What suits it: vardiff, its own wish, its operator's. And the ceiling, the
//! share difficulty, which moves with every share of the pool. Only the first says something of the miner, so only
//! the first makes vardiff and the idle timer start anew: a credit is worth its difficulty whatever the ceiling was.

use crate::stratum::bindings::Bindings;
use crate::stratum::difficulty::{Difficulty, HASHES_PER_DIFFICULTY};
use crate::stratum::limits::{Limits, ASSUMED_HASHES_PER_S, IDLE_MS_MAX};
use crate::stratum::vardiff::{Vardiff, AIM_S};

/// A session's difficulty.
#[derive(Debug)]
pub struct Pace {
    vardiff: Vardiff,
    /// The operator of the miner wants this one and no other.
    fixed: Option<Difficulty>,
    /// What suited the miner when [`Self::announce`] was last asked.
    suited: Option<Difficulty>,
    bindings: Bindings,
    suited_ms: u64,
}

impl Pace {
    /// Nothing is announced yet.
    pub fn new(start: Difficulty, now_ms: u64) -> Self {
        Self {
            vardiff: Vardiff::new(start, now_ms),
            fixed: None,
            suited: None,
            bindings: Bindings::default(),
            suited_ms: now_ms,
        }
    }

    /// The difficulty announced last.
    pub fn announced(&self) -> Option<Difficulty> {
        self.bindings.announced()
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

    /// The miner takes nothing below this.
    pub fn set_floor(&mut self, floor: Difficulty) {
        self.vardiff.set_floor(floor);
    }

    /// Announces what suits under the ceiling, if it differs from what was announced; it binds from `from_job` on.
    pub fn announce(&mut self, ceiling: Difficulty, from_job: u64) -> Option<Difficulty> {
        let suits = self.suits();
        let suited = self.suited.replace(suits);
        let difficulty = suits.min(ceiling);
        if self.announced() == Some(difficulty) {
            return None;
        }
        self.bindings.announce(from_job, difficulty);
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
        self.bindings.credit(job, hash)
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

    /// What the miner would be told if there were no ceiling.
    fn suits(&self) -> Difficulty {
        self.fixed.unwrap_or(self.vardiff.wanted()).announced()
    }

    /// How long a session may be silent that found shares of summed difficulty `credited` in `mined_s`.
    pub fn silence_allowed_ms(&self, limits: &Limits, credited: f64, mined_s: f64) -> u64 {
        let difficulty = self.announced().map_or(0.0, Difficulty::get);
        let share_s = if credited > 0.0 {
            difficulty * mined_s / credited
        } else if self.fixed.is_some() || self.vardiff.is_at_own_floor() {
            difficulty * HASHES_PER_DIFFICULTY / ASSUMED_HASHES_PER_S
        } else {
            // Vardiff lowers the difficulty of a silent session until it suits; each time counts from anew.
            AIM_S
        };
        // A float too large for the integer saturates.
        ((limits.idle_shares * share_s * 1_000.0) as u64).clamp(limits.idle_ms_min, IDLE_MS_MAX.max(limits.idle_ms_min))
    }
}
