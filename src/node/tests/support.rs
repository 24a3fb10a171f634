//! Whole nodes joined by a carrier in memory, and peers that a test scripts, in a time that the test sets.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use bitcoin::BlockHash;

use crate::node::*;
use crate::params::ChainParams;
use crate::peer::{InboundId, RequestFailed};
use crate::share::ShareId;
use crate::sharechain::tests_support::best_chain;
use crate::sharechain::Anchor;
pub use crate::test_support::{anchor, params, solve, template};
use crate::units::UnixTime;
use crate::wire::{Frame as _, Request, Response};
use crate::work::{Job, Template};

pub const START: UnixTime = UnixTime(1_700_000_000);

/// A peer that a test scripts.
pub trait ScriptedPeer {
    /// Returns the seconds until its response arrives, and the response; `None` if none ever does.
    fn respond(&mut self, request: &Request, now: UnixTime) -> Option<(u32, Result<Response, RequestFailed>)>;
}

/// A node, and what its driver has seen of it.
pub struct DrivenNode {
    pub node: Node,
    /// Work given to miners.
    pub work: VecDeque<WorkUpdate>,
    /// Headers looked up at bitcoind.
    pub lookups: Vec<BlockHash>,
    /// Peers' blocks given to bitcoind.
    pub blocks: Vec<PeerBlock>,
    pub verdicts: Vec<GossipVerdict>,
    pub misbehaviours: Vec<(PeerHandle, Misbehaviour)>,
    /// Requests for headers that reached the network.
    pub header_requests: Vec<PeerHandle>,
    pub reports: Vec<Report>,
    /// Shares in the store.
    pub stored: HashMap<ShareId, StoredShare>,
    pub anchors: Vec<Anchor>,
    /// The store refuses changes.
    pub is_disk_full: bool,
    /// The network's inbox is full.
    pub is_network_full: bool,
    pub time: UnixTime,
}

impl DrivenNode {
    pub fn new(node: Node) -> Self {
        Self {
            node,
            work: VecDeque::new(),
            lookups: Vec::new(),
            blocks: Vec::new(),
            verdicts: Vec::new(),
            misbehaviours: Vec::new(),
            header_requests: Vec::new(),
            reports: Vec::new(),
            stored: HashMap::new(),
            anchors: Vec::new(),
            is_disk_full: false,
            is_network_full: false,
            time: START,
        }
    }

    pub fn tree(&self) -> &Tree {
        self.node.tree()
    }

    pub fn tip(&self) -> Option<ShareId> {
        self.tree().tip().map(|tip| tip.id)
    }

    pub fn may_start_chain(&self) -> bool {
        self.node.sync.may_start_chain()
    }

    /// Number of deferred and of unverified shares.
    pub fn waiting(&self) -> (usize, usize) {
        self.node.chain.waiting()
    }

    /// The newest job. Updates before it are dropped.
    pub fn job(&mut self) -> Arc<Job> {
        match self.work.drain(..).next_back() {
            Some(WorkUpdate::Job(job)) => job,
            other => panic!("expected a job, got {other:?}"),
        }
    }

    /// The only update since the last call.
    pub fn update(&mut self) -> WorkUpdate {
        assert_eq!(self.work.len(), 1, "{:?}", self.work);
        self.work.pop_front().expect("there is one")
    }

    fn commit(&mut self, steady: SteadyTime) {
        let Some(changes) = self.node.changes(steady).cloned() else { return };
        if self.is_disk_full {
            return self.node.committed(Err("disk full".to_owned()), steady);
        }
        changes.delete_shares.iter().for_each(|id| drop(self.stored.remove(id)));
        self.stored.extend(changes.put_shares.into_iter().map(|stored| (stored.id, stored)));
        self.anchors.retain(|anchor| !changes.delete_anchors.contains(&anchor.header.block_hash()));
        self.anchors.extend(changes.put_anchors);
        self.node.committed(Ok(()), steady);
    }
}

/// The most events that may follow from one another without time passing.
const EVENTS_MAX: usize = 1_000_000;

/// Nodes, and scripted peers. The handle of a node is its index. Nodes' messages arrive at once and in order.
pub struct Cluster {
    pub nodes: Vec<DrivenNode>,
    pub steady: SteadyTime,
    pub params: Arc<ChainParams>,
    events: VecDeque<(usize, Event)>,
    pub scripted: BTreeMap<PeerHandle, Box<dyn ScriptedPeer>>,
    /// Responses of scripted peers, and when they arrive at which node.
    in_transit: VecDeque<(SteadyTime, usize, PeerHandle, Event)>,
    /// The Bitcoin blocks that every bitcoind knows; `None` if a test responds to lookups itself.
    pub bitcoin: Option<HashMap<BlockHash, Anchor>>,
    /// Inbound requests by their id: the index of the requester, and the id that it gave.
    pub requests: HashMap<InboundId, (usize, RequestId)>,
    pub requests_made: u64,
    /// Requests without those for envelopes, which are made at a fixed rate.
    pub fetches: u64,
}

impl Cluster {
    pub fn new(params: ChainParams) -> Self {
        Self {
            nodes: Vec::new(),
            steady: SteadyTime::default(),
            params: Arc::new(params),
            events: VecDeque::new(),
            scripted: BTreeMap::new(),
            in_transit: VecDeque::new(),
            bitcoin: None,
            requests: HashMap::new(),
            requests_made: 0,
            fetches: 0,
        }
    }

    /// One node that mines solo, with a template and its anchor.
    pub fn solo() -> Self {
        let mut cluster = Self::new(params());
        cluster.start(false);
        cluster.give_work(0);
        cluster
    }

    pub fn start(&mut self, looks_for_peers: bool) -> usize {
        let tree = Tree::new(Arc::clone(&self.params));
        self.add(tree, looks_for_peers, START)
    }

    pub fn add(&mut self, tree: Tree, looks_for_peers: bool, time: UnixTime) -> usize {
        let now = Now { steady: self.steady, time };
        let config = Config::for_tests(ChainParams::clone(tree.params()), "");
        let node = Node::new(&config, looks_for_peers, tree, now);
        self.nodes.push(DrivenNode { time, ..DrivenNode::new(node) });
        let at = self.nodes.len() - 1;
        self.report_best_chain(at);
        at
    }

    /// Replaces a node by one that has what its store holds.
    pub fn restart(&mut self, at: usize) {
        let DrivenNode { stored, anchors, time, .. } = &self.nodes[at];
        let mut tree = Tree::new(Arc::clone(&self.params));
        anchors.iter().for_each(|anchor| tree.add_anchor(anchor.clone()));
        let mut shares: Vec<&StoredShare> = stored.values().collect();
        shares.sort_by_key(|stored| (stored.share.info.share_height, stored.id));
        shares.into_iter().for_each(|stored| tree.restore(Arc::clone(&stored.share), stored.verified));
        let config = Config::for_tests((*self.params).clone(), "");
        let node = Node::new(&config, false, tree, Now { steady: self.steady, time: *time });
        let (stored, anchors, time) = (stored.clone(), anchors.clone(), *time);
        self.nodes[at] = DrivenNode { stored, anchors, time, ..DrivenNode::new(node) };
        self.report_best_chain(at);
    }

    /// bitcoind has caught up. Of the blocks that every bitcoind knows, or else of those that are stored, the newest is its tip.
    fn report_best_chain(&mut self, at: usize) {
        let now = self.nodes[at].time;
        let past = self.bitcoin.iter().flat_map(HashMap::values).filter(|anchor| anchor.header.time <= now.0);
        let stored = || self.nodes[at].anchors.iter().max_by_key(|anchor| anchor.height);
        let tip = past.max_by_key(|anchor| anchor.height).or_else(stored).cloned();
        let is_known = tip.as_ref() == self.nodes[at].tree().headers().best();
        if !is_known || !self.nodes[at].tree().headers().is_settled() {
            let report = BestChain { is_settled: true, root: tip.map(Box::new), headers: Vec::new() };
            self.send(at, Event::BestChain(report));
        }
    }

    pub fn connect(&mut self, one: usize, other: usize) {
        for (node, peer) in [(one, other), (other, one)] {
            self.events.push_back((node, Event::PeerConnected { peer: PeerHandle(peer as u64) }));
        }
        self.settle();
    }

    pub fn connect_scripted(&mut self, node: usize, peer: PeerHandle, scripted: impl ScriptedPeer + 'static) {
        self.scripted.insert(peer, Box::new(scripted));
        self.send(node, Event::PeerConnected { peer });
    }

    pub fn disconnect_scripted(&mut self, node: usize, peer: PeerHandle) {
        self.scripted.remove(&peer);
        self.send(node, Event::PeerDisconnected { peer });
    }

    pub fn send(&mut self, node: usize, event: Event) {
        self.events.push_back((node, event));
        self.settle();
    }

    pub fn give_template(&mut self, node: usize) {
        self.send_template(node, (*template()).clone());
    }

    /// Sends a template of a bitcoind whose clock is the node's.
    pub fn send_template(&mut self, node: usize, template: Template) {
        let cur_time = self.nodes[node].time.max(template.min_time);
        self.send(node, Event::Template(Arc::new(Template { cur_time, ..template })));
    }

    pub fn give_anchor(&mut self, node: usize, anchor: Anchor) {
        self.send(node, Event::BestChain(best_chain(anchor)));
    }

    pub fn give_work(&mut self, node: usize) {
        self.give_template(node);
        self.give_anchor(node, anchor());
    }

    /// Mines a share on a node's newest job. Header times run ahead of the clock, a second per share, so that shares stay
    /// easy to find.
    pub fn mine(&mut self, node: usize, job: &Arc<Job>) -> Arc<Job> {
        let time = job.time.max(self.nodes[node].time.plus(1));
        self.nodes.iter_mut().for_each(|driven| driven.time = driven.time.max(time));
        self.send(node, Event::ShareFound(solve(job, time, 9)));
        self.nodes[node].job()
    }

    pub fn mine_many(&mut self, node: usize, shares: usize) -> Arc<Job> {
        let mut job = self.nodes[node].job();
        for _ in 0..shares {
            job = self.mine(node, &job);
        }
        job
    }

    /// Time passes, a second at a time.
    pub fn pass(&mut self, seconds: u32) {
        for _ in 0..seconds {
            self.steady = self.steady.plus(1);
            self.nodes.iter_mut().for_each(|driven| driven.time = driven.time.plus(1));
            if self.bitcoin.is_some() {
                (0..self.nodes.len()).for_each(|at| self.report_best_chain(at));
            }
            self.deliver();
            self.settle();
        }
    }

    /// Time passes until a condition holds; returns how many seconds.
    pub fn pass_until(&mut self, seconds_max: u32, is_done: impl Fn(&Self) -> bool) -> u32 {
        for second in 0..seconds_max {
            if is_done(self) {
                return second;
            }
            self.pass(1);
        }
        let (sync, misbehaviours) = (&self.nodes[0].node.sync, &self.nodes[0].misbehaviours);
        panic!("not done after {seconds_max} s: {sync:?}, misbehaviours {misbehaviours:?}");
    }

    /// Delivers the responses of scripted peers that are due, also those to requests which follow from them.
    pub fn deliver(&mut self) {
        while let Some(at) = self.in_transit.iter().position(|(due, ..)| *due <= self.steady) {
            let (_, node, peer, event) = self.in_transit.remove(at).expect("found above");
            if self.scripted.contains_key(&peer) {
                self.send(node, event);
            }
        }
    }

    /// Turns of all nodes until nothing is left to carry.
    pub fn settle(&mut self) {
        for at in 0..self.nodes.len() {
            self.turn(at);
        }
        let mut carried = 0;
        while let Some((at, event)) = self.events.pop_front() {
            carried += 1;
            assert!(carried < EVENTS_MAX, "events go round in circles");
            let now = self.now(at);
            if let Some(driven) = self.nodes.get_mut(at) {
                driven.node.step(event, now);
                self.turn(at);
            }
        }
    }

    fn now(&self, at: usize) -> Now {
        Now { steady: self.steady, time: self.nodes.get(at).map_or(START, |driven| driven.time) }
    }

    fn turn(&mut self, at: usize) {
        let now = self.now(at);
        let driven = &mut self.nodes[at];
        driven.node.advance(now);
        driven.commit(now.steady);
        for effect in driven.node.take_effects() {
            self.perform(at, effect);
        }
    }

    fn perform(&mut self, at: usize, effect: Effect) {
        let driven = &mut self.nodes[at];
        match effect {
            Effect::Work(update) => driven.work.push_back(update),
            Effect::LookUp(BlockLookup { hash, .. }) => {
                driven.lookups.push(hash);
                if let Some(known) = &self.bitcoin {
                    let result = known
                        .get(&hash)
                        .cloned()
                        .map_or(AnchorResult::Unknown, |anchor| AnchorResult::Known(Box::new(anchor)));
                    self.events.push_back((at, Event::Anchor(AnchorLookup { hash, result })));
                }
            }
            Effect::SubmitBlock(block) => driven.blocks.push(block),
            Effect::Report(report) => driven.reports.push(report),
            Effect::Network(NetworkCommand::Request { peer, id, .. }) if driven.is_network_full => {
                self.events.push_back((at, Event::Response { peer, id, response: Err(RequestFailed::NotSent) }));
            }
            Effect::Network(command) => self.carry(at, command),
        }
    }

    fn carry(&mut self, from: usize, command: NetworkCommand) {
        let peer = PeerHandle(from as u64);
        let others: Vec<usize> = (0..self.nodes.len()).filter(|node| *node != from).collect();
        match command {
            NetworkCommand::Request { peer: to, id, request } => {
                if matches!(request, Request::Headers { .. }) {
                    self.nodes[from].header_requests.push(to);
                }
                self.requests_made += 1;
                self.fetches += u64::from(!matches!(request, Request::Envelopes { .. }));
                if let Some(scripted) = self.scripted.get_mut(&to) {
                    // Everything that travels goes through its bytes.
                    let request = Request::decode(&request.encode()).expect("a valid request");
                    if let Some((delay_s, response)) = scripted.respond(&request, self.nodes[from].time) {
                        let response =
                            response.map(|response| Response::decode(&response.encode()).expect("a valid response"));
                        let event = Event::Response { peer: to, id, response };
                        self.in_transit.push_back((self.steady.plus(delay_s), from, to, event));
                    }
                    return;
                }
                let inbound = InboundId(self.requests_made);
                self.requests.insert(inbound, (from, id));
                self.events.push_back((to.0 as usize, Event::Request { peer, id: inbound, request }));
            }
            NetworkCommand::Respond { to, response } => {
                let (requester, id) = self.requests.remove(&to).expect("each request has one response");
                self.events.push_back((requester, Event::Response { peer, id, response: Ok(response) }));
            }
            NetworkCommand::Announce(share) => self
                .events
                .extend(others.into_iter().map(|to| (to, Event::ShareGossiped { peer, share: Arc::clone(&share) }))),
            NetworkCommand::AnnounceBlock(announcement) => self.events.extend(others.into_iter().map(|to| {
                let (gossip, header) = (GossipId([from as u8; 32]), announcement.header);
                (to, Event::BlockAnnounced { peer, gossip, header, announcement: announcement.encode() })
            })),
            NetworkCommand::Verdict { verdict, .. } => self.nodes[from].verdicts.push(verdict),
            NetworkCommand::Penalize { peer, misbehaviour } => {
                self.nodes[from].misbehaviours.push((peer, misbehaviour))
            }
        }
    }
}
