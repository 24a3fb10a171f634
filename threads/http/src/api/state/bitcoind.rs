//! No work, or old work: mostly bitcoind's doing, and each kind of trouble with it wants something else done.

use p2pool_core::status::BitcoindError;
use p2pool_core::work::NoWork;

use super::{Code, Level, State, TEMPLATE_AGE_MAX_S};
use crate::api::words::duration;
use crate::view::View;

/// What keeps miners from having fresh work, if anything does.
pub(super) fn no_template(view: &View) -> Option<State> {
    let age_s = view.template_age_s();
    if let Some(error) = &view.bitcoind.error {
        return Some(of_error(error, view));
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
fn of_error(error: &BitcoindError, view: &View) -> State {
    let age_s = view.template_age_s();
    let is_at_work = view.job().is_some() && age_s.is_some_and(|age_s| age_s <= TEMPLATE_AGE_MAX_S);
    let level = if is_at_work { Level::Warning } else { Level::Error };
    let text = error.to_string();
    let stop = if text.ends_with(['.', '!', '?', '…']) { "" } else { "." };
    let last = age_s.map_or("There has been no work yet.".to_owned(), age_text);
    State::new(code(error), level, format!("bitcoind {text}{stop} {last}"), error.advice()).since(view.bitcoind.since)
}

fn age_text(age_s: u32) -> String {
    format!("The last work is {} old.", duration(age_s))
}

const fn code(error: &BitcoindError) -> Code {
    match error {
        BitcoindError::Unreachable(_) => Code::BitcoindUnreachable,
        BitcoindError::NoResponse(_) => Code::BitcoindNoAnswer,
        BitcoindError::Starting(_) => Code::BitcoindStarting,
        BitcoindError::Stopping => Code::BitcoindStopping,
        BitcoindError::Syncing { .. } => Code::BitcoindSyncing,
        BitcoindError::NoPeers(_) => Code::BitcoindNoPeers,
        BitcoindError::WrongNetwork { .. } => Code::BitcoindWrongNetwork,
        BitcoindError::NoCookie(_) => Code::BitcoindNoCookie,
        BitcoindError::CookieUnreadable { .. } => Code::BitcoindCookieUnreadable,
        BitcoindError::Unauthorised(_) => Code::BitcoindUnauthorised,
        BitcoindError::Forbidden(_) => Code::BitcoindForbidden,
        BitcoindError::InvalidResponse(_) => Code::BitcoindGarbage,
        BitcoindError::UnusableTemplate(_) | BitcoindError::Rpc { .. } => Code::BitcoindFailing,
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
