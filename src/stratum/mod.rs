//! Stratum v1 without sockets or clock: bytes in, bytes and verdicts out.
//!
//! A [`Session`] is a state machine that is stepped with received bytes, with the passing of time and with new
//! jobs; what all sessions share is in the [`SharedState`]. Whatever leaves the node because of a miner goes
//! through [`SessionSink`], before the miner is answered.
//!
//! | module | what it holds |
//! |---|---|
//! | [`limits`] | every bound on what a stranger may do, with its reason |
//! | `line` | bytes to lines of bounded length |
//! | `request` | line to request, without a tree of values |
//! | `reply` | answers and messages, written into a reused buffer |
//! | `session` | the protocol's methods; the way of a submit |
//! | [`vardiff`] | which difficulty suits a miner |
//! | [`difficulty`] | difficulty to target and back |
//! | `difficulty_history` | which difficulty a job was handed out with |
//! | [`job_table`] | jobs that are still answered |
//! | [`seen_hashes`] | headers seen already |
//! | [`extranonces`] | the part of the search space that a session owns |
//! | [`user_agents`] | what is known of miners' firmware |
//! | `session_stats` | what a session has achieved |
//! | `shared` | all that sessions share |

pub mod difficulty;
mod difficulty_history;
pub mod extranonces;
pub mod job_table;
mod label;
pub mod limits;
mod line;
mod reject;
mod reply;
mod request;
pub mod seen_hashes;
mod session;
mod session_stats;
mod shared;
pub mod user_agents;
pub mod vardiff;

#[cfg(test)]
mod fixtures;

pub use difficulty::Difficulty;
pub use label::{display_name, label};
pub use limits::Limits;
pub use reject::Reject;
pub use session::{CloseReason, Session, Step};
pub use shared::{ChainBusy, Fanout, SessionEvent, SessionSink, SharedState};

use crate::units::UnixTime;

/// The present moment, told to every step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since some moment before the first step; never goes back.
    pub uptime_ms: u64,
    /// The time of day.
    pub time: UnixTime,
}

impl Now {
    /// Milliseconds since the moment `earlier_ms`.
    pub const fn since_ms(&self, earlier_ms: u64) -> u64 {
        self.uptime_ms.saturating_sub(earlier_ms)
    }
}
