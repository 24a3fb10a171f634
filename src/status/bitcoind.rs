//! How bitcoind is.

use crate::units::UnixTime;

/// How bitcoind was when last asked for work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BitcoindStatus {
    /// What is wrong, in words that follow "bitcoind"; none while it gives work, and before the first answer.
    pub problem: Option<String>,
    /// Since when it is as it is.
    pub since: UnixTime,
}
