//! Purpose is known of one peer.

use super::view::ChainView;
use crate::share::ShareId;
use crate::units::SteadyTime;
use crate::wire::PeerStatus;

/// Purpose is known of one peer.
#[derive(Debug)]
pub(super) struct Peer {
    /// When it came.
    pub since: SteadyTime,
    /// Purpose it said last.
    pub status: Option<PeerStatus>,
    /// When to ask for it next.
    pub status_due: SteadyTime,
    /// When it said that.
    pub status_at: SteadyTime,
    /// Until when its chain is left alone, because trying led nowhere.
    pub hold_until: SteadyTime,
    /// Until when nothing but its status is asked, because it did not answer.
    pub busy_until: SteadyTime,
    /// Whether its chain grows from a share of ours, as far as it was asked.
    pub joins: Option<bool>,
    /// Whether it has answered when it was asked for its status, or failed to in time.
    pub has_reported: bool,
    /// Whether its chain is to be fetched by a list of its own: it helped with another's, which led nowhere.
    pub own_list: bool,
    /// Whether its chain is to be fetched from it alone.
    pub solo: bool,
    /// The tip up to which its list was fetched last.
    pub fetched_tip: Option<ShareId>,
    /// Missing shares that it left us with since it was asked for its status for that reason.
    pub needs: usize,
    /// When it may be asked for that reason again.
    pub hurry_due: SteadyTime,
}

impl Peer {
    pub fn new(now: SteadyTime) -> Self {
        Self {
            since: now,
            status: None,
            status_at: now,
            status_due: now,
            hold_until: SteadyTime::from_s(0),
            busy_until: SteadyTime::from_s(0),
            joins: None,
            has_reported: false,
            own_list: false,
            solo: false,
            fetched_tip: None,
            needs: 0,
            hurry_due: SteadyTime::from_s(0),
        }
    }

    /// Whether its tip is better than ours if it is what it claims (rules, section 6).
    pub fn is_better_than(&self, view: &impl ChainView) -> bool {
        let Some(theirs) = self.status.as_ref().filter(|status| status.has_chain()) else { return false };
        let rank = |tip: ShareId, work| (work, std::cmp::Reverse(tip));
        view.tip().is_none_or(|(tip, work)| rank(theirs.tip, theirs.chain_work) > rank(tip, work))
    }

    /// Whether its chain is not to be fetched by another's list.
    pub const fn wants_own_list(&self) -> bool {
        self.own_list || self.solo
    }

    /// Whether nothing is to be got from it, for all that is known.
    pub fn is_settled(&self, now: SteadyTime, view: &impl ChainView) -> bool {
        if self.hold_until > now {
            return true;
        }
        let Some(status) = &self.status else { return false };
        let is_lesser_branch = self.joins == Some(true) && !self.is_better_than(view);
        !status.has_chain() || view.holds(&status.tip) || is_lesser_branch
    }
}
