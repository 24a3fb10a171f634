//! The rules of a decentralised Bitcoin mining pool, without input or output.
//!
//! This library decides, the crates in `threads/` do: nothing here spawns a thread, opens a socket or a
//! file, or reads a clock. Time and answers from outside are arguments.
//!
//! | module | what it holds |
//! |---|---|
//! | [`units`] | targets, work, heights, amounts and times as types |
//! | [`bytes`] | tagged hashes, length-prefixed bytes, hexadecimal |
//! | [`params`] | the parameters of one chain and its `chain_id` |
//! | [`share`] | the share, its canonical bytes, commitment and coinbase |
//! | [`sharechain`] | the tree of shares, difficulty, fork choice, validity rules |
//! | [`payouts`] | the PPLNS window and the payout list |
//! | [`work`] | Bitcoin block template to job, and back from a miner's answer to header and block |
//! | [`stratum`] | Stratum v1: line codec, session state machine, vardiff |
//! | [`sync`] | what to request from which peer, and whether this node is synced |
//! | [`table_size`] | how full bounded tables are |
//! | [`wire`] | what nodes send each other, as types with limits, and its CBOR |
//! | [`peer`] | peers and the requests between them |
//! | [`netgroup`] | groups of IP addresses that limits apply to |
//! | [`token_bucket`] | rate limits |
//! | [`node`] | the node as one state machine |
//! | [`metrics`] | counters, gauges and histograms for Prometheus |
//! | [`status`] | the published snapshots |
//! | [`config`] | the validated settings as plain data |
//!
//! The rules themselves are in `consensus.md` beside this file; code cites its sections.

#[cfg(test)]
extern crate self as p2pool_core;

pub mod bytes;
pub mod config;
pub mod metrics;
pub mod netgroup;
pub mod node;
pub mod params;
pub mod payouts;
pub mod peer;
pub mod share;
pub mod sharechain;
pub mod status;
pub mod stratum;
pub mod sync;
pub mod table_size;
pub mod token_bucket;
pub mod units;
pub mod wire;
pub mod work;
