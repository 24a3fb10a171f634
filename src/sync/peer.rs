//! What the planner knows of one peer.

use super::action::Route;
use super::plan::Plan;
use super::view::{ChainView, Join};
use super::{IGNORE_MAX_S, IGNORE_S, PAUSE_S};
use crate::share::ShareId;
use crate::units::SteadyTime;
use crate::wire::PeerStatus;

/// What the planner knows of one peer.
#[derive(Debug)]
pub(super) struct Peer {
    /// When it connected.
    pub since: SteadyTime,
    /// Its latest status.
    pub status: Option<PeerStatus>,
    /// When that arrived.
    pub status_at: SteadyTime,
    /// When to request the next one.
    pub status_due: SteadyTime,
    /// Until when its chain is ignored, because fetching it led nowhere.
    pub ignored_until: SteadyTime,
    /// Until when nothing but its status is requested from it.
    pub paused_until: SteadyTime,
    /// Whether no share of its chain was due when that was fetched last: to us it has no chain.
    pub is_not_due: bool,
    /// Where its chain leaves ours, if it does; `None` before that was found out.
    pub join: Option<Join>,
    /// Whether it has responded to a request for its status, or failed to in time.
    pub has_reported: bool,
    /// The number of the first plan that it may serve without a list of its own: an earlier one led nowhere, or was not of its
    /// chain.
    pub serves_from: u64,
    /// Whether its chain is to be fetched by a list of its own, and from it alone.
    pub sole_source: bool,
    /// Whether the shares of its list were all given to our chain just now, which may link them.
    pub is_list_delivered: bool,
    /// The share of that list which shows whether it was linked.
    pub last_delivered: Option<ShareId>,
    /// How many such lists in a row were not linked.
    pub lists_unlinked: u32,
    /// Until when its list is not requested again, unless the last one is linked.
    pub unlinked_until: SteadyTime,
    /// Shares that were missing below those it sent, since its status was last requested early for that reason.
    pub missing: usize,
    /// When its status may be requested early again.
    pub early_status_at: SteadyTime,
    /// The tip that it had reported when its list was requested last.
    pub listed_tip: Option<ShareId>,
    /// When its list was requested last, or else when it connected.
    pub list_asked_at: SteadyTime,
    /// Until when a slot for its list is kept: the shares of a list with its tip were just given to our chain, and may yet make it
    /// needless.
    pub slot_kept_until: SteadyTime,
    /// Its tip when that happened last. The list may have lacked some shares.
    pub left_tip: Option<ShareId>,
    /// When shares of a list that it serves were last requested to see whether it has them.
    pub spot_checked_at: SteadyTime,
}

impl Peer {
    pub fn new(now: SteadyTime) -> Self {
        Self {
            since: now,
            status: None,
            status_at: now,
            status_due: now,
            ignored_until: SteadyTime::from_s(0),
            paused_until: SteadyTime::from_s(0),
            is_not_due: false,
            join: None,
            has_reported: false,
            serves_from: 0,
            sole_source: false,
            is_list_delivered: false,
            last_delivered: None,
            lists_unlinked: 0,
            unlinked_until: SteadyTime::from_s(0),
            missing: 0,
            early_status_at: SteadyTime::from_s(0),
            listed_tip: None,
            list_asked_at: now,
            slot_kept_until: SteadyTime::from_s(0),
            left_tip: None,
            spot_checked_at: SteadyTime::from_s(0),
        }
    }

    /// Ignores its chain at least until then.
    pub fn ignore_chain(&mut self, until: SteadyTime) {
        self.ignored_until = self.ignored_until.max(until);
    }

    /// Notes whether its last list was linked, if that was delivered to our chain. Otherwise it waits for something or was rejected,
    /// and the next is requested later each time.
    pub fn note_link(&mut self, now: SteadyTime, view: &impl ChainView) {
        let is_new = std::mem::take(&mut self.is_list_delivered);
        if self.has_linked_list(view) {
            self.lists_unlinked = 0;
        } else if is_new {
            let wait_s = IGNORE_S.saturating_mul(2u32.saturating_pow(self.lists_unlinked)).min(IGNORE_MAX_S);
            self.unlinked_until = now.plus(wait_s);
            self.lists_unlinked = self.lists_unlinked.saturating_add(1);
        }
    }

    /// Whether its last list is linked now.
    fn has_linked_list(&self, view: &impl ChainView) -> bool {
        self.last_delivered.is_some_and(|id| view.holds(&id))
    }

    /// Requests nothing but its status from it for a moment.
    pub fn pause(&mut self, now: SteadyTime) {
        self.paused_until = now.plus(PAUSE_S);
    }

    /// The tip that it reported.
    pub fn tip(&self) -> Option<ShareId> {
        self.status.as_ref().map(|status| status.tip)
    }

    /// Whether its tip is better than ours, if its status is true (rules, section 6).
    pub fn is_better_than(&self, view: &impl ChainView) -> bool {
        let Some(theirs) = self.status.as_ref().filter(|status| status.has_chain()) else { return false };
        let rank = |tip: ShareId, work| (work, std::cmp::Reverse(tip));
        view.tip().is_none_or(|(tip, work)| rank(theirs.tip, theirs.chain_work) > rank(tip, work))
    }

    /// Whether its chain may be fetched by this plan, which another peer's list began. What such lists left is not fetched by one
    /// more of them.
    pub fn may_serve(&self, number: u64, plan: &Plan) -> bool {
        let is_left = self.left_tip.is_some() && self.left_tip == self.tip();
        number >= self.serves_from && !self.sole_source && !(is_left && plan.route == Route::Tree)
    }

    /// Whether it has nothing for this node, as far as is known.
    pub fn is_settled(&self, now: SteadyTime, view: &impl ChainView) -> bool {
        if self.ignored_until > now || (self.unlinked_until > now && !self.has_linked_list(view)) {
            return true;
        }
        let Some(status) = &self.status else { return false };
        // It may have gone over to another chain since, and our shares above the fork age.
        let is_listed = self.listed_tip == self.tip() && now.since(self.list_asked_at) < IGNORE_MAX_S;
        let is_lesser_branch = self.join == Some(Join::Fresh) && is_listed && !self.is_better_than(view);
        !status.has_chain() || view.holds(&status.tip) || is_lesser_branch
    }
}
