//! Stratum v1 without sockets or clock.
//!
//! A [`Session`] is a state machine that is stepped with received bytes, with time and with new work. [`SharedState`] is
//! what all sessions share. Shares, blocks and events leave through a [`SessionSink`] before the miner gets its response.
//!
//! | module | contents |
//! |---|---|
//! | [`limits`] | the limits on connections and sessions, with their reasons |
//! | `line` | splits bytes into lines of bounded length |
//! | `request` | parses requests without building a tree of values |
//! | `reply` | writes responses and messages into a reused buffer |
//! | `session` | the protocol's methods, and the checks of a submit |
//! | [`vardiff`] | the difficulty that suits a miner |
//! | [`difficulty`] | conversion between difficulty and target |
//! | `difficulty_history` | the difficulty that each job was sent with |
//! | [`job_table`] | the jobs that submits may refer to |
//! | [`seen_hashes`] | hashes of earlier submits |
//! | [`extranonces`] | assignment of extranonces to sessions |
//! | [`user_agents`] | known firmware |
//! | [`firmware_work`] | the work of a day by firmware, and the vote for a number of payout outputs |
//! | `silence` | whether a connected worker finds nothing |
//! | `user_name` | payout addresses in user names |
//! | `work_gate` | when miners are refused and disconnected because there is no work |
//! | `session_stats` | counts and hash rate of a worker of a session |
//! | `shared` | the state that all sessions share |
//! | `sink` | the destination of shares, blocks and events |

pub mod difficulty;
mod difficulty_history;
pub mod extranonces;
pub mod firmware_work;
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
mod silence;
mod sink;
pub mod user_agents;
mod user_name;
pub mod vardiff;
mod work_gate;

#[cfg(test)]
mod fixtures;

pub use difficulty::Difficulty;
pub use label::{display_name, sanitized_label};
pub use limits::Limits;
pub use reject::Reject;
pub use session::{CloseReason, Session, Step};
pub use shared::{Fanout, SharedState};
pub use sink::{ChainBusy, SessionEvent, SessionSink};
pub use user_name::{looks_like_an_address, NamedAddress};
pub use work_gate::{GateReport, WorkGate};
