//! A planner and peers that answer as a test says, second by second.

use crate::peer::{PeerHandle, RequestId};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::kit::{asks, ids, inventory, offences, planner, shares, status, Held, START};
use crate::share::{Share, ShareId};
use crate::sharechain::{CandidateId, CandidateOutcome};
use crate::sync::{ChainView, Sync, SyncAction, SyncState};
use crate::units::{ShareHeight, SteadyTime};
use crate::wire::{List, Offence, Request, Response};

/// Seconds until an answer is there, and the answer; none: it never comes.
pub type BatchOutcome = Option<(u32, Response)>;

/// Ids on one page of a list.
const PAGE: usize = 8_192;

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

    /// Purpose an honest peer responses.
    pub fn answer(&self, request: &Request) -> Response {
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

    /// The same, but of all shares asked for only the first, as late as the time for responses allows.
    pub fn drip(&self, request: &Request) -> BatchOutcome {
        Some(match request {
            Request::Shares { ids } => (25, Response::Shares(List::first_of(self.by_id.get(&ids[0]).cloned()))),
            other => (0, self.answer(other)),
        })
    }

    /// As an honest peer, but with these ids behind its list, of shares that do not exist; what is asked for of them is
    /// refused.
    pub fn answer_with_junk(&self, junk: &[ShareId], request: &Request) -> Response {
        match (request, self.answer(request)) {
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

pub struct Play {
    pub sync: Sync,
    pub view: Held,
    pub now: SteadyTime,
    /// Purpose was handed over, by whom.
    pub delivered: Vec<(u64, ShareId)>,
    pub finished: Vec<CandidateId>,
    pub dropped: usize,
    pub offences: Vec<(u64, Offence)>,
    /// Who was asked for what.
    pub asked: Vec<(u64, Request)>,
    /// Purpose becomes of chains that are whole.
    pub outcome: Option<CandidateOutcome>,
    /// Seconds that miners had jobs.
    pub mining_s: u32,
    here: BTreeSet<u64>,
    under_way: Vec<(SteadyTime, u64, RequestId, Response)>,
    new: Vec<(u64, RequestId, Request)>,
}

impl Play {
    pub fn new(view: Held) -> Self {
        Self {
            sync: planner(),
            view,
            now: START,
            delivered: Vec::new(),
            finished: Vec::new(),
            dropped: 0,
            offences: Vec::new(),
            asked: Vec::new(),
            outcome: None,
            mining_s: 0,
            here: BTreeSet::new(),
            under_way: Vec::new(),
            new: Vec::new(),
        }
    }

    pub fn connect(&mut self, peer: u64) {
        self.here.insert(peer);
        let actions = self.sync.peer_connected(PeerHandle(peer), self.now, &self.view);
        self.take(actions);
    }

    pub fn disconnect(&mut self, peer: u64) {
        self.here.remove(&peer);
        let actions = self.sync.peer_disconnected(PeerHandle(peer), self.now, &self.view);
        self.take(actions);
    }

    /// Seconds pass; what is asked is answered by `answer`, at the earliest in the next second.
    pub fn run(&mut self, seconds: u32, mut answer: impl FnMut(u64, &Request) -> BatchOutcome) {
        for _ in 0..seconds {
            self.second(&mut answer);
        }
    }

    /// Seconds pass until something holds; says how many.
    pub fn run_until(
        &mut self,
        seconds_max: u32,
        done: impl Fn(&Self) -> bool,
        mut answer: impl FnMut(u64, &Request) -> BatchOutcome,
    ) -> u32 {
        for second in 0..seconds_max {
            if done(self) {
                return second;
            }
            self.second(&mut answer);
        }
        panic!(
            "not done after {seconds_max} s: {} delivered, {} finished, {} dropped, offences {:?}",
            self.delivered.len(),
            self.finished.len(),
            self.dropped,
            self.offences
        );
    }

    fn second(&mut self, answer: &mut impl FnMut(u64, &Request) -> BatchOutcome) {
        for (peer, id, request) in std::mem::take(&mut self.new) {
            if let Some((delay_s, response)) = answer(peer, &request) {
                self.under_way.push((self.now.plus(1 + delay_s), peer, id, response));
            }
            self.asked.push((peer, request));
        }
        self.now = self.now.plus(1);
        let here = self.here.clone();
        let (due, later) = std::mem::take(&mut self.under_way).into_iter().partition(|(due, ..)| *due <= self.now);
        self.under_way = later;
        let due: Vec<(SteadyTime, u64, RequestId, Response)> = due;
        for (_, peer, id, response) in due.into_iter().filter(|(_, peer, ..)| here.contains(peer)) {
            let actions = self.sync.response(PeerHandle(peer), id, response, self.now, &self.view);
            self.take(actions);
        }
        let actions = self.sync.tick(self.now, &self.view);
        self.take(actions);
        let has_chain = self.view.tip().is_some();
        self.mining_s += u32::from(self.sync.state().may_mine() && (has_chain || self.sync.may_start_chain()));
    }

    fn take(&mut self, actions: Vec<SyncAction>) {
        self.new.extend(asks(&actions));
        self.offences.extend(offences(&actions));
        for action in actions {
            match action {
                SyncAction::Deliver { shares, peer, .. } => {
                    self.delivered.extend(shares.iter().map(|share| (peer.0, share.id())));
                }
                SyncAction::Drop(_) => self.dropped += 1,
                SyncAction::Finish(candidate) => {
                    self.finished.push(candidate);
                    if let Some(outcome) = self.outcome.clone() {
                        let actions = self.sync.candidate_judged(candidate, &outcome, self.now, &self.view);
                        self.take(actions);
                    }
                }
                _ => {}
            }
        }
    }

    /// The ids of what was handed over, in order.
    pub fn ids(&self) -> Vec<ShareId> {
        self.delivered.iter().map(|(_, id)| *id).collect()
    }

    /// How often a peer was asked for its list.
    pub fn lists_asked_of(&self, peer: u64) -> usize {
        let is_list = |(of, request): &&(u64, Request)| *of == peer && matches!(request, Request::Inventory { .. });
        self.asked.iter().filter(is_list).count()
    }

    pub fn is_synced(&self) -> bool {
        self.sync.state() == SyncState::Synced
    }
}
