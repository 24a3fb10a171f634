//! Whether this node is synced, and with it whether miners get jobs.
//!
//! Peers must not keep miners waiting: anybody can connect and stay silent, come and go, claim shares that do not exist, or
//! serve a chain of cheap ones drop by drop. So work is withheld from miners only before this node has been synced for the first
//! time, and each wait ends at a fixed time, however many peers come meanwhile and whatever they claim:
//!
//! - The wait for a peer that reports its tip ends [`SOLO_AFTER_S`] after the last such peer left. Peers that leave without
//!   a report, as a full node's do, do not count.
//! - A node with a chain waits for what its peers claim to have until [`CATCH_UP_MAX_S`] after the first of them reported, once
//!   in its life.
//! - A node without a chain must not start its own while a peer has one (rules, section 6), nor while new peers have not
//!   reported yet. That ends [`NEWCOMER_WAIT_MAX_S`] after the first of them reported.
//! - Before that, the wait for peers that have not reported yet ends [`RESPONSE_TIMEOUT_S`] after the first of them connected,
//!   and does not begin again for [`SILENCE_INTERVAL_S`].
//!
//! After that mining goes on whatever peers claim, list or serve, until a chain of theirs is ours. Nothing would be gained by a
//! stop: a short list is fetched within seconds, and what takes minutes was missed for hours. And nothing less than a better
//! chain proves that this node is behind: a share's proof of work shows nothing before rule 8 does, because any Bitcoin header
//! passes for one, and even valid shares can cost next to nothing.
//!
//! | node | what keeps its miners waiting | for how long | what it costs |
//! |---|---|---|---|
//! | with a chain, was synced or mined solo | nothing; its chain is replaced by a better one | | more work than its own chain |
//! | with a chain, just started | no report, then claims | 60 s, then 300 s, once | nothing |
//! | without a chain | no report, then claims | 60 s, then 900 s, once | nothing |
//! | without a chain | new peers that stay silent, while none has reported | 40 s of 900 s | nothing |
//! | without a chain | one share of newer rules (rules, section 10) | six Bitcoin blocks | one share of the easiest target |

use super::peer::Peer;
use super::{ChainView, Sync, SyncAction, SyncState, RESPONSE_TIMEOUT_S};
use crate::units::SteadyTime;

/// Seconds without a peer that has reported its tip after which a node mines solo.
pub const SOLO_AFTER_S: u32 = 60;
/// Seconds for which a node with a chain waits for its peers' shares after its start: in that time a chain of full length, 12 MB,
/// arrives at half a Mbit/s.
const CATCH_UP_MAX_S: u32 = 300;
/// Seconds for which a node without a chain waits for its peers': in that time such a chain arrives at 140 kbit/s. One that takes
/// longer is adopted all the same.
const NEWCOMER_WAIT_MAX_S: u32 = 900;
/// Seconds between two waits for peers that have not reported.
const SILENCE_INTERVAL_S: u32 = 900;

/// Tracks whether this node is synced, and the waits that decide it.
#[derive(Debug)]
pub(super) struct SyncTracker {
    /// The state as last reported.
    pub state: SyncState<SteadyTime>,
    /// Whether this node was synced with its peers, mined solo on a chain, or has waited long enough.
    pub is_synced: bool,
    /// Whether a connected peer has not reported its tip and is still waited for.
    pub awaits_status: bool,
    /// Since when no connected peer has reported its tip.
    no_peers_since: Option<SteadyTime>,
    /// When a node without such a peer begins to mine solo.
    solo_at: SteadyTime,
    /// When a peer first reported its tip, since bitcoind caught up: before that no chain is adopted, and there is no work.
    pub waits_since: Option<SteadyTime>,
    /// Whether that is as long ago as this node waits for its peers' chains.
    has_waited: bool,
    /// When the current wait for peers that have not reported began.
    silent_since: Option<SteadyTime>,
}

impl SyncTracker {
    pub const fn new(now: SteadyTime) -> Self {
        Self {
            state: SyncState::NoPeers { since: now, was_synced: false },
            is_synced: false,
            awaits_status: false,
            no_peers_since: Some(now),
            solo_at: now.plus(SOLO_AFTER_S),
            waits_since: None,
            has_waited: false,
            silent_since: None,
        }
    }

    /// Without the wait for a first peer.
    pub const fn solo(now: SteadyTime) -> Self {
        Self { solo_at: now, ..Self::new(now) }
    }

    /// Notes whether some connected peer has not reported.
    fn note_silence(&mut self, is_silent: bool, now: SteadyTime) {
        let may_begin = self.silent_since.is_none_or(|since| now.since(since) >= SILENCE_INTERVAL_S);
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

    /// Ends the wait for peers' chains when its time is over.
    fn note_waiting(&mut self, has_reports: bool, view: &impl ChainView, now: SteadyTime) {
        if !view.may_adopt() {
            self.waits_since = None;
        } else if has_reports && self.waits_since.is_none() {
            self.waits_since = Some(now);
        }
        let max_s = if view.tip().is_some() { CATCH_UP_MAX_S } else { NEWCOMER_WAIT_MAX_S };
        self.has_waited = self.waits_since.is_some_and(|since| now.since(since) >= max_s);
        self.is_synced |= self.has_waited;
    }

    /// The state of a node of which no connected peer has reported its tip.
    fn without_peers(&mut self, since: SteadyTime, now: SteadyTime, has_chain: bool) -> SyncState<SteadyTime> {
        let is_solo = now >= self.solo_at;
        // A node without a chain must ask peers before it starts one.
        self.is_synced |= is_solo && has_chain;
        match self.is_synced {
            false if self.awaits_status => SyncState::Syncing,
            _ if is_solo => SyncState::Solo { since },
            was_synced => SyncState::NoPeers { since, was_synced },
        }
    }
}

impl Sync {
    /// Whether a genesis share may be made: no connected peer has a chain that is due (rules, section 6), and none is awaited
    /// that has not reported yet, or the time for that is over.
    pub fn may_start_chain(&self) -> bool {
        let has_chain = |peer: &Peer| !peer.is_not_due && peer.status.as_ref().is_some_and(|status| status.has_chain());
        let waits = self.tracker.awaits_status || self.peers.values().any(has_chain);
        self.state().may_mine() && (self.tracker.has_waited || !waits)
    }

    pub(super) fn update_state(&mut self, now: SteadyTime, view: &impl ChainView) {
        self.tracker.note_silence(self.peers.values().any(|peer| !peer.has_reported), now);
        let has_reports = self.peers.values().any(|peer| peer.status.is_some());
        let was_waiting = self.tracker.waits_since.is_some();
        self.tracker.note_waiting(has_reports, view, now);
        if !was_waiting && self.tracker.waits_since.is_some() {
            // What waited for Bitcoin blocks can be linked now.
            self.peers.values_mut().for_each(|peer| peer.unlinked_until = SteadyTime::from_s(0));
        }
        let state = match self.tracker.note_reports(has_reports, now) {
            Some(since) => self.tracker.without_peers(since, now, view.tip().is_some()),
            None => {
                self.tracker.is_synced |= self.is_up_to_date(now, view);
                if self.tracker.is_synced {
                    SyncState::Synced
                } else {
                    SyncState::Syncing
                }
            }
        };
        if std::mem::replace(&mut self.tracker.state, state) != state {
            self.actions.push(SyncAction::State(state));
        }
    }

    /// Whether all peers have reported and none has something that this node lacks, as far as is known.
    fn is_up_to_date(&self, now: SteadyTime, view: &impl ChainView) -> bool {
        let may_have_more = |peer: &Peer| peer.status.is_some() && !peer.is_settled(now, view);
        self.plans.is_empty() && !self.tracker.awaits_status && !self.peers.values().any(may_have_more)
    }
}
