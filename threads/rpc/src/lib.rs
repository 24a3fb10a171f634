//! The threads that call bitcoind: poll, submit and anchor.
//!
//! Each one is opened on the main thread and then run on a thread of its own until it is stopped:
//!
//! | thread | input | output | stopped by |
//! |---|---|---|---|
//! | [`PollThread`] | templates of the long poll | `TemplateUpdate`, `BitcoindStatus` | [`PollStopper::stop`] |
//! | [`SubmitThread`] | `ToSubmit` | blocks to bitcoind, `Event::BlockFound`, `OwnBlocksStatus`, `SubmissionStatus` | `ToSubmit::Stop` |
//! | [`AnchorThread`] | `ToAnchor` | `Event::BestChain`, `Event::Anchor`, `BlocksStatus`, a template if [`PollThread`] has none | `ToAnchor::Stop` |
//!
//! `open` does not connect, so a node may start before its bitcoind. Each thread has a connection of its own because a
//! long poll or the validation of a block occupies one. The threads share nothing but metrics, published status and the
//! flags of [`LongPollWatch`].

mod anchor;
mod backoff;
mod best_chain;
mod block_files;
mod client;
mod confirmations;
mod credentials;
mod error;
mod long_poll;
mod method;
mod poll;
mod readiness;
mod refresh;
mod reporter;
mod submit;
mod template_sink;
mod text;
mod transport;
mod verified_client;

pub use anchor::AnchorThread;
pub use error::RpcError;
pub use long_poll::LongPollWatch;
pub use poll::{PollStopper, PollThread};
pub use submit::SubmitThread;
