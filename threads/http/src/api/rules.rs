//! The versions of the rules: which are in force, known and signalled (rules, section 10).

use serde::Serialize;

use crate::snapshot::Snapshot;

/// The versions of the rules.
#[derive(Serialize)]
pub struct RulesVersions {
    /// That of the job, else of the tip; `None` without either.
    in_force: Option<u8>,
    /// The newest that this software knows.
    known: u8,
    /// The one that the pool follows, if this software does not know it.
    needed: Option<u8>,
    /// Those after the first that finders of shares in the payout window know.
    signals: Vec<Signal>,
}

/// How much of the pool is ready for a version.
#[derive(Serialize)]
struct Signal {
    version: u8,
    /// Per cent of the work in the payout window.
    work_pct: f64,
}

impl RulesVersions {
    pub fn new(snapshot: &Snapshot) -> Self {
        let rules = &snapshot.chain.rules;
        let of_tip = || snapshot.tree().tip().map(|tip| tip.share.info.rules_version);
        let signal = |(version, work_pct): &(u8, f64)| Signal { version: *version, work_pct: *work_pct };
        Self {
            in_force: snapshot.job().map(|job| job.info.rules_version).or_else(of_tip),
            known: rules.known,
            needed: rules.needed,
            signals: rules.signals.iter().map(signal).collect(),
        }
    }
}
