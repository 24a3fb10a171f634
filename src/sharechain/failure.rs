//! Why a share is not taken.

use bitcoin::BlockHash;
use thiserror::Error;

use crate::share::ShareId;
use crate::units::UnixTime;

/// The validity rule a share breaks (rules, section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// 1: form and field ranges.
    Form = 1,
    /// 2: proof of work.
    ProofOfWork = 2,
    /// 4: height, work and target follow from the parent.
    Lineage = 4,
    /// 5: header time.
    Time = 5,
    /// 6: the Bitcoin block it is built on.
    Anchor = 6,
    /// 7: uncles.
    Uncles = 7,
    /// 8: coinbase and payouts.
    Payouts = 8,
}

impl Rule {
    /// Whether breaking it proves the sender wrong; the other rules can be broken by bad luck.
    pub const fn proves_fault(self) -> bool {
        !matches!(self, Self::Time | Self::Anchor)
    }
}

/// What keeps a share out of the tree.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Failure {
    /// It breaks a rule, for good.
    #[error("rule {}: {why}", *rule as u8)]
    Broken {
        /// Which.
        rule: Rule,
        /// In what way.
        why: &'static str,
    },
    /// Something must be known first.
    #[error("waits for {0}")]
    Missing(Need),
    /// Its time is not yet come.
    #[error("its time {0} is in the future")]
    Early(UnixTime),
    /// The payout window below it is not held, so it can be neither accepted nor refused.
    #[error("the payout window below it is not held")]
    Unverifiable,
}

/// What a share waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error, PartialOrd, Ord)]
pub enum Need {
    /// Its parent or an uncle.
    #[error("share {0}")]
    Share(ShareId),
    /// bitcoind's word on the Bitcoin block it is built on.
    #[error("Bitcoin block {0}")]
    Anchor(BlockHash),
}

impl Failure {
    /// A broken rule.
    pub const fn broken(rule: Rule, why: &'static str) -> Self {
        Self::Broken { rule, why }
    }
}

/// Refuses unless the condition holds.
pub(super) const fn require(condition: bool, rule: Rule, why: &'static str) -> Result<(), Failure> {
    if condition {
        Ok(())
    } else {
        Err(Failure::broken(rule, why))
    }
}
