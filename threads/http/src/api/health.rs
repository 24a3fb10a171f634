//! `/healthz`: the health check for watchdogs.

use serde::Serialize;

use super::notice::{notices, Notice};
use crate::snapshot::Snapshot;

/// The result of the health check.
#[derive(Serialize)]
pub struct Health {
    /// Whether miners have fresh work on a synced or solo chain, shares are stored, bitcoind accepts blocks, and the identity is this
    /// node's alone.
    pub healthy: bool,
    /// What is wrong.
    reasons: Vec<String>,
}

impl Health {
    pub fn new(snapshot: &Snapshot) -> Self {
        let reasons: Vec<String> =
            notices(snapshot).into_iter().filter(Notice::is_unhealthy).map(|notice| notice.text).collect();
        Self { healthy: reasons.is_empty(), reasons }
    }
}
