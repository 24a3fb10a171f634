//! Whether this node is synced, and with it whether miners get jobs.
//!
//! Peers must not keep miners waiting for ever: anybody can connect and stay silent, come and go, or claim shares that do
//! not exist. So each wait ends at a fixed time, however many peers come meanwhile:
//!
//! - The wait for a peer that reports its tip ends [`SOLO_AFTER_S`] after the last such peer left. Peers that leave without
//!   a report, as a full node's do, do not count.
//! - The wait for peers that have not reported yet ends [`RESPONSE_TIMEOUT_S`] after the first of them connected, and does
//!   not begin again for [`SYNC_WAIT_MAX_S`].
//! - The wait for shares that peers claim to have ends [`SYNC_WAIT_MAX_S`] after this node was last synced. Only a node
//!   without a chain waits as long as a peer has one, because it must not start its own (rules, section 6).

use super::peer::Peer;
use super::plan::Plan;
use super::{ChainView, Route, Sync, SyncAction, SyncState, RESPONSE_TIMEOUT_S};
use crate::peer::PeerHandle;
use crate::units::SteadyTime;

/// Seconds without a peer that has reported its tip after which a node mines solo.
pub const SOLO_AFTER_S: u32 = 60;
/// Seconds for which a node with a chain waits for its peers' shares, in all: a peer that serves them drop by drop, or keeps
/// claiming more, would otherwise keep miners without jobs.
const SYNC_WAIT_MAX_S: u32 = 900;
/// A synced node that lacks more than this many shares is no longer synced.
const BEHIND_SHARES: usize = 20;

/// Tracks whether this node is synced, and the waits that decide it.
#[derive(Debug)]
pub(super) struct SyncTracker {
    /// The state as last reported.
    pub state: SyncState<SteadyTime>,
    /// Whether this node was synced with its peers, or mined solo, and nothing has shown since that it lacks shares.
    pub is_synced: bool,
    /// Whether that is so only because it mined solo.
    is_solo: bool,
    /// Whether a connected peer has not reported its tip and is still waited for.
    pub awaits_status: bool,
    /// Since when no connected peer has reported its tip.
    no_peers_since: Option<SteadyTime>,
    /// When a node without such a peer begins to mine solo.
    solo_at: SteadyTime,
    /// Since when this node is not synced.
    behind_since: Option<SteadyTime>,
    /// When the current wait for peers that have not reported began.
    silent_since: Option<SteadyTime>,
}

/// What the connected peers have that this node lacks.
enum Outlook {
    /// So much that this node is not synced.
    Behind,
    /// Something, by their claims; or some have not reported yet.
    Unclear,
    /// Nothing, and all have reported.
    UpToDate,
}

impl SyncTracker {
    pub const fn new(now: SteadyTime) -> Self {
        Self {
            state: SyncState::NoPeers { since: now, was_synced: false },
            is_synced: false,
            is_solo: false,
            awaits_status: false,
            no_peers_since: Some(now),
            solo_at: now.plus(SOLO_AFTER_S),
            behind_since: Some(now),
            silent_since: None,
        }
    }

    /// Without the wait for a first peer.
    pub const fn solo(now: SteadyTime) -> Self {
        Self { solo_at: now, ..Self::new(now) }
    }

    /// Notes whether some connected peer has not reported.
    fn note_silence(&mut self, is_silent: bool, now: SteadyTime) {
        let may_begin = self.silent_since.is_none_or(|since| now.since(since) >= SYNC_WAIT_MAX_S);
        if is_silent && may_begin {
            self.silent_since = Some(now);
        }
        self.awaits_status = is_silent && self.silent_since.is_some_and(|since| now.since(since) < RESPONSE_TIMEOUT_S);
    }

    /// Notes whether some connected peer has reported its tip. Returns since when none has.
    fn note_reports(&mut self, has_reports: bool, now: SteadyTime) -> Option<SteadyTime> {
        if has_reports {
            self.no_peers_since = None;
        } else if self.no_peers_since.is_none() {
            self.no_peers_since = Some(now);
            self.solo_at = now.plus(SOLO_AFTER_S);
        }
        self.no_peers_since
    }

    /// The state of a node of which no connected peer has reported its tip.
    fn without_peers(&mut self, since: SteadyTime, now: SteadyTime, has_chain: bool) -> SyncState<SteadyTime> {
        let is_solo = now >= self.solo_at;
        if is_solo {
            // A solo node continues until a peer shows it more shares: that a visitor is silent proves nothing. A node
            // without a chain must ask peers before it starts one.
            self.is_synced = has_chain;
            self.is_solo = has_chain;
            self.behind_since = None;
        }
        match self.is_synced {
            false if self.awaits_status => SyncState::Syncing,
            _ if is_solo => SyncState::Solo { since },
            was_synced => SyncState::NoPeers { since, was_synced },
        }
    }

    /// The state of a node with peers that have reported their tips.
    fn with_peers(&mut self, outlook: Outlook, now: SteadyTime, has_chain: bool) -> SyncState<SteadyTime> {
        match outlook {
            Outlook::Behind => (self.is_synced, self.is_solo) = (false, false),
            Outlook::UpToDate => (self.is_synced, self.is_solo) = (true, false),
            // Without a chain nothing is lost by waiting: no jobs are made while a peer has one.
            Outlook::Unclear => {
                let has_waited = self.behind_since.is_some_and(|since| now.since(since) >= SYNC_WAIT_MAX_S);
                self.is_synced |= has_waited && has_chain;
            }
        }
        self.behind_since = (!self.is_synced).then(|| self.behind_since.unwrap_or(now));
        match self.is_synced {
            true => SyncState::Synced,
            false => SyncState::Syncing,
        }
    }
}

impl Sync {
    pub(super) fn update_state(&mut self, now: SteadyTime, view: &impl ChainView) {
        let has_chain = view.tip().is_some();
        self.tracker.note_silence(self.peers.values().any(|peer| !peer.has_reported), now);
        let has_reports = self.peers.values().any(|peer| peer.status.is_some());
        let state = match self.tracker.note_reports(has_reports, now) {
            Some(since) => self.tracker.without_peers(since, now, has_chain),
            None => {
                let outlook = self.outlook(now, view);
                self.tracker.with_peers(outlook, now, has_chain)
            }
        };
        if std::mem::replace(&mut self.tracker.state, state) != state {
            self.actions.push(SyncAction::State(state));
        }
    }

    fn outlook(&self, now: SteadyTime, view: &impl ChainView) -> Outlook {
        let has_chain = view.tip().is_some();
        let is_awaited = |plan: &&Plan| !has_chain || now.since(plan.since) < SYNC_WAIT_MAX_S;
        let mut awaited = self.plans.values().filter(is_awaited).peekable();
        if awaited.peek().is_some() {
            return if awaited.any(|plan| self.proves_behind(plan)) { Outlook::Behind } else { Outlook::Unclear };
        }
        // No plan is awaited any more, so those that are left have been waited for long enough.
        let serves = |id| self.plans.values().any(|plan| plan.has_server(id));
        let may_have_more =
            |(id, peer): (&PeerHandle, &Peer)| peer.status.is_some() && !peer.is_settled(now, view) && !serves(*id);
        match self.tracker.awaits_status || self.peers.iter().any(may_have_more) {
            true => Outlook::Unclear,
            false => Outlook::UpToDate,
        }
    }

    /// Whether a plan proves that peers have left this node behind. Only shares prove it: anybody can make up a list of ids
    /// and put one new share in front of it.
    fn proves_behind(&self, plan: &Plan) -> bool {
        let (done, total) = plan.counts();
        match plan.route {
            Route::Tree => plan.linked > BEHIND_SHARES && total - done > BEHIND_SHARES,
            // A candidate's shares have proof of work, no more. That is enough only against a node that mined solo, which
            // has no other peer's report.
            Route::Candidate(_) => self.tracker.is_solo && plan.checked > BEHIND_SHARES,
        }
    }
}
