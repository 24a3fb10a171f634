//! The notices about blocks that bitcoind has not accepted, or would not accept now.

use p2pool_core::status::{BitcoindError, BitcoindStatus};

use super::{Code, Level, Notice};
use crate::block_log::BlockNotAccepted;
use crate::snapshot::Snapshot;

/// Explains which found blocks bitcoind has not accepted, if any.
pub(super) fn blocks_not_accepted(snapshot: &Snapshot) -> Option<Notice> {
    let (oldest, text) = describe(&snapshot.blocks_not_accepted, "not accepted")?;
    let advice =
        "Remove the cause at once, because each minute may cost the block. This node submits it again every few \
                  seconds. To submit it by hand, see contrib/docs/troubleshooting.md.";
    Some(Notice::new(Code::BlockNotAccepted, Level::Error, text, advice).since(oldest.queued))
}

/// Explains which found blocks bitcoind has rejected in the last day, if any.
pub(super) fn blocks_rejected(snapshot: &Snapshot) -> Option<Notice> {
    let (oldest, text) = describe(&snapshot.blocks_rejected, "rejected")?;
    let advice =
        "Check that bitcoind and this node are current versions, and report the line of the log: a block found here \
                  should never be rejected. Its .rejected file is kept in the folder for found blocks.";
    Some(Notice::new(Code::BlockRejected, Level::Warning, text, advice).since(oldest.queued))
}

/// Returns the oldest block and a text about all of them.
fn describe<'a>(blocks: &'a [BlockNotAccepted], what: &str) -> Option<(&'a BlockNotAccepted, String)> {
    let (oldest, more) = blocks.split_first()?;
    let others = match more.len() {
        0 => String::new(),
        1 => " So is one more.".to_owned(),
        count => format!(" So are {count} more."),
    };
    let (id, height, reason) = (oldest.id, oldest.height, oldest.reason.trim_end_matches('.'));
    let text = format!(
        "Block {id} at height {height}, found by a miner of this node, is {what} by bitcoind: {reason}.{others}"
    );
    Some((oldest, text))
}

/// Explains why bitcoind would not accept a block now, unless it gives no templates either.
pub(super) fn not_ready(snapshot: &Snapshot) -> Option<Notice> {
    let status = &snapshot.submission;
    if !status.refused.is_empty() {
        let text = format!(
            "bitcoind refuses this node RPC methods that it needs (HTTP status 403): {}.",
            status.refused.join(", ")
        );
        let advice = BitcoindError::Forbidden { method: "", reason: String::new() }.advice();
        return Some(Notice::new(Code::MethodsRefused, Level::Error, text, advice).since(status.since));
    }
    let error = status.error.as_ref().filter(|_| snapshot.bitcoind.error.is_none())?;
    let text = format!("A block found now could not be submitted: bitcoind {error}.");
    Some(Notice::new(Code::SubmissionFailing, Level::Error, text, error.advice()).since(status.since))
}

/// Notes that templates are polled because bitcoind has too few RPC threads.
pub(super) fn long_poll_off(snapshot: &Snapshot) -> Option<Notice> {
    let since = snapshot.bitcoind.long_poll_off_since?;
    let text =
        "bitcoind has no RPC thread left while a long poll waits, so block templates are polled: miners get work on a \
                new block a second later.";
    Some(Notice::new(Code::LongPollOff, Level::Warning, text, BitcoindStatus::LONG_POLL_OFF_ADVICE).since(since))
}
