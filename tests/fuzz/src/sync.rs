//! The sync planner, whatever peers respond and whenever they come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use p2pool_core::params::{ChainParams, Network};
use p2pool_core::peer::{PeerHandle, RequestId};
use p2pool_core::share::{Share, ShareId};
use p2pool_core::sharechain::{CandidateId, CandidateOutcome, Rule, Source, CANDIDATES_MAX};
use p2pool_core::sync::{ChainView, Join, Sync, SyncAction};
use p2pool_core::units::{ShareHeight, SteadyTime, UnixTime, Work};
use p2pool_core::wire::{Agent, Frame as _, List, PeerStatus, Request, Response};

/// Peers that come and go.
const PEERS: u64 = 6;
/// Requests in flight per peer: its status (on time, and early), a list, pages, batches, missing shares.
const IN_FLIGHT_MAX: usize = 2 + 1 + CANDIDATES_MAX + 2 + 4;

/// The shares of all chains.
static SHARES: LazyLock<Vec<Arc<Share>>> = LazyLock::new(|| {
    let model = crate::wire::shares().remove(0);
    let with = |height: u32| {
        let mut share = (*model).clone();
        share.header.nonce = height;
        share.info.share_height = ShareHeight(height);
        Arc::new(share)
    };
    (0..620).map(with).collect()
});
static IDS: LazyLock<Vec<ShareId>> = LazyLock::new(|| SHARES.iter().map(|share| share.id()).collect());

/// Our chain: the first shares of all.
struct OurChain(usize);

impl ChainView for OurChain {
    fn holds(&self, id: &ShareId) -> bool {
        IDS[..self.0].contains(id)
    }

    fn tip(&self) -> Option<(ShareId, Work)> {
        Some((*IDS[..self.0].last()?, Work(self.0 as u128)))
    }

    fn may_adopt(&self) -> bool {
        true
    }

    fn locator(&self) -> Vec<ShareId> {
        p2pool_core::sync::serve::locator_of(&IDS[..self.0], |id| *id)
    }

    fn join(&self, _: &ShareId) -> Join {
        Join::Fresh
    }

    fn below_tip(&self, id: &ShareId) -> Option<u32> {
        IDS[..self.0].iter().rev().position(|chain| chain == id).map(|below| below as u32)
    }
}

/// One run: the requests in flight, and what happened.
struct Run {
    sync: Sync,
    chain: OurChain,
    now: SteadyTime,
    in_flight: BTreeMap<RequestId, (PeerHandle, Request, SteadyTime)>,
    connected: BTreeSet<PeerHandle>,
    open: BTreeSet<CandidateId>,
    met: BTreeSet<&'static str>,
}

/// Runs the events that these bytes encode: two bytes each, a response made of arbitrary bytes more. Returns what happened.
pub fn check(data: &[u8]) -> BTreeSet<&'static str> {
    let now = SteadyTime::from_s(1_700_000_000);
    let sync = Sync::new(&ChainParams::standard(Network::Regtest), now);
    let mut run = Run {
        sync,
        chain: OurChain(0),
        now,
        in_flight: BTreeMap::new(),
        connected: BTreeSet::new(),
        open: BTreeSet::new(),
        met: BTreeSet::new(),
    };
    let mut rest = data;
    while let [what, detail, after @ ..] = rest {
        rest = run.event(*what, *detail, after);
    }
    run.met
}

impl Run {
    fn event<'a>(&mut self, what: u8, detail: u8, rest: &'a [u8]) -> &'a [u8] {
        let peer = PeerHandle(u64::from(detail) % PEERS);
        let mut used = 0;
        match what % 12 {
            0 => {
                if self.connected.insert(peer) {
                    self.sync.peer_connected(peer, self.now);
                }
            }
            1 => {
                self.connected.remove(&peer);
                self.in_flight.retain(|_, (of, ..)| *of != peer);
                self.sync.peer_disconnected(peer);
            }
            2 => {
                self.now = self.now.plus(u32::from(detail));
                // No request stays in flight for longer.
                self.in_flight.retain(|_, (.., since)| self.now.since(*since) < 30);
                self.met.extend(self.sync.clock_report(self.now, UnixTime(self.now.as_s())).map(|_| "clock"));
                self.sync.tick(self.now);
            }
            3 => self.fail(detail),
            4 => {
                // A share of ours is linked.
                self.chain.0 = (self.chain.0 + usize::from(detail)).min(IDS.len());
                self.sync.share_linked(&IDS[self.chain.0.saturating_sub(1)]);
            }
            5 => self.sync.share_missing(IDS[2 * usize::from(detail)], Source::Fetch(peer), self.now, &self.chain),
            6 => self.sync.share_rejected(&IDS[usize::from(detail)], Source::Fetch(peer), self.now),
            7 => self.on_outcome(detail),
            8 => {
                // A response made of the bytes that follow.
                let len = rest.first().map_or(0, |len| usize::from(*len)).min(rest.len().saturating_sub(1));
                let bytes = rest.get(1..=len).unwrap_or(&[]);
                used = (len + 1).min(rest.len());
                if let Ok(response) = Response::decode(bytes) {
                    self.respond(detail, |_| response);
                }
            }
            9 => self.respond(detail, |_| Response::Busy),
            _ => self.respond(detail, |request| honest(request, detail)),
        }
        let actions = self.sync.advance(self.now, &self.chain);
        self.perform(actions);
        &rest[used..]
    }

    fn fail(&mut self, detail: u8) {
        let Some(id) = self.pick(detail) else { return };
        self.in_flight.remove(&id);
        self.sync.request_failed(id, self.now);
    }

    fn on_outcome(&mut self, detail: u8) {
        let Some(candidate) = self.open.pop_first() else { return };
        let outcome = match detail % 4 {
            0 => CandidateOutcome::Adopted,
            1 => CandidateOutcome::NotBetter,
            2 => CandidateOutcome::GivenUp,
            _ => CandidateOutcome::Invalid {
                rule: Rule::Payouts,
                why: "",
                source: Source::Fetch(PeerHandle(u64::from(detail) % PEERS)),
                height: ShareHeight(detail.into()),
                on_base: detail > 99,
            },
        };
        if outcome == CandidateOutcome::Adopted {
            self.chain.0 = IDS.len();
        }
        self.sync.candidate_judged(candidate, &outcome, self.now);
    }

    fn pick(&self, detail: u8) -> Option<RequestId> {
        self.in_flight.keys().nth(usize::from(detail) % self.in_flight.len().max(1)).copied()
    }

    fn respond(&mut self, detail: u8, with: impl FnOnce(&Request) -> Response) {
        let Some(id) = self.pick(detail) else { return };
        let Some((peer, request, _)) = self.in_flight.remove(&id) else { return };
        self.sync.response(peer, id, with(&request), self.now, &self.chain);
    }

    fn perform(&mut self, actions: Vec<SyncAction>) {
        for action in actions {
            self.met.insert(match action {
                SyncAction::Request { peer, id, request } => {
                    assert!(self.connected.contains(&peer), "requests go to connected peers");
                    assert_eq!(Request::decode(&request.encode()).as_ref(), Ok(&request));
                    assert!(
                        self.in_flight.insert(id, (peer, request, self.now)).is_none(),
                        "each request has its own id"
                    );
                    "requested"
                }
                SyncAction::Open { candidate, .. } => {
                    self.open.insert(candidate);
                    "opened"
                }
                SyncAction::Deliver { shares, .. } => {
                    assert!(!shares.is_empty());
                    "delivered"
                }
                SyncAction::Finish(candidate) => {
                    assert!(self.open.contains(&candidate));
                    "finished"
                }
                SyncAction::Drop(candidate) => {
                    self.open.remove(&candidate);
                    "dropped"
                }
                SyncAction::Penalize { .. } => "penalized",
                SyncAction::Progress(progress) => {
                    assert!(progress.done <= progress.total);
                    "progress"
                }
                SyncAction::State(_) => "state",
            });
        }
        assert!(self.open.len() <= CANDIDATES_MAX, "{} candidate chains", self.open.len());
        for peer in (0..PEERS).map(PeerHandle) {
            let in_flight = self.in_flight.values().filter(|(of, ..)| *of == peer).count();
            assert!(in_flight <= IN_FLIGHT_MAX, "{in_flight} requests to one peer in flight");
        }
    }
}

/// The response of a peer with all shares; `detail` varies its chain.
fn honest(request: &Request, detail: u8) -> Response {
    let len = 100 + 2 * usize::from(detail);
    match request {
        Request::Status => Response::Status(PeerStatus {
            chain_id: ChainParams::standard(if detail == 0 { Network::Signet } else { Network::Regtest }).chain_id(),
            tip: IDS[len - 1],
            share_height: ShareHeight(0),
            chain_work: Work(len as u128),
            oldest_height: ShareHeight(0),
            clock: UnixTime(1_700_000_000 + u32::from(detail)),
            agent: Agent::default(),
        }),
        Request::Inventory { locator } => {
            let common = locator.iter().find_map(|id| IDS[..len].iter().position(|other| other == id));
            let start = common.map_or(0, |at| at + 1);
            Response::Inventory {
                after: common.map(|at| IDS[at]).unwrap_or_default(),
                start_height: ShareHeight(start as u32),
                ids: List::first_of(IDS[start..len].iter().copied()),
                more: detail % 8 == 1,
            }
        }
        Request::Shares { ids } => {
            let of = |id: &ShareId| IDS.iter().position(|other| other == id).map(|at| Arc::clone(&SHARES[at]));
            Response::Shares(List::first_of(ids.iter().filter_map(of)))
        }
        Request::Headers { .. } | Request::BlockTransactions { .. } | Request::Envelopes { .. } => Response::Unknown,
    }
}

/// Peers that connect, respond and leave.
pub fn seeds() -> Vec<Vec<u8>> {
    let responses = |count: usize, detail: u8| [10, detail].repeat(count);
    let ours = vec![4, 50];
    let busy = |bytes: &[u8]| [&[8, 0, bytes.len() as u8][..], bytes].concat();
    vec![
        [vec![0, 1], responses(12, 20), vec![2, 1, 7, 0, 2, 60], responses(4, 90)].concat(),
        [ours.clone(), vec![0, 1, 0, 2, 0, 3], responses(20, 100), vec![2, 5], responses(9, 101)].concat(),
        [vec![0, 1, 0, 2], responses(3, 40), vec![1, 1, 2, 10], responses(9, 40), vec![7, 3]].concat(),
        [ours, vec![0, 1], responses(2, 1), vec![5, 200, 5, 201, 5, 202, 5, 203], responses(5, 90), vec![6, 60]]
            .concat(),
        [vec![0, 1, 2, 31, 9, 0, 2, 31], responses(2, 0), vec![3, 0, 2, 61], responses(1, 3)].concat(),
        [vec![0, 1], busy(&Response::Unknown.encode()), busy(&Response::Shares(List::default()).encode())].concat(),
        [vec![2, 61, 0, 1], responses(2, 200), busy(&Response::Unknown.encode()), vec![2, 255]].concat(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutate::{mutate, Rng};

    #[test]
    fn mutated_runs_reach_every_action_without_failure() {
        let (seeds, mut rng) = (seeds(), Rng::new(1));
        let mut met = BTreeSet::new();
        for seed in &seeds {
            met.extend(check(seed));
        }
        for _ in 0..10_000 {
            met.extend(check(&mutate(&seeds, &[], &mut rng)));
        }
        for expected in
            ["requested", "opened", "delivered", "finished", "dropped", "penalized", "progress", "state", "clock"]
        {
            assert!(met.contains(expected), "{expected} not met, only {met:?}");
        }
    }
}
