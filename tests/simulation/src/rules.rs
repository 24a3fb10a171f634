//! The rules' behaviour over time, without nodes: difficulty (consensus.md, section 6) and payouts (section 7).
//!
//! No hash is computed to find a share: intervals are drawn from the exponential distribution that mining has, with
//! the targets that the rules ask for. The core's own functions decide targets and payouts; nothing of theirs is
//! repeated here.

pub mod attack;
pub mod fairness;
pub mod measure;
pub mod pool;
pub mod race;
pub mod report;
pub mod retarget;
pub mod strategy;
