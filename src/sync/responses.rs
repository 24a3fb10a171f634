//! Purpose is made of a peer's responses.

use std::sync::Arc;

use super::peer::Peer;
use super::plan::{Batch, BatchOutcome, Plan};
use super::{
    ChainView, InFlight, Purpose, Route, Sync, SyncAction, HOLD_S, NEAR_HEIGHTS, NEAR_SHARES, PAUSE_S, PLANS_MAX,
    REFUSED_S, RESPONSE_MAX_S, STATUS_EVERY_S,
};
use crate::peer::{PeerHandle, RequestId};
use crate::share::{Share, ShareId};
use crate::sharechain::CandidateId;
use crate::units::{ShareHeight, SteadyTime};
use crate::wire::{Offence, PeerStatus, Response};

/// One page of a peer's list.
struct Page {
    after: ShareId,
    start_height: ShareHeight,
    ids: Vec<ShareId>,
    more: bool,
}

impl Sync {
    /// A peer answered.
    pub fn response(
        &mut self,
        peer: PeerHandle,
        id: RequestId,
        response: Response,
        now: SteadyTime,
        view: &impl ChainView,
    ) -> Vec<SyncAction> {
        // An answer that comes too late, or is no answer, was dealt with when its time was over.
        if self.requests.get(&id).is_some_and(|asked| asked.peer == peer) {
            if let Some(asked) = self.requests.remove(&id) {
                self.answered(asked, response, now, view);
            }
        }
        self.act(now, view)
    }

    fn answered(&mut self, asked: InFlight, response: Response, now: SteadyTime, view: &impl ChainView) {
        let peer = asked.peer;
        match (&asked.what, response) {
            (Purpose::Status, Response::Status(status)) => self.status(peer, status, now),
            (Purpose::Inventory { plan, locator }, Response::Inventory { after, start_height, ids, more }) => {
                let page = Page { after, start_height, ids: ids.into_vec(), more };
                let is_foreign = after != ShareId::ZERO && !locator.contains(&after);
                if is_foreign || page.ids.contains(&ShareId::ZERO) {
                    self.penalize(peer, Offence::Unasked);
                    self.gone_wrong(&asked, now);
                } else if let Some(number) = self.plan_with(&after) {
                    self.extend(peer, number, page, now);
                } else if plan.is_none() {
                    self.begin(peer, page, now, view);
                }
                let plan = plan.and_then(|number| self.plans.get_mut(&number));
                if let Some(plan) = plan.filter(|plan| plan.leader == peer) {
                    // A page that does not continue the list ends it: the peer's chain is another now.
                    plan.more &= locator.first().is_some_and(|before| plan.last() != Some(*before));
                }
            }
            (Purpose::Batch { plan, batch }, Response::Shares(shares)) => {
                self.batch(peer, *plan, *batch, &shares, now);
            }
            (Purpose::Missing(id), Response::Shares(shares)) => self.single(peer, id, shares.into_vec(), now),
            (Purpose::Missing(_) | Purpose::Batch { .. } | Purpose::Inventory { .. }, Response::Unknown) => {
                let said_so = match &asked.what {
                    Purpose::Batch { plan, .. } => self.plans.get(plan).is_none_or(|plan| plan.is_author(peer)),
                    _ => true,
                };
                if said_so {
                    self.penalize(peer, Offence::Useless);
                }
                self.gone_wrong(&asked, now);
            }
            (_, Response::Busy) => self.is_busy(&asked, now),
            _ => {
                self.penalize(peer, Offence::Unasked);
                self.gone_wrong(&asked, now);
            }
        }
    }

    fn status(&mut self, id: PeerHandle, status: PeerStatus, now: SteadyTime) {
        self.has_reported(id);
        if status.chain_id != self.chain_id {
            self.penalize(id, Offence::OtherChain);
            self.hold(id, SteadyTime::NEVER);
            return;
        }
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.status_due = now.plus(STATUS_EVERY_S);
            peer.status_at = now;
            peer.status = Some(status);
        }
    }

    /// A peer has no time for a question just now, which says nothing of what it has: where much hangs on the answer it is
    /// asked again soon.
    fn is_busy(&mut self, asked: &InFlight, now: SteadyTime) {
        match &asked.what {
            Purpose::Status => {
                self.pause(asked.peer, now);
                // Whoever says no more than that for as long as others may keep silent is as good as silent.
                let is_new = |peer: &&mut Peer| peer.status.is_some() || now.since(peer.since) < RESPONSE_MAX_S;
                match self.peers.get_mut(&asked.peer).filter(is_new) {
                    Some(peer) => peer.status_due = now.plus(PAUSE_S),
                    None => self.gone_wrong(asked, now),
                }
            }
            Purpose::Inventory { plan: None, .. } => self.pause(asked.peer, now),
            _ => self.gone_wrong(asked, now),
        }
    }

    fn plan_with(&self, id: &ShareId) -> Option<u64> {
        self.plans.iter().find(|(_, plan)| !plan.judging && plan.index_of(id).is_some()).map(|(number, _)| *number)
    }

    /// A peer has what is on a plan's list up to some share. Purpose it has behind that is asked for when this is there,
    /// for the list is its leader's alone: who could add to it could spoil it.
    fn extend(&mut self, peer: PeerHandle, number: u64, page: Page, now: SteadyTime) {
        let ids_max = self.ids_max;
        let Some(plan) = self.plans.get_mut(&number) else { return };
        let Some(at) = plan.index_of(&page.after) else { return };
        plan.add_server(peer, at + 1);
        if plan.last() != Some(page.after) {
            // It leaves the list before its end: which branch is better shows when this one is there.
            self.hold(peer, now.plus(HOLD_S));
        } else if plan.leader == peer {
            // An empty page that is not the last would be asked for for ever.
            plan.more = page.more && !page.ids.is_empty();
            plan.extend(page.ids, ids_max);
        }
    }

    /// Begins to fetch what a peer has, if it is worth it.
    fn begin(&mut self, peer: PeerHandle, page: Page, now: SteadyTime, view: &impl ChainView) {
        let joins = page.after != ShareId::ZERO;
        let is_better = self.peers.get(&peer).is_some_and(|peer| peer.is_better_than(view));
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.joins = view.tip().is_some().then_some(joins);
        }
        if joins && !is_better {
            return;
        }
        let depth = if joins { view.below_tip(&page.after) } else { None };
        let is_near = depth
            .is_some_and(|depth| depth == 0 || (depth <= NEAR_HEIGHTS && page.ids.len() <= NEAR_SHARES && !page.more));
        let ids: Vec<ShareId> = match is_near {
            true => page.ids.into_iter().filter(|id| !view.holds(id)).collect(),
            false => page.ids,
        };
        // Our own chain may have changed since the question: the next one will find where they part now.
        if ids.is_empty() || self.plans.len() >= PLANS_MAX || (joins && depth.is_none()) {
            self.hold(peer, now.plus(HOLD_S));
            return;
        }
        self.plans_made += 1;
        let candidate = CandidateId(self.plans_made);
        let route = if is_near { Route::Tree } else { Route::Candidate(candidate) };
        if !is_near {
            self.actions.push(SyncAction::Open { candidate, joined: joins });
        }
        let open_height = if joins { None } else { self.open_height(page.start_height) };
        let mut plan = Plan::new(route, peer, page.start_height, open_height, now);
        plan.joined = joins;
        if let Some(peer) = self.peers.get_mut(&peer) {
            plan.solo = std::mem::take(&mut peer.solo);
            peer.own_list = false;
        }
        plan.more = page.more;
        plan.extend(ids, self.ids_max);
        self.plans.insert(self.plans_made, plan);
    }

    fn batch(&mut self, peer: PeerHandle, number: u64, batch: Batch, shares: &[Arc<Share>], now: SteadyTime) {
        let Some(plan) = self.plans.get_mut(&number) else { return };
        match plan.answer(batch, peer, shares, now) {
            BatchOutcome::Whole => {}
            // The end of it may have been pruned or left since.
            BatchOutcome::Part if !shares.is_empty() => {}
            // Only who gave the list said that it has them.
            BatchOutcome::Part if !plan.is_author(peer) => {}
            BatchOutcome::Part => self.actions.push(SyncAction::Penalize { peer, offence: Offence::Useless }),
            BatchOutcome::Foreign => {
                plan.remove_server(peer);
                self.actions.push(SyncAction::Penalize { peer, offence: Offence::Unasked });
                self.hold(peer, now.plus(HOLD_S));
            }
        }
        let Some(plan) = self.plans.get_mut(&number) else { return };
        while let Some((peer, shares)) = plan.take_ready() {
            if plan.is_false_start(&shares) {
                let leader = plan.leader;
                if plan.is_author(leader) {
                    self.penalize(leader, Offence::Unasked);
                }
                self.give_up(number, now.plus(REFUSED_S));
                return;
            }
            self.actions.push(SyncAction::Deliver { route: plan.route, peer, shares });
        }
    }

    fn single(&mut self, peer: PeerHandle, id: &ShareId, shares: Vec<Arc<Share>>, now: SteadyTime) {
        match shares.as_slice() {
            [] => self.missing.failed(id),
            [share] if share.id() == *id => {
                self.missing.remove(id);
                self.actions.push(SyncAction::Deliver { route: Route::Tree, peer, shares });
            }
            _ => {
                self.penalize(peer, Offence::Unasked);
                self.missing.failed(id);
                self.pause(peer, now);
            }
        }
    }
}
