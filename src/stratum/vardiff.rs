//! Which difficulty suits a miner: one share every ten seconds.
//!
//! The rate is judged every minute against thresholds that narrow as evidence gathers, so that chance alone
//! rarely moves a difficulty that fits. Far too many shares move it at once, none at all move it down by timer. A
//! change counts from the miner's next job on; until then nothing is judged.

use super::difficulty::Difficulty;

/// Aimed time between two shares.
pub const AIM_S: f64 = 10.0;
/// The rate is judged whenever a multiple of this has passed.
const JUDGE_EVERY_MS: u64 = 60_000;
/// After so many minutes: a rate wrong by so much in either direction is no accident. Counts of shares vary by their
/// square root, so at 10 s per share each is wrong about one time in thirty.
const THRESHOLDS: [(u64, f64); 7] = [(1, 4.0), (2, 2.2), (3, 1.8), (4, 1.6), (5, 1.5), (8, 1.4), (10, 1.35)];
/// Minutes after which what was seen is forgotten, so that a change of pace is not averaged away.
const WINDOW_MINUTES: u64 = 10;
/// Enough shares to judge at once ...
const QUICK_SHARES: u32 = 8;
/// ... if they come so many times too fast.
const QUICK_FACTOR: f64 = 8.0;
/// Shortest time that a rate is taken from: shares that arrive in one packet say little.
const SPAN_MS_MIN: u64 = 100;
/// A miner that found shares and fell silent is given this many halvings, one a minute: enough to find out
/// that most machines behind a proxy are gone, not so many that it floods the node when it is back.
const HALVINGS_MAX: u32 = 8;
/// A miner that never found anything: the n-th silent minute divides by 4^n, up to this n.
const QUARTERINGS_MAX: u32 = 4;

/// Follows one session's difficulty.
#[derive(Clone, Debug)]
pub struct Vardiff {
    wanted: Difficulty,
    floor: Difficulty,
    /// Start of what is being judged.
    since_ms: u64,
    minutes_judged: u64,
    shares: u32,
    /// Sum of the difficulties of those shares.
    credited: f64,
    has_found: bool,
    silent_minutes: u32,
    held: bool,
}

impl Vardiff {
    /// Starts with a difficulty.
    pub fn new(start: Difficulty, now_ms: u64) -> Self {
        Self {
            wanted: start.max(Difficulty::FLOOR),
            floor: Difficulty::FLOOR,
            since_ms: now_ms,
            minutes_judged: 0,
            shares: 0,
            credited: 0.0,
            has_found: false,
            silent_minutes: 0,
            held: false,
        }
    }

    /// The difficulty that suits the miner; what it gets may be lower, see [`SharedState`](super::SharedState).
    pub fn wanted(&self) -> Difficulty {
        self.wanted
    }

    /// The miner's own wish: go on from here.
    pub fn suggest(&mut self, difficulty: Difficulty, now_ms: u64) {
        self.move_to(difficulty.get(), now_ms);
    }

    /// What the miner takes at least.
    pub fn floor(&self) -> Difficulty {
        self.floor
    }

    /// The miner takes nothing below this; [`Difficulty::FLOOR`] if it takes anything.
    pub fn set_floor(&mut self, floor: Difficulty) {
        self.floor = floor.max(Difficulty::FLOOR);
        self.wanted = self.wanted.max(self.floor);
    }

    /// Whether the miner gets what its own floor is, so that silence cannot lower it further.
    pub fn is_at_own_floor(&self) -> bool {
        self.floor > Difficulty::FLOOR && self.wanted <= self.floor
    }

    /// A change was announced; nothing is judged until [`Self::begin`].
    pub fn hold(&mut self) {
        self.held = true;
    }

    /// Whether a change waits for the next job.
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// Judges anew from now on.
    pub fn begin(&mut self, now_ms: u64) {
        self.since_ms = now_ms;
        self.minutes_judged = 0;
        self.shares = 0;
        self.credited = 0.0;
        self.held = false;
    }

    /// A share of this difficulty came; whether the wanted difficulty changed.
    pub fn on_share(&mut self, credit: Difficulty, now_ms: u64) -> bool {
        self.has_found = true;
        self.silent_minutes = 0;
        if self.held {
            return false;
        }
        self.shares = self.shares.saturating_add(1);
        self.credited += credit.get();
        let span_s = now_ms.saturating_sub(self.since_ms).max(SPAN_MS_MIN) as f64 / 1_000.0;
        let suits = self.credited / span_s * AIM_S;
        let too_fast = self.shares >= QUICK_SHARES && suits > self.wanted.get() * QUICK_FACTOR;
        too_fast && self.move_to(suits, now_ms)
    }

    /// Time has passed; `present` is the difficulty the miner works at. Whether the wanted one changed.
    pub fn on_tick(&mut self, present: Difficulty, now_ms: u64) -> bool {
        let passed_ms = now_ms.saturating_sub(self.since_ms);
        let minutes = passed_ms / JUDGE_EVERY_MS;
        if self.held || minutes <= self.minutes_judged {
            return false;
        }
        self.minutes_judged = minutes;
        if self.shares == 0 {
            return self.decay(present, now_ms);
        }
        // One share more, as if the miner had come with the difficulty it has: tempers what few shares say.
        let suits = (self.credited + present.get()) / (passed_ms as f64 / 1_000.0 + AIM_S) * AIM_S;
        let off = suits / self.wanted.get();
        let threshold = THRESHOLDS.iter().rev().find(|(from, _)| *from <= minutes).map_or(f64::MAX, |(_, off)| *off);
        if off > threshold || off < 1.0 / threshold {
            return self.move_to(suits, now_ms);
        }
        if minutes >= WINDOW_MINUTES {
            self.begin(now_ms);
        }
        false
    }

    fn decay(&mut self, present: Difficulty, now_ms: u64) -> bool {
        self.silent_minutes = self.silent_minutes.saturating_add(1);
        let divisor = match (self.has_found, self.silent_minutes) {
            (true, minutes) if minutes > HALVINGS_MAX => return false,
            (true, _) => 2.0,
            (false, minutes) => f64::from(4u32.pow(minutes.min(QUARTERINGS_MAX))),
        };
        self.move_to(self.wanted.min(present).get() / divisor, now_ms)
    }

    fn move_to(&mut self, difficulty: f64, now_ms: u64) -> bool {
        let before = self.wanted;
        self.wanted = Difficulty::new(difficulty).unwrap_or(self.floor).max(self.floor);
        self.begin(now_ms);
        self.wanted != before
    }
}

#[cfg(test)]
mod tests;
