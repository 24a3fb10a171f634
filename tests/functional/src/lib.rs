//! Starts the whole program as its users do, against a real bitcoind, and looks at what comes of it.
//!
//! | module | what it holds |
//! |---|---|
//! | [`pool`] | a running `p2pool` |
//! | [`miner`] | a miner in the background |
//! | [`namespaces`] | two networks and a cut between them |
//! | [`network`] | several nodes that know each other |
//! | [`journal`] | what a node's log tells of shares |
//! | [`payees`] | addresses to be paid at |
//! | [`audit`] | blocks and exported shares, against the independent model of the rules |
//!
//! The tests are in `tests/`, one file per subject. They run the `p2pool` of the same profile, which they have cargo build
//! first.
#![allow(clippy::panic, reason = "a test's helper fails by panicking, with a message")]

pub mod audit;
pub mod journal;
pub mod miner;
pub mod namespaces;
pub mod network;
pub mod payees;
pub mod pool;
