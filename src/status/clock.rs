//! How this machine's clock compares with others.

use std::fmt;

/// How far this machine's clock is from others. Positive seconds say that it is ahead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockStatus {
    /// Seconds ahead of bitcoind's clock, at least; `None` if that is unknown.
    pub ahead_of_bitcoind_s: Option<i64>,
    /// Seconds ahead of the median of the peers' clocks; `None` if too few of them report.
    pub ahead_of_peers_s: Option<i64>,
    /// Why miners get no work, if it is for the clock.
    pub fault: Option<ClockFault>,
}

/// A clock that is so wrong that miners get no work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockFault {
    /// Seconds that it is ahead of the witness.
    pub ahead_s: i64,
    pub witness: ClockWitness,
}

/// Who says that a clock is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockWitness {
    Bitcoind,
    /// Most peers, and the time of Bitcoin's newest block.
    Peers,
    /// The times of Bitcoin's newest blocks alone: the clock is behind their median, or it is ahead, or bitcoind lacks blocks.
    Blocks,
}

impl fmt::Display for ClockFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ahead_s, witness } = self;
        let (by_s, relation) = (ahead_s.unsigned_abs(), if *ahead_s < 0 { "behind" } else { "ahead of" });
        match witness {
            ClockWitness::Bitcoind => write!(f, "{by_s} s {relation} bitcoind's"),
            ClockWitness::Peers => write!(f, "{by_s} s {relation} the peers', and Bitcoin's newest blocks confirm it"),
            ClockWitness::Blocks if *ahead_s < 0 => write!(f, "more than {by_s} s behind Bitcoin's newest blocks"),
            ClockWitness::Blocks => write!(f, "{by_s} s ahead of Bitcoin's newest block, or bitcoind lacks blocks"),
        }
    }
}
