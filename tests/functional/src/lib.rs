//! Support for tests that run the whole program, as its users do, with a real bitcoind.
//!
//! | module | content |
//! |---|---|
//! | [`pool`] | a running `p2pool` |
//! | [`miner`] | a miner in the background |
//! | [`namespaces`] | two networks and the partition between them |
//! | [`network`] | several connected nodes |
//! | [`journal`] | shares in a node's log |
//! | [`payees`] | payout addresses |
//! | [`audit`] | verifies blocks and exported shares by the independent model of the rules |
//!
//! The tests are in `tests/`, one file per subject. They run the `p2pool` of the same profile, which cargo builds
//! first.
#![allow(clippy::panic, reason = "test support fails by panicking, with a message")]

pub mod audit;
pub mod journal;
pub mod miner;
pub mod namespaces;
pub mod network;
pub mod payees;
pub mod pool;
