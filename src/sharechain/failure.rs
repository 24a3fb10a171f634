//! Why a share cannot be linked.

use bitcoin::BlockHash;
use thiserror::Error;

use crate::share::ShareId;
use crate::units::UnixTime;

/// A validity rule (rules, section 5, except the last), by its number. Rule 3 makes a share wait and cannot be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// 1: form and field ranges.
    Form = 1,
    /// 2: proof of work.
    ProofOfWork = 2,
    /// 4: height, chain work and target follow from the parent.
    Lineage = 4,
    /// 5: header time.
    Time = 5,
    /// 6: the Bitcoin anchor.
    Anchor = 6,
    /// 7: uncles.
    Uncles = 7,
    /// 8: coinbase and payouts.
    Payouts = 8,
    /// Section 10: the rules that the share follows are no longer in force.
    Version = 10,
}

impl Rule {
    /// Whether breaking the rule proves that the sender misbehaves. An honest node may break the others by bad luck, or because
    /// its software is old.
    pub const fn proves_fault(self) -> bool {
        !matches!(self, Self::Time | Self::Anchor | Self::Version)
    }
}

/// Why a share cannot be linked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Failure {
    /// The share breaks a rule and will never be valid.
    #[error("rule {}: {why}", *rule as u8)]
    Broken { rule: Rule, why: &'static str },
    /// The share waits for something that is not known yet.
    #[error("waits for {0}")]
    Missing(Need),
    /// The share is not due before this time.
    #[error("not due before {0}")]
    Early(UnixTime),
    /// The payout window that ends at the parent is not held, so the share can be neither accepted nor rejected.
    #[error("its payout window is not held")]
    Unverifiable,
    /// The share follows rules that this software does not know (rules, section 10).
    #[error("rules version {0} is newer than this software")]
    NewerRules(u8),
}

/// What a share waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error, PartialOrd, Ord)]
pub enum Need {
    /// Its parent or an uncle.
    #[error("share {0}")]
    Share(ShareId),
    /// Its anchor: bitcoind must confirm this Bitcoin block.
    #[error("Bitcoin block {0}")]
    Anchor(BlockHash),
}

impl Failure {
    pub const fn broken(rule: Rule, why: &'static str) -> Self {
        Self::Broken { rule, why }
    }
}

/// Returns [`Failure::Broken`] unless the condition holds.
pub(super) const fn require(condition: bool, rule: Rule, why: &'static str) -> Result<(), Failure> {
    if condition {
        Ok(())
    } else {
        Err(Failure::broken(rule, why))
    }
}
