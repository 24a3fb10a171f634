//! The rules of a decentralised Bitcoin mining pool, without input or output.
//!
//! This library decides; the crates in `threads/` act. Nothing here starts a thread, opens a socket or a file, or reads a
//! clock. Time and responses from outside are arguments.
//!
//! | module | contents |
//! |---|---|
//! | [`units`] | targets, work, heights, amounts and times as types |
//! | [`bytes`] | tagged hashes, length-prefixed bytes, hexadecimal |
//! | [`params`] | the parameters of a chain and its `chain_id` |
//! | [`share`] | the share, its canonical bytes, commitment and coinbase |
//! | [`sharechain`] | the tree of shares, difficulty, fork choice, validity rules |
//! | [`payouts`] | the PPLNS window and the payout list |
//! | [`work`] | from a Bitcoin block template to a job, and from a miner's submit to a header and block |
//! | [`stratum`] | Stratum v1: line codec, session state machine, vardiff |
//! | [`worker_roster`] | which workers of this node's miners are gone |
//! | [`sync`] | what to request from which peer to stay synced |
//! | [`table_size`] | how full bounded tables are |
//! | [`wire`] | the messages between peers, as types with limits, and their CBOR |
//! | [`peer`] | peers and the requests between them |
//! | [`netgroup`] | groups of IP addresses that limits apply to |
//! | [`token_bucket`] | rate limits |
//! | [`node`] | the node as one state machine |
//! | [`operator`] | what the operator asks of the node |
//! | [`metrics`] | counters, gauges and histograms for Prometheus |
//! | [`status`] | the published snapshots |
//! | [`config`] | the validated settings as plain data |
//!
//! `consensus.md` beside this file specifies the rules. The code cites its sections.

#[cfg(test)]
extern crate self as p2pool_core;

pub mod bytes;
pub mod config;
pub mod metrics;
pub mod netgroup;
pub mod node;
pub mod operator;
pub mod params;
pub mod payouts;
pub mod peer;
pub mod share;
pub mod sharechain;
pub mod status;
pub mod stratum;
pub mod sync;
pub mod table_size;
#[cfg(any(test, feature = "test-support"))]
pub mod test_support;
pub mod token_bucket;
pub mod units;
pub mod wire;
pub mod work;
pub mod worker_roster;
