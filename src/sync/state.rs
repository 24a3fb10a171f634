//! Whether we are level with the others: whether miners get jobs.
//!
//! Whoever waits for what others say must not wait for ever, for anybody can connect and keep silent, come and go, or
//! claim what is not there. Each wait has its end, counted from when waiting began and not anew with each peer.

use super::peer::Peer;
use super::plan::Plan;
use super::{Route, Sync, SyncAction, SyncState, View, ANSWER_MAX_S, AWAITED_MAX_S, BEHIND_SHARES};
use crate::units::UnixTime;

/// Whether we are level, and since when we are not.
#[derive(Debug)]
pub(super) struct Level {
    /// Whether we have been level with the peers, or mined alone, and nothing has shown since that we are not.
    pub is_level: bool,
    /// Whether that is so only because there was nobody to be level with.
    pub is_lone: bool,
    /// Since when we are not.
    behind_since: Option<UnixTime>,
    /// Since when only peers that have said nothing yet keep us from it.
    quiet_since: Option<UnixTime>,
}

impl Level {
    pub const fn new(now: UnixTime) -> Self {
        Self { is_level: false, is_lone: false, behind_since: Some(now), quiet_since: None }
    }
}

impl Sync {
    /// The first peer after a time without.
    pub(super) fn is_joined(&mut self, view: &impl View) {
        if matches!(self.state, SyncState::Alone { .. }) {
            // Who mines alone goes on until somebody shows more: a visitor's silence proves nothing. Who has no chain
            // must not start one before it has asked.
            self.level.is_level = view.tip().is_some();
            self.level.is_lone = self.level.is_level;
        }
    }

    pub(super) fn update_state(&mut self, now: UnixTime, view: &impl View) {
        let state = match self.no_peers_since {
            Some(since) => self.state_without_peers(since, now),
            None => {
                self.look_around(now, view);
                match self.level.is_level {
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

    fn state_without_peers(&mut self, since: UnixTime, now: UnixTime) -> SyncState {
        self.level.quiet_since = None;
        if now < self.alone_at {
            return SyncState::NoPeers { since, level: self.level.is_level };
        }
        self.level.behind_since = None;
        SyncState::Alone { since }
    }

    /// Whether there is more to be had from the peers.
    fn look_around(&mut self, now: UnixTime, view: &impl View) {
        // Without a chain nothing is lost by waiting: no jobs are made while a peer has one.
        let has_chain = view.tip().is_some();
        let is_awaited = |plan: &Plan| !has_chain || now.since(plan.since) < AWAITED_MAX_S;
        let serves_old = |id| self.plans.values().any(|plan| plan.has_server(id) && !is_awaited(plan));
        let has_more = |id, peer: &Peer| peer.status.is_some() && !peer.is_settled(now, view) && !serves_old(id);
        let is_quiet = !self.plans.values().any(is_awaited) && !self.peers.iter().any(|(id, peer)| has_more(*id, peer));
        let are_heard = self.peers.values().all(|peer| peer.is_heard);
        let is_behind = self.plans.values().filter(|plan| is_awaited(plan)).any(|plan| self.is_behind(plan));

        let level = &mut self.level;
        let quiet_since = is_quiet.then(|| level.quiet_since.unwrap_or(now));
        level.quiet_since = quiet_since;
        let has_asked = quiet_since.is_some_and(|since| are_heard || now.since(since) >= ANSWER_MAX_S);
        let has_waited = level.behind_since.is_some_and(|since| now.since(since) >= AWAITED_MAX_S) && has_chain;
        if has_asked || has_waited {
            level.is_level = true;
        }
        level.is_lone &= !has_asked;
        if is_behind {
            level.is_level = false;
            level.is_lone = false;
        }
        level.behind_since = (!level.is_level).then(|| level.behind_since.unwrap_or(now));
    }

    /// Whether a list proves that we have been left behind. Only shares prove it: anybody can make up a list of ids, and
    /// join one new share to it.
    fn is_behind(&self, plan: &Plan) -> bool {
        let (done, total) = plan.counts();
        match plan.route {
            Route::Chain => plan.linked > BEHIND_SHARES && total.saturating_sub(done) > BEHIND_SHARES,
            // What is kept apart has its proof of work, no more. That is enough for who has nobody else's word.
            Route::Apart(_) => self.level.is_lone && plan.taken > BEHIND_SHARES,
        }
    }
}
