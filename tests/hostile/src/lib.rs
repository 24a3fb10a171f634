//! A scripted peer for tests: it sends any bytes on any protocol, gossips anything, responds with anything, and builds
//! shares that are valid except for what a test makes invalid.
//!
//! It uses none of the nodes' network code. `tests/` runs it against real nodes with a real bitcoind, one file per kind of
//! attack; `threads/p2p` runs it against the network thread alone.
//!
//! | module | what it holds |
//! |---|---|
//! | [`scripted_peer`] | the peer |
//! | [`background_peer`] | the peer in a thread of its own |
//! | [`crowd`] | peers that do no more than stay alive, and throw-away identities |
//! | [`flooder`] | connections that push as many bytes as a node takes |
//! | [`names`] | names of a chain's protocols |
//! | [`raw`] | raw bytes on a stream, all at once or one by one |
//! | [`raw_gossip`] | GossipSub's packets, byte by byte |
//! | [`forge`] | valid and invalid shares |
//! | [`malformed`] | malformed variants of messages |
#![allow(clippy::panic, clippy::unwrap_used, reason = "test support fails by panicking")]

pub mod background_peer;
pub mod crowd;
pub mod flooder;
pub mod forge;
pub mod malformed;
pub mod names;
pub mod raw;
pub mod raw_gossip;
pub mod scripted_peer;
