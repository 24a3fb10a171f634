//! Whether bitcoind would accept a block now.

use super::BitcoindError;
use crate::units::UnixTime;

/// Result of the submit thread's last test of bitcoind. It tests every few seconds, so that a fault is known before a
/// block depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubmissionStatus {
    /// The RPC methods that this node needs and bitcoind refuses it (HTTP status 403).
    pub refused: Vec<&'static str>,
    /// Why a block could not be submitted now, unless because of `refused`; `None` if it could, and before the first test.
    pub error: Option<BitcoindError>,
    /// When bitcoind began to refuse or to fail, or stopped it, even if the reason has changed meanwhile.
    pub since: UnixTime,
}

impl SubmissionStatus {
    /// Whether bitcoind would accept a block.
    pub fn is_ready(&self) -> bool {
        self.refused.is_empty() && self.error.is_none()
    }
}
