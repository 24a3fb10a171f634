//! Keeping level with the other nodes: what to ask of whom, and whether we have what they have.
//!
//! [`Sync`] is a step function: what peers say, what the sharechain did with shares and the passing of time go in,
//! [`SyncAction`]s come out, and its owner performs them.
//!
//! 1. Every peer is asked for its status when it comes and once a minute, which finds whatever gossip missed.
//! 2. A peer whose tip we do not have is asked what follows our shares. Peers whose tips are on the list it gives
//!    need not be asked: they help to fetch it. The list is a plan.
//! 3. A plan's shares are asked for in batches, oldest first, of all peers that have them, and handed over in order.
//! 4. Purpose grows from our newest shares goes straight to the sharechain. Everything else (a newcomer's first
//!    chain, pruned or whole; a chain that does not join ours; a fork from far below) is kept candidate and judged when
//!    it is whole (rules, section 6).
//!
//! Peers may lie, be slow, keep silent, come and go, and be many. Against that these hold:
//!
//! - *A list is its leader's alone.* Nobody else adds to it; it ends where its leader's shares end, so when the lead
//!   passes to another what that one has not is cut off.
//! - *Helpers hold nobody up.* A helper that fails or is too slow loses its part in a plan, and nothing else happens.
//! - *A lead is kept by keeping serving_rate.* A leader that gives less than the slowest rate that is of use, or fails, loses the
//!   lead as soon as another has the list; what was fetched is kept, and whoever gave the list is held for long.
//! - *Blame stays with who gave.* Only who gave a list responses for what is on it, and only who gave both the list and
//!   all of a base for what breaks upon it (rules 1 and 2 excepted, which a share breaks by itself). Who
//!   inherited them is neither blamed nor held, but asked for a list of its own.
//! - *Places are not for ever.* Where all plans are taken and another peer waits the slowest makes way.
//! - *Waiting ends.* Peers that have said nothing yet keep a node waiting for the time of one answer, and no longer
//!   however many come, or come again; all peers together for `AWAITED_MAX_S`, counted from when it began. Alone is a node
//!   with which nobody speaks, whoever comes and goes. A node that mined alone goes on until it is shown more.
//! - *No second chain.* A node without a chain starts none while a peer has one, or may still say so (the wait above).
//! - *Nothing waits for the time of day.* All waits go by a clock that nobody sets.
//!
//! | file | subject |
//! |---|---|
//! | `action` | what comes out |
//! | `plan` | one list of shares being fetched |
//! | `plan::lead` | who serves it, and who leads it |
//! | `serving_rate` | how fast who serves must be |
//! | `peer` | what is known of one peer |
//! | `missing` | missing parents and uncles of gossiped shares |
//! | `responses` | what is made of a peer's responses |
//! | `schedule` | what to do next |
//! | `state` | whether we are level with the others |
//! | `clocks` | whether our clock agrees with theirs |
//! | `serve` | responses to other nodes' questions |
//! | `view` | what must be known of our own chain |

mod action;
mod clocks;
mod missing;
mod peer;
mod plan;
mod responses;
mod schedule;
pub mod serve;
mod serving_rate;
mod state;
#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeMap;

pub use action::{Progress, Route, SyncAction, SyncState};
pub use view::ChainView;

use crate::params::{ChainId, ChainParams, UNCLE_DEPTH_MAX};
use crate::peer::{PeerHandle, RequestId};
use crate::share::ShareId;
use crate::sharechain::{candidate_shares_max, CandidateId, CandidateOutcome, Rule, Source, COMPARE_MAX_S, HELD_MAX_S};
use crate::table_size::TableSize;
use crate::units::{ShareHeight, SteadyTime};
use crate::wire::{Offence, Request};
use missing::MissingShares;
use peer::Peer;
use plan::{Batch, Plan};
use state::SyncProgress;

/// Seconds after which a question counts as lost: more than the half a minute in which the network thread gets an answer
/// or calls the peer late, so that being late once is not held against it twice.
const RESPONSE_MAX_S: u32 = 40;
/// Seconds from one question for a peer's status to the next.
const STATUS_EVERY_S: u32 = 60;
/// Seconds without a peer that says where it is after which a node mines alone.
pub const SOLO_AFTER_S: u32 = 60;
/// Seconds for which a peer whose list led nowhere is not asked for another.
const HOLD_S: u32 = 60;
/// Seconds for which a chain that was judged and not adopted is left alone, at most: fetching a long one costs megabytes.
const REFUSED_S: u32 = 600;
/// A short one is looked at again sooner, for young chains soon outgrow each other: after this long,
const REFUSED_MIN_S: u32 = 10;
/// and a second for so many shares.
const SHARES_PER_REFUSED_S: usize = 25;
/// Seconds for which a node that has a chain but is not level waits for what others have, all in all: whoever gives it
/// drop by drop, or keeps claiming more, would keep miners without jobs.
const AWAITED_MAX_S: u32 = 900;
/// Seconds after which a plan is dropped of which nobody left has the next share.
const STALLED_MAX_S: u32 = 45;
/// Seconds for which a chain kept candidate that nobody serves any more is kept, to be taken up again: the sharechain gives up
/// what does not get on for as long.
const ORPHANED_MAX_S: u32 = HELD_MAX_S;
/// Batches that one peer is asked for at once: one under way while the other is made.
const BATCHES_PER_PEER_MAX: usize = 2;
/// Missing shares that one peer is asked for at once.
const SINGLES_PER_PEER_MAX: usize = 4;
/// So many missing shares from one peer: not single ones are missing but a piece of its chain.
const NEEDS_MAX: usize = 4;
/// Seconds for which a peer that did not answer, or is busy, is asked for nothing.
const PAUSE_S: u32 = 5;
/// Lists that peers are asked for at once: two honest ones hardly differ, more are asked only if these lead nowhere.
const INVENTORIES_MAX: usize = 2;
/// Peers at once: as many as the network thread has connections for.
const PEERS_MAX: usize = 100;
/// Plans at once, as many as chains that are kept candidate.
const PLANS_MAX: usize = crate::sharechain::CANDIDATES_MAX;
/// Seconds that a plan has its place for certain: in that time a chain of full length, 12 MB, comes over half a Mbit/s.
const PLACE_MIN_S: u32 = 300;
/// A fork this many heights below our tip or nearer goes to the sharechain share by share, which keeps it on its shelf
/// until it claims more work than the tip has (rules, section 5, spam).
const NEAR_HEIGHTS: u32 = 288;
/// A branch beside our chain longer than this is kept candidate: the sharechain's shelf might not hold it.
const NEAR_SHARES: usize = 1_024;
/// A node that was level and misses more than this many shares is not level any more.
const BEHIND_SHARES: usize = 20;
/// Seconds from one report of progress to the next.
const PROGRESS_EVERY_S: u32 = 5;

/// Purpose was asked of a peer.
#[derive(Clone, Debug)]
enum Purpose {
    Status,
    /// Purpose follows these shares; to continue this plan, or to begin one.
    Inventory {
        plan: Option<u64>,
        locator: Vec<ShareId>,
    },
    Batch {
        plan: u64,
        batch: Batch,
    },
    Missing(ShareId),
}

#[derive(Clone, Debug)]
struct InFlight {
    peer: PeerHandle,
    what: Purpose,
    deadline: SteadyTime,
    /// It has not gone out, so its lateness is nobody's fault.
    is_lost: bool,
}

/// The planner.
#[derive(Debug)]
pub struct Sync {
    chain_id: ChainId,
    payout_window: u32,
    ids_max: usize,
    peers: BTreeMap<PeerHandle, Peer>,
    /// By number; a plan kept candidate has its number from it.
    plans: BTreeMap<u64, Plan>,
    plans_made: u64,
    requests: BTreeMap<RequestId, InFlight>,
    requests_made: u64,
    missing: MissingShares,
    state: SyncState<SteadyTime>,
    level: SyncProgress,
    /// Since when no peer is connected that has said where it is.
    unsynced_since: Option<SteadyTime>,
    /// When a node that is without such a peer begins to mine alone.
    solo_at: SteadyTime,
    progress_due: SteadyTime,
    clock_report_due: SteadyTime,
    actions: Vec<SyncAction>,
}

impl Sync {
    /// Starts without peers.
    pub fn new(params: &ChainParams, now: SteadyTime) -> Self {
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
            state: SyncState::NoPeers { since: now, was_synced: false },
            level: SyncProgress::new(now),
            unsynced_since: Some(now),
            solo_at: now.plus(SOLO_AFTER_S),
            progress_due: now,
            clock_report_due: now,
            actions: Vec::new(),
        }
    }

    /// Starts without peers and with no way to find any: waits for none, and mines alone at once.
    pub fn solo(params: &ChainParams, now: SteadyTime) -> Self {
        Self { solo_at: now, ..Self::new(params, now) }
    }

    /// Whether we are level with the others.
    pub const fn state(&self) -> SyncState<SteadyTime> {
        self.state
    }

    /// Whether a genesis share may be made: no connected peer has a chain (rules, section 6), and none is still to
    /// answer, as far as that is waited for.
    pub fn may_start_chain(&self) -> bool {
        let has_chain = |peer: &Peer| peer.status.as_ref().is_some_and(|status| status.has_chain());
        self.state.may_mine() && !self.level.awaits_silent && !self.peers.values().any(has_chain)
    }

    /// The sizes of the tables.
    pub fn tables(&self) -> [TableSize; 4] {
        let peers = self.peers.len();
        let requests_max = peers * (BATCHES_PER_PEER_MAX + SINGLES_PER_PEER_MAX + 2);
        [
            TableSize::new("peers", peers, PEERS_MAX),
            TableSize::new("requests", self.requests.len(), requests_max),
            TableSize::new("fetch plans", self.plans.len(), PLANS_MAX),
            TableSize::new("missing shares", self.missing.len(), missing::SINGLES_MAX),
        ]
    }

    /// The connected peers.
    pub fn peers(&self) -> impl Iterator<Item = PeerHandle> + '_ {
        self.peers.keys().copied()
    }

    /// A peer was connected.
    pub fn peer_up(&mut self, peer: PeerHandle, now: SteadyTime, view: &impl ChainView) -> Vec<SyncAction> {
        self.peers.insert(peer, Peer::new(now));
        self.act(now, view)
    }

    /// A peer was disconnected.
    pub fn peer_down(&mut self, peer: PeerHandle, now: SteadyTime, view: &impl ChainView) -> Vec<SyncAction> {
        let asked: Vec<RequestId> =
            self.requests.iter().filter(|(_, asked)| asked.peer == peer).map(|(id, _)| *id).collect();
        for id in asked {
            if let Some(InFlight { what: Purpose::Missing(id), .. }) = self.requests.remove(&id) {
                self.missing.failed(&id);
            }
        }
        for plan in self.plans.values_mut() {
            plan.remove_server(peer);
        }
        self.peers.remove(&peer);
        self.act(now, view)
    }

    /// A request could not be sent for want of room. It has its time all the same: whoever is not asked is not without
    /// shares, and asking another at once would find no room either.
    pub fn not_sent(&mut self, id: RequestId) {
        if let Some(asked) = self.requests.get_mut(&id) {
            asked.is_lost = true;
        }
    }

    /// The peer of a request is gone, or the connection broke before its answer.
    pub fn failed(&mut self, id: RequestId, now: SteadyTime, view: &impl ChainView) -> Vec<SyncAction> {
        if let Some(asked) = self.requests.remove(&id) {
            self.gone_wrong(&asked, now);
        }
        self.act(now, view)
    }

    /// A share that waits needs this one.
    pub fn need(&mut self, id: ShareId, source: Source, now: SteadyTime, view: &impl ChainView) -> Vec<SyncAction> {
        let mut has_changed = false;
        let planned = self.plans.values().any(|plan| plan.index_of(&id).is_some());
        if self.level.is_synced && !planned && !view.holds(&id) {
            let sender = source.peer();
            has_changed = self.missing.add(id, sender);
            if let Some(peer) = sender.and_then(|sender| self.peers.get_mut(&sender)) {
                peer.needs += 1;
                if peer.needs >= NEEDS_MAX && peer.hurry_due <= now {
                    peer.status_due = now;
                    peer.hurry_due = now.plus(STATUS_EVERY_S);
                    peer.needs = 0;
                    has_changed = true;
                }
            }
        }
        // A flood of orphans repeats hundreds of needs each second: only what is new is worth a look at all plans.
        if has_changed {
            self.act(now, view)
        } else {
            Vec::new()
        }
    }

    /// A share was linked to our chain.
    pub fn linked(&mut self, id: &ShareId) {
        self.missing.remove(id);
        for plan in self.plans.values_mut().filter(|plan| plan.index_of(id).is_some()) {
            plan.linked += 1;
        }
    }

    /// A share breaks a rule: what follows it is worthless.
    pub fn refused(&mut self, id: &ShareId, source: Source, now: SteadyTime, view: &impl ChainView) -> Vec<SyncAction> {
        let with_it: Vec<u64> = self
            .plans
            .iter()
            .filter(|(_, plan)| plan.route == Route::Tree && plan.index_of(id).is_some())
            .map(|(number, _)| *number)
            .collect();
        for number in with_it {
            self.plans.remove(&number);
        }
        // Its sender may have made a false copy of a good share: others who list it are asked again.
        if let Some(sender) = source.peer() {
            self.hold(sender, now.plus(HOLD_S));
        }
        self.act(now, view)
    }

    /// A chain kept candidate was judged.
    pub fn judged(
        &mut self,
        candidate: CandidateId,
        outcome: &CandidateOutcome,
        now: SteadyTime,
        view: &impl ChainView,
    ) -> Vec<SyncAction> {
        if let Some(plan) = self.plans.remove(&candidate.0) {
            match outcome {
                CandidateOutcome::Adopted => self.peers.values_mut().for_each(|peer| {
                    peer.joins = None;
                    peer.own_list = false;
                }),
                CandidateOutcome::NotBetter | CandidateOutcome::GivenUp => {
                    let shares = plan.counts().1 / SHARES_PER_REFUSED_S;
                    let hold_s = REFUSED_MIN_S.saturating_add(u32::try_from(shares).unwrap_or(u32::MAX)).min(REFUSED_S);
                    if plan.leader_changed {
                        self.led_nowhere(&plan, now);
                    } else {
                        self.hold(plan.leader, now.plus(hold_s));
                    }
                }
                CandidateOutcome::False { rule, source, on_base, .. } => {
                    self.found_false(&plan, *rule, *source, *on_base, now);
                }
            }
        }
        self.act(now, view)
    }

    /// A chain kept candidate has a share that breaks a rule: whose fault is it?
    ///
    /// Rules 1 and 2 speak of the share alone. All others compare it with what is below, which on a base could not be
    /// verified: then either the base is false or this share.
    fn found_false(&mut self, plan: &Plan, rule: Rule, source: Source, on_base: bool, now: SteadyTime) {
        let sender = source.peer().unwrap_or(plan.leader);
        let is_senders = !on_base || matches!(rule, Rule::Form | Rule::ProofOfWork);
        if is_senders || plan.is_author(sender) {
            // All below it came from the same peer. Rules 5 and 6 can be broken by bad luck.
            let is_chains = !is_senders && rule.proves_fault();
            self.penalize(sender, if is_chains { Offence::FalseChain } else { Offence::BrokenRule(rule) });
            if sender == plan.leader {
                self.hold(sender, now.plus(REFUSED_S));
            }
        } else {
            // With all of it from one peer the next failure will tell.
            self.set_solo(plan.leader);
        }
    }

    /// Time passes: about once a second.
    pub fn tick(&mut self, now: SteadyTime, view: &impl ChainView) -> Vec<SyncAction> {
        let late: Vec<RequestId> =
            self.requests.iter().filter(|(_, asked)| asked.deadline <= now).map(|(id, _)| *id).collect();
        for id in late {
            if let Some(asked) = self.requests.remove(&id) {
                if !asked.is_lost {
                    self.penalize(asked.peer, Offence::Late);
                }
                self.gone_wrong(&asked, now);
            }
        }
        self.count_waiting(now);
        self.missing.tick(now);
        self.report(now);
        self.act(now, view)
    }

    /// A question that gets no answer from this peer.
    fn gone_wrong(&mut self, asked: &InFlight, now: SteadyTime) {
        self.pause(asked.peer, now);
        match &asked.what {
            Purpose::Status => {
                self.hold(asked.peer, now.plus(HOLD_S));
                self.has_reported(asked.peer);
            }
            Purpose::Inventory { plan, .. } => {
                self.hold(asked.peer, now.plus(HOLD_S));
                if let Some(plan) = plan.and_then(|number| self.plans.get_mut(&number)) {
                    plan.remove_server(asked.peer);
                }
            }
            Purpose::Batch { plan, batch } => {
                if let Some(plan) = self.plans.get_mut(plan) {
                    plan.failed(*batch, asked.peer);
                }
            }
            Purpose::Missing(id) => self.missing.failed(id),
        }
    }

    fn ask(&mut self, peer: PeerHandle, what: Purpose, request: Request, now: SteadyTime) {
        self.requests_made += 1;
        let id = RequestId(self.requests_made);
        self.requests.insert(id, InFlight { peer, what, deadline: now.plus(RESPONSE_MAX_S), is_lost: false });
        self.actions.push(SyncAction::Request { peer, id, request });
    }

    fn penalize(&mut self, peer: PeerHandle, offence: Offence) {
        self.actions.push(SyncAction::Penalize { peer, offence });
    }

    /// Leaves a peer's chain alone for a while.
    fn hold(&mut self, peer: PeerHandle, until: SteadyTime) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.hold_until = peer.hold_until.max(until);
        }
    }

    /// Asks a peer for nothing for a moment.
    fn pause(&mut self, peer: PeerHandle, now: SteadyTime) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.busy_until = now.plus(PAUSE_S);
        }
    }

    /// A peer has said where it is, or had its time to.
    fn has_reported(&mut self, peer: PeerHandle) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.has_reported = true;
        }
    }

    fn set_solo(&mut self, peer: PeerHandle) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.solo = true;
        }
    }

    /// Where the base of a chain that starts at this height ends: above it every share's payout window is held.
    const fn open_height(&self, start: ShareHeight) -> Option<ShareHeight> {
        match start.0 {
            0 => None,
            start => Some(ShareHeight(start.saturating_add(self.payout_window).saturating_add(UNCLE_DEPTH_MAX))),
        }
    }
}
