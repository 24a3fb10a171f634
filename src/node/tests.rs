//! Whole nodes that hear of each other through a carrier in memory, in a time that the tests set.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bitcoin::block::Header;
use bitcoin::blockdata::constants::genesis_block;
use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::Hash as _;

use super::*;
use crate::params::{ChainParams, Network};
use crate::share::{ShareId, EXTRANONCE_LEN};
use crate::sharechain::{Anchor, Rule};
use crate::units::{Bits, BlockHeight, UnixTime};
use crate::wire::{Frame as _, List};
use crate::work::{Job, NoWork, Submit, Template};

const START: UnixTime = UnixTime(1_700_000_000);

fn params() -> ChainParams {
    ChainParams { share_period_s: 1, payout_window: 12, retarget_window: 6, ..ChainParams::standard(Network::Regtest) }
}

/// The same rules, with those that only mainnet has.
fn mainnet_like() -> ChainParams {
    ChainParams { network: Network::Mainnet, work_cut_blocks: 2, ..params() }
}

fn template() -> Arc<Template> {
    let text = include_str!("../../tests/vectors/templates/regtest-height-1.json");
    Arc::new(Template::from_json(text, Network::Regtest).expect("a recorded template"))
}

fn anchor() -> Anchor {
    let header = genesis_block(bitcoin::Network::Regtest).header;
    Anchor {
        header,
        height: BlockHeight(0),
        median_time_past: UnixTime(header.time),
        next_bits: Bits(0x207f_ffff),
        next_bits_late: None,
    }
}

/// A header that meets a job's share target.
fn solve(job: &Arc<Job>, time: UnixTime, extranonce: u8) -> FoundShare {
    let extranonce = [extranonce; EXTRANONCE_LEN];
    (0..)
        .find_map(|nonce| {
            let judged = job.hash_header(&Submit { extranonce, time: time.0, nonce, version: job.version });
            let found = FoundShare { job: Arc::clone(job), header: judged.header, hash: judged.hash, extranonce };
            job.share_target.is_met_by(&judged.hash).then_some(found)
        })
        .expect("some nonce meets it")
}

/// A node, and what its driver has seen of it.
struct Driven {
    node: Node,
    /// Work given to miners.
    work: VecDeque<WorkUpdate>,
    /// Headers looked up at bitcoind.
    lookups: Vec<BlockHash>,
    /// Headers given to bitcoind.
    submitted_headers: Vec<Vec<Header>>,
    /// Peers' blocks given to bitcoind.
    blocks: Vec<PeerBlock>,
    verdicts: Vec<GossipVerdict>,
    offences: Vec<Offence>,
    /// Requests for headers that reached the network.
    header_requests: Vec<PeerHandle>,
    reports: Vec<String>,
    /// Shares in the store.
    stored: HashMap<ShareId, StoredShare>,
    anchors: Vec<Anchor>,
    /// The store refuses.
    is_disk_full: bool,
    /// The network's inbox is full.
    is_network_full: bool,
    time: UnixTime,
}

impl Driven {
    fn new(node: Node) -> Self {
        Self {
            node,
            work: VecDeque::new(),
            lookups: Vec::new(),
            submitted_headers: Vec::new(),
            blocks: Vec::new(),
            verdicts: Vec::new(),
            offences: Vec::new(),
            header_requests: Vec::new(),
            reports: Vec::new(),
            stored: HashMap::new(),
            anchors: Vec::new(),
            is_disk_full: false,
            is_network_full: false,
            time: START,
        }
    }

    fn tip(&self) -> Option<ShareId> {
        self.node.tree().tip().map(|tip| tip.id)
    }

    /// The newest job; whatever came before it is dropped.
    fn job(&mut self) -> Arc<Job> {
        match self.work.drain(..).last() {
            Some(WorkUpdate::Job(job)) => job,
            other => panic!("expected a job, got {other:?}"),
        }
    }

    /// The only update since the last look.
    fn update(&mut self) -> WorkUpdate {
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

/// Nodes joined by a carrier; a peer's handle is its index. Messages arrive at once, in order.
struct World {
    nodes: Vec<Driven>,
    steady: SteadyTime,
    params: Arc<ChainParams>,
    mail: VecDeque<(usize, Event)>,
    /// Inbound requests by their id: the index of the requester, and the id that it gave.
    requests: HashMap<InboundId, (usize, RequestId)>,
    requests_made: u64,
}

impl World {
    fn new(params: ChainParams) -> Self {
        Self {
            nodes: Vec::new(),
            steady: SteadyTime::default(),
            params: Arc::new(params),
            mail: VecDeque::new(),
            requests: HashMap::new(),
            requests_made: 0,
        }
    }

    /// One node that mines solo, with a template and its anchor.
    fn solo() -> Self {
        let mut world = Self::new(params());
        world.start(false);
        world.give_work(0);
        world
    }

    fn config(looks_for_peers: bool) -> NodeConfig {
        NodeConfig {
            payout_script: PayoutScript::new(&[&[0x00, 0x14][..], &[7; 20]].concat()).expect("P2WPKH"),
            coinbase_tag: CoinbaseTag::default(),
            looks_for_peers,
            intervals: Intervals::default(),
        }
    }

    fn start(&mut self, looks_for_peers: bool) -> usize {
        let tree = Tree::new(Arc::clone(&self.params));
        self.add(tree, looks_for_peers)
    }

    fn add(&mut self, tree: Tree, looks_for_peers: bool) -> usize {
        let now = Now { steady: self.steady, time: START };
        self.nodes.push(Driven::new(Node::new(Self::config(looks_for_peers), tree, now)));
        self.nodes.len() - 1
    }

    /// Replaces a node by one that has what its store holds.
    fn restart(&mut self, at: usize) {
        let Driven { stored, anchors, time, .. } = &self.nodes[at];
        let mut tree = Tree::new(Arc::clone(&self.params));
        let mut shares: Vec<&StoredShare> = stored.values().collect();
        shares.sort_by_key(|stored| (stored.share.info.share_height, stored.id));
        shares.into_iter().for_each(|stored| tree.restore(Arc::clone(&stored.share), stored.verified));
        anchors.iter().for_each(|anchor| tree.add_anchor(anchor.clone()));
        let node = Node::new(Self::config(false), tree, Now { steady: self.steady, time: *time });
        let (stored, anchors, time) = (stored.clone(), anchors.clone(), *time);
        self.nodes[at] = Driven { stored, anchors, time, ..Driven::new(node) };
    }

    fn connect(&mut self, one: usize, other: usize) {
        for (node, peer) in [(one, other), (other, one)] {
            self.mail.push_back((node, Event::PeerConnected { peer: PeerHandle(peer as u64) }));
        }
        self.settle();
    }

    fn send(&mut self, node: usize, event: Event) {
        self.mail.push_back((node, event));
        self.settle();
    }

    fn give_template(&mut self, node: usize) {
        self.send(node, Event::Template(template()));
    }

    fn give_anchor(&mut self, node: usize, anchor: Anchor) {
        let hash = anchor.header.block_hash();
        self.send(node, Event::Anchor(AnchorLookup { hash, result: AnchorResult::Known(anchor) }));
    }

    fn give_work(&mut self, node: usize) {
        self.give_template(node);
        self.give_anchor(node, anchor());
    }

    /// Mines a share on a node's newest job. Header times run ahead of the clock, a second per share, so that shares stay
    /// easy to find.
    fn mine(&mut self, node: usize, job: &Arc<Job>) -> Arc<Job> {
        let time = job.time.max(self.nodes[node].time.plus(1));
        self.nodes.iter_mut().for_each(|driven| driven.time = driven.time.max(time));
        self.send(node, Event::ShareFound(solve(job, time, 9)));
        self.nodes[node].job()
    }

    fn mine_many(&mut self, node: usize, shares: usize) -> Arc<Job> {
        let mut job = self.nodes[node].job();
        for _ in 0..shares {
            job = self.mine(node, &job);
        }
        job
    }

    /// Time passes, a second at a time.
    fn pass(&mut self, seconds: u32) {
        for _ in 0..seconds {
            self.steady = self.steady.plus(1);
            self.nodes.iter_mut().for_each(|driven| driven.time = driven.time.plus(1));
            self.settle();
        }
    }

    /// Turns of all nodes until nothing is left to carry.
    fn settle(&mut self) {
        for at in 0..self.nodes.len() {
            self.turn(at);
        }
        while let Some((at, event)) = self.mail.pop_front() {
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
            Effect::Headers(HeaderCommand::LookUp(hash)) => driven.lookups.push(hash),
            Effect::Headers(HeaderCommand::Submit(headers)) => driven.submitted_headers.push(headers),
            Effect::SubmitBlock(block) => driven.blocks.push(block),
            Effect::Report(report) => driven.reports.push(report.to_string()),
            Effect::Network(NetworkCommand::Request { peer, id, .. }) if driven.is_network_full => {
                self.mail.push_back((at, Event::Response { peer, id, response: Err(RequestFailed::NotSent) }));
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
                let inbound = InboundId(self.requests_made);
                self.requests.insert(inbound, (from, id));
                self.mail.push_back((to.0 as usize, Event::Request { peer, id: inbound, request }));
            }
            NetworkCommand::Respond { to, response } => {
                let (requester, id) = self.requests.remove(&to).expect("answered once");
                self.mail.push_back((requester, Event::Response { peer, id, response: Ok(response) }));
            }
            NetworkCommand::Announce(share) => self
                .mail
                .extend(others.into_iter().map(|to| (to, Event::ShareGossiped { peer, share: Arc::clone(&share) }))),
            NetworkCommand::AnnounceBlock(announcement) => self.mail.extend(others.into_iter().map(|to| {
                let (gossip, header) = (GossipId([from as u8; 32]), announcement.header);
                (to, Event::BlockAnnounced { peer, gossip, header, announcement: announcement.encode() })
            })),
            NetworkCommand::Verdict { verdict, .. } => self.nodes[from].verdicts.push(verdict),
            NetworkCommand::Penalize { offence, .. } => self.nodes[from].offences.push(offence),
        }
    }
}

/// Two nodes that have met: the first with a chain of some shares, the second without work.
fn pair(shares: usize) -> World {
    let mut world = World::solo();
    world.mine_many(0, shares);
    world.start(true);
    world.give_anchor(1, anchor());
    world
}

#[test]
fn a_template_becomes_a_job_and_a_share_becomes_the_next_jobs_parent() {
    let mut world = World::solo();
    let mut job = world.nodes[0].job();
    assert_eq!(job.info.share_height.0, 0);
    for height in 1..=5 {
        job = world.mine(0, &job);
        assert_eq!(job.info.share_height.0, height);
        assert_eq!(Some(job.info.parent), world.nodes[0].tip());
    }
    assert_eq!(world.nodes[0].stored.len(), 5);
}

#[test]
fn a_node_without_ways_to_find_peers_mines_solo_from_its_start() {
    let mut world = World::solo();
    let status = world.nodes[0].node.status(world.steady);
    assert_eq!(status.sync, SyncState::Solo { since: START });
}

#[test]
fn a_job_goes_out_after_two_seconds_without_a_response_about_its_block_and_its_share_is_deferred() {
    let mut world = World::new(params());
    world.start(false);
    world.give_template(0);
    world.pass(1);
    assert!(world.nodes[0].work.is_empty());
    world.pass(1);
    let job = world.nodes[0].job();
    world.send(0, Event::ShareFound(solve(&job, job.time, 9)));
    assert_eq!(world.nodes[0].tip(), None);
    world.give_anchor(0, anchor());
    assert_eq!(world.nodes[0].job().info.share_height.0, 1);
}

#[test]
fn a_restart_continues_where_the_node_stopped_also_after_pruning() {
    let mut world = World::solo();
    for round in 1..=4 {
        world.mine_many(0, 20);
        let tip = world.nodes[0].tip();
        world.restart(0);
        assert_eq!(world.nodes[0].tip(), tip);
        world.settle();
        // Two windows of 12, a retarget window of 6 and 16 are kept.
        assert_eq!(world.nodes[0].stored.len(), (round * 20).min(46));
        world.give_work(0);
        assert_eq!(world.nodes[0].work.len(), 1, "one job on the stored tip");
    }
}

#[test]
fn shares_too_old_for_any_window_are_pruned_every_five_minutes() {
    let mut world = World::solo();
    world.mine_many(0, 60);
    assert_eq!(world.nodes[0].stored.len(), 60);
    world.pass(300);
    assert_eq!(world.nodes[0].stored.len(), 46);
}

#[test]
fn two_shares_on_one_job_give_a_tip_and_an_uncle() {
    let mut world = World::solo();
    let job = world.mine_many(0, 1);
    let (first, second) = (solve(&job, job.time, 9), solve(&job, job.time, 8));
    let mut ids = [ShareId(first.hash), ShareId(second.hash)];
    world.send(0, Event::ShareFound(first));
    world.send(0, Event::ShareFound(second));
    world.give_template(0);
    let job = world.nodes[0].job();
    ids.sort_unstable();
    assert_eq!((job.info.parent, &job.info.uncles[..]), (ids[0], &ids[1..]), "as much work: the lowest id wins");
}

#[test]
fn without_a_template_there_is_no_work_until_there_is_one_again() {
    let mut world = World::solo();
    let first = world.nodes[0].job();
    world.send(0, Event::TemplateWithdrawn);
    assert!(matches!(world.nodes[0].update(), WorkUpdate::NoWork(NoWork::NoTemplate)));
    world.give_template(0);
    assert_ne!(first.id, world.nodes[0].job().id, "job ids are never used twice");
}

#[test]
fn a_job_is_refreshed_before_it_is_thirty_seconds_old() {
    let mut world = World::solo();
    let first = world.nodes[0].job();
    world.pass(28);
    assert!(world.nodes[0].work.is_empty());
    world.pass(1);
    let second = world.nodes[0].job();
    assert_eq!((second.info.parent, second.time), (first.info.parent, first.time.plus(29)));
}

#[test]
fn a_lookup_that_bitcoind_did_not_answer_is_repeated_each_second() {
    let mut world = World::new(params());
    world.start(false);
    world.give_template(0);
    let hash = template().prev_block;
    assert_eq!(world.nodes[0].lookups, [hash]);
    world.send(0, Event::Anchor(AnchorLookup { hash, result: AnchorResult::Unavailable }));
    world.pass(3);
    assert_eq!(world.nodes[0].lookups, [hash; 4]);
}

/// Twenty minutes after its parent a testnet block must state another target: no header of the job may be so late.
#[test]
fn where_late_blocks_are_easier_a_job_ends_when_its_target_does() {
    let mut world = World::new(params());
    world.start(false);
    world.give_template(0);
    world.pass(2);
    let first = world.nodes[0].job();
    let anchor = Anchor { next_bits_late: Some(Bits(0x207f_fffe)), ..anchor() };
    let end = UnixTime(anchor.header.time).plus(1_200);
    assert!(first.time > end, "the block is years old");
    world.give_anchor(0, anchor);
    let job = world.nodes[0].job();
    assert_eq!((job.time, job.max_time), (end, end));
    world.send(0, Event::ShareFound(solve(&job, job.min_time, 9)));
    assert_eq!(world.nodes[0].job().info.share_height.0, 1, "its shares are valid");
}

#[test]
fn there_is_no_job_on_a_block_so_old_that_its_shares_would_be_refused() {
    let mut world = World::new(mainnet_like());
    world.start(false);
    let at = |height: u32| {
        let mut header = anchor().header;
        header.nonce = height;
        let anchor = Anchor { header, height: BlockHeight(height - 1), ..anchor() };
        let prev_block = anchor.header.block_hash();
        (anchor, Arc::new(Template { prev_block, height: BlockHeight(height), ..(*template()).clone() }))
    };
    let (anchor, template) = at(10);
    world.give_anchor(0, anchor);
    world.send(0, Event::Template(template));
    world.mine_many(0, 1);
    for (height, is_work) in [(8, true), (7, false), (9, true)] {
        let (anchor, template) = at(height);
        world.give_anchor(0, anchor);
        world.send(0, Event::Template(template));
        match world.nodes[0].update() {
            WorkUpdate::Job(job) => assert!(is_work && job.block_height.0 == height, "{height}"),
            WorkUpdate::NoWork(reason) => assert!(!is_work && reason == NoWork::BitcoindBehind, "{height}"),
        }
    }
}

#[test]
fn a_share_that_the_disk_refuses_counts_and_is_announced_all_the_same_and_stored_later() {
    let mut world = pair(3);
    world.connect(0, 1);
    world.pass(2);
    world.nodes[0].is_disk_full = true;
    let job = {
        world.give_template(0);
        world.nodes[0].job()
    };
    let next = world.mine(0, &job);
    assert_eq!(Some(next.info.parent), world.nodes[0].tip(), "miners continue on it");
    assert_eq!(world.nodes[1].tip(), world.nodes[0].tip(), "peers have it");
    assert_eq!(world.nodes[0].stored.len(), 3);
    assert!(world.nodes[0].node.status(world.steady).unsaved);
    assert_eq!(world.nodes[0].node.backlog().put_shares.len(), 1);
    world.nodes[0].is_disk_full = false;
    world.pass(1);
    assert_eq!(world.nodes[0].stored.len(), 4);
    assert!(!world.nodes[0].node.status(world.steady).unsaved);
}

#[test]
fn a_newcomer_fetches_the_chain_before_its_miners_get_work() {
    let mut world = pair(30);
    world.give_template(1);
    assert!(matches!(world.nodes[1].update(), WorkUpdate::NoWork(NoWork::NoPeers)));
    world.connect(0, 1);
    world.pass(2);
    assert_eq!(world.nodes[1].tip(), world.nodes[0].tip());
    assert_eq!(Some(world.nodes[1].job().info.parent), world.nodes[0].tip());
    assert_eq!((&world.nodes[0].offences[..], &world.nodes[1].offences[..]), (&[][..], &[][..]));
    assert_eq!(world.nodes[1].stored.len(), 30);
}

#[test]
fn miners_get_the_true_reason_why_they_have_no_work_and_each_once() {
    let mut world = World::new(params());
    world.start(true);
    assert!(matches!(world.nodes[0].node.sync_state(), SyncState::NoPeers { was_synced: false, .. }));
    world.give_work(0);
    assert!(matches!(world.nodes[0].update(), WorkUpdate::NoWork(NoWork::NoPeers)));
    assert_eq!(world.nodes[0].node.status(world.steady).no_work, Some(NoWork::NoPeers));
    world.give_template(0);
    assert!(world.nodes[0].work.is_empty(), "another template changes nothing");
    // A peer that does not respond.
    world.send(0, Event::PeerConnected { peer: PeerHandle(77) });
    assert!(matches!(world.nodes[0].update(), WorkUpdate::NoWork(NoWork::Syncing)));
}

#[test]
fn before_a_chain_is_started_a_peer_that_has_not_reported_its_tip_takes_the_work_at_once() {
    let mut world = World::new(params());
    world.start(true);
    world.start(true);
    world.connect(0, 1);
    assert_eq!(world.nodes[0].node.sync_state(), SyncState::Synced);
    world.give_work(0);
    world.nodes[0].job();
    world.send(0, Event::PeerConnected { peer: PeerHandle(77) });
    assert!(matches!(world.nodes[0].update(), WorkUpdate::NoWork(NoWork::Syncing)));
    assert_eq!(world.nodes[0].node.sync_state(), SyncState::Synced);
    world.send(0, Event::PeerDisconnected { peer: PeerHandle(77) });
    world.nodes[0].job();
}

#[test]
fn a_share_of_one_node_is_relayed_and_becomes_the_parent_of_the_others_next() {
    let mut world = pair(3);
    world.give_template(1);
    world.connect(0, 1);
    world.pass(2);
    let job = world.nodes[1].job();
    world.mine(1, &job);
    assert_eq!(world.nodes[0].tip(), world.nodes[1].tip());
    assert_eq!(world.nodes[0].verdicts, [GossipVerdict::Accept]);
    world.give_template(0);
    assert_eq!(Some(world.nodes[0].job().info.parent), world.nodes[1].tip());
}

#[test]
fn fetched_shares_bring_about_no_verdicts() {
    let mut world = pair(30);
    world.connect(0, 1);
    world.pass(2);
    assert_eq!(world.nodes[1].node.tree().len(), 30);
    assert_eq!(world.nodes[1].verdicts, []);
}

#[test]
fn an_invalid_share_is_rejected_and_its_sender_penalised() {
    let mut world = World::solo();
    world.mine_many(0, 3);
    let tip = Arc::clone(&world.nodes[0].node.tree().tip().expect("a chain").share);
    let mut forged = (*tip).clone();
    // Another miner's work with this address.
    forged.info.payout_script = PayoutScript::new(&[&[0x00, 0x14][..], &[66; 20]].concat()).expect("P2WPKH");
    let target = forged.info.share_bits.target().expect("canonical bits");
    forged.header.nonce = forged.header.nonce.wrapping_add(1);
    while !target.is_met_by(&forged.id().0) {
        forged.header.nonce = forged.header.nonce.wrapping_add(1);
    }
    let peer = PeerHandle(9);
    world.send(0, Event::PeerConnected { peer });
    world.send(0, Event::ShareGossiped { peer, share: Arc::new(forged) });
    assert_eq!(world.nodes[0].verdicts, [GossipVerdict::Reject]);
    assert_eq!(world.nodes[0].offences, [Offence::BrokenRule(Rule::Payouts)]);
}

#[test]
fn a_bitcoin_header_that_bitcoind_does_not_know_is_fetched_from_the_peer() {
    let mut world = World::solo();
    world.mine_many(0, 3);
    world.start(true);
    world.connect(0, 1);
    let hash = anchor().header.block_hash();
    assert!(world.nodes[1].lookups.contains(&hash));
    world.send(1, Event::Anchor(AnchorLookup { hash, result: AnchorResult::Unknown }));
    assert_eq!(world.nodes[1].header_requests, [PeerHandle(0)]);
    assert_eq!(world.nodes[1].submitted_headers, [vec![anchor().header]]);
    world.give_anchor(1, anchor());
    world.pass(2);
    assert_eq!(world.nodes[1].tip(), world.nodes[0].tip());
}

#[test]
fn headers_that_were_not_requested_are_penalised_and_the_next_source_is_asked() {
    let mut world = World::solo();
    world.mine_many(0, 1);
    let hash = BlockHash::from_byte_array([7; 32]);
    let peers = [PeerHandle(8), PeerHandle(9)];
    for peer in peers {
        world.nodes[0].node.headers.add(hash, peer);
    }
    let unknown = || Event::Anchor(AnchorLookup { hash, result: AnchorResult::Unknown });
    world.send(0, unknown());
    world.send(0, unknown());
    assert_eq!(world.nodes[0].header_requests, [peers[0]], "the other only after a while");
    let headers = Response::Headers(List::first_of([anchor().header]));
    let (_, id) = world.requests[&InboundId(world.requests_made)];
    world.send(0, Event::Response { peer: peers[0], id, response: Ok(headers) });
    assert_eq!(world.nodes[0].offences, [Offence::Unasked]);
    assert!(world.nodes[0].submitted_headers.is_empty());
    world.send(0, unknown());
    assert_eq!(world.nodes[0].header_requests, peers);
}

#[test]
fn requests_that_find_no_room_are_forgotten_and_repeated() {
    let mut world = World::solo();
    world.mine_many(0, 1);
    let hash = BlockHash::from_byte_array([7; 32]);
    world.nodes[0].is_network_full = true;
    world.nodes[0].node.headers.add(hash, PeerHandle(9));
    world.send(0, Event::Anchor(AnchorLookup { hash, result: AnchorResult::Unknown }));
    assert!(world.nodes[0].node.requests.is_empty(), "there will be no response, so nothing would ever remove it");
    world.pass(headers::NEXT_SOURCE_S);
    world.nodes[0].is_network_full = false;
    world.send(0, Event::Anchor(AnchorLookup { hash, result: AnchorResult::Unknown }));
    assert_eq!(world.nodes[0].header_requests, [PeerHandle(9)], "it was not asked: it is still a source");
}

#[test]
fn an_announced_block_on_an_unknown_one_makes_the_node_ask_one_peer_after_the_other_for_two_minutes() {
    let mut world = World::new(params());
    world.start(true);
    let peers = [1, 2, 3].map(PeerHandle);
    peers.into_iter().for_each(|peer| world.send(0, Event::PeerConnected { peer }));
    let mut header = anchor().header;
    let parent = BlockHash::from_byte_array([7; 32]);
    header.prev_blockhash = parent;
    let (gossip, announcement) = (GossipId([5; 32]), Vec::new());
    world.send(0, Event::BlockAnnounced { peer: peers[1], gossip, header, announcement });
    let mut asked = Vec::new();
    for second in 0..130 {
        if world.nodes[0].lookups.drain(..).any(|hash| hash == parent) {
            world.send(0, Event::Anchor(AnchorLookup { hash: parent, result: AnchorResult::Unknown }));
        }
        asked.extend(world.nodes[0].header_requests.drain(..).map(|peer| (second, peer.0)));
        world.pass(1);
    }
    assert_eq!(asked[..4], [(0, 2), (10, 1), (20, 3), (30, 2)], "the announcer, then the others");
    assert!(asked.len() <= 12, "{asked:?}");
    assert_eq!(world.nodes[0].verdicts, [GossipVerdict::Ignore]);
    assert!(!world.nodes[0].lookups.contains(&parent), "it is over");
}

#[test]
fn a_found_block_reaches_the_other_nodes_bitcoind_and_an_invalid_one_is_penalised() {
    let mut world = World::solo();
    let job = world.nodes[0].job();
    world.start(true);
    world.give_anchor(1, anchor());
    world.connect(0, 1);
    let found = solve(&job, job.time, 1);
    let block = job.block(&found.header, &found.extranonce).expect("a block");
    world.send(0, Event::BlockFound { height: BlockHeight(1), block: block.clone() });
    let [PeerBlock { height, block: given, .. }] = &world.nodes[1].blocks[..] else { panic!("one block") };
    assert_eq!((*height, given), (BlockHeight(1), &block));
    // One whose header does not have the work of a block.
    let mut whole: bitcoin::Block = deserialize(&block).expect("a block");
    let hash = |header: &Header| crate::share::header_hash(&serialize(header).try_into().expect("80 bytes"));
    while job.block_target.is_met_by(&hash(&whole.header)) {
        whole.header.nonce = whole.header.nonce.wrapping_add(1);
    }
    world.send(0, Event::BlockFound { height: BlockHeight(1), block: serialize(&whole) });
    assert_eq!((world.nodes[1].blocks.len(), &world.nodes[1].offences[..]), (1, &[Offence::FalseBlock][..]));
}

#[test]
fn a_clock_that_is_set_is_reported() {
    let mut world = World::solo();
    world.pass(5);
    assert!(!world.nodes[0].reports.iter().any(|report| report.contains("clock")));
    world.nodes[0].time = world.nodes[0].time.plus(7_200);
    world.pass(1);
    assert!(world.nodes[0].reports.contains(&"system clock was set by 7200 s".to_owned()));
}
