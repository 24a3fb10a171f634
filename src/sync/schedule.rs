//! Purpose to do next: after every event the planner looks what is due.

use super::peer::Peer;
use super::plan::Plan;
use super::{
    ChainView, InFlight, Progress, Purpose, Route, Sync, SyncAction, BATCHES_PER_PEER_MAX, COMPARE_MAX_S, HOLD_S,
    INVENTORIES_MAX, ORPHANED_MAX_S, PAUSE_S, PLACE_MIN_S, PLANS_MAX, PROGRESS_EVERY_S, REFUSED_S,
    SINGLES_PER_PEER_MAX, STALLED_MAX_S, STATUS_EVERY_S,
};
use crate::peer::PeerHandle;
use crate::share::ShareId;
use crate::units::SteadyTime;
use crate::wire::{List, Request};

impl Sync {
    /// Does whatever is due and hands out all actions.
    pub(super) fn act(&mut self, now: SteadyTime, view: &impl ChainView) -> Vec<SyncAction> {
        self.ask_statuses(now);
        self.settle_plans(now, view);
        self.ask_inventories(now, view);
        self.ask_pages(now);
        self.ask_batches(now);
        self.ask_singles(now);
        self.update_state(now, view);
        std::mem::take(&mut self.actions)
    }

    fn asked_of(&self, peer: PeerHandle) -> impl Iterator<Item = &Purpose> {
        self.requests.values().filter(move |asked| asked.peer == peer).map(|asked| &asked.what)
    }

    fn ask_statuses(&mut self, now: SteadyTime) {
        let due: Vec<PeerHandle> =
            self.peers.iter().filter(|(_, peer)| peer.status_due <= now).map(|(id, _)| *id).collect();
        for id in due {
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.status_due = now.plus(STATUS_EVERY_S);
            }
            self.ask(id, Purpose::Status, Request::Status, now);
        }
    }

    /// Ends plans that are done, hopeless or forgotten.
    fn settle_plans(&mut self, now: SteadyTime, view: &impl ChainView) {
        let numbers: Vec<u64> = self.plans.keys().copied().collect();
        let may_finish = view.tip().is_some() || !self.is_more_to_compare(now, view);
        for number in numbers {
            let Some(plan) = self.plans.get_mut(&number).filter(|plan| !plan.judging) else { continue };
            let timeout_s = if plan.has_servers() { STALLED_MAX_S } else { ORPHANED_MAX_S };
            let is_forgotten = plan.is_idle()
                && now.since(plan.heard) >= if plan.route == Route::Tree { STALLED_MAX_S } else { timeout_s };
            if plan.is_fetched() {
                match plan.route {
                    Route::Tree => self.end_chain_plan(number, now),
                    Route::Candidate(candidate) if may_finish => {
                        plan.judging = true;
                        self.actions.push(SyncAction::Finish(candidate));
                    }
                    Route::Candidate(_) => {}
                }
            } else if is_forgotten {
                self.give_up(number, now.plus(HOLD_S));
            } else {
                self.keep_pace(number, now);
            }
        }
    }

    /// Whoever fails or is too slow makes way for others.
    fn keep_pace(&mut self, number: u64, now: SteadyTime) {
        let Some(plan) = self.plans.get_mut(&number) else { return };
        let helpers = plan.slow_helpers();
        helpers.iter().for_each(|helper| plan.remove_server(*helper));
        let leader = plan.leader;
        let hold_s = if plan.is_author(leader) { REFUSED_S } else { HOLD_S };
        let failed = plan.is_hopeless().then_some(leader);
        let is_over = failed.is_some() && plan.servers().all(|server| server == leader);
        if failed.is_some() && !is_over {
            plan.remove_server(leader);
        }
        let demoted = if is_over { None } else { plan.pass_slow_lead() };
        helpers.into_iter().for_each(|helper| self.hold(helper, now.plus(HOLD_S)));
        if is_over {
            self.give_up(number, now.plus(HOLD_S));
        } else if let Some(leader) = failed.or(demoted) {
            self.hold(leader, now.plus(hold_s));
        }
    }

    /// All of a list was handed to the sharechain. Where the tip is not held soon it waits for something, or was refused:
    /// the list is asked for once more, and then not for a while.
    fn end_chain_plan(&mut self, number: u64, now: SteadyTime) {
        let Some(plan) = self.plans.remove(&number) else { return };
        for peer in self.peers.values_mut() {
            let Some(tip) = peer.status.as_ref().map(|status| status.tip) else { continue };
            if plan.index_of(&tip).is_none() {
                continue;
            }
            if peer.fetched_tip.replace(tip) == Some(tip) {
                peer.hold_until = peer.hold_until.max(now.plus(HOLD_S));
            } else {
                peer.busy_until = peer.busy_until.max(now.plus(PAUSE_S));
            }
        }
    }

    /// Whether a newcomer that has fetched a chain may still be offered another: it takes the best (rules, section 6).
    fn is_more_to_compare(&self, now: SteadyTime, view: &impl ChainView) -> bool {
        let fetched = self.plans.values().filter(|plan| plan.is_fetched());
        let Some(since) = fetched.map(|plan| plan.heard).min() else { return false };
        let is_known = |id: PeerHandle, peer: &Peer| {
            let tip = peer.status.as_ref().map(|status| status.tip);
            let is_planned = |plan: &Plan| plan.has_server(id) || tip.is_some_and(|tip| plan.index_of(&tip).is_some());
            peer.is_settled(now, view) || self.plans.values().any(is_planned)
        };
        let is_more =
            !self.plans.values().all(Plan::is_fetched) || !self.peers.iter().all(|(id, peer)| is_known(*id, peer));
        is_more && now.since(since) < COMPARE_MAX_S
    }

    /// Drops a plan and leaves the chain of whoever gave its list alone for a while.
    pub(super) fn give_up(&mut self, number: u64, hold_until: SteadyTime) {
        let Some(plan) = self.plans.remove(&number) else { return };
        if let Route::Candidate(candidate) = plan.route {
            self.actions.push(SyncAction::Drop(candidate));
        }
        self.led_nowhere(&plan, hold_until);
    }

    /// Who gave a list that led nowhere is left alone for a while; who helped with it, or took it over, is asked for its
    /// own.
    pub(super) fn led_nowhere(&mut self, plan: &Plan, hold_until: SteadyTime) {
        for id in plan.servers() {
            if plan.is_author(id) {
                self.hold(id, hold_until);
            } else if let Some(peer) = self.peers.get_mut(&id) {
                peer.own_list = true;
            }
        }
    }

    /// Asks peers whose tips are unknown for what they have; those whose tips are on a list help to fetch it, unless
    /// that is to be done by a list of theirs.
    fn ask_inventories(&mut self, now: SteadyTime, view: &impl ChainView) {
        let ids: Vec<PeerHandle> = self.peers.keys().copied().collect();
        for id in ids {
            let Some(peer) = self.peers.get(&id).filter(|peer| !peer.is_settled(now, view)) else { continue };
            let Some(tip) = peer.status.as_ref().map(|status| status.tip) else { continue };
            let planned = self.plans.values_mut().find_map(|plan| plan.index_of(&tip).map(|at| (plan, at)));
            if let Some((plan, at)) = planned.filter(|_| !peer.wants_own_list()) {
                plan.add_server(id, at + 1);
                continue;
            }
            let is_busy = peer.busy_until > now || self.plans.values().any(|plan| plan.has_server(id));
            if !is_busy && self.may_ask_inventory(&tip) && self.has_room(now) {
                self.ask_inventory(id, now, view);
            }
        }
    }

    /// The questions for lists to begin with.
    fn first_pages(&self) -> impl Iterator<Item = &InFlight> {
        self.requests.values().filter(|asked| matches!(asked.what, Purpose::Inventory { plan: None, .. }))
    }

    /// Whether few lists are asked for, and none of a peer with the same tip.
    fn may_ask_inventory(&self, tip: &ShareId) -> bool {
        let has_tip = |asked: &InFlight| {
            self.peers.get(&asked.peer).and_then(|peer| peer.status.as_ref()).is_some_and(|status| status.tip == *tip)
        };
        self.first_pages().count() < INVENTORIES_MAX && !self.first_pages().any(has_tip)
    }

    /// Whether there is room for one more plan. Where there is none the slowest makes way, if it had its time, or nobody
    /// is left to ask for it: four peers could hold all places otherwise for as long as they like, or give lists and go.
    fn has_room(&mut self, now: SteadyTime) -> bool {
        if self.plans.len() < PLANS_MAX {
            // One place is kept for each answer under way.
            return self.plans.len() + self.first_pages().count() < PLANS_MAX;
        }
        let is_orphaned = |plan: &Plan| !plan.has_servers() && !plan.is_fetched();
        let had_time = |plan: &Plan| is_orphaned(plan) || now.since(plan.since) >= PLACE_MIN_S;
        let shares_per_hour =
            |plan: &Plan| plan.counts().0.saturating_mul(3_600) / now.since(plan.since).max(1) as usize;
        let old = self.plans.iter().filter(|(_, plan)| had_time(plan));
        let slowest = old.min_by_key(|(_, plan)| shares_per_hour(plan)).map(|(number, _)| *number);
        slowest.map(|number| self.give_up(number, now.plus(REFUSED_S))).is_some()
    }

    fn ask_inventory(&mut self, peer: PeerHandle, now: SteadyTime, view: &impl ChainView) {
        let is_own = self.peers.get(&peer).is_some_and(Peer::wants_own_list);
        let longest = self.plans.values().filter(|plan| !is_own && !plan.judging).max_by_key(|plan| plan.counts().1);
        let mut locator = longest.map(|plan| plan.locator()).unwrap_or_default();
        locator.extend(view.locator());
        let request = Request::Inventory { locator: List::first_of(locator.iter().copied()) };
        self.ask(peer, Purpose::Inventory { plan: None, locator }, request, now);
    }

    /// The plans whose next page is asked for.
    fn paged(&self) -> Vec<u64> {
        let plan_of = |asked: &InFlight| match asked.what {
            Purpose::Inventory { plan, .. } => plan,
            _ => None,
        };
        self.requests.values().filter_map(plan_of).collect()
    }

    /// Counts how long whom has kept us waiting.
    pub(super) fn count_waiting(&mut self, now: SteadyTime) {
        let paged = self.paged();
        for (number, plan) in &mut self.plans {
            plan.count_waiting(paged.contains(number), now);
        }
    }

    fn ask_pages(&mut self, now: SteadyTime) {
        let paged = self.paged();
        let due: Vec<(u64, PeerHandle, ShareId)> = self
            .plans
            .iter()
            .filter(|(number, plan)| plan.more && !paged.contains(*number) && plan.has_server(plan.leader))
            .filter_map(|(number, plan)| Some((*number, plan.leader, plan.last()?)))
            .collect();
        for (number, peer, last) in due {
            let request = Request::Inventory { locator: List::first_of([last]) };
            self.ask(peer, Purpose::Inventory { plan: Some(number), locator: vec![last] }, request, now);
        }
    }

    fn ask_batches(&mut self, now: SteadyTime) {
        let mut free: Vec<(PeerHandle, usize)> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.busy_until <= now)
            .map(|(id, _)| {
                let under_way = self.asked_of(*id).filter(|what| matches!(what, Purpose::Batch { .. })).count();
                (*id, BATCHES_PER_PEER_MAX.saturating_sub(under_way))
            })
            .collect();
        // One each, then another each, so that a short list is shared by all.
        while free.iter().any(|(_, slots)| *slots > 0) {
            for (peer, slots) in free.iter_mut().filter(|(_, slots)| *slots > 0) {
                *slots -= 1;
                let next = self.plans.iter_mut().find_map(|(number, plan)| {
                    plan.next_batch(*peer, now).map(|batch| (*number, batch, plan.batch_ids(batch)))
                });
                match next {
                    Some((plan, batch, ids)) => {
                        self.ask(*peer, Purpose::Batch { plan, batch }, Request::Shares { ids }, now);
                    }
                    None => *slots = 0,
                }
            }
        }
    }

    fn ask_singles(&mut self, now: SteadyTime) {
        loop {
            let peers: Vec<PeerHandle> = self
                .peers
                .iter()
                .filter(|(id, peer)| {
                    let under_way = self.asked_of(**id).filter(|what| matches!(what, Purpose::Missing(_))).count();
                    peer.busy_until <= now && peer.status.is_some() && under_way < SINGLES_PER_PEER_MAX
                })
                .map(|(id, _)| *id)
                .collect();
            let Some((share, peer)) = self.missing.next(&peers, now) else { return };
            self.ask(peer, Purpose::Missing(share), Request::Shares { ids: List::first_of([share]) }, now);
        }
    }

    /// Reports progress, every so often.
    pub(super) fn report(&mut self, now: SteadyTime) {
        if let Some(plan) = self.plans.values().max_by_key(|plan| plan.counts().1) {
            if now >= self.progress_due {
                self.progress_due = now.plus(PROGRESS_EVERY_S);
                let (done, total) = plan.counts();
                let rate_per_s = done as f64 / f64::from(now.since(plan.since).max(1));
                let eta_s = (done > 0).then(|| ((total - done) as f64 / rate_per_s).ceil() as u32);
                let count = |count| u32::try_from(count).unwrap_or(u32::MAX);
                self.actions.push(SyncAction::Progress(Progress {
                    done: count(done),
                    total: count(total),
                    rate_per_s,
                    eta_s,
                }));
            }
        }
    }
}
