//! Fuzz targets for all parsers of input from peers, miners and bitcoind.
//!
//! Each target is a function `check` that takes arbitrary bytes and panics if a property fails that must hold for all inputs.
//! It returns the outcome, so that a run can show that every kind of outcome was reached.
//!
//! | module | input |
//! |---|---|
//! | [`share`] | the canonical encoding of shares, and their first checks |
//! | [`template`] | the result of `getblocktemplate`, and the job made from it |
//! | [`stratum`] | a miner's session, its jobs and its clock |
//! | [`wire`] | messages of other nodes |
//! | [`sync`] | the sync planner, with arbitrary peers |
//! | [`mutate`] | mutated inputs for short runs without libFuzzer |
//!
//! `run.sh` runs the targets with libFuzzer, guided by coverage. `cargo test` runs them on a fixed sequence of mutated seeds.

pub mod mutate;
pub mod share;
pub mod stratum;
pub mod sync;
pub mod template;
pub mod wire;
