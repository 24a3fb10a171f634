//! The threads that speak to bitcoind: poll, submit and anchor.
//!
//! Each is opened on the main thread and then run on a thread of its own, until stopped:
//!
//! | | gets | gives | ends by |
//! |---|---|---|---|
//! | [`Poll`] | long-polled templates | `TemplateUpdate` | [`PollStopper::stop`] |
//! | [`Submit`] | `ToSubmit` | blocks to bitcoind, `Event::BlockFound`, `OwnBlocksStatus` | `ToSubmit::Stop` |
//! | [`AnchorThread`] | `ToAnchor` | `Event::Anchor`; a fresh template when [`Poll`] has none | `ToAnchor::Stop` |
//!
//! `open` asks bitcoind nothing: a node that starts before its bitcoind waits for it. Each thread has a connection
//! of its own, for a long poll or the checking of a block holds one up. Nothing is shared but counters, and what is
//! published for onlookers: how bitcoind is ([`Poll::status`]) and what became of found blocks ([`AnchorThread::blocks`]).

mod anchor;
mod backoff;
mod client;
mod credentials;
mod error;
mod fates;
mod known;
mod news;
mod node;
mod pending;
mod poll;
mod refresh;
mod reporter;
mod submit;
mod text;
mod transport;

pub use anchor::AnchorThread;
pub use error::RpcError;
pub use poll::{Poll, PollStopper};
pub use submit::Submit;
