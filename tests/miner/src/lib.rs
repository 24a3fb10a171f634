//! A small CPU miner for tests and the demo, and a Stratum v1 client whose every move a test can choose.
//!
//! | module | what it holds |
//! |---|---|
//! | [`job`] | what `mining.notify` brings, and from it the header to hash |
//! | [`target`] | difficulty to target, and which hashes meet it |
//! | [`hasher`] | the search for a nonce |
//! | [`session`] | one connection to a pool |
//! | [`mining`] | the miner: threads that search, one that talks |
//!
//! It shares no code with the node it tests: what both get right they got right independently.

pub mod hasher;
pub mod job;
pub mod mining;
pub mod session;
pub mod target;
mod wire;
