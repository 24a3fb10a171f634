//! How many payouts a coinbase may have, what this node votes for, and how the votes stand (rules, section 7).

use p2pool_core::config::Config;
use p2pool_core::params::OUTPUTS_CLASSES;
use p2pool_core::payouts::Ballot;
use p2pool_core::stratum::firmware_work::decides;
use serde::Serialize;

use crate::snapshot::Snapshot;

/// The limit on payout outputs and the votes that change it. Classes are shown as their numbers of outputs.
#[derive(Serialize)]
pub struct PayoutOutputs {
    /// The limit in force: the job's, else the tip's, else the least.
    pub max: u32,
    /// What this node's next job votes for.
    pub vote: u32,
    /// Whether the operator chose the vote.
    vote_is_fixed: bool,
    /// The firmware that did the work of this node's miners in the last day, most first.
    firmware: Vec<FirmwarePart>,
    /// The votes in the payout window of the next share, least class first; empty while the window is not known.
    pub votes: Vec<ClassVotes>,
}

/// The part of a firmware in the work of this node's miners.
#[derive(Serialize)]
struct FirmwarePart {
    name: &'static str,
    /// The most outputs that it is known to support.
    outputs: u32,
    work_pct: f64,
    /// Whether it did enough of the work to count for the vote.
    counts: bool,
}

/// The votes for a class.
#[derive(Serialize)]
pub struct ClassVotes {
    pub outputs: u32,
    /// Per cent of the shares' own work in the window.
    pub work_pct: f64,
}

impl PayoutOutputs {
    /// Describes the state of the votes; `ballot` is that of the next share's payout window, if it is known.
    pub fn new(snapshot: &Snapshot, config: &Config, ballot: Option<&Ballot>) -> Self {
        let outputs = |class| config.params.payout_outputs_max(class);
        let tip_class = || snapshot.tree().tip().map(|tip| tip.share.info.outputs_class);
        let class = snapshot.job().map(|job| job.info.outputs_class).or_else(tip_class).unwrap_or(0);
        let firmware = snapshot.miners.firmware.iter().map(|part| FirmwarePart {
            name: part.name,
            outputs: outputs(part.outputs_class),
            work_pct: part.work_percent,
            counts: decides(part),
        });
        Self {
            max: outputs(class),
            vote: outputs(snapshot.chain.outputs_vote),
            vote_is_fixed: config.outputs_vote.is_some(),
            firmware: firmware.collect(),
            votes: ballot.map(|ballot| votes(ballot, outputs)).unwrap_or_default(),
        }
    }
}

fn votes(ballot: &Ballot, outputs: impl Fn(u8) -> u32) -> Vec<ClassVotes> {
    let at_least = |class: u8| ballot.outputs_at_least(class).0;
    let work_pct = |class: u8| match ballot.total().0 {
        0 => 0.0,
        total => at_least(class).saturating_sub(at_least(class.saturating_add(1))) as f64 * 100.0 / total as f64,
    };
    let classes = 0..u8::try_from(OUTPUTS_CLASSES).unwrap_or(u8::MAX);
    classes.map(|class| ClassVotes { outputs: outputs(class), work_pct: work_pct(class) }).collect()
}
