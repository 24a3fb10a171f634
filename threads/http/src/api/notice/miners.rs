//! The notices about this node's miners. Their names are chosen by themselves, so few of them are named.

use std::sync::Arc;

use p2pool_core::status::{MinerStatus, MinersStatus};
use p2pool_core::stratum::display_name;

use super::{Code, Level, Notice};
use crate::snapshot::Snapshot;

/// Most workers that a notice names.
const NAMED_MAX: usize = 3;
/// For how many seconds a refusal because of a limit is shown: firmware retries more often.
const LIMIT_SHOWN_S: u32 = 600;

/// Notes that miners are refused; other notices say why there is no work.
pub(super) fn refused(snapshot: &Snapshot) -> Option<Notice> {
    let no_work = snapshot.miners.no_work.filter(|no_work| no_work.refuses && !no_work.why.is_final())?;
    let why = no_work.why.text();
    let text = match no_work.closes {
        true => format!("Miners are disconnected and refused, so that they use their backup pools: {why}."),
        false => format!("Miners that connect are refused until there is work: {why}."),
    };
    let advice = "They are accepted as soon as there is work. Give each miner a backup pool.";
    Some(Notice::new(Code::MinersRefused, Level::Error, text, advice).since(no_work.since))
}

/// Notes miners that are connected, but find nothing.
pub(super) fn silent(snapshot: &Snapshot) -> Option<Notice> {
    let silent = names_of(snapshot, |miner| miner.silent_s.is_some())?;
    let advice = "Check that each of them is hashing, and restart it if not.";
    let text = format!("Connected, but silent: {silent}.");
    Some(Notice::new(Code::MinersSilent, Level::Warning, text, advice))
}

/// Notes workers that have left and not come back.
pub(super) fn gone(snapshot: &Snapshot) -> Option<Notice> {
    let gone = snapshot.gone.iter().filter(|gone| gone.is_problem);
    let names: Vec<&Arc<str>> = gone.map(|gone| &gone.name).collect();
    let text = format!("No longer connected: {}.", list(&names)?);
    let advice =
        "Check their power and network, and that they do not mine for another pool. If you have retired them, no \
                  action is needed: this note ends a day after they left.";
    Some(Notice::new(Code::MinersGone, Level::Warning, text, advice))
}

pub(super) fn firmware(snapshot: &Snapshot) -> Option<Notice> {
    let names = names_of(snapshot, |miner| miner.coinbase_too_large)?;
    let text = format!("The coinbase is larger than their firmware is known to support: {names}.");
    let advice = "Update the firmware, or point those miners elsewhere: their work may be wasted.";
    Some(Notice::new(Code::FirmwareTooSmall, Level::Warning, text, advice))
}

/// Notes miners whose user name has an address that is not paid.
pub(super) fn unpaid_address(snapshot: &Snapshot) -> Option<Notice> {
    let names = names_of(snapshot, |miner| miner.named_address.is_unpaid())?;
    let text = format!("The user name has an address that is not paid: {names}.");
    let advice =
        "All work of this node's miners pays the address of the node. Use that address, a dot and any name as user \
                  name, or a name without an address.";
    Some(Notice::new(Code::UnpaidAddress, Level::Warning, text, advice))
}

/// Notes that miners are refused because there are too many.
pub(super) fn limit(snapshot: &Snapshot) -> Option<Notice> {
    let (time, limit) = snapshot.miners.limit_reached.as_ref()?;
    let advice =
        "If these are your miners, raise -max-sessions, or let a proxy share one connection among several of them.";
    let text = format!("Miners are refused: {limit}.");
    let is_recent = snapshot.now.since(*time) < LIMIT_SHOWN_S;
    is_recent.then(|| Notice::new(Code::MinersLimit, Level::Warning, text, advice).since(*time))
}

pub(super) fn no_miner(snapshot: &Snapshot) -> Option<Notice> {
    let MinersStatus { miners, no_work, .. } = &*snapshot.miners;
    let is_refused = no_work.is_some_and(|no_work| no_work.refuses);
    let advice = "Point a miner at stratum+tcp://, the name or address of this machine, and the port of this page.";
    (miners.is_empty() && !is_refused)
        .then(|| Notice::new(Code::NoMiner, Level::Info, "No miner is connected.", advice))
}

/// Lists miners, those with the most work first; `None` if there are none.
fn names_of(snapshot: &Snapshot, is_meant: impl Fn(&MinerStatus) -> bool) -> Option<String> {
    let mut miners: Vec<&MinerStatus> = snapshot.miners.miners.iter().filter(|miner| is_meant(miner)).collect();
    miners.sort_by(|left, right| right.credited.total_cmp(&left.credited).then_with(|| left.worker.cmp(&right.worker)));
    list(&miners.into_iter().map(|miner| &miner.worker).collect::<Vec<_>>())
}

/// Lists names in a sentence, and counts those that are too many.
fn list(names: &[&Arc<str>]) -> Option<String> {
    let named: Vec<&str> = names.iter().take(NAMED_MAX).map(|name| display_name(name)).collect();
    let more = names.len() - named.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!named.is_empty()).then(|| format!("{}{more}", named.join(", ")))
}
