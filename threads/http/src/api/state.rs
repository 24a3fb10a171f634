//! What is wrong, in plain language, and what to do about it.

mod alone;
mod bitcoind;

use p2pool_core::status::SyncProgress;
use p2pool_core::stratum::display_name;
use p2pool_core::sync::SyncState;
use p2pool_core::units::UnixTime;
use p2pool_core::work::NoWork;
use serde::Serialize;

use super::words::{count, duration, percent_of};
use crate::view::View;

/// bitcoind gives a template every few seconds to a minute; the node sounds the alarm at this age.
pub const TEMPLATE_AGE_MAX_S: u32 = 120;
/// A clock that differs more than this from others is wrong, or they are.
const CLOCK_DIFFERENCE_MAX_S: u64 = 60;

/// Makes [`Code`] and the list of all of its values, so that none can be left out of the description.
macro_rules! codes {
    ($($name:ident => $text:literal,)*) => {
        /// What programs know a state by.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
        pub enum Code {
            $(#[doc = concat!("`", $text, "`")] #[serde(rename = $text)] $name,)*
        }

        #[cfg(test)]
        impl Code {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Everything works.
    Ok,
    /// Worth knowing.
    Info,
    /// Something does not work as it should.
    Warning,
    /// Nothing is earned while it lasts.
    Error,
}

codes! {
    Ok => "ok",
    BitcoindUnreachable => "bitcoind_unreachable",
    BitcoindNoAnswer => "bitcoind_no_answer",
    BitcoindStarting => "bitcoind_starting",
    BitcoindStopping => "bitcoind_stopping",
    BitcoindSyncing => "bitcoind_syncing",
    BitcoindNoPeers => "bitcoind_no_peers",
    BitcoindWrongNetwork => "bitcoind_wrong_network",
    BitcoindNoCookie => "bitcoind_no_cookie",
    BitcoindCookieUnreadable => "bitcoind_cookie_unreadable",
    BitcoindUnauthorised => "bitcoind_unauthorised",
    BitcoindForbidden => "bitcoind_forbidden",
    BitcoindGarbage => "bitcoind_garbage",
    BitcoindFailing => "bitcoind_failing",
    NoWorkYet => "no_work_yet",
    TemplateOld => "template_old",
    NoWork => "no_work",
    WaitingForPeers => "waiting_for_peers",
    PeersGone => "peers_gone",
    Alone => "alone",
    Syncing => "syncing",
    DiskFull => "disk_full",
    SignetUnsigned => "signet_unsigned",
    ClockOff => "clock_off",
    FirmwareTooSmall => "firmware_too_small",
    NoMiner => "no_miner",
}

/// One thing to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct State {
    /// For programs; never changes its meaning.
    pub code: Code,
    /// How bad it is.
    pub level: Level,
    /// For people.
    pub text: String,
    /// What to do; empty if there is nothing.
    pub advice: String,
    /// Since when, if that is known.
    pub since: Option<u32>,
}

impl State {
    fn new(code: Code, level: Level, text: impl Into<String>, advice: &str) -> Self {
        Self { code, level, text: text.into(), advice: advice.to_owned(), since: None }
    }

    /// Nothing is wrong.
    pub fn ok() -> Self {
        Self::new(Code::Ok, Level::Ok, "Everything works.", "")
    }

    /// Whether a watchdog is told: nothing is earned, or what is earned may be lost.
    pub fn is_unhealthy(&self) -> bool {
        self.level == Level::Error || self.code == Code::DiskFull
    }

    fn since(self, since: UnixTime) -> Self {
        Self { since: Some(since.0).filter(|since| *since > 0), ..self }
    }
}

/// Everything there is to know, worst first; never empty.
pub fn states(view: &View) -> Vec<State> {
    let all = [
        bitcoind::no_template(view),
        network(view),
        disk(view),
        signature(view),
        clock(view),
        firmware(view),
        no_miner(view),
    ];
    let mut states: Vec<State> = all.into_iter().flatten().collect();
    // A stable sort: among equals the order above stands.
    states.sort_by_key(|state| std::cmp::Reverse(state.level));
    if states.is_empty() {
        states.push(State::ok());
    }
    states
}

/// Whether this node is level with the others, or without any.
fn network(view: &View) -> Option<State> {
    let chain = &view.chain;
    match chain.sync {
        SyncState::NoPeers { since, was_synced: false } => {
            let text = "Looking for other nodes: there is no work for miners yet.";
            let advice =
                "Wait: miners get work when this node is level with another one, or after a minute without any.";
            Some(State::new(Code::WaitingForPeers, Level::Error, text, advice).since(since))
        }
        SyncState::NoPeers { since, was_synced: true } => {
            let text = "The last other node is gone; miners go on with their work.";
            let advice = "Nothing is needed if one comes back within a minute; otherwise this node mines alone.";
            Some(State::new(Code::PeersGone, Level::Warning, text, advice).since(since))
        }
        SyncState::Solo { since } => Some(alone::alone(view).since(since)),
        SyncState::Synced if chain.no_work != Some(NoWork::Syncing) => None,
        SyncState::Synced | SyncState::Syncing => {
            let text = match chain.syncing {
                Some(SyncProgress { have, want }) => {
                    format!("The sharechain is being fetched: {} of {} shares.", percent_of(have, want), count(want))
                }
                None => "The sharechain is being compared with that of other nodes.".to_owned(),
            };
            Some(State::new(Code::Syncing, Level::Error, text, "Wait: miners get work when it is done."))
        }
    }
}

fn disk(view: &View) -> Option<State> {
    let text =
        "The disk refuses to store shares: they wait in memory, and those that no other node has are lost if this \
                one stops.";
    let advice = "Make room on the disk of -data-dir before the node is stopped; nothing else is needed.";
    view.chain.unsaved.then(|| State::new(Code::DiskFull, Level::Warning, text, advice))
}

fn signature(view: &View) -> Option<State> {
    let text = "Blocks found here are not valid: this signet's blocks need a signature that no share can carry.";
    let advice = "Use testnet4, regtest, or a signet with -signet-challenge 51.";
    let needs = view.tree().params().needs_block_signature();
    needs.then(|| State::new(Code::SignetUnsigned, Level::Warning, text, advice))
}

/// The other nodes' clocks are more than one; bitcoind's is often this machine's own.
fn clock(view: &View) -> Option<State> {
    let by_peers = view.chain.clock_ahead_s.map(|ahead_s| (ahead_s.saturating_neg(), "those of the other nodes"));
    let by_bitcoind = || clock_ahead_of_bitcoind_s(view).map(|ahead_s| (ahead_s, "bitcoind's"));
    let is_off = |(ahead_s, _): &(i64, &str)| ahead_s.unsigned_abs() > CLOCK_DIFFERENCE_MAX_S;
    let (ahead_s, whose) = by_peers.filter(is_off).or_else(|| by_bitcoind().filter(is_off))?;
    let difference_s = u32::try_from(ahead_s.unsigned_abs()).unwrap_or(u32::MAX);
    let word = if ahead_s < 0 { "behind" } else { "ahead of" };
    let text = format!("This machine's clock is {} {word} {whose}.", duration(difference_s));
    let advice = "Set the clock by NTP (timedatectl set-ntp true): shares with a wrong time are refused.";
    Some(State::new(Code::ClockOff, Level::Warning, text, advice))
}

fn clock_ahead_of_bitcoind_s(view: &View) -> Option<i64> {
    // The counter may know of a template that is not a job yet: not older than the job's own refresh.
    let arrived = view.now.minus(view.template_age_s()?);
    Some(i64::from(arrived.0) - i64::from(view.job()?.template.cur_time.0))
}

fn firmware(view: &View) -> Option<State> {
    let too_small = view.miners.miners.iter().filter(|miner| miner.coinbase_too_large);
    let too_small: Vec<&str> = too_small.map(|miner| display_name(&miner.worker)).collect();
    let (first, others) = too_small.split_first()?;
    let who = match others.len() {
        0 => format!("Miner {first} has"),
        count => format!("Miner {first} and {count} more have"),
    };
    let text = format!("{who} firmware that is known not to take a coinbase as large as the present one.");
    let advice = "Update the firmware, or point that miner elsewhere: it may hash for nothing.";
    Some(State::new(Code::FirmwareTooSmall, Level::Warning, text, advice))
}

fn no_miner(view: &View) -> Option<State> {
    let advice = "Point a miner at stratum+tcp://, the name or address of this machine, and the port of this page.";
    view.miners.miners.is_empty().then(|| State::new(Code::NoMiner, Level::Info, "No miner is connected.", advice))
}

#[cfg(test)]
mod tests;
