//! Why a submit was refused, in Stratum's error codes.

use std::fmt;

/// A refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    /// Error 20: says what is wrong with the request.
    Malformed(&'static str),
    /// Error 20: more submits than a session may send.
    TooMany,
    /// Error 20: the node could not take a good share just now; it is worth sending again.
    Busy,
    /// Error 21: the job was never handed out or is long gone.
    UnknownJob,
    /// Error 21: the job's Bitcoin block has a successor, or work was withdrawn.
    Stale,
    /// Error 22: the same header came before.
    Duplicate,
    /// Error 23: the hash is above the job's target.
    LowDifficulty,
    /// Error 24: no authorize came before.
    Unauthorised,
    /// Error 25: no subscribe came before.
    NotSubscribed,
}

impl Reject {
    /// The number miners get.
    pub const fn code(self) -> u8 {
        match self {
            Self::Malformed(_) | Self::TooMany | Self::Busy => 20,
            Self::UnknownJob | Self::Stale => 21,
            Self::Duplicate => 22,
            Self::LowDifficulty => 23,
            Self::Unauthorised => 24,
            Self::NotSubscribed => 25,
        }
    }

    /// The words miners get: printable ASCII without quotes or backslashes.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Malformed(what) => what,
            Self::TooMany => "too many submits",
            Self::Busy => "node busy, send again",
            Self::UnknownJob => "unknown job",
            Self::Stale => "stale job",
            Self::Duplicate => "duplicate share",
            Self::LowDifficulty => "low difficulty share",
            Self::Unauthorised => "unauthorised worker",
            Self::NotSubscribed => "not subscribed",
        }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error {}: {}", self.code(), self.text())
    }
}
