//! Reasons to reject a request, and their Stratum error codes.

/// Why a request is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    /// Error 20: the request is malformed, with a description.
    Malformed(&'static str),
    /// Error 20: the session exceeds its rate limit.
    TooMany,
    /// Error 20: the node cannot take a share now; the miner may submit it again.
    Busy,
    /// Error 21: the job was never sent or is forgotten.
    UnknownJob,
    /// Error 21: the job is on an old Bitcoin tip, or work was withdrawn.
    Stale,
    /// Error 22: the header was submitted before.
    Duplicate,
    /// Error 23: the hash does not meet the job's difficulty.
    LowDifficulty,
    /// Error 24: the session has not authorized.
    Unauthorised,
    /// Error 25: the session has not subscribed.
    NotSubscribed,
}

impl Reject {
    /// The Stratum error code.
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

    /// The error message: printable ASCII without quotes or backslashes.
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

    /// The position of its count in [`Rejections::values`](crate::status::Rejections::values).
    pub const fn index(self) -> usize {
        match self {
            Self::Malformed(_) => 0,
            Self::TooMany | Self::Busy => 1,
            Self::UnknownJob | Self::Stale => 2,
            Self::Duplicate => 3,
            Self::LowDifficulty => 4,
            Self::Unauthorised | Self::NotSubscribed => 5,
        }
    }
}
