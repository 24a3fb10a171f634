//! Chain synchronisation: decides what to request from which peer, and whether this node is synced.
//!
//! [`Sync`], the planner, is a state machine. Peers' responses, the sharechain's findings about shares and the passing of
//! time go in; [`Sync::advance`] then returns [`SyncAction`]s, which the node performs.
//!
//! # How shares are fetched
//!
//! New shares arrive by gossip. The planner fetches what gossip missed, and the whole chain for a node that starts or was
//! away:
//!
//! 1. It requests every peer's *status* when the peer connects, and then once a minute. A status names the peer's tip.
//! 2. If this node lacks that tip, it requests an *inventory*: the ids of the shares that follow the newest one both
//!    nodes have. The response becomes a *plan*, one list of shares to fetch. The peer that gave the list *leads* the
//!    plan. Other peers whose tips are on the list *help* to serve it and need not be asked for lists of their own.
//! 3. It requests the plan's shares in batches, oldest first, from leader and helpers in parallel, and delivers them in
//!    order.
//! 4. A list that continues our chain near its tip goes directly to the sharechain ([`Route::Tree`]). Any other list is a
//!    *candidate chain* ([`Route::Candidate`]): a newcomer's first chain, a chain that does not join ours, or a fork from
//!    far below the tip. The sharechain collects it beside our chain and judges it when it is complete (rules, section 6).
//! 5. The parent or uncle that a gossiped share lacks is requested on its own.
//!
//! A pruned chain begins with a *base*: shares that cannot be fully verified, because their payout windows reach below the
//! oldest share. Only the leader serves a base, so that one peer is responsible for all of it.
//!
//! # What holds whatever peers do
//!
//! Peers may lie, be slow, stay silent, come and go, and be many.
//!
//! - *A list belongs to its leader.* No other peer adds to it. When the lead passes to another peer, the list is cut to
//!   what that peer has.
//! - *A list occupies no peer of another chain.* Each minute a few shares from all over the list are requested from each helper.
//!   One that lacks them gives its own list instead (`spot_check`), and so does one whose tip is unknown when a list with it was
//!   delivered to our chain, or whose list is not judged in time.
//! - *What is not linked is fetched less and less often.* A peer's list that was delivered to our chain and is still unknown is
//!   requested again after a minute, then after two, and so on.
//! - *Helpers do no harm.* A helper that fails or is too slow is removed from the plan, and nothing else happens.
//! - *A leader must keep up.* A leader that fails, or serves less than the lowest useful rate, loses the lead as soon as
//!   another peer has the list. What was fetched is kept, and the peer that gave the list is ignored for long.
//! - *Blame is exact.* Only the peer that gave a list is penalised for what is on it. Only a peer that gave both the list
//!   and the whole base is penalised for a share that fails on that base, except under rules 1 and 2, which concern the
//!   share alone. A peer that inherited either is asked for a list of its own instead.
//! - *Plans expire.* When all plans are in use and another peer waits, the slowest plan is dropped.
//! - *Waits end.* Miners of a node that starts wait for what peers report or claim, but each wait ends at a fixed time, however
//!   many peers come meanwhile. After that only a better chain takes their work, never a claim to one (`state`).
//! - *One chain.* A node without a chain starts none while a peer has one, or may still report one, for as long as a chain of full
//!   length takes to arrive.
//! - *Setting a clock changes nothing.* All waits use the steady clock.
//!
//! | file | subject |
//! |---|---|
//! | `action` | the planner's outputs |
//! | `plan` | one list of shares being fetched |
//! | `plan::lead` | the peers that serve a plan, and which one leads it |
//! | `serving_rate` | the lowest acceptable rate of serving shares |
//! | `peer` | what is known of one peer |
//! | `missing` | single shares: parents and uncles that gossiped shares lack |
//! | `responses` | handles peers' responses |
//! | `schedule` | chooses the next requests |
//! | `spot_check` | whether peers have the shares of the lists that they serve |
//! | `state` | whether this node is synced |
//! | `clocks` | compares this machine's clock with the peers' |
//! | `serve` | responds to peers' requests |
//! | `view` | what the planner must know of our chain |

mod action;
mod clocks;
mod missing;
mod peer;
mod plan;
mod responses;
mod schedule;
pub mod serve;
mod serving_rate;
mod spot_check;
mod state;
#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeMap;

pub use action::{Progress, Route, SyncAction, SyncState};
pub use state::SOLO_AFTER_S;
pub use view::{ChainView, Join};

use crate::params::{ChainId, ChainParams};
use crate::peer::{PeerHandle, RequestId};
use crate::share::ShareId;
use crate::sharechain::{candidate_shares_max, CandidateId, CandidateOutcome, Rule, Source, CANDIDATES_MAX};
use crate::table_size::TableSize;
use crate::units::{ShareHeight, SteadyTime};
use crate::wire::{Misbehaviour, Request};
use missing::{MissingShares, MISSING_MAX};
use peer::Peer;
use plan::{base_end, Batch, Plan};
use schedule::PLAN_GUARANTEED_S;
use state::SyncTracker;

/// A request without a response fails after this many seconds. The network thread reports a timeout after 30 s; this is
/// more, so that one late response is not penalised twice.
const RESPONSE_TIMEOUT_S: u32 = 40;
/// Seconds between two requests for a peer's status.
const STATUS_INTERVAL_S: u32 = 60;
/// Seconds for which a peer's chain is ignored after its list led nowhere.
const IGNORE_S: u32 = 60;
/// Seconds for which a peer's chain is ignored at most: fetching a long one again costs megabytes.
const IGNORE_MAX_S: u32 = 600;
/// Seconds for which a candidate chain that was not adopted is ignored at least. Its length adds to that: short chains are
/// fetched again sooner, because young chains soon outgrow each other.
const IGNORE_MIN_S: u32 = 10;
/// Shares of such a chain that add one second.
const SHARES_PER_IGNORED_S: usize = 25;
/// Batches in flight per peer: one is on its way while the peer prepares the next.
const BATCHES_PER_PEER_MAX: usize = 2;
/// Requests for single missing shares in flight per peer.
const MISSING_PER_PEER_MAX: usize = 4;
/// When the shares of one peer lack this many others, a piece of its chain is missing: its status is requested early.
const MISSING_BEFORE_STATUS: usize = 4;
/// Seconds for which nothing but its status is requested from a peer that failed to respond or is busy.
const PAUSE_S: u32 = 5;
/// Peers at once: as many as the network thread has connections for.
const PEERS_MAX: usize = 100;
/// Plans at once: as many as the sharechain takes candidate chains.
const PLANS_MAX: usize = CANDIDATES_MAX;

/// What a request in flight is for.
#[derive(Clone, Debug)]
enum Purpose {
    Status,
    /// The ids that follow the first share of the locator which the peer has: the next page of this plan's list, or, without a
    /// plan, a new list.
    Inventory {
        plan: Option<u64>,
        locator: Vec<ShareId>,
    },
    Batch {
        plan: u64,
        batch: Batch,
    },
    Missing(ShareId),
    /// These shares of a plan's list, to see whether the peer has them.
    SpotCheck {
        plan: u64,
        ids: Vec<ShareId>,
    },
}

#[derive(Clone, Debug)]
struct InFlight {
    peer: PeerHandle,
    purpose: Purpose,
    deadline: SteadyTime,
    /// Whether the request never left this node, so that its timeout is not the peer's fault.
    is_unsent: bool,
}

/// The planner.
#[derive(Debug)]
pub struct Sync {
    chain_id: ChainId,
    payout_window: u32,
    /// The longest list of a plan.
    ids_max: usize,
    /// The connected peers.
    peers: BTreeMap<PeerHandle, Peer>,
    /// By number, which is also the [`CandidateId`] of a plan for a candidate chain.
    plans: BTreeMap<u64, Plan>,
    plans_made: u64,
    /// Requests in flight, all of them to connected peers.
    requests: BTreeMap<RequestId, InFlight>,
    requests_made: u64,
    missing: MissingShares,
    tracker: SyncTracker,
    progress_due: SteadyTime,
    clock_report_due: SteadyTime,
    /// Whether there was an input since the last [`Self::advance`].
    is_due: bool,
    actions: Vec<SyncAction>,
}

impl Sync {
    /// Starts without peers.
    pub fn new(params: &ChainParams, now: SteadyTime) -> Self {
        Self::with(SyncTracker::new(now), params, now)
    }

    /// Starts without peers and without ways to find any: mines solo at once.
    pub fn solo(params: &ChainParams, now: SteadyTime) -> Self {
        Self::with(SyncTracker::solo(now), params, now)
    }

    fn with(tracker: SyncTracker, params: &ChainParams, now: SteadyTime) -> Self {
        Self {
            chain_id: params.chain_id(),
            payout_window: params.payout_window,
            ids_max: candidate_shares_max(params),
            peers: BTreeMap::new(),
            plans: BTreeMap::new(),
            plans_made: 0,
            requests: BTreeMap::new(),
            requests_made: 0,
            missing: MissingShares::default(),
            tracker,
            progress_due: now,
            clock_report_due: now,
            is_due: false,
            actions: Vec::new(),
        }
    }

    /// Whether this node is synced.
    pub const fn state(&self) -> SyncState<SteadyTime> {
        self.tracker.state
    }

    /// The sizes of the tables.
    pub fn tables(&self) -> [TableSize; 4] {
        let peers = self.peers.len();
        let requests_max = peers * (BATCHES_PER_PEER_MAX + MISSING_PER_PEER_MAX + 3);
        [
            TableSize::new("peers", peers, PEERS_MAX),
            TableSize::new("requests", self.requests.len(), requests_max),
            TableSize::new("fetch plans", self.plans.len(), PLANS_MAX),
            TableSize::new("missing shares", self.missing.len(), MISSING_MAX),
        ]
    }

    /// The connected peers.
    pub fn peers(&self) -> impl Iterator<Item = PeerHandle> + '_ {
        self.peers.keys().copied()
    }

    /// Whether a peer is connected.
    pub fn is_connected(&self, peer: PeerHandle) -> bool {
        self.peers.contains_key(&peer)
    }

    /// The connected peers that lead plans with this share.
    pub fn leaders_with<'a>(&'a self, share: &'a ShareId) -> impl Iterator<Item = PeerHandle> + 'a {
        let plans = self.plans.values().filter(|plan| plan.index_of(share).is_some());
        plans.map(|plan| plan.leader).filter(|leader| self.is_connected(*leader))
    }

    /// A peer connected.
    pub fn peer_connected(&mut self, peer: PeerHandle, now: SteadyTime) {
        self.is_due = true;
        let before = self.peers.insert(peer, Peer::new(now));
        debug_assert!(before.is_none(), "a peer connects once under one handle");
    }

    /// A peer disconnected.
    pub fn peer_disconnected(&mut self, peer: PeerHandle) {
        self.is_due = true;
        self.requests.retain(|_, request| {
            let is_kept = request.peer != peer;
            if let (false, Purpose::Missing(id)) = (is_kept, &request.purpose) {
                self.missing.failed(id);
            }
            is_kept
        });
        for plan in self.plans.values_mut() {
            plan.remove_server(peer);
        }
        self.peers.remove(&peer);
    }

    /// A request could not be sent, because the network thread's inbox was full.
    ///
    /// It stays in flight until its timeout: the peer may well have the shares, and a request to another peer would find
    /// the same inbox full.
    pub fn request_not_sent(&mut self, id: RequestId) {
        if let Some(request) = self.requests.get_mut(&id) {
            request.is_unsent = true;
        }
    }

    /// A request failed without a response.
    pub fn request_failed(&mut self, id: RequestId, now: SteadyTime) {
        self.is_due = true;
        if let Some(request) = self.requests.remove(&id) {
            self.on_failure(&request, now);
        }
    }

    /// An orphan lacks this parent or uncle.
    ///
    /// The sharechain repeats the needs of all orphans each second, in a flood hundreds of them: only news are an input.
    pub fn share_missing(&mut self, id: ShareId, source: Source, now: SteadyTime, view: &impl ChainView) {
        let is_coming = |plan: &Plan| now.since(plan.since) < PLAN_GUARANTEED_S && plan.index_of(&id).is_some();
        let is_listed = self.plans.values().any(is_coming);
        if !self.tracker.is_synced || is_listed || view.holds(&id) {
            return;
        }
        let sender = source.peer();
        self.is_due |= self.missing.add(id, sender);
        if let Some(peer) = sender.and_then(|sender| self.peers.get_mut(&sender)) {
            peer.missing += 1;
            if peer.missing >= MISSING_BEFORE_STATUS && peer.early_status_at <= now {
                peer.status_due = now;
                peer.early_status_at = now.plus(STATUS_INTERVAL_S);
                peer.missing = 0;
                self.is_due = true;
            }
        }
    }

    /// A share was linked to our chain.
    pub fn share_linked(&mut self, id: &ShareId) {
        self.missing.remove(id);
    }

    /// Whether a peer that gave an invalid share on request may not know that it is. Rule 8 can only be verified with the payout
    /// window before it, so a node that joined lately serves what others gave it of the base of its chain.
    pub fn is_excused(&self, source: Source, rule: Rule, height: ShareHeight) -> bool {
        let (Rule::Payouts, Source::Fetch(peer)) = (rule, source) else { return false };
        let status = self.peers.get(&peer).and_then(|peer| peer.status.as_ref());
        status.is_some_and(|status| {
            let end = base_end(status.oldest_height, self.payout_window);
            // A node keeps more than a window above its base, so a peer cannot excuse itself altogether.
            let is_likely = end.0.saturating_add(self.payout_window) <= status.share_height.0;
            status.oldest_height.0 > 0 && is_likely && height < end
        })
    }

    /// A share breaks a rule: the shares that follow it are worthless.
    pub fn share_rejected(&mut self, id: &ShareId, source: Source, now: SteadyTime) {
        self.is_due = true;
        self.plans.retain(|_, plan| plan.route != Route::Tree || plan.index_of(id).is_none());
        self.missing.rejected(id);
        // The sender may have forged a copy of a valid share, so other peers that list the id are asked again.
        if let Some(sender) = source.peer() {
            self.ignore_chain(sender, now.plus(IGNORE_S));
        }
    }

    /// A peer's chain follows rules that this software does not know: fetching it is useless.
    pub fn newer_rules(&mut self, peer: PeerHandle, now: SteadyTime) {
        self.is_due = true;
        self.plans.retain(|_, plan| plan.route != Route::Tree || plan.leader != peer);
        self.ignore_chain(peer, now.plus(IGNORE_MAX_S));
    }

    /// The sharechain judged a candidate chain.
    pub fn candidate_judged(&mut self, candidate: CandidateId, outcome: &CandidateOutcome, now: SteadyTime) {
        self.is_due = true;
        // The plan may have been given up while the outcome was on its way.
        let Some(plan) = self.plans.remove(&candidate.0) else { return };
        if let Some(leader) = self.peers.get_mut(&plan.leader) {
            // Another peer that serves it may have another chain above shares that a liar put in front of its tip.
            leader.is_not_due = *outcome == CandidateOutcome::NotDue && !plan.leader_changed;
        }
        match outcome {
            CandidateOutcome::Adopted => self.peers.values_mut().for_each(|peer| peer.join = None),
            CandidateOutcome::NotDue => self.led_nowhere(&plan, now.plus(IGNORE_MAX_S)),
            CandidateOutcome::NotBetter | CandidateOutcome::GivenUp if plan.leader_changed => self.free_helpers(&plan),
            CandidateOutcome::NotBetter | CandidateOutcome::GivenUp => {
                let was_spoilt = plan.was_helped && *outcome == CandidateOutcome::GivenUp;
                let shares = if was_spoilt { 0 } else { plan.counts().1 };
                let extra_s = u32::try_from(shares / SHARES_PER_IGNORED_S).unwrap_or(u32::MAX);
                let ignore_s = IGNORE_MIN_S.saturating_add(extra_s).min(IGNORE_MAX_S);
                self.free_helpers(&plan);
                self.ignore_chain(plan.leader, now.plus(ignore_s));
                if let Some(leader) = self.peers.get_mut(&plan.leader) {
                    // A helper may have changed facts of a share, such as its parent or its version. Its work does not show it.
                    leader.sole_source |= plan.was_helped;
                }
            }
            CandidateOutcome::Invalid { rule, source, height, on_base, .. } => {
                self.free_helpers(&plan);
                self.blame(&plan, *rule, *source, *height, *on_base, now);
            }
        }
    }

    /// Penalises the peer that is responsible for a share of a candidate chain that breaks a rule, if there is proof.
    ///
    /// Rules 1 and 2 concern the share alone. All others compare it with the shares below. If those are an unverified
    /// base, either the base or the share is false.
    fn blame(&mut self, plan: &Plan, rule: Rule, source: Source, height: ShareHeight, on_base: bool, now: SteadyTime) {
        let sender = source.peer().unwrap_or(plan.leader);
        let is_share_false = !on_base || matches!(rule, Rule::Form | Rule::ProofOfWork);
        if plan.continues_ours() && self.is_excused(source, rule, height) {
            self.ignore_chain(sender, now.plus(IGNORE_MAX_S));
        } else if is_share_false || plan.is_author(sender) {
            // The author also sent the whole base. Rules 5 and 6 can be broken by bad luck.
            let is_chain_false = !is_share_false && rule.proves_fault();
            self.penalize(
                sender,
                if is_chain_false { Misbehaviour::FalseChain } else { Misbehaviour::BrokenRule(rule) },
            );
            if sender == plan.leader {
                return self.ignore_chain(sender, now.plus(IGNORE_MAX_S));
            }
        }
        // If one peer serves all of the chain, the next failure proves who is at fault, and no helper causes one.
        if let Some(leader) = self.peers.get_mut(&plan.leader) {
            leader.sole_source = true;
        }
    }

    /// Time passes: called about once a second.
    pub fn tick(&mut self, now: SteadyTime) {
        self.is_due = true;
        let late: Vec<RequestId> =
            self.requests.iter().filter(|(_, request)| request.deadline <= now).map(|(id, _)| *id).collect();
        for id in late {
            let request = self.requests.remove(&id).expect("listed above");
            if !request.is_unsent {
                self.penalize(request.peer, Misbehaviour::Late);
            }
            self.on_failure(&request, now);
        }
        self.count_waiting(now);
        self.missing.tick(now);
        self.report_progress(now);
    }

    /// A request brought no usable response.
    fn on_failure(&mut self, request: &InFlight, now: SteadyTime) {
        let peer = self.peer_mut(request.peer);
        peer.pause(now);
        match &request.purpose {
            Purpose::Status => {
                peer.has_reported = true;
                peer.ignore_chain(now.plus(IGNORE_S));
            }
            Purpose::Inventory { plan, .. } => {
                peer.ignore_chain(now.plus(IGNORE_S));
                if let Some(plan) = plan.and_then(|number| self.plans.get_mut(&number)) {
                    plan.remove_server(request.peer);
                }
            }
            Purpose::Batch { plan, batch } => {
                if let Some(plan) = self.plans.get_mut(plan) {
                    plan.failed(*batch, request.peer);
                }
            }
            Purpose::Missing(id) => self.missing.failed(id),
            Purpose::SpotCheck { .. } => {}
        }
    }

    fn request(&mut self, peer: PeerHandle, purpose: Purpose, request: Request, now: SteadyTime) {
        debug_assert!(self.peers.contains_key(&peer), "only connected peers serve plans");
        self.requests_made += 1;
        let id = RequestId(self.requests_made);
        self.requests.insert(id, InFlight { peer, purpose, deadline: now.plus(RESPONSE_TIMEOUT_S), is_unsent: false });
        self.actions.push(SyncAction::Request { peer, id, request });
    }

    fn penalize(&mut self, peer: PeerHandle, misbehaviour: Misbehaviour) {
        self.actions.push(SyncAction::Penalize { peer, misbehaviour });
    }

    /// The peer that a request was sent to.
    fn peer_mut(&mut self, id: PeerHandle) -> &mut Peer {
        self.peers.get_mut(&id).expect("requests end when their peer disconnects")
    }

    /// Ignores a peer's chain for a while; does nothing if the peer disconnected.
    fn ignore_chain(&mut self, peer: PeerHandle, until: SteadyTime) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.ignore_chain(until);
        }
    }
}
