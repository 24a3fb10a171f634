//! How miners choose header times and targets within the rules.

use p2pool_core::units::UnixTime;

/// Ahead of the clock a share may be at most this much, or it waits (rules, section 5, rule 5).
pub const AHEAD_MAX_S: u32 = 120;

/// What a miner knows when it chooses the time of a header.
#[derive(Clone, Copy, Debug)]
pub struct Situation {
    /// The clock.
    pub now: UnixTime,
    /// The parent's time.
    pub parent: UnixTime,
    /// The earliest time that rule 5 allows.
    pub earliest: UnixTime,
    /// Seconds after the parent that allow one easing.
    pub easing_interval_s: u32,
    /// Shares this miner found before.
    pub found: u64,
}

/// How a miner sets its header times. Whatever they allow it to claim in easing it claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// The clock's time, or the earliest that is allowed.
    Honest,
    /// As far ahead as allowed.
    Latest,
    /// As far back as allowed.
    Earliest,
    /// Turn and turn about.
    Alternate,
    /// Ahead where that allows easing; else back, so that the child may ease the sooner.
    EasingClaims,
}

impl Strategy {
    /// The dishonest ones.
    pub const ATTACKS: [Self; 4] = [Self::Latest, Self::Earliest, Self::Alternate, Self::EasingClaims];

    /// The header time of a share that is found now.
    pub fn time(self, situation: Situation) -> UnixTime {
        let earliest = situation.earliest;
        let latest = situation.now.plus(AHEAD_MAX_S).max(earliest);
        match self {
            Self::Honest => situation.now.max(earliest),
            Self::Latest => latest,
            Self::Earliest => earliest,
            Self::Alternate if situation.found.is_multiple_of(2) => latest,
            Self::Alternate => earliest,
            Self::EasingClaims if latest.since(situation.parent) >= situation.easing_interval_s => latest,
            Self::EasingClaims => earliest,
        }
    }
}
