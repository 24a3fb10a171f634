//! `/api/v1/bans`: the banned and graylisted peers and addresses.

use p2pool_core::status::{BanKind, BanStatus};
use p2pool_core::units::UnixTime;
use serde::Serialize;

use crate::snapshot::Snapshot;

/// All bans and graylisted addresses.
#[derive(Serialize)]
pub struct BansDocument {
    /// Those in force that are bans.
    banned: usize,
    /// Those whose end is last first.
    bans: Vec<Ban>,
}

/// A peer id or address that is banned or graylisted.
#[derive(Serialize)]
pub struct Ban {
    subject: String,
    state: &'static str,
    reason: String,
    until: u32,
    remaining_secs: u32,
}

impl Ban {
    /// Lists at most `max` of them.
    pub fn list(bans: &[BanStatus], max: usize, now: UnixTime) -> Vec<Self> {
        let ban = |BanStatus { subject, kind, reason, until }: &BanStatus| Self {
            subject: subject.clone(),
            state: match kind {
                BanKind::Banned => "banned",
                BanKind::Graylisted => "graylisted",
            },
            reason: reason.clone(),
            until: until.0,
            remaining_secs: until.since(now),
        };
        bans.iter().take(max).map(ban).collect()
    }
}

impl BansDocument {
    pub fn new(snapshot: &Snapshot) -> Self {
        let peers = &snapshot.peers;
        Self { banned: peers.banned(), bans: Ban::list(&peers.bans, usize::MAX, snapshot.now) }
    }
}
