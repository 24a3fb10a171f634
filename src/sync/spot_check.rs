//! Spot checks of peers that serve another peer's list.
//!
//! A peer whose tip is on a plan's list serves that plan and gives no list of its own. But anybody can list the tips of honest
//! peers beside shares that lead nowhere. So a few shares from all over the list are requested from each such peer, and one
//! that lacks them gives its own list.

use std::sync::Arc;

use super::plan::Plan;
use super::{Purpose, Sync};
use crate::peer::PeerHandle;
use crate::share::{Share, ShareId};
use crate::units::SteadyTime;
use crate::wire::limits::SHARES_MAX;
use crate::wire::{List, Misbehaviour, Request};

/// Seconds for which a plan is fetched before its servers are checked, and between two checks of a peer. With a list of its own,
/// a peer whose tip is on a false one has waited for a minute.
const INTERVAL_S: u32 = 60;
/// Shares that are requested: 4 KB, so that the checks of ten peers take less than a twentieth of a line of 140 kbit/s.
const SHARES: usize = 8;
/// One part in this many is what a peer on the same chain may lack: it has pruned the oldest, or its chain leaves the list near
/// the end.
const LACKING_DIVISOR: usize = 4;
/// Shares of a list that may follow all that a peer has of it: a minute's at the lowest acceptable rate. More, up to twice this, may
/// follow what is as long: a peer that is syncing itself is behind.
const REST_MAX: usize = 512;

impl Plan {
    /// Ids spread evenly over what a peer has of the list and was not delivered. The leader does not know which: they depend
    /// on this node's clock.
    fn sample(&self, peer: PeerHandle, now: SteadyTime) -> Vec<ShareId> {
        let (delivered, _) = self.counts();
        let rest = self.ids_of(peer).get(delivered..).unwrap_or_default();
        let step = rest.len().div_ceil(SHARES).max(1);
        rest.iter().skip(now.as_s() as usize % step).step_by(step).copied().collect()
    }
}

impl Sync {
    /// Requests samples from the peers that serve lists of others.
    pub(super) fn request_spot_checks(&mut self, now: SteadyTime) {
        let (mut due, mut idle) = (Vec::new(), Vec::new());
        for (number, plan) in &self.plans {
            for id in plan.servers().filter(|id| !plan.is_author(*id)) {
                let peer = self.peers.get_mut(&id).expect("servers are connected");
                // One that an earlier list was of no use to is checked at once.
                let is_early = now.since(plan.since) < INTERVAL_S && peer.serves_from == 0;
                if is_early || peer.paused_until > now || now.since(peer.spot_checked_at) < INTERVAL_S {
                    continue;
                }
                let ids = plan.sample(id, now);
                let (delivered, listed) = plan.counts();
                if !ids.is_empty() {
                    peer.spot_checked_at = now;
                    due.push((id, *number, ids));
                } else if listed.saturating_sub(delivered) > plan.ids_of(id).len().clamp(REST_MAX, 2 * REST_MAX) {
                    idle.push((id, *number));
                }
            }
        }
        for (peer, plan) in idle {
            self.require_own_list(peer, plan);
        }
        for (peer, plan, ids) in due {
            let request = Request::Shares { ids: List::<_, SHARES_MAX>::first_of(ids.iter().copied()) };
            self.request(peer, Purpose::SpotCheck { plan, ids }, request, now);
        }
    }

    /// Takes the shares that a peer has of a sample.
    pub(super) fn on_spot_check(&mut self, id: PeerHandle, plan: u64, ids: &[ShareId], shares: &[Arc<Share>]) {
        let mut rest = ids.iter();
        let is_in_order = shares.iter().all(|share| {
            let given = share.id();
            rest.any(|id| *id == given)
        });
        if !is_in_order {
            self.penalize(id, Misbehaviour::Unrequested);
        }
        if is_in_order && ids.len().saturating_sub(shares.len()) <= ids.len() / LACKING_DIVISOR {
            return;
        }
        self.require_own_list(id, plan);
    }

    /// Notes that a peer lacks what it was to serve, or may have a better chain. A later plan may well be of its chain; shares of that
    /// are requested from it at once.
    pub(super) fn require_own_list(&mut self, id: PeerHandle, number: u64) {
        if let Some(plan) = self.plans.get_mut(&number) {
            plan.remove_server(id);
            let peer = self.peer_mut(id);
            peer.serves_from = peer.serves_from.max(number + 1);
            peer.spot_checked_at = SteadyTime::from_s(0);
        }
    }
}
