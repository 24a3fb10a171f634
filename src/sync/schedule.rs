//! Chooses the next requests: after inputs the planner does what is due.

use std::collections::BTreeSet;

use super::peer::Peer;
use super::plan::Plan;
use super::{
    ChainView, InFlight, Join, Progress, Purpose, Route, Sync, SyncAction, BATCHES_PER_PEER_MAX, IGNORE_MAX_S,
    IGNORE_S, MISSING_PER_PEER_MAX, PLANS_MAX, STATUS_INTERVAL_S,
};
use crate::peer::PeerHandle;
use crate::share::ShareId;
use crate::sharechain::{COMPARE_MAX_S, DEFERRED_MAX_S};
use crate::units::SteadyTime;
use crate::wire::{List, Request};

/// Requests for new lists in flight. Two honest lists hardly differ; others are requested only if these lead nowhere.
const LISTS_IN_FLIGHT_MAX: usize = 2;
/// A plan whose servers have nothing more to give is given up after this many seconds.
const STALLED_TIMEOUT_S: u32 = 45;
/// Peers that served a complete list which is not judged after this many seconds give their own: it may wait for a Bitcoin block
/// that only its author named. In that time bitcoind looks up all blocks of a chain of full length.
const UNJUDGED_TIMEOUT_S: u32 = 300;
/// A candidate chain that no peer serves any more waits this many seconds for another peer that has it. The sharechain
/// gives up a candidate that makes no progress after the same time.
const ORPHANED_TIMEOUT_S: u32 = DEFERRED_MAX_S;
/// Seconds for which a plan cannot be dropped in favour of another: in that time a chain of full length, 12 MB, arrives at
/// half a Mbit/s.
pub(super) const PLAN_GUARANTEED_S: u32 = 300;
/// Seconds between two reports of progress.
const PROGRESS_INTERVAL_S: u32 = 5;

impl Sync {
    /// Does what is due after inputs, and returns all actions since the last call.
    pub fn advance(&mut self, now: SteadyTime, view: &impl ChainView) -> Vec<SyncAction> {
        if std::mem::take(&mut self.is_due) {
            self.request_statuses(now);
            self.settle_plans(now, view);
            self.request_lists(now, view);
            self.request_pages(now);
            self.request_batches(now);
            self.request_spot_checks(now);
            self.request_missing(now);
            self.update_state(now, view);
        }
        std::mem::take(&mut self.actions)
    }

    fn request_statuses(&mut self, now: SteadyTime) {
        let due = self.peers.iter_mut().filter(|(_, peer)| peer.status_due <= now);
        let due: Vec<PeerHandle> = due
            .map(|(id, peer)| {
                peer.status_due = now.plus(STATUS_INTERVAL_S);
                *id
            })
            .collect();
        for id in due {
            self.request(id, Purpose::Status, Request::Status, now);
        }
    }

    /// Ends plans that are complete, hopeless or stalled.
    fn settle_plans(&mut self, now: SteadyTime, view: &impl ChainView) {
        let may_finish = view.tip().is_some() || !self.awaits_other_chains(now, view);
        let may_judge = self.tracker.waits_since.is_some_and(|since| now.since(since) >= UNJUDGED_TIMEOUT_S);
        let numbers: Vec<u64> = self.plans.keys().copied().collect();
        for number in numbers {
            let plan = self.plans.get_mut(&number).expect("settling a plan ends no other");
            let timeout_s = match plan.route {
                Route::Candidate(_) if !plan.has_servers() => ORPHANED_TIMEOUT_S,
                _ => STALLED_TIMEOUT_S,
            };
            if plan.is_judging {
                let is_late = may_judge && now.since(plan.progressed_at) >= UNJUDGED_TIMEOUT_S;
                let helpers: Vec<PeerHandle> = plan.servers().filter(|id| is_late && *id != plan.leader).collect();
                helpers.into_iter().for_each(|helper| self.require_own_list(helper, number));
            } else if plan.is_fetched() {
                match plan.route {
                    Route::Tree => self.end_direct_plan(number, now, view),
                    Route::Candidate(candidate) if may_finish => {
                        plan.is_judging = true;
                        self.actions.push(SyncAction::Finish(candidate));
                    }
                    Route::Candidate(_) => {}
                }
            } else if plan.is_idle() && now.since(plan.progressed_at) >= timeout_s {
                self.give_up(number, now.plus(IGNORE_S));
            } else {
                self.replace_slow_servers(number, now);
            }
        }
    }

    fn replace_slow_servers(&mut self, number: u64, now: SteadyTime) {
        let plan = self.plans.get_mut(&number).expect("the caller has it");
        let helpers = plan.remove_slow_helpers();
        let leader = plan.leader;
        let ignore_s = if plan.is_author(leader) { IGNORE_MAX_S } else { IGNORE_S };
        if plan.has_leader_failed() && !plan.has_helpers() {
            self.give_up(number, now.plus(IGNORE_S));
        } else if plan.replace_leader() {
            self.ignore_chain(leader, now.plus(ignore_s));
        }
        for helper in helpers {
            self.ignore_chain(helper, now.plus(IGNORE_S));
        }
    }

    /// Ends a plan whose shares were all delivered to our chain. Shortly after, it shows whether they were linked. If not, other
    /// peers may have what the list lacked, so each of them gives its own, and a slot is kept for that.
    fn end_direct_plan(&mut self, number: u64, now: SteadyTime, view: &impl ChainView) {
        let plan = self.plans.remove(&number).expect("the caller has it");
        let is_cut = plan.counts().1 >= self.ids_max;
        for (id, peer) in &mut self.peers {
            let is_listed = |tip: &ShareId| plan.index_of(tip).is_some();
            let tip = peer.tip();
            if plan.is_author(*id) {
                // A list without the tip for which it was requested leads nowhere, unless it was too long.
                if !is_cut && !peer.listed_tip.is_some_and(|tip| is_listed(&tip) || view.holds(&tip)) {
                    peer.ignore_chain(now.plus(IGNORE_S));
                }
                let listed_tip = peer.listed_tip.filter(is_listed).or(plan.last());
                peer.last_delivered = if is_cut { plan.first() } else { listed_tip };
                peer.is_list_delivered = true;
                peer.pause(now);
            } else if tip.is_some_and(|tip| is_listed(&tip)) && peer.left_tip != tip {
                peer.pause(now);
                peer.slot_kept_until = peer.paused_until;
                peer.left_tip = tip;
            }
        }
    }

    /// Whether a newcomer that has fetched a chain still waits for others to compare it with: it adopts the best (rules,
    /// section 6).
    fn awaits_other_chains(&self, now: SteadyTime, view: &impl ChainView) -> bool {
        let fetched = self.plans.values().filter(|plan| plan.is_fetched());
        let Some(since) = fetched.map(|plan| plan.progressed_at).min() else { return false };
        let is_covered = |(id, peer): (&PeerHandle, &Peer)| {
            let has_tip = |plan: &Plan| peer.tip().is_some_and(|tip| plan.index_of(&tip).is_some());
            peer.is_settled(now, view) || self.plans.values().any(|plan| plan.has_server(*id) || has_tip(plan))
        };
        let all_fetched = self.plans.values().all(Plan::is_fetched) && self.peers.iter().all(is_covered);
        !all_fetched && now.since(since) < COMPARE_MAX_S
    }

    /// Drops a plan, and ignores the chain of the peer that gave its list.
    pub(super) fn give_up(&mut self, number: u64, ignored_until: SteadyTime) {
        let plan = self.plans.remove(&number).expect("the caller has it");
        if let Route::Candidate(candidate) = plan.route {
            self.actions.push(SyncAction::Drop(candidate));
        }
        self.led_nowhere(&plan, ignored_until);
    }

    /// Ignores the chain of the peer that gave a list which led nowhere. Peers that helped to serve it, or took it over, are
    /// asked for lists of their own.
    pub(super) fn led_nowhere(&mut self, plan: &Plan, ignored_until: SteadyTime) {
        for id in plan.servers().filter(|id| plan.is_author(*id)) {
            self.ignore_chain(id, ignored_until);
        }
        self.free_helpers(plan);
    }

    /// Asks the peers that helped to serve a list, or took it over, for lists of their own.
    pub(super) fn free_helpers(&mut self, plan: &Plan) {
        for id in plan.servers().filter(|id| !plan.is_author(*id)) {
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.serves_from = self.plans_made + 1;
            }
        }
    }

    /// Requests lists from peers whose tips are unknown. Peers whose tips are on a plan's list serve that plan instead,
    /// unless they are to give lists of their own.
    fn request_lists(&mut self, now: SteadyTime, view: &impl ChainView) {
        let mut ids: Vec<(SteadyTime, PeerHandle)> =
            self.peers.iter().map(|(id, peer)| (peer.list_asked_at, *id)).collect();
        // In turn, so that none takes the requests of others.
        ids.sort_unstable();
        let mut kept = BTreeSet::new();
        for (_, id) in ids {
            let peer = self.peers.get_mut(&id).expect("requesting lists removes no peer");
            if peer.paused_until <= now {
                peer.note_link(now, view);
            }
            let Some(tip) = peer.tip().filter(|_| !peer.is_settled(now, view)) else { continue };
            let mut served = self.plans.iter_mut().filter(|(number, plan)| peer.may_serve(**number, plan));
            if let Some((plan, at)) = served.find_map(|(_, plan)| plan.index_of(&tip).map(|at| (plan, at))) {
                plan.add_server(id, at + 1);
                continue;
            }
            if self.plans.values().any(|plan| plan.has_server(id)) {
                continue;
            }
            if peer.slot_kept_until > now {
                kept.insert(tip);
            } else if peer.paused_until <= now && self.may_request_list(&tip) && self.make_room(kept.len(), now) {
                self.request_list(id, now, view);
            }
        }
    }

    /// Requests for new lists in flight.
    fn list_requests(&self) -> impl Iterator<Item = &InFlight> {
        self.requests.values().filter(|request| matches!(request.purpose, Purpose::Inventory { plan: None, .. }))
    }

    /// Whether few requests for new lists are in flight, and none to a peer with this tip.
    fn may_request_list(&self, tip: &ShareId) -> bool {
        let has_tip = |request: &InFlight| self.peers.get(&request.peer).and_then(Peer::tip) == Some(*tip);
        self.list_requests().count() < LISTS_IN_FLIGHT_MAX && !self.list_requests().any(has_tip)
    }

    /// Whether there is room for one more plan beside the slots `kept` for others. If none is kept and all are in use, the slowest
    /// plan is dropped. Only a plan that no peer serves, or that has had its guaranteed time, is dropped. Otherwise a few peers could
    /// occupy all plans for as long as they like, or give lists and leave.
    fn make_room(&mut self, kept: usize, now: SteadyTime) -> bool {
        if self.plans.len() < PLANS_MAX || kept > 0 {
            // One plan is reserved for each list in flight.
            return self.plans.len() + self.list_requests().count() + kept < PLANS_MAX;
        }
        let is_orphaned = |plan: &Plan| !plan.has_servers() && !plan.is_fetched();
        let may_drop = |plan: &Plan| is_orphaned(plan) || now.since(plan.since) >= PLAN_GUARANTEED_S;
        let shares_per_hour =
            |plan: &Plan| plan.counts().0.saturating_mul(3_600) / now.since(plan.since).max(1) as usize;
        let droppable = self.plans.iter().filter(|(_, plan)| may_drop(plan));
        let slowest = droppable.min_by_key(|(_, plan)| shares_per_hour(plan)).map(|(number, _)| *number);
        slowest.map(|number| self.give_up(number, now.plus(IGNORE_MAX_S))).is_some()
    }

    /// Requests a peer's list: from the longest list being fetched, which it may share, or else from our chain. A chain that
    /// leaves ours too deep is listed from its start.
    fn request_list(&mut self, peer: PeerHandle, now: SteadyTime, view: &impl ChainView) {
        let state = self.peer_mut(peer);
        state.list_asked_at = now;
        state.listed_tip = state.tip();
        let join = state.join;
        state.join = join.filter(|join| *join == Join::TooDeep);
        let state = self.peers.get(&peer).expect("looked up above");
        let served = self.plans.iter().filter(|(number, plan)| state.may_serve(**number, plan) && !plan.is_judging);
        let longest = served.map(|(_, plan)| plan).max_by_key(|plan| plan.counts().1);
        let mut locator = longest.map(Plan::locator).unwrap_or_default();
        if join != Some(Join::TooDeep) {
            locator.extend(view.locator());
        }
        let request = Request::Inventory { locator: List::first_of(locator.iter().copied()) };
        self.request(peer, Purpose::Inventory { plan: None, locator }, request, now);
    }

    /// The plans whose next page is in flight.
    fn plans_awaiting_pages(&self) -> Vec<u64> {
        let plan_of = |request: &InFlight| match request.purpose {
            Purpose::Inventory { plan, .. } => plan,
            _ => None,
        };
        self.requests.values().filter_map(plan_of).collect()
    }

    /// Counts for how long peers were awaited.
    pub(super) fn count_waiting(&mut self, now: SteadyTime) {
        let awaiting = self.plans_awaiting_pages();
        for (number, plan) in &mut self.plans {
            plan.count_waiting(awaiting.contains(number), now);
        }
    }

    /// Requests the next pages of lists from their leaders.
    fn request_pages(&mut self, now: SteadyTime) {
        let awaiting = self.plans_awaiting_pages();
        let due: Vec<(u64, PeerHandle, ShareId)> = self
            .plans
            .iter()
            .filter(|(number, plan)| plan.has_more && !awaiting.contains(*number) && plan.has_server(plan.leader))
            .filter_map(|(number, plan)| Some((*number, plan.leader, plan.last()?)))
            .collect();
        for (number, peer, last) in due {
            let request = Request::Inventory { locator: List::first_of([last]) };
            self.request(peer, Purpose::Inventory { plan: Some(number), locator: vec![last] }, request, now);
        }
    }

    /// Number of further requests of a kind that may be sent to a peer.
    fn slots(&self, id: PeerHandle, max: usize, is_kind: impl Fn(&Purpose) -> bool) -> usize {
        let in_flight = self.requests.values().filter(|request| request.peer == id && is_kind(&request.purpose));
        max.saturating_sub(in_flight.count())
    }

    fn request_batches(&mut self, now: SteadyTime) {
        let is_batch = |purpose: &Purpose| matches!(purpose, Purpose::Batch { .. });
        let mut free: Vec<(PeerHandle, usize)> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.paused_until <= now)
            .map(|(id, _)| (*id, self.slots(*id, BATCHES_PER_PEER_MAX, is_batch)))
            .collect();
        // One per peer and round, so that all peers share a short list.
        while free.iter().any(|(_, slots)| *slots > 0) {
            for (peer, slots) in free.iter_mut().filter(|(_, slots)| *slots > 0) {
                *slots -= 1;
                let next = self.plans.iter_mut().find_map(|(number, plan)| {
                    plan.next_batch(*peer, now).map(|batch| (*number, batch, plan.batch_ids(batch)))
                });
                match next {
                    Some((plan, batch, ids)) => {
                        self.request(*peer, Purpose::Batch { plan, batch }, Request::Shares { ids }, now);
                    }
                    None => *slots = 0,
                }
            }
        }
    }

    fn request_missing(&mut self, now: SteadyTime) {
        let is_missing = |purpose: &Purpose| matches!(purpose, Purpose::Missing(_));
        loop {
            let is_free = |(id, peer): &(&PeerHandle, &Peer)| {
                peer.paused_until <= now
                    && peer.status.is_some()
                    && self.slots(**id, MISSING_PER_PEER_MAX, is_missing) > 0
            };
            let free: Vec<PeerHandle> = self.peers.iter().filter(is_free).map(|(id, _)| *id).collect();
            let Some((share, peer)) = self.missing.next(&free, now) else { return };
            self.request(peer, Purpose::Missing(share), Request::Shares { ids: List::first_of([share]) }, now);
        }
    }

    /// Reports the progress of the longest list, every few seconds.
    pub(super) fn report_progress(&mut self, now: SteadyTime) {
        let Some(plan) = self.plans.values().max_by_key(|plan| plan.counts().1) else { return };
        if now < self.progress_due {
            return;
        }
        self.progress_due = now.plus(PROGRESS_INTERVAL_S);
        let (done, total) = plan.counts();
        let rate_per_s = done as f64 / f64::from(now.since(plan.since).max(1));
        let eta_s = (done > 0).then(|| ((total - done) as f64 / rate_per_s).ceil() as u32);
        let count = |count| u32::try_from(count).expect("lists are shorter");
        let progress = Progress { done: count(done), total: count(total), rate_per_s, eta_s };
        self.actions.push(SyncAction::Progress(progress));
    }
}
