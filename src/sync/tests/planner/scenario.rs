//! A planner, and peers that a test scripts, second by second.

use crate::peer::{PeerHandle, RequestId};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::fixtures::{ids, inventory, misbehaviours, planner, requests, shares, status, FakeChain, Planner, START};
use crate::share::{Share, ShareId};
use crate::sharechain::{CandidateId, CandidateOutcome};
use crate::sync::{ChainView, SyncAction, SyncState};
use crate::units::{ShareHeight, SteadyTime};
use crate::wire::{List, Misbehaviour, Request, Response};

/// Seconds until a response arrives, and the response; `None` if none ever does.
pub type Delayed = Option<(u32, Response)>;

/// Ids on one page of a list.
const PAGE: usize = 8_192;

/// Whether a request is for a few shares, as spot checks are.
pub fn is_spot_check(request: &Request) -> bool {
    matches!(request, Request::Shares { ids } if ids.len() <= 8)
}

/// A chain that a peer has.
pub struct Chain {
    pub list: Vec<ShareId>,
    by_id: HashMap<ShareId, Arc<Share>>,
    start: u32,
}

impl Chain {
    pub fn new(start: u32, count: u32) -> Self {
        let all = shares(start, count);
        let list = ids(&all);
        Self { by_id: list.iter().copied().zip(all).collect(), list, start }
    }

    pub fn tip(&self) -> ShareId {
        *self.list.last().unwrap()
    }

    /// An honest peer's response.
    pub fn response(&self, request: &Request) -> Response {
        match request {
            Request::Status => status(self.tip(), 1_000_000),
            Request::Inventory { locator } => {
                let from = locator.iter().find_map(|id| self.list.iter().position(|other| other == id));
                let (after, from) = from.map_or((ShareId::ZERO, 0), |at| (self.list[at], at + 1));
                Response::Inventory {
                    after,
                    start_height: ShareHeight(self.start + from as u32),
                    ids: List::first_of(self.list[from..].iter().copied()),
                    more: self.list.len() - from > PAGE,
                }
            }
            Request::Shares { ids } => {
                Response::Shares(List::first_of(ids.iter().filter_map(|id| self.by_id.get(id).cloned())))
            }
            other => panic!("{other:?}"),
        }
    }

    /// The same, but only the first share of a batch, as late as is not penalised.
    pub fn drip(&self, request: &Request) -> Delayed {
        Some(match request {
            Request::Shares { ids } if !is_spot_check(request) => {
                (25, Response::Shares(List::first_of(self.by_id.get(&ids[0]).cloned())))
            }
            other => (0, self.response(other)),
        })
    }

    /// An honest peer's response, but with ids of shares that do not exist behind its list. It is busy when these are requested.
    pub fn response_with_junk(&self, junk: &[ShareId], request: &Request) -> Response {
        match (request, self.response(request)) {
            (Request::Status, _) => status(*junk.last().unwrap(), 1_000_001),
            (Request::Inventory { locator }, _) if locator.iter().any(|id| self.list.contains(id)) => {
                let after = locator.iter().find(|id| self.list.contains(id)).unwrap();
                let behind: Vec<ShareId> = self.list.iter().skip_while(|id| *id != after).skip(1).copied().collect();
                inventory(*after, &[&behind, junk].concat())
            }
            (_, Response::Inventory { after, start_height, ids, more: false }) => {
                let ids = List::first_of(ids.iter().chain(junk).copied());
                Response::Inventory { after, start_height, ids, more: false }
            }
            (Request::Shares { ids }, Response::Shares(shares)) if !ids.is_empty() && shares.is_empty() => {
                Response::Busy
            }
            (_, response) => response,
        }
    }
}

pub struct Scenario {
    pub sync: Planner,
    pub view: FakeChain,
    pub now: SteadyTime,
    /// Shares delivered, with their senders.
    pub delivered: Vec<(u64, ShareId)>,
    pub finished: Vec<CandidateId>,
    pub dropped: usize,
    pub misbehaviours: Vec<(u64, Misbehaviour)>,
    /// All requests, with the peers they were sent to.
    pub requests: Vec<(u64, Request)>,
    /// The judgement on complete candidate chains; `None` if they are never judged.
    pub outcome: Option<CandidateOutcome>,
    /// Seconds for which miners had jobs.
    pub mining_s: u32,
    connected: BTreeSet<u64>,
    in_flight: Vec<(SteadyTime, u64, RequestId, Response)>,
    unanswered: Vec<(u64, RequestId, Request)>,
}

impl Scenario {
    pub fn new(view: FakeChain) -> Self {
        Self {
            sync: planner(),
            view,
            now: START,
            delivered: Vec::new(),
            finished: Vec::new(),
            dropped: 0,
            misbehaviours: Vec::new(),
            requests: Vec::new(),
            outcome: None,
            mining_s: 0,
            connected: BTreeSet::new(),
            in_flight: Vec::new(),
            unanswered: Vec::new(),
        }
    }

    pub fn connect(&mut self, peer: u64) {
        self.connected.insert(peer);
        let actions = self.sync.peer_connected(PeerHandle(peer), self.now, &self.view);
        self.take(actions);
    }

    pub fn disconnect(&mut self, peer: u64) {
        self.connected.remove(&peer);
        let actions = self.sync.peer_disconnected(PeerHandle(peer), self.now, &self.view);
        self.take(actions);
    }

    /// Time passes. `respond` responds to requests, in the next second at the earliest.
    pub fn run(&mut self, seconds: u32, mut respond: impl FnMut(u64, &Request) -> Delayed) {
        for _ in 0..seconds {
            self.second(&mut respond);
        }
    }

    /// Time passes until a condition holds; returns how many seconds.
    pub fn run_until(
        &mut self,
        seconds_max: u32,
        done: impl Fn(&Self) -> bool,
        mut respond: impl FnMut(u64, &Request) -> Delayed,
    ) -> u32 {
        for second in 0..seconds_max {
            if done(self) {
                return second;
            }
            self.second(&mut respond);
        }
        panic!(
            "not done after {seconds_max} s: {} delivered, {} finished, {} dropped, misbehaviours {:?}",
            self.delivered.len(),
            self.finished.len(),
            self.dropped,
            self.misbehaviours
        );
    }

    fn second(&mut self, respond: &mut impl FnMut(u64, &Request) -> Delayed) {
        for (peer, id, request) in std::mem::take(&mut self.unanswered) {
            if let Some((delay_s, response)) = respond(peer, &request) {
                self.in_flight.push((self.now.plus(1 + delay_s), peer, id, response));
            }
            self.requests.push((peer, request));
        }
        self.now = self.now.plus(1);
        let connected = self.connected.clone();
        let (due, later) = std::mem::take(&mut self.in_flight).into_iter().partition(|(due, ..)| *due <= self.now);
        self.in_flight = later;
        let due: Vec<(SteadyTime, u64, RequestId, Response)> = due;
        for (_, peer, id, response) in due.into_iter().filter(|(_, peer, ..)| connected.contains(peer)) {
            let actions = self.sync.response(PeerHandle(peer), id, response, self.now, &self.view);
            self.take(actions);
        }
        let actions = self.sync.tick(self.now, &self.view);
        self.take(actions);
        let has_chain = self.view.tip().is_some();
        self.mining_s += u32::from(self.sync.state().may_mine() && (has_chain || self.sync.may_start_chain()));
    }

    fn take(&mut self, actions: Vec<SyncAction>) {
        self.unanswered.extend(requests(&actions));
        self.misbehaviours.extend(misbehaviours(&actions));
        for action in actions {
            match action {
                SyncAction::Deliver { shares, peer, .. } => {
                    self.delivered.extend(shares.iter().map(|share| (peer.0, share.id())));
                }
                SyncAction::Drop(_) => self.dropped += 1,
                SyncAction::Finish(candidate) => {
                    self.finished.push(candidate);
                    if let Some(outcome) = self.outcome.clone() {
                        self.sync.candidate_judged(candidate, &outcome, self.now);
                        let actions = self.sync.advance(self.now, &self.view);
                        self.take(actions);
                    }
                }
                _ => {}
            }
        }
    }

    /// The ids of the shares delivered, in order.
    pub fn ids(&self) -> Vec<ShareId> {
        self.delivered.iter().map(|(_, id)| *id).collect()
    }

    /// Number of requests for lists sent to a peer.
    pub fn lists_requested_from(&self, peer: u64) -> usize {
        let is_list = |(of, request): &&(u64, Request)| *of == peer && matches!(request, Request::Inventory { .. });
        self.requests.iter().filter(is_list).count()
    }

    pub fn is_synced(&self) -> bool {
        self.sync.state() == SyncState::Synced
    }
}
