//! Handles peers' responses.

use std::sync::Arc;

use super::plan::{Batch, BatchOutcome, Plan};
use super::{
    ChainView, InFlight, Join, Purpose, Route, Sync, SyncAction, IGNORE_MAX_S, IGNORE_S, PAUSE_S, PLANS_MAX,
    RESPONSE_TIMEOUT_S, STATUS_INTERVAL_S,
};
use crate::peer::{PeerHandle, RequestId};
use crate::share::{Share, ShareId};
use crate::sharechain::CandidateId;
use crate::units::{ShareHeight, SteadyTime};
use crate::wire::{Misbehaviour, PeerStatus, Response};

/// A fork at most this many heights below our tip goes to the sharechain share by share. The unverified pool keeps it until
/// it claims more work than the tip has (rules, section 5, spam).
const DIRECT_DEPTH_MAX: u32 = 288;
/// A longer branch beside our chain becomes a candidate chain: the unverified pool might not have room for it.
const DIRECT_SHARES_MAX: usize = 1_024;

/// One page of a peer's list.
struct Page {
    after: ShareId,
    start_height: ShareHeight,
    ids: Vec<ShareId>,
    more: bool,
}

impl Sync {
    /// A peer responded to a request.
    pub fn response(
        &mut self,
        peer: PeerHandle,
        id: RequestId,
        response: Response,
        now: SteadyTime,
        view: &impl ChainView,
    ) {
        self.is_due = true;
        // Otherwise it is late, and its request has failed already, or this peer was never asked for it.
        if self.requests.get(&id).is_some_and(|request| request.peer == peer) {
            let request = self.requests.remove(&id).expect("looked up above");
            self.on_response(&request, response, now, view);
        }
    }

    fn on_response(&mut self, request: &InFlight, response: Response, now: SteadyTime, view: &impl ChainView) {
        let peer = request.peer;
        match (&request.purpose, response) {
            (Purpose::Status, Response::Status(status)) => self.on_status(peer, status, now),
            (Purpose::Inventory { plan, locator }, Response::Inventory { after, start_height, ids, more }) => {
                let page = Page { after, start_height, ids: ids.into_vec(), more };
                let is_foreign = after != ShareId::ZERO && !locator.contains(&after);
                if is_foreign || page.ids.contains(&ShareId::ZERO) {
                    self.penalize(peer, Misbehaviour::Unrequested);
                    self.on_failure(request, now);
                } else if let Some(number) = self.continued_plan(peer, *plan, &after, view) {
                    self.extend_plan(peer, number, page, now);
                } else if plan.is_none() {
                    self.begin_plan(peer, page, now, view);
                }
                let plan = plan.and_then(|number| self.plans.get_mut(&number));
                if let Some(plan) = plan.filter(|plan| plan.leader == peer) {
                    // A page that does not continue the list ends it: the peer has reorganised.
                    plan.has_more &= locator.first().is_some_and(|before| plan.last() != Some(*before));
                }
            }
            (Purpose::Batch { plan, batch }, Response::Shares(shares)) => {
                self.on_batch(peer, *plan, *batch, &shares, now);
            }
            (Purpose::Missing(id), Response::Shares(shares)) => self.on_missing(peer, id, shares.into_vec(), now),
            (Purpose::SpotCheck { plan, ids }, Response::Shares(shares)) => {
                self.on_spot_check(peer, *plan, ids, &shares);
            }
            (Purpose::Missing(_) | Purpose::Batch { .. } | Purpose::Inventory { .. }, Response::Unknown) => {
                // A helper never claimed to have the shares of a batch.
                let is_helper = match &request.purpose {
                    Purpose::Batch { plan, .. } => self.plans.get(plan).is_some_and(|plan| !plan.is_author(peer)),
                    _ => false,
                };
                if !is_helper {
                    self.penalize(peer, Misbehaviour::Useless);
                }
                self.on_failure(request, now);
            }
            (Purpose::SpotCheck { plan, ids }, Response::Unknown) => self.on_spot_check(peer, *plan, ids, &[]),
            (_, Response::Busy) => self.on_busy(request, now),
            _ => {
                self.penalize(peer, Misbehaviour::Unrequested);
                self.on_failure(request, now);
            }
        }
    }

    fn on_status(&mut self, id: PeerHandle, status: PeerStatus, now: SteadyTime) {
        let is_same_chain = status.chain_id == self.chain_id;
        let peer = self.peer_mut(id);
        peer.has_reported = true;
        if is_same_chain {
            peer.status_due = now.plus(STATUS_INTERVAL_S);
            peer.status_at = now;
            peer.status = Some(status);
        } else {
            peer.ignore_chain(SteadyTime::NEVER);
            self.penalize(id, Misbehaviour::OtherChain);
        }
    }

    /// A peer is too busy to respond, which says nothing about what it has. Where much depends on the response it is asked
    /// again soon.
    fn on_busy(&mut self, request: &InFlight, now: SteadyTime) {
        let peer = self.peer_mut(request.peer);
        match &request.purpose {
            // A peer that never reports more than that is treated like a silent one.
            Purpose::Status if peer.status.is_some() || now.since(peer.since) < RESPONSE_TIMEOUT_S => {
                peer.pause(now);
                peer.status_due = now.plus(PAUSE_S);
            }
            Purpose::Inventory { plan: None, .. } => peer.pause(now),
            _ => self.on_failure(request, now),
        }
    }

    /// The plan that a page after this share continues: the one that it was requested for, or else one that the peer may serve,
    /// unless the page follows our chain.
    fn continued_plan(&self, peer: PeerHandle, of: Option<u64>, after: &ShareId, view: &impl ChainView) -> Option<u64> {
        let may_serve = |number: u64, plan: &Plan| match of {
            Some(of) => number == of,
            None => self.peers.get(&peer).is_some_and(|peer| peer.may_serve(number, plan)) && !view.holds(after),
        };
        let is_listed = |plan: &Plan| !plan.is_judging && plan.index_of(after).is_some();
        let mut listed = self.plans.iter().filter(|(_, plan)| is_listed(plan));
        listed.find(|(number, plan)| may_serve(**number, plan)).map(|(number, _)| *number)
    }

    /// A peer's list continues a plan's list, which does not only repeat our chain. The peer serves what both have; only the leader
    /// extends the list, because other peers could spoil it. What another peer has beyond it is requested when the plan is done.
    fn extend_plan(&mut self, peer: PeerHandle, number: u64, page: Page, now: SteadyTime) {
        let plan = self.plans.get_mut(&number).expect("found by the caller");
        let at = plan.index_of(&page.after).expect("the caller found the plan by this share");
        plan.add_server(peer, at + 1);
        if plan.last() != Some(page.after) {
            // It forks off before the end of the list. Which branch is better shows when the plan is done.
            self.ignore_chain(peer, now.plus(IGNORE_S));
        } else if plan.leader == peer {
            // After an empty page the same page would be requested again, for ever.
            plan.has_more = page.more && !page.ids.is_empty();
            plan.extend(page.ids, self.ids_max);
        }
    }

    /// Makes a plan of a peer's list, if its chain is worth fetching.
    fn begin_plan(&mut self, peer: PeerHandle, page: Page, now: SteadyTime, view: &impl ChainView) {
        let joins = page.after != ShareId::ZERO;
        let leader = self.peer_mut(peer);
        let join = joins.then(|| view.join(&page.after));
        leader.join = join;
        if join == Some(Join::TooDeep) || (join == Some(Join::Fresh) && !leader.is_better_than(view)) {
            return;
        }
        let depth = if joins { view.below_tip(&page.after) } else { None };
        let is_direct = depth.is_some_and(|depth| {
            let is_near = depth <= DIRECT_DEPTH_MAX && page.ids.len() <= DIRECT_SHARES_MAX && !page.more;
            depth == 0 || (is_near && join == Some(Join::Fresh))
        });
        let ids: Vec<ShareId> = match is_direct {
            true => page.ids.into_iter().filter(|id| !view.holds(id)).collect(),
            false => page.ids,
        };
        // If our chain reorganised since the request, the next one will find the new fork point.
        let is_outdated = joins && depth.is_none();
        if ids.is_empty() || self.plans.len() >= PLANS_MAX || is_outdated {
            self.ignore_chain(peer, now.plus(IGNORE_S));
            return;
        }
        self.plans_made += 1;
        let candidate = CandidateId(self.plans_made);
        let route = if is_direct { Route::Tree } else { Route::Candidate(candidate) };
        if !is_direct {
            self.actions.push(SyncAction::Open { candidate, joined: joins });
        }
        let start_height = (!joins).then_some(page.start_height);
        let mut plan = Plan::new(route, peer, start_height, self.payout_window, now);
        let leader = self.peer_mut(peer);
        plan.sole_source = std::mem::take(&mut leader.sole_source);
        plan.has_more = page.more;
        plan.extend(ids, self.ids_max);
        self.plans.insert(self.plans_made, plan);
    }

    fn on_batch(&mut self, peer: PeerHandle, number: u64, batch: Batch, shares: &[Arc<Share>], now: SteadyTime) {
        // The plan may have ended while the response was on its way.
        let Some(plan) = self.plans.get_mut(&number) else { return };
        match plan.receive(batch, peer, shares, now) {
            // The author of the list claimed to have these shares. Part of them may have been pruned or reorganised since. Batches in
            // flight behind the first are not counted: a peer that left its chain has none of them.
            BatchOutcome::Partial if shares.is_empty() && plan.is_author(peer) && plan.awaits_first(batch) => {
                self.penalize(peer, Misbehaviour::Useless);
            }
            BatchOutcome::Complete | BatchOutcome::Partial => {}
            BatchOutcome::Unrequested => {
                plan.remove_server(peer);
                self.penalize(peer, Misbehaviour::Unrequested);
                self.ignore_chain(peer, now.plus(IGNORE_S));
            }
        }
        let plan = self.plans.get_mut(&number).expect("looked up above");
        while let Some((peer, shares)) = plan.take_ready() {
            if plan.is_false_start(&shares) {
                let leader = plan.leader;
                if plan.is_author(leader) {
                    self.penalize(leader, Misbehaviour::Unrequested);
                }
                self.give_up(number, now.plus(IGNORE_MAX_S));
                return;
            }
            self.actions.push(SyncAction::Deliver { route: plan.route, peer, shares });
        }
    }

    fn on_missing(&mut self, peer: PeerHandle, id: &ShareId, shares: Vec<Arc<Share>>, now: SteadyTime) {
        match shares.as_slice() {
            [] => self.missing.failed(id),
            [share] if share.id() == *id => {
                self.missing.given(id, now);
                self.actions.push(SyncAction::Deliver { route: Route::Tree, peer, shares });
            }
            _ => {
                self.penalize(peer, Misbehaviour::Unrequested);
                self.missing.failed(id);
                self.peer_mut(peer).pause(now);
            }
        }
    }
}
