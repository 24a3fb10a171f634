//! The notices about missing or old block templates, mostly caused by bitcoind.

use p2pool_core::status::BitcoindError;
use p2pool_core::work::NoWork;

use super::{Code, Level, Notice, TEMPLATE_AGE_MAX_S};
use crate::api::format::duration;
use crate::snapshot::Snapshot;

/// Explains why miners have no fresh work, if so.
pub(super) fn no_fresh_work(snapshot: &Snapshot) -> Option<Notice> {
    let age_s = snapshot.template_age_s();
    if let Some(error) = &snapshot.bitcoind.error {
        return Some(of_error(error, snapshot));
    }
    let Some(age_s) = age_s else {
        let advice = "Wait a moment. If this persists, bitcoind does not respond: see its debug.log.";
        return Some(Notice::new(Code::NoWorkYet, Level::Error, "No block template from bitcoind yet.", advice));
    };
    // The work may be withdrawn earlier.
    if age_s > TEMPLATE_AGE_MAX_S || snapshot.chain.no_work == Some(NoWork::NoTemplate) {
        let advice = "bitcoind is connected but gives no new template: see its debug.log, and restart it if it hangs.";
        let notice = Notice::new(Code::TemplateOld, Level::Error, age_text(age_s), advice);
        return Some(notice.since(snapshot.now.minus(age_s)));
    }
    if snapshot.job().is_none() {
        return no_work(snapshot.chain.no_work);
    }
    None
}

/// Makes the notice about an error: only a warning while the current job is still good.
fn of_error(error: &BitcoindError, snapshot: &Snapshot) -> Notice {
    let age_s = snapshot.template_age_s();
    let has_good_job = snapshot.job().is_some() && age_s.is_some_and(|age_s| age_s <= TEMPLATE_AGE_MAX_S);
    let level = if has_good_job { Level::Warning } else { Level::Error };
    let text = error.to_string();
    let stop = if text.ends_with(['.', '!', '?', '…']) { "" } else { "." };
    let last = age_s.map_or("There has been no block template yet.".to_owned(), age_text);
    Notice::new(code(error), level, format!("bitcoind {text}{stop} {last}"), error.advice())
        .since(snapshot.bitcoind.since)
}

fn age_text(age_s: u32) -> String {
    format!("The newest block template is {} old.", duration(age_s))
}

const fn code(error: &BitcoindError) -> Code {
    match error {
        BitcoindError::Unreachable(_) => Code::BitcoindUnreachable,
        BitcoindError::NoResponse(_) => Code::BitcoindNoResponse,
        BitcoindError::Starting(_) => Code::BitcoindStarting,
        BitcoindError::Stopping => Code::BitcoindStopping,
        BitcoindError::Syncing { .. } => Code::BitcoindSyncing,
        BitcoindError::NoPeers(_) => Code::BitcoindNoPeers,
        BitcoindError::WrongNetwork { .. } => Code::BitcoindWrongNetwork,
        BitcoindError::NoCookie(_) => Code::BitcoindNoCookie,
        BitcoindError::CookieUnreadable { .. } => Code::BitcoindCookieUnreadable,
        BitcoindError::Unauthorised(_) => Code::BitcoindUnauthorised,
        BitcoindError::Forbidden { .. } => Code::BitcoindForbidden,
        BitcoindError::InvalidResponse(_) => Code::BitcoindInvalidResponse,
        BitcoindError::UnusableTemplate(_) | BitcoindError::Rpc { .. } => Code::BitcoindFailing,
    }
}

/// Makes the notice that there is a template but no job.
fn no_work(why: Option<NoWork>) -> Option<Notice> {
    let (text, advice) = match why {
        // Other notices explain these.
        Some(NoWork::NoPeers | NoWork::Syncing | NoWork::ClockOff | NoWork::Outdated | NoWork::Stalled) => return None,
        Some(NoWork::BitcoindBehind) => (
            "There is no work for miners: bitcoind is behind the blocks that the pool's shares build on.",
            "Wait until bitcoind has caught up, and check that it has peers.",
        ),
        Some(NoWork::JobFailed) => (
            "There is no work for miners: no job can be made from bitcoind's block template.",
            "See the log for the reason.",
        ),
        Some(NoWork::NoTemplateYet | NoWork::NoTemplate | NoWork::WrongNetwork) | None => {
            ("There is no work for miners.", "See the log for the reason.")
        }
    };
    Some(Notice::new(Code::NoWork, Level::Error, text, advice))
}
