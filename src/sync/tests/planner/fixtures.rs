//! Chains without proof of work, and steps that many tests share.

use crate::peer::{PeerHandle, RequestId};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::params::{ChainParams, Network};
use crate::share::encoding::tests::longest_share;
use crate::share::{Share, ShareId};
use crate::sharechain::Source;
use crate::sync::{ChainView, Join, Sync, SyncAction};
use crate::units::{ShareHeight, SteadyTime, UnixTime, Work};
use crate::wire::{Agent, List, Misbehaviour, PeerStatus, Request, Response};

pub const START: SteadyTime = SteadyTime::from_s(1_000);
/// The time of day at that moment.
pub const CLOCK: UnixTime = UnixTime(1_700_000_000);

/// Our chain, as a list of ids.
pub struct FakeChain {
    pub ids: Vec<ShareId>,
    /// Whether bitcoind has caught up.
    pub may_adopt: bool,
}

impl FakeChain {
    pub const fn new(ids: Vec<ShareId>) -> Self {
        Self { ids, may_adopt: true }
    }
}

impl Default for FakeChain {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl ChainView for FakeChain {
    fn holds(&self, id: &ShareId) -> bool {
        self.ids.contains(id)
    }

    fn tip(&self) -> Option<(ShareId, Work)> {
        self.ids.last().map(|tip| (*tip, Work(self.ids.len() as u128)))
    }

    fn may_adopt(&self) -> bool {
        self.may_adopt
    }

    fn locator(&self) -> Vec<ShareId> {
        crate::sync::serve::locator_of(&self.ids, |id| *id)
    }

    fn join(&self, _: &ShareId) -> Join {
        Join::Fresh
    }

    fn below_tip(&self, id: &ShareId) -> Option<u32> {
        self.ids.iter().rev().position(|own| own == id).map(|below| below as u32)
    }
}

/// Shares with different headers and without proof of work, which the planner does not check.
pub fn shares(from: u32, count: u32) -> Vec<Arc<Share>> {
    (from..from + count)
        .map(|height| {
            let mut share = longest_share();
            share.header.nonce = height;
            share.info.share_height = ShareHeight(height);
            Arc::new(share)
        })
        .collect()
}

pub fn ids(shares: &[Arc<Share>]) -> Vec<ShareId> {
    shares.iter().map(|share| share.id()).collect()
}

pub fn params() -> ChainParams {
    ChainParams::standard(Network::Regtest)
}

pub fn planner() -> Planner {
    Planner(Sync::new(&params(), START))
}

/// A planner whose driver lets it act after each input.
pub struct Planner(pub Sync);

impl Deref for Planner {
    type Target = Sync;

    fn deref(&self) -> &Sync {
        &self.0
    }
}

impl DerefMut for Planner {
    fn deref_mut(&mut self) -> &mut Sync {
        &mut self.0
    }
}

impl Planner {
    pub fn peer_connected(&mut self, peer: PeerHandle, now: SteadyTime, view: &FakeChain) -> Vec<SyncAction> {
        self.0.peer_connected(peer, now);
        self.advance(now, view)
    }

    pub fn peer_disconnected(&mut self, peer: PeerHandle, now: SteadyTime, view: &FakeChain) -> Vec<SyncAction> {
        self.0.peer_disconnected(peer);
        self.advance(now, view)
    }

    pub fn response(
        &mut self,
        peer: PeerHandle,
        id: RequestId,
        response: Response,
        now: SteadyTime,
        view: &FakeChain,
    ) -> Vec<SyncAction> {
        self.0.response(peer, id, response, now, view);
        self.advance(now, view)
    }

    pub fn request_failed(&mut self, id: RequestId, now: SteadyTime, view: &FakeChain) -> Vec<SyncAction> {
        self.0.request_failed(id, now);
        self.advance(now, view)
    }

    pub fn share_missing(&mut self, id: ShareId, source: Source, now: SteadyTime, view: &FakeChain) -> Vec<SyncAction> {
        self.0.share_missing(id, source, now, view);
        self.advance(now, view)
    }

    pub fn tick(&mut self, now: SteadyTime, view: &FakeChain) -> Vec<SyncAction> {
        self.0.tick(now);
        self.advance(now, view)
    }
}

pub fn status(tip: ShareId, work: u128) -> Response {
    Response::Status(PeerStatus {
        chain_id: params().chain_id(),
        tip,
        share_height: ShareHeight(0),
        chain_work: Work(work),
        oldest_height: ShareHeight(0),
        clock: CLOCK,
        agent: Agent::default(),
    })
}

pub fn inventory(after: ShareId, ids: &[ShareId]) -> Response {
    let ids = List::first_of(ids.iter().copied());
    Response::Inventory { after, start_height: ShareHeight(0), ids, more: false }
}

/// The requests among these actions.
pub fn requests(actions: &[SyncAction]) -> Vec<(u64, RequestId, Request)> {
    actions
        .iter()
        .filter_map(|action| match action {
            SyncAction::Request { peer, id, request } => Some((peer.0, *id, request.clone())),
            _ => None,
        })
        .collect()
}

pub fn only_request(actions: &[SyncAction]) -> (RequestId, Request) {
    match requests(actions).as_slice() {
        [(_, id, request)] => (*id, request.clone()),
        other => panic!("expected one request, got {other:?}"),
    }
}

pub fn misbehaviours(actions: &[SyncAction]) -> Vec<(u64, Misbehaviour)> {
    actions
        .iter()
        .filter_map(|action| match action {
            SyncAction::Penalize { peer, misbehaviour } => Some((peer.0, *misbehaviour)),
            _ => None,
        })
        .collect()
}

/// Connects a peer that reports this status; returns the planner's reaction.
pub fn introduce(sync: &mut Planner, peer: u64, report: Response, view: &FakeChain) -> Vec<SyncAction> {
    let (id, request) = only_request(&sync.peer_connected(PeerHandle(peer), START, view));
    assert_eq!(request, Request::Status);
    sync.response(PeerHandle(peer), id, report, START, view)
}

/// Connects a peer that gives this list; returns the planner's reaction, the first batches.
pub fn give_list(sync: &mut Planner, peer: u64, list: &[ShareId], view: &FakeChain) -> Vec<SyncAction> {
    let (id, request) = only_request(&introduce(sync, peer, status(*list.last().unwrap(), 1_000_000), view));
    assert!(matches!(request, Request::Inventory { .. }));
    let after = view.ids.last().copied().unwrap_or_default();
    sync.response(PeerHandle(peer), id, inventory(after, list), START, view)
}
