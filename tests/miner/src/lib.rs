//! A small CPU miner for tests and the demo, and a Stratum v1 session that tests control step by step.
//!
//! | module | contents |
//! |---|---|
//! | [`job`] | the job of a `mining.notify`, and the headers built from it |
//! | [`target`] | targets of difficulties and compact targets |
//! | [`hasher`] | the nonce search |
//! | [`session`] | one connection to a pool |
//! | [`mining`] | the miner: search threads and a session |
//!
//! It shares no code with the node, so that the two implementations check each other.

pub mod hasher;
pub mod job;
pub mod mining;
pub mod session;
pub mod target;
mod wire;
