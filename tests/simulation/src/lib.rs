//! Seeded simulation of the rules' behaviour over time: difficulty (rules, section 6) and payouts (section 7).
//!
//! No hash is computed to find a share: intervals are drawn from the exponential distribution that mining has, with
//! the targets that the rules ask for. The core's own functions decide targets and payouts; nothing of theirs is
//! repeated here. The tests assert the bars of section 6, the program prints the figures.

pub mod fairness;
pub mod measure;
pub mod miner;
pub mod pool;
pub mod random;
