//! What is wrong, in plain language, and what to do about it.

use p2pool_core::units::UnixTime;
use serde::Serialize;

use crate::view::View;

/// bitcoind gives a template every few seconds to a minute; the node sounds the alarm at this age.
pub const TEMPLATE_AGE_MAX_S: u32 = 120;
/// A clock that differs more than this from bitcoind's is wrong, or bitcoind's is.
const CLOCK_DIFFERENCE_MAX_S: u32 = 60;

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

/// One thing to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct State {
    /// For programs; never changes its meaning.
    pub code: &'static str,
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
    fn new(code: &'static str, level: Level, text: impl Into<String>, advice: &str) -> Self {
        Self { code, level, text: text.into(), advice: advice.to_owned(), since: None }
    }

    /// Nothing is wrong.
    pub fn ok() -> Self {
        Self::new("ok", Level::Ok, "Everything works.", "")
    }

    fn since(self, since: UnixTime) -> Self {
        Self { since: Some(since.0).filter(|since| *since > 0), ..self }
    }
}

/// Everything there is to know, worst first; never empty.
pub fn states(view: &View) -> Vec<State> {
    let all = [
        no_template(view),
        syncing(view),
        disk(view),
        signature(view),
        clock(view),
        firmware(view),
        no_miner(view),
        alone(view),
    ];
    let mut states: Vec<State> = all.into_iter().flatten().collect();
    // A stable sort: among equals the order above stands.
    states.sort_by_key(|state| std::cmp::Reverse(state.level));
    if states.is_empty() {
        states.push(State::ok());
    }
    states
}

/// No work, or old work.
fn no_template(view: &View) -> Option<State> {
    let check_bitcoind = "Check that bitcoind runs with server=1 and that this node's -rpc-host, -rpc-port and \
                          credentials are right; the log says more.";
    let age_s = view.template_age_s();
    let is_old = age_s.is_none_or(|age_s| age_s > TEMPLATE_AGE_MAX_S);
    let last = match age_s {
        Some(age_s) => format!("The last work is {} old.", duration(age_s)),
        None => "There has been no work yet.".to_owned(),
    };
    if let Some(problem) = &view.bitcoind.problem {
        let (level, code) = if is_old || view.job().is_none() {
            (Level::Error, "bitcoind_down")
        } else {
            (Level::Warning, "bitcoind_interrupted")
        };
        let stop = if problem.ends_with(['?', '.']) { "" } else { "." };
        let state = State::new(code, level, format!("bitcoind {problem}{stop} {last}"), check_bitcoind);
        return Some(state.since(view.bitcoind.since));
    }
    match age_s {
        None => Some(State::new("no_work_yet", Level::Error, "bitcoind has given no work yet.", check_bitcoind)),
        Some(age_s) if is_old => {
            let state = State::new("template_old", Level::Error, last, check_bitcoind);
            Some(state.since(view.now.minus(age_s)))
        }
        Some(_) if view.job().is_none() => {
            Some(State::new("no_work", Level::Error, "There is no work for miners.", "The log says why."))
        }
        Some(_) => None,
    }
}

fn syncing(view: &View) -> Option<State> {
    let progress = view.chain.syncing?;
    let percent = (progress.have.min(progress.want) * 100).checked_div(progress.want).unwrap_or(0);
    let text = format!("The sharechain is being fetched: {percent} % of {} shares.", progress.want);
    Some(State::new("syncing", Level::Error, text, "Wait: miners get work when it is done."))
}

fn disk(view: &View) -> Option<State> {
    let text = "The disk refuses to store shares; they are kept in memory and lost if the node stops.";
    let advice = "Make room on the disk of -data-dir; nothing else is needed.";
    view.chain.unsaved.then(|| State::new("disk_full", Level::Warning, text, advice))
}

fn signature(view: &View) -> Option<State> {
    let text = "Blocks found here are not valid: this signet's blocks need a signature that no share can carry.";
    let advice = "Use testnet4, regtest, or a signet with -signet-challenge 51.";
    let needs = view.tree().params().needs_block_signature();
    needs.then(|| State::new("signet_unsigned", Level::Warning, text, advice))
}

fn clock(view: &View) -> Option<State> {
    let template = &view.job()?.template;
    let arrived = view.now.minus(view.template_age_s()?);
    let (difference_s, word) = match arrived.since(template.cur_time) {
        0 => (template.cur_time.since(arrived), "behind"),
        ahead_s => (ahead_s, "ahead of"),
    };
    // The counter may know of a template that is not a job yet: not older than the job's own refresh.
    let text = format!("This machine's clock is {} {word} bitcoind's.", duration(difference_s));
    let advice = "Set both clocks by NTP (timedatectl set-ntp true): shares with a wrong time are refused.";
    (difference_s > CLOCK_DIFFERENCE_MAX_S).then(|| State::new("clock_off", Level::Warning, text, advice))
}

fn firmware(view: &View) -> Option<State> {
    let too_small: Vec<&str> =
        view.miners.miners.iter().filter(|miner| miner.coinbase_too_large).map(|miner| &*miner.worker).collect();
    let (first, others) = too_small.split_first()?;
    let who = match others.len() {
        0 => format!("Miner {first} has"),
        count => format!("Miner {first} and {count} more have"),
    };
    let text = format!("{who} firmware that is known not to take a coinbase as large as the present one.");
    let advice = "Update the firmware, or point that miner elsewhere: it may hash for nothing.";
    Some(State::new("firmware_too_small", Level::Warning, text, advice))
}

fn no_miner(view: &View) -> Option<State> {
    let advice = "Point a miner at stratum+tcp://, the name or address of this machine, and the port of this page.";
    view.miners.miners.is_empty().then(|| State::new("no_miner", Level::Info, "No miner is connected.", advice))
}

fn alone(view: &View) -> Option<State> {
    let text = "Mining alone: no other node is connected.";
    let advice = if view.peers.our_id.is_empty() {
        "This version has no network of nodes yet: all that is found is paid to this node's address."
    } else {
        "Check -bootnodes, and that -p2p-port can be reached from outside."
    };
    view.peers.peers.is_empty().then(|| State::new("alone", Level::Info, text, advice))
}

/// For people.
fn duration(seconds: u32) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests;
