//! The notices about the state of the node: what is wrong, and what the operator can do about it.

mod bitcoind;
mod miners;
mod solo;
mod submission;

use p2pool_core::status::{ClockFault, ClockStatus, ClockWitness};
use p2pool_core::sync::{Progress, SyncState};
use p2pool_core::units::UnixTime;
use p2pool_core::work::NoWork;
use serde::Serialize;

use super::format::{count, duration, percent_of};
use crate::snapshot::Snapshot;

/// Age in seconds from which a block template is too old. bitcoind gives a new one at least every minute.
pub const TEMPLATE_AGE_MAX_S: u32 = 120;
/// Per cent of the pool's work done by newer software from which an update is advised. The rules change at 80.
const UPDATE_DUE_PERCENT: f64 = 50.0;
/// Clocks that differ by more seconds than this are not synchronised.
const CLOCK_DIFFERENCE_MAX_S: u64 = 60;

/// Defines [`Code`] and the list of all its values, against which the API's description is tested.
macro_rules! codes {
    ($($name:ident => $text:literal,)*) => {
        /// Identifies a notice for programs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
        pub enum Code {
            $(#[doc = concat!("`", $text, "`")] #[serde(rename = $text)] $name,)*
        }

        #[cfg(test)]
        impl Code {
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

/// Severity of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Everything works.
    Ok,
    /// For information.
    Info,
    /// Something does not work correctly.
    Warning,
    /// Miners earn nothing while it lasts, or a block may be lost.
    Error,
}

codes! {
    Ok => "ok",
    BitcoindUnreachable => "bitcoind_unreachable",
    BitcoindNoResponse => "bitcoind_no_response",
    BitcoindStarting => "bitcoind_starting",
    BitcoindStopping => "bitcoind_stopping",
    BitcoindSyncing => "bitcoind_syncing",
    BitcoindNoPeers => "bitcoind_no_peers",
    BitcoindWrongNetwork => "bitcoind_wrong_network",
    BitcoindNoCookie => "bitcoind_no_cookie",
    BitcoindCookieUnreadable => "bitcoind_cookie_unreadable",
    BitcoindUnauthorised => "bitcoind_unauthorised",
    BitcoindForbidden => "bitcoind_forbidden",
    BitcoindInvalidResponse => "bitcoind_invalid_response",
    BitcoindFailing => "bitcoind_failing",
    BlockNotAccepted => "block_not_accepted",
    BlockRejected => "block_rejected",
    MethodsRefused => "methods_refused",
    SubmissionFailing => "submission_failing",
    LongPollOff => "long_poll_off",
    NoWorkYet => "no_work_yet",
    TemplateOld => "template_old",
    NoWork => "no_work",
    MinersRefused => "miners_refused",
    WaitingForPeers => "waiting_for_peers",
    PeersGone => "peers_gone",
    Solo => "solo",
    Syncing => "syncing",
    Outdated => "outdated",
    UpdateDue => "update_due",
    DiskFull => "disk_full",
    SignetUnsigned => "signet_unsigned",
    ClockOff => "clock_off",
    DuplicateIdentity => "duplicate_identity",
    FirmwareTooSmall => "firmware_too_small",
    UnpaidAddress => "unpaid_address",
    MinersLimit => "miners_limit",
    MinersSilent => "miners_silent",
    MinersGone => "miners_gone",
    NoMiner => "no_miner",
}

/// A notice about the state of the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// For programs; its meaning never changes.
    pub code: Code,
    pub level: Level,
    /// The notice for people.
    pub text: String,
    /// What to do; empty if nothing.
    pub advice: String,
    /// Unix time in seconds when it began, if known.
    pub since: Option<u32>,
}

impl Notice {
    fn new(code: Code, level: Level, text: impl Into<String>, advice: &str) -> Self {
        Self { code, level, text: text.into(), advice: advice.to_owned(), since: None }
    }

    /// The notice that nothing is wrong.
    pub fn ok() -> Self {
        Self::new(Code::Ok, Level::Ok, "Everything works.", "")
    }

    /// Whether it makes the node unhealthy: miners earn nothing, or what they earn may be lost.
    pub fn is_unhealthy(&self) -> bool {
        self.level == Level::Error || matches!(self.code, Code::DiskFull | Code::DuplicateIdentity)
    }

    fn since(self, since: UnixTime) -> Self {
        Self { since: Some(since.0).filter(|since| *since > 0), ..self }
    }
}

/// Returns all current notices, most severe first; never empty.
pub fn notices(snapshot: &Snapshot) -> Vec<Notice> {
    let all = [
        submission::blocks_not_accepted(snapshot),
        submission::blocks_rejected(snapshot),
        bitcoind::no_fresh_work(snapshot),
        submission::not_ready(snapshot),
        submission::long_poll_off(snapshot),
        network(snapshot),
        rules(snapshot),
        miners::refused(snapshot),
        disk(snapshot),
        signature(snapshot),
        clock(snapshot),
        identity(snapshot),
        miners::silent(snapshot),
        miners::gone(snapshot),
        miners::firmware(snapshot),
        miners::unpaid_address(snapshot),
        miners::limit(snapshot),
        miners::no_miner(snapshot),
    ];
    let mut notices: Vec<Notice> = all.into_iter().flatten().collect();
    // The sort is stable: notices of one level stay in the order above.
    notices.sort_by_key(|notice| std::cmp::Reverse(notice.level));
    if notices.is_empty() {
        notices.push(Notice::ok());
    }
    notices
}

/// Notes that this node is not synced with its peers, or has none.
fn network(snapshot: &Snapshot) -> Option<Notice> {
    let chain = &snapshot.chain;
    match chain.sync {
        SyncState::NoPeers { since, was_synced: false } => {
            let text = "No peer yet: there is no work for miners until this node is synced with one.";
            let advice = "Wait: miners get work when this node is synced with a peer, or after a minute without any.";
            Some(Notice::new(Code::WaitingForPeers, Level::Error, text, advice).since(since))
        }
        SyncState::NoPeers { since, was_synced: true } => {
            let text = "No synced peer left: miners keep working for now.";
            let advice = "No action is needed if a peer returns within a minute; otherwise this node mines solo.";
            Some(Notice::new(Code::PeersGone, Level::Warning, text, advice).since(since))
        }
        SyncState::Solo { since } => Some(solo::solo(snapshot).since(since)),
        SyncState::Synced if chain.no_work != Some(NoWork::Syncing) => None,
        SyncState::Synced | SyncState::Syncing => {
            let text = match chain.syncing {
                Some(Progress { done, total, .. }) => {
                    let (done, total) = (done.into(), total.into());
                    format!("Downloading the sharechain: {} of {} shares.", percent_of(done, total), count(total))
                }
                None => "Comparing the sharechain with those of peers.".to_owned(),
            };
            Some(Notice::new(Code::Syncing, Level::Error, text, "Wait: miners get work when this is done."))
        }
    }
}

/// Notes that this node does not know the rules of the pool, or soon will not.
fn rules(snapshot: &Snapshot) -> Option<Notice> {
    let rules = &snapshot.chain.rules;
    let known = rules.known;
    if let Some(needed) = rules.needed {
        let text = format!(
            "This node is outdated: the pool follows version {needed} of the rules, and this software knows {known}. Miners \
             are disconnected, because their work would not be paid."
        );
        return Some(Notice::new(Code::Outdated, Level::Error, text, "Update p2pool."));
    }
    let newer = rules.signals.iter().find(|(version, _)| *version > known);
    let (version, work_percent) = newer.filter(|(_, percent)| *percent >= UPDATE_DUE_PERCENT)?;
    let text = format!(
        "New rules are on their way: {work_percent:.0} % of the pool's work is done by software that knows version {version}, \
         and this software knows {known}."
    );
    let advice = "Update p2pool in the next days: when the new rules begin, work of older software is no longer paid.";
    Some(Notice::new(Code::UpdateDue, Level::Warning, text, advice))
}

fn disk(snapshot: &Snapshot) -> Option<Notice> {
    let text = "Shares cannot be stored: they wait in memory, and are lost if this node stops before a peer has them.";
    let advice = "Free space on the disk of -data-dir before stopping the node; no other action is needed.";
    snapshot.chain.unsaved.then(|| Notice::new(Code::DiskFull, Level::Warning, text, advice))
}

fn signature(snapshot: &Snapshot) -> Option<Notice> {
    let text =
        "Blocks found here are invalid: this signet requires signed blocks, and shares cannot carry a signature.";
    let advice = "Use testnet4, regtest, or a signet with -signet-challenge 51.";
    let needs = snapshot.tree().params().needs_block_signature();
    needs.then(|| Notice::new(Code::SignetUnsigned, Level::Warning, text, advice))
}

/// Notes that the clock is wrong: an error while miners get no work for it.
fn clock(snapshot: &Snapshot) -> Option<Notice> {
    let ClockStatus { ahead_of_bitcoind_s, ahead_of_peers_s, fault } = snapshot.chain.clock;
    let advice = "Synchronise the clock with NTP (timedatectl set-ntp true): shares with a wrong time are rejected.";
    if let Some(ClockFault { ahead_s, witness }) = fault {
        let (whose, advice) = match witness {
            ClockWitness::Bitcoind => ("bitcoind's clock", "Synchronise this machine's clock, and bitcoind's, with NTP."),
            ClockWitness::Peers => ("its peers' clocks and Bitcoin's newest block", advice),
            ClockWitness::Blocks if ahead_s < 0 => ("the median time of Bitcoin's newest blocks", advice),
            ClockWitness::Blocks => (
                "Bitcoin's newest block",
                "Synchronise the clock with NTP. If it is right, bitcoind has received no block for hours: see its debug.log.",
            ),
        };
        let text = format!("{} There is no work for miners.", difference(ahead_s, whose));
        return Some(Notice::new(Code::ClockOff, Level::Error, text, advice));
    }
    let is_off = |ahead_s: &i64| ahead_s.unsigned_abs() > CLOCK_DIFFERENCE_MAX_S;
    let by_peers = ahead_of_peers_s.filter(is_off).map(|ahead_s| (ahead_s, "its peers' clocks"));
    let by_bitcoind = ahead_of_bitcoind_s.filter(is_off).map(|ahead_s| (ahead_s, "bitcoind's clock"));
    let (ahead_s, whose) = by_peers.or(by_bitcoind)?;
    Some(Notice::new(Code::ClockOff, Level::Warning, difference(ahead_s, whose), advice))
}

/// Notes that two running nodes have the same identity.
fn identity(snapshot: &Snapshot) -> Option<Notice> {
    let duplicate = snapshot.peers.duplicate.as_ref()?;
    let text = format!(
        "Another running node has the identity of this one, {}: shares of both reach other nodes late or never.",
        snapshot.peers.our_id
    );
    let advice = format!(
        "Was a disk copied? Stop one of the two nodes, delete its file {}, and start it again: it makes a new identity.",
        duplicate.file
    );
    Some(Notice::new(Code::DuplicateIdentity, Level::Warning, text, &advice).since(duplicate.since))
}

fn difference(ahead_s: i64, whose: &str) -> String {
    let difference_s = u32::try_from(ahead_s.unsigned_abs()).unwrap_or(u32::MAX);
    let relation = if ahead_s < 0 { "behind" } else { "ahead of" };
    format!("This machine's clock is {} {relation} {whose}.", duration(difference_s))
}

#[cfg(test)]
mod tests;
