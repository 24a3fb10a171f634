//! A peer that speaks the wire as it pleases: any bytes on any protocol, any gossip, any answer, and shares that are true
//! but for what it wants to be false in them.
//!
//! It shares with the nodes nothing of their network code. What nodes make of it is seen in `tests/`, with real nodes and a
//! real bitcoind, one file a kind of attack; `threads/p2p` uses it against the network thread alone.
//!
//! | module | what it holds |
//! |---|---|
//! | [`names`] | what a chain's protocols are called |
//! | [`raw`] | bytes on a stream, all at once or drop by drop |
//! | [`scripted_peer`] | the peer |
//! | [`background_peer`] | the same in a thread of its own |
//! | [`forge`] | shares, true and false |
//! | [`malformed`] | ways to write a message wrongly |
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's helper fails by panicking")]

pub mod background_peer;
pub mod forge;
pub mod malformed;
pub mod names;
pub mod raw;
pub mod scripted_peer;
