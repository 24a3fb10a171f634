//! The planner that keeps a node level with others, whatever they answer, whenever they come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use p2pool_core::params::{ChainParams, Network};
use p2pool_core::peer::{PeerHandle, RequestId};
use p2pool_core::share::{Share, ShareId};
use p2pool_core::sharechain::{CandidateId, CandidateOutcome, Rule, Source, CANDIDATES_MAX};
use p2pool_core::sync::{ChainView, Sync, SyncAction};
use p2pool_core::units::{ShareHeight, SteadyTime, UnixTime, Work};
use p2pool_core::wire::{Agent, Frame as _, List, PeerStatus, Request, Response};

/// Peers that come and go.
const PEERS: u64 = 6;
/// Questions one peer may be asked at once: its status (on time, and in a hurry), a list and pages, batches, single shares.
const ASKED_MAX: usize = 2 + 1 + CANDIDATES_MAX + 2 + 4;

/// Shares to speak of.
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

/// The first shares of all are ours.
struct Held(usize);

impl ChainView for Held {
    fn holds(&self, id: &ShareId) -> bool {
        IDS[..self.0].contains(id)
    }

    fn tip(&self) -> Option<(ShareId, Work)> {
        Some((*IDS[..self.0].last()?, Work(self.0 as u128)))
    }

    fn locator(&self) -> Vec<ShareId> {
        p2pool_core::sync::serve::locator_of(&IDS[..self.0])
    }

    fn below_tip(&self, id: &ShareId) -> Option<u32> {
        IDS[..self.0].iter().rev().position(|held| held == id).map(|below| below as u32)
    }
}

/// One run: what was asked and not answered, and what happened.
struct Run {
    sync: Sync,
    held: Held,
    now: SteadyTime,
    asked: BTreeMap<RequestId, (PeerHandle, Request, SteadyTime)>,
    connected: BTreeSet<PeerHandle>,
    open: BTreeSet<CandidateId>,
    met: BTreeSet<&'static str>,
}

/// Plays a story: each event takes two bytes, an answer of its own making more. Says what happened in it.
pub fn check(data: &[u8]) -> BTreeSet<&'static str> {
    let now = SteadyTime::from_s(1_700_000_000);
    let sync = Sync::new(&ChainParams::standard(Network::Regtest), now);
    let mut run = Run {
        sync,
        held: Held(0),
        now,
        asked: BTreeMap::new(),
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
        let actions = match what % 12 {
            0 => {
                let is_new = self.connected.insert(peer);
                if is_new {
                    self.sync.peer_connected(peer, self.now, &self.held)
                } else {
                    Vec::new()
                }
            }
            1 => {
                self.connected.remove(&peer);
                self.asked.retain(|_, (of, ..)| *of != peer);
                self.sync.peer_disconnected(peer, self.now, &self.held)
            }
            2 => {
                self.now = self.now.plus(u32::from(detail));
                // Nobody waits longer for an answer.
                self.asked.retain(|_, (.., since)| self.now.since(*since) < 30);
                self.met.extend(self.sync.clock_report(self.now, UnixTime(self.now.as_s())).map(|_| "clock"));
                self.sync.tick(self.now, &self.held)
            }
            3 => self.fail(detail),
            4 => {
                // A share of ours is linked.
                self.held.0 = (self.held.0 + usize::from(detail)).min(IDS.len());
                self.sync.share_linked(&IDS[self.held.0.saturating_sub(1)]);
                Vec::new()
            }
            5 => self.sync.share_missing(IDS[2 * usize::from(detail)], Source::Fetch(peer), self.now, &self.held),
            6 => self.sync.share_rejected(&IDS[usize::from(detail)], Source::Fetch(peer), self.now, &self.held),
            7 => self.judge(detail),
            8 => {
                // An answer made of the bytes that follow.
                let len = rest.first().map_or(0, |len| usize::from(*len)).min(rest.len().saturating_sub(1));
                let bytes = rest.get(1..=len).unwrap_or(&[]);
                used = (len + 1).min(rest.len());
                Response::decode(bytes).map_or(Vec::new(), |response| self.answer(detail, |_| response))
            }
            9 => self.answer(detail, |_| Response::Busy),
            _ => self.answer(detail, |request| honest(request, detail)),
        };
        self.perform(actions);
        &rest[used..]
    }

    fn fail(&mut self, detail: u8) -> Vec<SyncAction> {
        let Some(id) = self.pick(detail) else { return Vec::new() };
        self.asked.remove(&id);
        self.sync.request_failed(id, self.now, &self.held)
    }

    fn judge(&mut self, detail: u8) -> Vec<SyncAction> {
        let Some(candidate) = self.open.pop_first() else { return Vec::new() };
        let outcome = match detail % 4 {
            0 => CandidateOutcome::Adopted,
            1 => CandidateOutcome::NotBetter,
            2 => CandidateOutcome::GivenUp,
            _ => CandidateOutcome::False {
                rule: Rule::Payouts,
                why: "",
                source: Source::Fetch(PeerHandle(u64::from(detail) % PEERS)),
                on_base: detail > 99,
            },
        };
        if outcome == CandidateOutcome::Adopted {
            self.held.0 = IDS.len();
        }
        self.sync.candidate_judged(candidate, &outcome, self.now, &self.held)
    }

    fn pick(&self, detail: u8) -> Option<RequestId> {
        self.asked.keys().nth(usize::from(detail) % self.asked.len().max(1)).copied()
    }

    fn answer(&mut self, detail: u8, with: impl FnOnce(&Request) -> Response) -> Vec<SyncAction> {
        let Some(id) = self.pick(detail) else { return Vec::new() };
        let Some((peer, request, _)) = self.asked.remove(&id) else { return Vec::new() };
        self.sync.response(peer, id, with(&request), self.now, &self.held)
    }

    fn perform(&mut self, actions: Vec<SyncAction>) {
        for action in actions {
            self.met.insert(match action {
                SyncAction::Request { peer, id, request } => {
                    assert!(self.connected.contains(&peer), "only who is there is asked");
                    assert_eq!(Request::decode(&request.encode()).as_ref(), Ok(&request));
                    assert!(self.asked.insert(id, (peer, request, self.now)).is_none(), "each question has its number");
                    "asked"
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
        assert!(self.open.len() <= CANDIDATES_MAX, "{} chains kept candidate", self.open.len());
        for peer in (0..PEERS).map(PeerHandle) {
            let asked = self.asked.values().filter(|(of, ..)| *of == peer).count();
            assert!(asked <= ASKED_MAX, "{asked} questions to one peer at once");
        }
    }
}

/// What a peer with all shares answers; `detail` varies its chain.
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
        Request::Headers { .. } | Request::BlockTransactions { .. } => Response::Unknown,
    }
}

/// Peers that come, answer and leave.
pub fn seeds() -> Vec<Vec<u8>> {
    let answers = |count: usize, detail: u8| [10, detail].repeat(count);
    let ours = vec![4, 50];
    let busy = |bytes: &[u8]| [&[8, 0, bytes.len() as u8][..], bytes].concat();
    vec![
        [vec![0, 1], answers(12, 20), vec![2, 1, 7, 0, 2, 60], answers(4, 90)].concat(),
        [ours.clone(), vec![0, 1, 0, 2, 0, 3], answers(20, 100), vec![2, 5], answers(9, 101)].concat(),
        [vec![0, 1, 0, 2], answers(3, 40), vec![1, 1, 2, 10], answers(9, 40), vec![7, 3]].concat(),
        [ours, vec![0, 1], answers(2, 1), vec![5, 200, 5, 201, 5, 202, 5, 203], answers(5, 90), vec![6, 60]].concat(),
        [vec![0, 1, 2, 31, 9, 0, 2, 31], answers(2, 0), vec![3, 0, 2, 61], answers(1, 3)].concat(),
        [vec![0, 1], busy(&Response::Unknown.encode()), busy(&Response::Shares(List::default()).encode())].concat(),
        [vec![2, 61, 0, 1], answers(2, 200), busy(&Response::Unknown.encode()), vec![2, 255]].concat(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutate::{mutate, Rng};

    #[test]
    fn mutated_stories_meet_every_action_and_break_nothing() {
        let (seeds, mut rng) = (seeds(), Rng::new(1));
        let mut met = BTreeSet::new();
        for seed in &seeds {
            met.extend(check(seed));
        }
        for _ in 0..10_000 {
            met.extend(check(&mutate(&seeds, &[], &mut rng)));
        }
        for expected in
            ["asked", "opened", "delivered", "finished", "dropped", "penalized", "progress", "state", "clock"]
        {
            assert!(met.contains(expected), "{expected} not met, only {met:?}");
        }
    }
}
