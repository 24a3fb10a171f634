//! Whether we are level with the others: whether miners get jobs.
//!
//! Whoever waits for what others say must not wait for ever, for anybody can connect and keep silent, come and go, or
//! claim what is not there. Each wait has its end, counted from when waiting began and not anew with each peer:
//!
//! - for somebody to speak with: from when the last peer was there that said where it is. Who comes and goes without a word,
//!   as from a node that is full, is no company;
//! - for those that have not said yet: from when the first of them came, and anew after a quarter of an hour at the earliest;
//! - for what they have: from when we were level last. Only a node without a chain waits as long as a peer has one, for by
//!   the rules (section 6) it may start none of its own.

use super::peer::Peer;
use super::plan::Plan;
use super::{
    ChainView, Route, Sync, SyncAction, SyncState, AWAITED_MAX_S, BEHIND_SHARES, RESPONSE_MAX_S, SOLO_AFTER_S,
};
use crate::units::SteadyTime;

/// Whether we are level, and since when we are not.
#[derive(Debug)]
pub(super) struct SyncProgress {
    /// Whether we have been level with the peers, or mined alone, and nothing has shown since that we are not.
    pub is_synced: bool,
    /// Whether that is so only because there was nobody to be level with.
    pub is_solo: bool,
    /// Whether a peer is here that has not said yet where it is, and still has time to.
    pub awaits_silent: bool,
    /// Since when we are not level.
    behind_since: Option<SteadyTime>,
    /// When peers that have not said yet were waited for first.
    silent_since: Option<SteadyTime>,
}

/// Purpose the connected peers have for us.
enum Outlook {
    /// So much that we are not level any more.
    Behind,
    /// Something, as they say.
    More,
    /// Some have not said yet, the others have nothing.
    Silent,
    /// Nothing.
    Quiet,
}

impl SyncProgress {
    pub const fn new(now: SteadyTime) -> Self {
        Self { is_synced: false, is_solo: false, awaits_silent: false, behind_since: Some(now), silent_since: None }
    }

    fn count_silence(&mut self, is_silent: bool, now: SteadyTime) {
        let is_over = self.silent_since.is_none_or(|since| now.since(since) >= AWAITED_MAX_S);
        if is_silent && is_over {
            self.silent_since = Some(now);
        }
        self.awaits_silent = is_silent && self.silent_since.is_some_and(|since| now.since(since) < RESPONSE_MAX_S);
    }
}

impl Sync {
    pub(super) fn update_state(&mut self, now: SteadyTime, view: &impl ChainView) {
        self.level.count_silence(self.peers.values().any(|peer| !peer.has_reported), now);
        let state = match self.count_unsynced(now) {
            Some(since) => self.state_solo(since, now, view),
            None => {
                self.compare_peers(now, view);
                match self.level.is_synced {
                    true => SyncState::Synced,
                    false => SyncState::Syncing,
                }
            }
        };
        if self.state != state {
            self.state = state;
            self.actions.push(SyncAction::State(state));
        }
    }

    /// Since when nobody is there who has said where it is.
    fn count_unsynced(&mut self, now: SteadyTime) -> Option<SteadyTime> {
        let has_company = self.peers.values().any(|peer| peer.status.is_some());
        match self.unsynced_since {
            _ if has_company => self.unsynced_since = None,
            Some(_) => {}
            None => {
                self.unsynced_since = Some(now);
                self.solo_at = now.plus(SOLO_AFTER_S);
            }
        }
        self.unsynced_since
    }

    fn state_solo(&mut self, since: SteadyTime, now: SteadyTime, view: &impl ChainView) -> SyncState<SteadyTime> {
        let is_solo = now >= self.solo_at;
        if is_solo {
            // Who mines alone goes on until somebody shows more: a visitor's silence proves nothing. Who has no chain must
            // not start one before it has asked.
            self.level.is_synced = view.tip().is_some();
            self.level.is_solo = self.level.is_synced;
            self.level.behind_since = None;
        }
        match self.level.is_synced {
            false if self.level.awaits_silent => SyncState::Syncing,
            _ if is_solo => SyncState::Solo { since },
            was_synced => SyncState::NoPeers { since, was_synced },
        }
    }

    fn compare_peers(&mut self, now: SteadyTime, view: &impl ChainView) {
        let outlook = self.outlook(now, view);
        let level = &mut self.level;
        match outlook {
            Outlook::Behind => (level.is_synced, level.is_solo) = (false, false),
            Outlook::Quiet => (level.is_synced, level.is_solo) = (true, false),
            // Without a chain nothing is lost by waiting: no jobs are made while a peer has one.
            Outlook::More | Outlook::Silent => {
                let has_waited = level.behind_since.is_some_and(|since| now.since(since) >= AWAITED_MAX_S);
                level.is_synced |= has_waited && view.tip().is_some();
            }
        }
        level.behind_since = (!level.is_synced).then(|| level.behind_since.unwrap_or(now));
    }

    fn outlook(&self, now: SteadyTime, view: &impl ChainView) -> Outlook {
        let has_chain = view.tip().is_some();
        let is_awaited = |plan: &&Plan| !has_chain || now.since(plan.since) < AWAITED_MAX_S;
        let serves_old = |id| self.plans.values().any(|plan| plan.has_server(id) && !is_awaited(&plan));
        let has_more = |id, peer: &Peer| peer.status.is_some() && !peer.is_settled(now, view) && !serves_old(id);
        let mut awaited = self.plans.values().filter(is_awaited).peekable();
        if awaited.peek().is_some() {
            return if awaited.any(|plan| self.is_behind(plan)) { Outlook::Behind } else { Outlook::More };
        }
        match self.level.awaits_silent {
            _ if self.peers.iter().any(|(id, peer)| has_more(*id, peer)) => Outlook::More,
            true => Outlook::Silent,
            false => Outlook::Quiet,
        }
    }

    /// Whether a list proves that we have been left behind. Only shares prove it: anybody can make up a list of ids, and
    /// join one new share to it.
    fn is_behind(&self, plan: &Plan) -> bool {
        let (done, total) = plan.counts();
        match plan.route {
            Route::Tree => plan.linked > BEHIND_SHARES && total.saturating_sub(done) > BEHIND_SHARES,
            // Purpose is kept candidate has its proof of work, no more. That is enough for who has nobody else's word.
            Route::Candidate(_) => self.level.is_solo && plan.taken > BEHIND_SHARES,
        }
    }
}
