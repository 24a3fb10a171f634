//! Fuzzers of everything that reads what strangers or other programs send.
//!
//! Each target is a function `check` that takes any bytes, feeds them in and panics if a property fails that must hold
//! for all of them. It says what came of the input, so that a run can show that it met every kind of outcome.
//!
//! | module | what is fed |
//! |---|---|
//! | [`share`] | a share's canonical bytes, and what is done with a share before anything is known of it |
//! | [`template`] | the answer to `getblocktemplate`, and the job made of it |
//! | [`stratum`] | a miner's connection, its jobs and its clock |
//! | [`wire`] | the messages of other nodes |
//! | [`sync`] | the planner, with peers that do anything |
//! | [`mutate`] | inputs made of others, for short runs without libFuzzer |
//!
//! `run.sh` runs the targets under libFuzzer, guided by coverage; `cargo test` runs them on a fixed sequence of mutated seeds.

pub mod mutate;
pub mod share;
pub mod stratum;
pub mod sync;
pub mod template;
pub mod wire;
