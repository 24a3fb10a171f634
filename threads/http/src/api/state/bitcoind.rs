//! No work, or old work: mostly bitcoind's doing, and each kind of trouble with it wants something else done.

use p2pool_core::status::{BitcoindProblem, BitcoindProblemKind};
use p2pool_core::work::NoWork;

use super::{Code, Level, State, TEMPLATE_AGE_MAX_S};
use crate::api::words::{duration, percent};
use crate::view::View;

/// What keeps miners from having fresh work, if anything does.
pub(super) fn no_template(view: &View) -> Option<State> {
    let age_s = view.template_age_s();
    if let Some(problem) = &view.bitcoind.problem {
        return Some(of_problem(problem, view));
    }
    let Some(age_s) = age_s else {
        let advice = "Wait a moment. If it stays so, bitcoind does not answer: its debug.log may say why.";
        return Some(State::new(Code::NoWorkYet, Level::Error, "bitcoind has given no work yet.", advice));
    };
    if age_s > TEMPLATE_AGE_MAX_S {
        let advice =
            "bitcoind is connected and gives nothing new: look into its debug.log, and restart it if it hangs.";
        let state = State::new(Code::TemplateOld, Level::Error, age_text(age_s), advice);
        return Some(state.since(view.now.minus(age_s)));
    }
    if view.job().is_none() {
        return no_work(view.chain.no_work);
    }
    None
}

/// While the last work is good, nothing is lost yet.
fn of_problem(problem: &BitcoindProblem, view: &View) -> State {
    let age_s = view.template_age_s();
    let is_at_work = view.job().is_some() && age_s.is_some_and(|age_s| age_s <= TEMPLATE_AGE_MAX_S);
    let level = if is_at_work { Level::Warning } else { Level::Error };
    let (code, advice) = code_and_advice(problem.kind);
    let text = match problem.kind {
        BitcoindProblemKind::Syncing { percent: Some(done) } => {
            format!("is still downloading the block chain: {} done", percent(done.into()))
        }
        BitcoindProblemKind::Syncing { percent: None } => "is still downloading the block chain".to_owned(),
        _ => problem.text.clone(),
    };
    let stop = if text.ends_with(['.', '!', '?', '…']) { "" } else { "." };
    let last = age_s.map_or("There has been no work yet.".to_owned(), age_text);
    State::new(code, level, format!("bitcoind {text}{stop} {last}"), advice).since(view.bitcoind.since)
}

fn age_text(age_s: u32) -> String {
    format!("The last work is {} old.", duration(age_s))
}

fn code_and_advice(kind: BitcoindProblemKind) -> (Code, &'static str) {
    match kind {
        BitcoindProblemKind::Unreachable => (
            Code::BitcoindUnreachable,
            "Check that bitcoind runs, with server=1 in its bitcoin.conf, and that this node's -rpc-host and -rpc-port \
             are right.",
        ),
        BitcoindProblemKind::NoAnswer => (
            Code::BitcoindNoAnswer,
            "Wait a moment, for bitcoind may be busy. If it stays so, look into its debug.log, and restart it if it hangs.",
        ),
        BitcoindProblemKind::WarmingUp => {
            (Code::BitcoindStarting, "Wait: miners get work by themselves as soon as bitcoind has started.")
        }
        BitcoindProblemKind::Stopping => {
            (Code::BitcoindStopping, "Nothing is needed if bitcoind is being restarted; otherwise start it again.")
        }
        BitcoindProblemKind::Syncing { .. } => (Code::BitcoindSyncing, "Wait: mining begins by itself when it is done."),
        BitcoindProblemKind::NoPeers => (
            Code::BitcoindNoPeers,
            "Wait a moment, for bitcoind looks for other Bitcoin nodes by itself. If it finds none, check its connection to \
             the Internet, and connect= in its bitcoin.conf.",
        ),
        BitcoindProblemKind::WrongNetwork => (
            Code::BitcoindWrongNetwork,
            "Start this node with bitcoind's -network, or give the -rpc-port of a bitcoind on this node's network.",
        ),
        BitcoindProblemKind::NoCookie => (
            Code::BitcoindNoCookie,
            "Check that bitcoind runs. If its data directory is elsewhere, give -rpc-cookie-file; if it has a password \
             instead, -rpc-user and BITCOIN_RPC_PASSWORD.",
        ),
        BitcoindProblemKind::CookieUnreadable => (
            Code::BitcoindCookieUnreadable,
            "Let this node read it: run it with bitcoind's group and set rpccookieperms=group in bitcoin.conf, or give \
             -rpc-cookie-file.",
        ),
        BitcoindProblemKind::Unauthorised => (
            Code::BitcoindUnauthorised,
            "Give the user and password that bitcoind knows in -rpc-user and BITCOIN_RPC_PASSWORD, or the cookie of this \
             bitcoind in -rpc-cookie-file.",
        ),
        BitcoindProblemKind::Forbidden => (
            Code::BitcoindForbidden,
            "Allow this machine's address with rpcallowip= in bitcoin.conf, and this node's user all methods if there is an \
             rpcwhitelist=.",
        ),
        BitcoindProblemKind::Garbage => (
            Code::BitcoindGarbage,
            "Check that -rpc-host and -rpc-port lead to bitcoind and not to another program; its debug.log may say more.",
        ),
        BitcoindProblemKind::Failing => {
            (Code::BitcoindFailing, "Look into bitcoind's debug.log, and check that its version is a current one.")
        }
    }
}

/// There is a template and no job.
fn no_work(why: Option<NoWork>) -> Option<State> {
    let (text, advice) = match why {
        // Told by what follows.
        Some(NoWork::NoPeers | NoWork::Syncing) => return None,
        Some(NoWork::BitcoindBehind) => (
            "There is no work for miners: bitcoind is behind the blocks that the pool's shares are built on.",
            "Wait until bitcoind has caught up, and check that it has peers.",
        ),
        Some(NoWork::NoTemplate) | None => ("There is no work for miners.", "The log says why."),
    };
    Some(State::new(Code::NoWork, Level::Error, text, advice))
}
