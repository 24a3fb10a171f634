//! Variable difficulty: finds the difficulty at which a miner submits once every ten seconds.
//!
//! The rate of shares is evaluated every minute against thresholds that narrow as evidence accumulates, so that chance
//! rarely changes a suitable difficulty. Far too many shares change it at once; silence lowers it by timer. A change takes
//! effect with the miner's next job; until then nothing is evaluated.

use super::difficulty::Difficulty;
use crate::units::SteadyTime;

/// Target interval between two shares.
pub const TARGET_INTERVAL_S: f64 = 10.0;
/// Interval at which the rate of shares is evaluated.
const EVALUATION_INTERVAL_MS: u64 = 60_000;
/// From this number of minutes on, a rate that is wrong by this factor in either direction changes the difficulty. The
/// count of shares varies by its square root, so at one share per 10 s each threshold is wrong one time in thirty.
const THRESHOLDS: [(u64, f64); 7] = [(1, 4.0), (2, 2.2), (3, 1.8), (4, 1.6), (5, 1.5), (8, 1.4), (10, 1.35)];
/// Number of minutes after which the evidence is discarded, so that changes of the hash rate are not averaged away.
const WINDOW_MINUTES: u64 = 10;
/// Number of shares that allow an evaluation before the minute is over, if the rate is too high by [`QUICK_FACTOR`].
const QUICK_SHARES: u32 = 8;
/// Factor by which the rate must be too high for an early evaluation.
const QUICK_FACTOR: f64 = 8.0;
/// Shortest time span that a rate is computed over, since several shares may arrive in one packet.
const SPAN_MS_MIN: u64 = 100;
/// Largest number of halvings, one per minute, for a miner that found shares and then fell silent. Enough to adapt if most
/// machines behind a proxy stop, but not so many that the miner floods the node when it resumes.
const HALVINGS_MAX: u32 = 8;
/// For a miner that never found a share, the n-th silent minute divides the difficulty by 4^n, up to this n.
const QUARTERINGS_MAX: u32 = 4;

/// The variable difficulty of a session.
#[derive(Clone, Debug)]
pub struct Vardiff {
    difficulty: Difficulty,
    floor: Difficulty,
    /// Start of the evidence.
    since: SteadyTime,
    minutes_evaluated: u64,
    shares: u32,
    /// Sum of the difficulties of the shares.
    credited: f64,
    has_found: bool,
    silent_minutes: u32,
    awaits_job: bool,
}

impl Vardiff {
    pub fn new(start: Difficulty, now: SteadyTime) -> Self {
        Self {
            difficulty: start.max(Difficulty::FLOOR),
            floor: Difficulty::FLOOR,
            since: now,
            minutes_evaluated: 0,
            shares: 0,
            credited: 0.0,
            has_found: false,
            silent_minutes: 0,
            awaits_job: false,
        }
    }

    /// The difficulty that suits the miner. The announced one may be lower, because of the ceiling.
    pub fn difficulty(&self) -> Difficulty {
        self.difficulty
    }

    /// Continues from a difficulty that the miner suggests.
    pub fn suggest(&mut self, difficulty: Difficulty, now: SteadyTime) {
        self.change_to(difficulty.get(), now);
    }

    /// The lowest difficulty that the miner accepts.
    pub fn floor(&self) -> Difficulty {
        self.floor
    }

    /// Sets the lowest difficulty that the miner accepts; [`Difficulty::FLOOR`] if it accepts any.
    pub fn set_floor(&mut self, floor: Difficulty) {
        self.floor = floor.max(Difficulty::FLOOR);
        self.difficulty = self.difficulty.max(self.floor);
    }

    /// Suspends the evaluation after a change was announced, until [`Self::restart`].
    pub fn await_job(&mut self) {
        self.awaits_job = true;
    }

    /// Whether an announced change waits for the next job.
    pub fn awaits_job(&self) -> bool {
        self.awaits_job
    }

    /// Discards the evidence and starts a new evaluation.
    pub fn restart(&mut self, now: SteadyTime) {
        self.since = now;
        self.minutes_evaluated = 0;
        self.shares = 0;
        self.credited = 0.0;
        self.awaits_job = false;
    }

    /// Counts a share of this difficulty. Returns whether the suitable difficulty changed.
    pub fn on_share(&mut self, credit: Difficulty, now: SteadyTime) -> bool {
        self.has_found = true;
        self.silent_minutes = 0;
        if self.awaits_job {
            return false;
        }
        self.shares = self.shares.saturating_add(1);
        self.credited += credit.get();
        let span_s = now.since_ms(self.since).max(SPAN_MS_MIN) as f64 / 1_000.0;
        let suitable = self.credited / span_s * TARGET_INTERVAL_S;
        let is_too_fast = self.shares >= QUICK_SHARES && suitable > self.difficulty.get() * QUICK_FACTOR;
        is_too_fast && self.change_to(suitable, now)
    }

    /// Evaluates the rate of shares if it is time; `current` is the difficulty of the miner's work. Returns whether the
    /// suitable difficulty changed.
    pub fn on_tick(&mut self, current: Difficulty, now: SteadyTime) -> bool {
        let passed_ms = now.since_ms(self.since);
        let minutes = passed_ms / EVALUATION_INTERVAL_MS;
        if self.awaits_job || minutes <= self.minutes_evaluated {
            return false;
        }
        self.minutes_evaluated = minutes;
        if self.shares == 0 {
            return self.decay(current, now);
        }
        // One additional share at the current difficulty and interval dampens the effect of few shares.
        let suitable =
            (self.credited + current.get()) / (passed_ms as f64 / 1_000.0 + TARGET_INTERVAL_S) * TARGET_INTERVAL_S;
        let factor = suitable / self.difficulty.get();
        let threshold =
            THRESHOLDS.iter().rev().find(|(from, _)| *from <= minutes).map_or(f64::MAX, |(_, factor)| *factor);
        if factor > threshold || factor < 1.0 / threshold {
            return self.change_to(suitable, now);
        }
        if minutes >= WINDOW_MINUTES {
            self.restart(now);
        }
        false
    }

    fn decay(&mut self, current: Difficulty, now: SteadyTime) -> bool {
        self.silent_minutes = self.silent_minutes.saturating_add(1);
        let divisor = match (self.has_found, self.silent_minutes) {
            (true, minutes) if minutes > HALVINGS_MAX => return false,
            (true, _) => 2.0,
            (false, minutes) => f64::from(4u32.pow(minutes.min(QUARTERINGS_MAX))),
        };
        self.change_to(self.difficulty.min(current).get() / divisor, now)
    }

    fn change_to(&mut self, difficulty: f64, now: SteadyTime) -> bool {
        let before = self.difficulty;
        self.difficulty = Difficulty::new(difficulty).unwrap_or(self.floor).max(self.floor);
        self.restart(now);
        self.difficulty != before
    }
}

#[cfg(test)]
mod tests;
