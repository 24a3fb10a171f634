//! A node without threads: sharechain and planner joined as a chain thread joins them; peers that answer from trees of
//! their own, or lie, are slow, lose messages and disappear.

use crate::peer::{PeerHandle, RequestId};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, LazyLock};

use bitcoin::BlockHash;

use crate::params::ChainParams;
use crate::share::ShareId;
use crate::sharechain::tests_support::{anchor_at, params, script, Kit, START};
use crate::sharechain::{Anchor, Effect, Need, Sharechain, Source, Tree, Verdict};
use crate::sync::{serve, Progress, Route, Sync, SyncAction, SyncState};
use crate::units::{SteadyTime, UnixTime};
use crate::wire::{Agent, Frame, List, Offence, Request, Response};

/// Pseudo-random numbers (xorshift64*): the same in every run.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end.max(1)
    }
}

/// How a peer behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Honest,
    /// Answers after so many seconds.
    Slow(u32),
    /// Of a hundred responses so many are lost.
    Lossy(u64),
    /// Never responses.
    Mute,
    /// Claims ten times its work and lists ids that do not exist.
    Boaster,
    /// Gives other shares than those asked for.
    Substitute,
    /// Changes who is paid by every share it gives; the proof of work stays.
    Forger,
    /// Says that it holds nothing of what it listed.
    Empty,
    /// Answers everything with a refusal.
    Busy,
}

/// Seconds between Bitcoin blocks: the windows of these chains are short as well.
const BLOCK_EVERY_S: u32 = 60;
/// Bitcoin blocks that are there.
const BLOCKS: u32 = 9_000;

static ANCHORS: LazyLock<HashMap<BlockHash, Anchor>> = LazyLock::new(|| {
    let all = (0..BLOCKS).map(|n| anchor_at(100 + n, START.plus(BLOCK_EVERY_S * n)));
    all.map(|anchor| (anchor.header.block_hash(), anchor)).collect()
});

/// The newest Bitcoin block at a time.
fn block_at(now: UnixTime) -> Anchor {
    let number = now.since(START) / BLOCK_EVERY_S;
    assert!(number < BLOCKS);
    anchor_at(100 + number, START.plus(BLOCK_EVERY_S * number))
}

/// Mines `len` more shares, one every `period_s`, on the Bitcoin block of the time.
pub fn mine(kit: &mut Kit, len: u32, miner: u8, period_s: u32) {
    kit.miner = script(miner);
    for _ in 0..len {
        kit.now = kit.now.plus(period_s);
        kit.anchor = block_at(kit.now);
        kit.chain.tree_mut().add_anchor(kit.anchor.clone());
        let share = kit.next();
        assert_eq!(kit.give(&share), Verdict::Accepted);
    }
}

/// A chain of its own.
pub fn chain(params: ChainParams, len: u32, miner: u8, period_s: u32) -> Kit {
    let mut kit = Kit::with(params);
    mine(&mut kit, len, miner, period_s);
    kit
}

/// Another node with the first `len` shares of the main chain.
pub fn copy(of: &Kit, len: usize) -> Kit {
    let theirs = of.chain.tree();
    let mut tree = Tree::new(Arc::clone(theirs.params()));
    theirs.anchors().for_each(|anchor| tree.add_anchor(anchor.clone()));
    for id in &theirs.main_chain()[..len] {
        let node = theirs.get(id).unwrap();
        tree.restore(Arc::clone(&node.share), node.verified);
    }
    let now = tree.tip().map_or(START.plus(60), |tip| tip.share.time());
    Kit { chain: Sharechain::new(tree), now, anchor: block_at(now), miner: script(1) }
}

/// The same chain as a node has it that pruned all that the rules let go.
pub fn pruned(mut of: Kit) -> Kit {
    of.chain.tree_mut().prune();
    of
}

/// A peer.
pub struct Remote {
    pub tree: Tree,
    pub manner: Manner,
}

impl Remote {
    /// A peer with a chain.
    pub fn new(kit: &Kit, manner: Manner) -> Self {
        Self { tree: kit.chain.tree().snapshot(), manner }
    }

    fn answer(&self, request: &Request, now: UnixTime) -> Response {
        let response = match request {
            Request::Status => {
                let mut status = serve::status(&self.tree, now, Agent::default());
                if self.manner == Manner::Boaster {
                    status.tip = ShareId([0xee; 32]);
                    status.chain_work.0 = status.chain_work.0.saturating_mul(10) + 1_000;
                }
                Response::Status(status)
            }
            Request::Inventory { .. } if self.manner == Manner::Boaster => Response::Inventory {
                after: ShareId::ZERO,
                start_height: crate::units::ShareHeight(7),
                ids: List::first_of((1..=200u8).map(|n| ShareId([n; 32]))),
                more: false,
            },
            Request::Inventory { locator } => serve::inventory(&self.tree, locator),
            Request::Shares { .. } if self.manner == Manner::Empty => Response::Unknown,
            Request::Shares { .. } if self.manner == Manner::Substitute => {
                serve::shares(&self.tree, &self.tree.main_chain()[..1])
            }
            Request::Shares { ids } => serve::shares(&self.tree, ids),
            Request::Headers { .. } | Request::BlockTransactions { .. } => Response::Unknown,
        };
        match (self.manner, response) {
            (Manner::Forger, Response::Shares(shares)) => {
                Response::Shares(List::first_of(shares.iter().map(|share| {
                    let mut forged = (**share).clone();
                    forged.info.payout_script = script(0xff);
                    Arc::new(forged)
                })))
            }
            (Manner::Busy, _) => Response::Busy,
            (_, response) => response,
        }
    }
}

/// Our node and its peers.
pub struct World {
    pub chain: Sharechain,
    pub sync: Sync,
    pub peers: BTreeMap<u64, Remote>,
    /// The time of day.
    pub now: UnixTime,
    /// For the planner's waits.
    steady: SteadyTime,
    pub offences: Vec<(u64, Offence)>,
    pub progress: Vec<Progress>,
    pub requests: usize,
    pub verdicts: Vec<(Source, Verdict)>,
    /// Bitcoin blocks that our bitcoind knows; all are when this is none.
    pub known_anchors: Option<u32>,
    pub states: Vec<SyncState<SteadyTime>>,
    rng: Rng,
    steps: usize,
    pumping: bool,
    effects: VecDeque<Effect>,
    actions: VecDeque<SyncAction>,
    under_way: VecDeque<(SteadyTime, u64, RequestId, Option<Response>)>,
}

impl World {
    /// A node with this chain.
    pub fn new(chain: Sharechain, now: UnixTime, seed: u64) -> Self {
        let sync = Sync::new(chain.tree().params(), SteadyTime::from_s(0));
        Self {
            chain,
            sync,
            peers: BTreeMap::new(),
            now,
            steady: SteadyTime::from_s(0),
            offences: Vec::new(),
            progress: Vec::new(),
            requests: 0,
            verdicts: Vec::new(),
            known_anchors: None,
            states: Vec::new(),
            rng: Rng::new(seed),
            steps: 0,
            pumping: false,
            effects: VecDeque::new(),
            actions: VecDeque::new(),
            under_way: VecDeque::new(),
        }
    }

    /// A node without a chain; it knows the kit's first Bitcoin block.
    pub fn newcomer(now: UnixTime, seed: u64) -> Self {
        let mut tree = Tree::new(Arc::new(params()));
        tree.add_anchor(block_at(START));
        Self::new(Sharechain::new(tree), now, seed)
    }

    pub fn tip(&self) -> ShareId {
        self.chain.tree().tip().map(|tip| tip.id).unwrap_or_default()
    }

    pub fn connect(&mut self, peer: u64, remote: Remote) {
        self.peers.insert(peer, remote);
        let actions = self.sync.peer_connected(PeerHandle(peer), self.steady, self.chain.tree());
        self.perform(actions);
    }

    pub fn disconnect(&mut self, peer: u64) {
        self.peers.remove(&peer);
        let actions = self.sync.peer_disconnected(PeerHandle(peer), self.steady, self.chain.tree());
        self.perform(actions);
    }

    /// Seconds pass.
    pub fn run(&mut self, seconds: u32) {
        for _ in 0..seconds {
            self.now = self.now.plus(1);
            self.steady = self.steady.plus(1);
            self.answer_due();
            let effects = self.chain.tick(self.now);
            self.take(effects);
            let actions = self.sync.tick(self.steady, self.chain.tree());
            self.perform(actions);
        }
    }

    /// Seconds pass until something holds; says how many.
    pub fn run_until(&mut self, seconds_max: u32, done: impl Fn(&Self) -> bool) -> u32 {
        for second in 0..seconds_max {
            if done(self) {
                return second;
            }
            self.run(1);
        }
        panic!("not done after {seconds_max} s: {:?}, offences {:?}", self.sync, self.offences);
    }

    fn answer_due(&mut self) {
        loop {
            let Some(at) = self.under_way.iter().position(|(due, ..)| *due <= self.steady) else { return };
            let Some((_, peer, id, response)) = self.under_way.remove(at) else { return };
            if !self.peers.contains_key(&peer) {
                continue;
            }
            let actions = match response {
                Some(response) => {
                    // Everything that travels goes through its bytes.
                    let response = Response::decode(&response.encode()).unwrap();
                    self.sync.response(PeerHandle(peer), id, response, self.steady, self.chain.tree())
                }
                None => self.sync.request_failed(id, self.steady, self.chain.tree()),
            };
            self.perform(actions);
        }
    }

    /// Does what the planner asks for, and whatever follows.
    pub fn perform(&mut self, actions: Vec<SyncAction>) {
        self.actions.extend(actions);
        self.pump();
    }

    /// Does what the sharechain asks for, and whatever follows.
    pub fn take(&mut self, effects: Vec<Effect>) {
        self.effects.extend(effects);
        self.pump();
    }

    /// One at a time, in the order of their coming.
    fn pump(&mut self) {
        if std::mem::replace(&mut self.pumping, true) {
            return;
        }
        loop {
            self.steps += 1;
            assert!(self.steps < 1_000_000, "it goes round in circles: {:?}", self.sync);
            if let Some(effect) = self.effects.pop_front() {
                self.follow_effect(effect);
            } else if let Some(action) = self.actions.pop_front() {
                self.follow_action(action);
            } else {
                break;
            }
        }
        self.pumping = false;
    }

    fn follow_action(&mut self, action: SyncAction) {
        match action {
            SyncAction::Request { peer, id, request } => self.send(peer.0, id, &request),
            SyncAction::Open { candidate, joined } => {
                let effects = self.chain.open_candidate(candidate, joined, self.now);
                self.take(effects);
            }
            SyncAction::Deliver { route, peer, shares } => {
                for share in shares {
                    let source = Source::Fetch(peer);
                    let effects = match route {
                        Route::Tree => self.chain.receive(share, source, self.now),
                        Route::Candidate(id) => self.chain.receive_candidate(id, share, source, self.now),
                    };
                    self.take(effects);
                }
            }
            SyncAction::Finish(candidate) => {
                let effects = self.chain.finish_candidate(candidate, self.now);
                self.take(effects);
            }
            SyncAction::Drop(candidate) => self.chain.drop_candidate(candidate),
            SyncAction::Penalize { peer, offence } => self.offences.push((peer.0, offence)),
            SyncAction::Progress(progress) => self.progress.push(progress),
            SyncAction::State(state) => self.states.push(state),
        }
    }

    fn follow_effect(&mut self, effect: Effect) {
        match effect {
            Effect::Verdict { id, source, verdict, .. } => {
                if matches!(verdict, Verdict::Rejected { .. }) {
                    let actions = self.sync.share_rejected(&id, source, self.steady, self.chain.tree());
                    self.perform(actions);
                }
                self.verdicts.push((source, verdict));
            }
            Effect::Ask { need: Need::Share(id), source } => {
                let actions = self.sync.share_missing(id, source, self.steady, self.chain.tree());
                self.perform(actions);
            }
            Effect::Ask { need: Need::Anchor(hash), .. } => {
                let is_known = |anchor: &&Anchor| self.known_anchors.is_none_or(|known| anchor.height.0 < 100 + known);
                if let Some(anchor) = ANCHORS.get(&hash).filter(is_known) {
                    let effects = self.chain.anchor_known(anchor.clone(), self.now);
                    self.take(effects);
                }
            }
            Effect::Replaced { .. } => {}
            Effect::Linked(id) => self.sync.share_linked(&id),
            Effect::CandidateJudged { id, outcome } => {
                let actions = self.sync.candidate_judged(id, &outcome, self.steady, self.chain.tree());
                self.perform(actions);
            }
            Effect::Unlinked(_) | Effect::NewTip(_) => {}
        }
    }

    fn send(&mut self, peer: u64, id: RequestId, request: &Request) {
        self.requests += 1;
        let request = Request::decode(&request.encode()).unwrap();
        let Some(remote) = self.peers.get(&peer) else { return };
        let response = Some(remote.answer(&request, self.now));
        let (delay, response) = match remote.manner {
            Manner::Mute => return,
            Manner::Slow(seconds) => (seconds, response),
            Manner::Lossy(percent) if self.rng.below(100) < percent => match self.rng.below(2) {
                0 => return,
                _ => (1, None),
            },
            _ => (0, response),
        };
        self.under_way.push_back((self.steady.plus(delay), peer, id, response));
    }

    /// Answers whatever is due at once, without time passing.
    pub fn settle(&mut self) {
        self.answer_due();
    }
}
