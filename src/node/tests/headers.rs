//! Bitcoin headers that bitcoind does not know, requested from peers.

use std::collections::HashMap;
use std::rc::Rc;

use super::*;
use crate::node::headers::{self as header_sources, NextStep};
use crate::peer::RequestFailed;
use crate::sharechain::CandidateId;
use crate::sync::serve;
use crate::units::{ShareHeight, Work};
use crate::wire::{Agent, PeerStatus};

/// A regtest header on a block.
fn header_on(parent: &Anchor) -> Header {
    let mut header = Header { prev_blockhash: parent.header.block_hash(), nonce: 0, ..parent.header };
    header.version = bitcoin::block::Version::from_consensus(0x2000_0000);
    header.time = parent.header.time + 600;
    while !crate::sharechain::meets_own_bits(&header) {
        header.nonce += 1;
    }
    header
}

#[test]
fn a_bitcoin_header_that_bitcoind_does_not_know_is_fetched_from_the_peer() {
    let mut cluster = Cluster::new(params());
    cluster.start(false);
    cluster.start(true);
    let header = header_on(&anchor());
    for (node, headers) in [(0, vec![header]), (1, Vec::new())] {
        cluster.send(node, Event::BestChain(BestChain { headers, ..best_chain(anchor()) }));
    }
    let template = Template { prev_block: header.block_hash(), height: BlockHeight(2), ..(*template()).clone() };
    cluster.send_template(0, template);
    cluster.mine_many(0, 3);
    cluster.connect(0, 1);
    let hash = header.block_hash();
    assert!(cluster.nodes[1].lookups.contains(&hash));
    assert!(cluster.nodes[1].tree().anchor(&hash).is_none());
    cluster.send(1, Event::Anchor(AnchorLookup { hash, result: AnchorResult::Unknown }));
    assert_eq!(cluster.nodes[1].header_requests, [PeerHandle(0)]);
    cluster.pass(2);
    assert_eq!(cluster.nodes[1].tip(), cluster.nodes[0].tip());
    assert_eq!(cluster.nodes[1].misbehaviours, []);
}

/// Two nodes with the same three shares, and the fourth, of the first node, on a Bitcoin block that the other does not know.
fn share_on_a_side_block() -> (Cluster, Arc<Share>) {
    let mut cluster = Cluster::new(params());
    cluster.start(false);
    cluster.give_work(0);
    cluster.mine_many(0, 3);
    let common = cluster.nodes[0].tree().snapshot();
    let header = header_on(&anchor());
    cluster.send(0, Event::BestChain(BestChain { headers: vec![header], ..best_chain(anchor()) }));
    let template = Template { prev_block: header.block_hash(), height: BlockHeight(2), ..(*template()).clone() };
    cluster.send_template(0, template);
    cluster.mine_many(0, 1);
    let time = cluster.nodes[0].time;
    cluster.bitcoin = Some(HashMap::from([(anchor().header.block_hash(), anchor())]));
    cluster.add(common, true, time);
    let share = Arc::clone(&cluster.nodes[0].tree().tip().expect("four shares").share);
    (cluster, share)
}

/// Serves what a tree has a second after the request, but perhaps no Bitcoin headers.
struct SlowServer {
    tree: Rc<Tree>,
    gives_headers: bool,
}

/// Lists shares after one of the node's, gives them after some seconds, and never responds to requests for headers.
struct Lister {
    after: ShareId,
    shares: Vec<Arc<Share>>,
    shares_s: u32,
}

impl support::ScriptedPeer for Lister {
    fn respond(&mut self, request: &Request, clock: UnixTime) -> Option<(u32, Result<Response, RequestFailed>)> {
        let tip = self.shares.last().expect("a list is not empty");
        let response = match request {
            Request::Status => Response::Status(PeerStatus {
                chain_id: params().chain_id(),
                tip: tip.id(),
                share_height: tip.info.share_height,
                chain_work: Work(1_000_000_000),
                oldest_height: ShareHeight(0),
                clock,
                agent: Agent::default(),
            }),
            Request::Inventory { .. } => Response::Inventory {
                after: self.after,
                start_height: ShareHeight(0),
                ids: List::first_of(self.shares.iter().map(|share| share.id())),
                more: false,
            },
            Request::Shares { ids } => Response::Shares(List::first_of(
                ids.iter().filter_map(|id| self.shares.iter().find(|share| share.id() == *id)).map(Arc::clone),
            )),
            Request::Headers { .. } => return None,
            _ => Response::Unknown,
        };
        let delay_s = if matches!(request, Request::Shares { .. }) { self.shares_s } else { 0 };
        Some((delay_s, Ok(response)))
    }
}

impl support::ScriptedPeer for SlowServer {
    fn respond(&mut self, request: &Request, now: UnixTime) -> Option<(u32, Result<Response, RequestFailed>)> {
        let response = match request {
            Request::Status => Response::Status(serve::status(&self.tree, now, Agent::default())),
            Request::Inventory { locator } => serve::inventory(&self.tree, locator),
            Request::Shares { ids } => serve::shares(&self.tree, ids),
            Request::Headers { last } if self.gives_headers => header_sources::respond(&self.tree, last),
            _ => Response::Unknown,
        };
        Some((1, Ok(response)))
    }
}

/// A peer that never responds.
struct Silent;

impl support::ScriptedPeer for Silent {
    fn respond(&mut self, _: &Request, _: UnixTime) -> Option<(u32, Result<Response, RequestFailed>)> {
        None
    }
}

/// The peers that gossiped the share first do not give the header, or are gone.
#[test]
fn a_header_is_requested_from_the_peers_that_give_the_share_later() {
    for (silent, netgroups, are_gone) in [(1, 1, false), (1, 1, true), (20, 20, false), (20, 20, true), (20, 1, false)]
    {
        let (mut cluster, share) = share_on_a_side_block();
        let peers: Vec<PeerHandle> =
            (1..=silent).map(|number| PeerHandle::new(1 + number % netgroups, number.into())).collect();
        for peer in &peers {
            cluster.connect_scripted(1, *peer, Silent);
            cluster.send(1, Event::ShareGossiped { peer: *peer, share: Arc::clone(&share) });
        }
        if are_gone {
            peers.iter().for_each(|peer| cluster.disconnect_scripted(1, *peer));
            cluster.pass(30);
            assert_eq!(cluster.nodes[1].header_requests, [peers[0]], "no peer that is gone is asked");
        }
        let honest = PeerHandle::new(1, 99);
        let tree = Rc::new(cluster.nodes[0].tree().snapshot());
        cluster.connect_scripted(1, honest, SlowServer { tree, gives_headers: true });
        cluster.pass(if are_gone { 20 } else { 60 });
        assert_eq!(cluster.nodes[1].tip(), Some(share.id()), "{silent} of {netgroups} netgroups, gone: {are_gone}");
    }
}

#[test]
fn silent_sources_of_a_header_make_room_for_others_when_they_were_asked() {
    let mut sources = HeaderSources::default();
    let (hash, peer) = (BlockHash::from_byte_array([1; 32]), |netgroup: u32| PeerHandle::new(netgroup, 1));
    let at = |turn: u32| SteadyTime::from_s(turn * header_sources::NEXT_SOURCE_S);
    sources.add(hash, Branch::Fetched, (1..=9).map(peer));
    assert_eq!(sources.next(&hash, |_| true, at(1)), Some(peer(1)));
    sources.add(hash, Branch::Fetched, [peer(10)]);
    let next: Vec<Option<PeerHandle>> = (2..=10).map(|turn| sources.next(&hash, |_| true, at(turn))).collect();
    assert_eq!(next, (2..=8).chain([10, 2]).map(|netgroup| Some(peer(netgroup))).collect::<Vec<_>>());
}

#[test]
fn a_netgroup_has_all_sources_of_a_header_only_while_no_other_needs_one() {
    let hash = BlockHash::from_byte_array([1; 32]);
    let at = |turn: u32| SteadyTime::from_s(turn * header_sources::NEXT_SOURCE_S);
    let mut sources = HeaderSources::default();
    sources.add(hash, Branch::Fetched, (1..=9).map(|serial| PeerHandle::new(1, serial)));
    sources.add(hash, Branch::Fetched, (2..=9).map(|netgroup| PeerHandle::new(netgroup, 1)));
    let next: Vec<Option<PeerHandle>> = (1..=8).map(|turn| sources.next(&hash, |_| true, at(turn))).collect();
    let of_one = |peer: &&Option<PeerHandle>| peer.and_then(PeerHandle::netgroup) == Some(1);
    assert_eq!(next.iter().filter(of_one).count(), 1, "{next:?}");
}

#[test]
fn a_source_of_which_too_many_headers_are_requested_keeps_its_turn() {
    let (hash, peer) = (BlockHash::from_byte_array([1; 32]), |netgroup: u32| PeerHandle::new(netgroup, 1));
    let at = |turn: u32| SteadyTime::from_s(turn * header_sources::NEXT_SOURCE_S);
    let mut sources = HeaderSources::default();
    sources.add(hash, Branch::Gossiped, (1..=8).map(peer));
    assert_eq!(sources.next(&hash, |peer| peer.netgroup() != Some(1), at(1)), Some(peer(2)));
    assert_eq!(sources.next(&hash, |_| false, at(2)), None);
    sources.add(hash, Branch::Gossiped, [peer(9)]);
    assert_eq!(sources.next(&hash, |_| true, at(2)), Some(peer(1)));
}

#[test]
fn a_source_by_gossip_that_gives_the_share_on_request_is_kept_like_any_other() {
    let (hash, peer) = (BlockHash::from_byte_array([1; 32]), |netgroup: u32| PeerHandle::new(netgroup, 1));
    let mut sources = HeaderSources::default();
    sources.add(hash, Branch::Gossiped, (1..=8).map(peer));
    sources.add(hash, Branch::Fetched, [peer(1)]);
    sources.add(hash, Branch::Fetched, (9..=20).map(peer));
    let at = |turn: u32| SteadyTime::from_s(turn * header_sources::NEXT_SOURCE_S);
    assert!((1..=8).any(|turn| sources.next(&hash, |_| true, at(turn)) == Some(peer(1))));
}

#[test]
fn a_full_table_of_headers_is_not_cleared_for_one_that_is_in_it() {
    let (hash, peer) = (
        |number: u16| BlockHash::from_byte_array([number.to_le_bytes(); 16].concat().try_into().unwrap()),
        PeerHandle(9),
    );
    let mut sources = HeaderSources::default();
    (0..1_024).for_each(|number| sources.add(hash(number), Branch::Gossiped, [peer]));
    sources.add(hash(5), Branch::Fetched, [PeerHandle(8)]);
    assert_eq!(sources.next(&hash(6), |_| true, SteadyTime::from_s(9)), Some(peer));
    sources.add(hash(1_024), Branch::Gossiped, [peer]);
    assert_eq!(sources.next(&hash(7), |_| true, SteadyTime::from_s(9)), None);
}

#[test]
fn what_the_block_relay_needs_is_requested_from_its_peer_next() {
    let (hash, peer) = (BlockHash::from_byte_array([1; 32]), |netgroup: u32| PeerHandle::new(netgroup, 1));
    let mut sources = HeaderSources::default();
    sources.add(hash, Branch::Fetched, (1..=8).map(peer));
    sources.add_other(hash, [1, 2, 9].into_iter().map(peer));
    assert_eq!(sources.next(&hash, |_| true, SteadyTime::from_s(5)), Some(peer(9)));
}

/// A peer lists shares on Bitcoin blocks that do not exist while another one's list is fetched.
#[test]
fn the_headers_of_a_list_are_not_requested_from_the_leader_of_another() {
    let (mut cluster, share) = share_on_a_side_block();
    let after = cluster.nodes[1].tip().expect("three shares");
    let mut first_shares = Cluster::solo();
    let junk: Vec<Arc<Share>> = (0..40).map(|number| share_on(&mut first_shares, number)).collect();
    let (honest, hostile) = (PeerHandle::new(1, 1), PeerHandle::new(2, 1));
    cluster.connect_scripted(1, honest, Lister { after, shares: vec![share], shares_s: 28 });
    cluster.connect_scripted(1, hostile, Lister { after, shares: junk, shares_s: 0 });
    cluster.pass(30);
    let requests = &cluster.nodes[1].header_requests;
    let of_honest = requests.iter().filter(|peer| **peer == honest).count();
    assert!(of_honest <= 1, "{of_honest} requests to the other peer, for the header that it named");
    assert!(requests.len() - of_honest >= 4, "{requests:?}");
}

/// A peer that helps to serve a list gives shares, but not the headers that they name.
#[test]
fn the_headers_of_a_fetched_chain_are_requested_from_its_leader_as_well() {
    let (mut cluster, share) = share_on_a_side_block();
    let tree = Rc::new(cluster.nodes[0].tree().snapshot());
    let time = cluster.nodes[0].time;
    let newcomer = cluster.add(Tree::new(params().into()), true, time);
    let (helper, leader) = (PeerHandle::new(1, 1), PeerHandle::new(2, 1));
    cluster.connect_scripted(newcomer, leader, SlowServer { tree: Rc::clone(&tree), gives_headers: true });
    cluster.connect_scripted(newcomer, helper, SlowServer { tree, gives_headers: false });
    cluster.pass_until(120, |cluster| cluster.nodes[newcomer].tip() == Some(share.id()));
    assert_eq!(cluster.nodes[newcomer].header_requests, [leader]);
}

/// A separate candidate forgets blocks that only our own shares name.
#[test]
fn a_block_that_only_a_candidate_lacks_is_given_to_it() {
    let mut cluster = Cluster::new(params());
    cluster.start(false);
    cluster.start(true);
    let header = header_on(&anchor());
    let block = anchor().child(Network::Regtest, header).expect("a valid header");
    for (node, headers) in [(0, vec![header]), (1, Vec::new())] {
        cluster.send(node, Event::BestChain(BestChain { headers, ..best_chain(anchor()) }));
    }
    cluster.send_template(
        0,
        Template { prev_block: header.block_hash(), height: BlockHeight(2), ..(*template()).clone() },
    );
    cluster.mine_many(0, 3);
    let shares: Vec<Arc<Share>> =
        cluster.nodes[0].tree().main_chain().iter().map(|linked| Arc::clone(&linked.share)).collect();
    let (id, now) = (CandidateId(99), cluster.nodes[1].time);
    let chain = &mut cluster.nodes[1].node.chain;
    chain.open_candidate(id, false, now);
    chain.tree_mut().add_anchor(block.clone());
    for share in shares {
        chain.receive_candidate(id, share, Source::Fetch(PeerHandle(0)), now);
    }
    chain.finish_candidate(id, now);
    let result = AnchorResult::Known(Box::new(block));
    cluster.send(1, Event::Anchor(AnchorLookup { hash: header.block_hash(), result }));
    cluster.pass(2);
    assert_eq!(cluster.nodes[1].tip(), cluster.nodes[0].tip());
}

/// The shares of a pool name a block that Bitcoin left 20 blocks ago. A newcomer's bitcoind never had it.
#[test]
fn a_newcomer_fetches_a_long_branch_of_headers_step_by_step() {
    let branch = |len: usize, first_s: u32| {
        let mut blocks = vec![anchor()];
        for _ in 0..len {
            let parent = blocks.last().expect("the genesis block");
            let mut header = header_on(parent);
            // The two branches differ in their first block.
            header.time += if blocks.len() == 1 { first_s } else { 0 };
            while !crate::sharechain::meets_own_bits(&header) {
                header.nonce += 1;
            }
            blocks.push(parent.child(Network::Regtest, header).expect("a valid header"));
        }
        blocks
    };
    let (side, best) = (branch(20, 1), branch(21, 2));
    let headers = |blocks: &[Anchor]| blocks[1..].iter().map(|block| block.header).collect::<Vec<Header>>();
    let mut cluster = Cluster::new(params());
    cluster.start(false);
    cluster.send(0, Event::BestChain(BestChain { headers: headers(&side), ..best_chain(anchor()) }));
    let (prev_block, height) = (side[20].header.block_hash(), BlockHeight(21));
    let min_time = side[20].median_time_past.plus(1);
    cluster.send_template(0, Template { prev_block, height, min_time, ..(*template()).clone() });
    cluster.mine_many(0, 3);
    cluster.send(0, Event::BestChain(BestChain { is_settled: true, root: None, headers: headers(&best) }));
    cluster.bitcoin = Some(best.into_iter().map(|block| (block.header.block_hash(), block)).collect());
    cluster.start(true);
    cluster.connect(0, 1);
    cluster.pass(5);
    assert_eq!(cluster.nodes[1].tip(), cluster.nodes[0].tip());
    assert_eq!(cluster.nodes[1].misbehaviours, []);
    assert_eq!(cluster.nodes[1].header_requests, [PeerHandle(0); 4], "up to 7 headers at a time, 6 of them new");
    assert_eq!(cluster.nodes[1].anchors.len(), 20, "the branch is stored");
}

#[test]
fn a_peer_that_gives_a_header_without_work_is_penalised() {
    let mut cluster = Cluster::solo();
    cluster.mine_many(0, 1);
    let mut header = header_on(&anchor());
    while crate::sharechain::meets_own_bits(&header) {
        header.nonce += 1;
    }
    let (hash, peer) = (header.block_hash(), PeerHandle(8));
    cluster.nodes[0].node.headers.add(hash, Branch::Gossiped, [peer]);
    cluster.send(0, Event::Anchor(AnchorLookup { hash, result: AnchorResult::Unknown }));
    let (_, id) = cluster.requests[&InboundId(cluster.requests_made)];
    let response = Ok(Response::Headers(List::first_of([header])));
    cluster.send(0, Event::Response { peer, id, response });
    assert_eq!(cluster.nodes[0].misbehaviours, [(peer, Misbehaviour::FalseHeader)]);
    assert!(cluster.nodes[0].tree().anchor(&hash).is_none());
}

#[test]
fn headers_that_were_not_requested_are_penalised_and_the_next_source_is_asked() {
    let mut cluster = Cluster::solo();
    cluster.mine_many(0, 1);
    let hash = BlockHash::from_byte_array([7; 32]);
    let peers = [PeerHandle(8), PeerHandle(9)];
    for peer in peers {
        cluster.nodes[0].node.headers.add(hash, Branch::Gossiped, [peer]);
    }
    let unknown = || Event::Anchor(AnchorLookup { hash, result: AnchorResult::Unknown });
    cluster.send(0, unknown());
    cluster.send(0, unknown());
    assert_eq!(cluster.nodes[0].header_requests, [peers[0]], "the other only after a while");
    let headers = Response::Headers(List::first_of([anchor().header]));
    let (_, id) = cluster.requests[&InboundId(cluster.requests_made)];
    cluster.send(0, Event::Response { peer: peers[0], id, response: Ok(headers) });
    assert_eq!(cluster.nodes[0].misbehaviours, [(peers[0], Misbehaviour::Unrequested)]);
    cluster.send(0, unknown());
    assert_eq!(cluster.nodes[0].header_requests, peers);
}

#[test]
fn requests_that_find_no_room_are_forgotten_and_repeated() {
    let mut cluster = Cluster::solo();
    cluster.mine_many(0, 1);
    let hash = BlockHash::from_byte_array([7; 32]);
    cluster.nodes[0].is_network_full = true;
    cluster.nodes[0].node.headers.add(hash, Branch::Gossiped, [PeerHandle(9)]);
    cluster.send(0, Event::Anchor(AnchorLookup { hash, result: AnchorResult::Unknown }));
    assert!(cluster.nodes[0].node.requests.is_empty(), "there will be no response, so nothing would ever remove it");
    cluster.pass(crate::node::headers::NEXT_SOURCE_S);
    cluster.nodes[0].is_network_full = false;
    cluster.send(0, Event::Anchor(AnchorLookup { hash, result: AnchorResult::Unknown }));
    assert_eq!(cluster.nodes[0].header_requests, [PeerHandle(9)], "it got no request: it is still a source");
}

/// A share on the node's next job, but on a Bitcoin block that no node knows. It has its proof of work.
fn share_on(cluster: &mut Cluster, number: u32) -> Arc<Share> {
    let job = cluster.nodes[0].job();
    cluster.nodes[0].work.push_back(WorkUpdate::Job(Arc::clone(&job)));
    let found = solve(&job, job.time, 9);
    let mut share = Share {
        header: deserialize(&found.header).expect("eighty bytes are a header"),
        info: job.info.clone(),
        extranonce: found.extranonce,
        merkle_branch: job.merkle_branch.clone(),
    };
    let mut hash = [7; 32];
    hash[..4].copy_from_slice(&number.to_le_bytes());
    share.header.prev_blockhash = BlockHash::from_byte_array(hash);
    while !job.share_target.is_met_by(&share.id().0) {
        share.header.nonce += 1;
    }
    Arc::new(share)
}

/// Gossips shares on unknown blocks, each on another one, by turns from peers of these netgroups. Returns the last block.
fn flood(cluster: &mut Cluster, netgroups: &[u32], numbers: std::ops::Range<u32>) -> BlockHash {
    let mut last = BlockHash::all_zeros();
    for number in numbers {
        let peer = PeerHandle::new(netgroups[number as usize % netgroups.len()], u64::from(number % 3));
        let share = share_on(cluster, number);
        last = share.header.prev_blockhash;
        cluster.send(0, Event::ShareGossiped { peer, share });
    }
    last
}

#[test]
fn a_flood_of_shares_on_unknown_blocks_causes_few_lookups() {
    let mut cluster = Cluster::solo();
    cluster.mine_many(0, 1);
    cluster.give_template(0);
    let before = cluster.nodes[0].lookups.len();
    let lookups = |cluster: &Cluster| cluster.nodes[0].lookups.len() - before;
    // One netgroup, however many peers it has.
    flood(&mut cluster, &[1], 0..700);
    assert_eq!(lookups(&cluster), 512);
    cluster.pass(20);
    assert!((700..=512 + 40 * 21).contains(&lookups(&cluster)), "{} lookups", lookups(&cluster));
    // Many of them, until nothing is left for all.
    let before = lookups(&cluster);
    flood(&mut cluster, &[2, 3, 4, 5, 6], 700..2_000);
    let spent = lookups(&cluster) - before;
    assert!((900..=1_024).contains(&spent), "{spent} lookups");
    // What an honest peer names then is requested from it, without bitcoind.
    let honest = PeerHandle::new(77, 1);
    cluster.connect_scripted(0, honest, Silent);
    let share = share_on(&mut cluster, 9_999);
    cluster.send(0, Event::ShareGossiped { peer: honest, share });
    assert_eq!(lookups(&cluster) - before, spent);
    assert!(cluster.nodes[0].header_requests.contains(&honest));
    let before = lookups(&cluster);
    cluster.pass(30);
    assert!(lookups(&cluster) - before <= 100 * 30, "{} lookups", lookups(&cluster) - before);
}

#[test]
fn a_block_that_stays_unknown_is_looked_up_once_a_second_and_requested_from_one_peer_after_the_other() {
    let mut cluster = Cluster::solo();
    cluster.mine_many(0, 1);
    cluster.give_template(0);
    let peers = [1, 2, 3].map(|netgroup| PeerHandle::new(netgroup, 1));
    let share = share_on(&mut cluster, 1);
    let hash = share.header.prev_blockhash;
    cluster.send(0, Event::ShareGossiped { peer: peers[0], share });
    for peer in peers {
        cluster.nodes[0].node.headers.add(hash, Branch::Gossiped, [peer]);
    }
    let first = cluster.nodes[0].lookups.len();
    for _ in 0..31 {
        cluster.send(0, Event::Anchor(AnchorLookup { hash, result: AnchorResult::Unknown }));
        cluster.pass(1);
    }
    assert_eq!(cluster.nodes[0].lookups[first..], [hash; 31]);
    assert_eq!(cluster.nodes[0].header_requests, [peers[0], peers[1], peers[2], peers[0]]);
}

/// Only a chain that is fetched may be older than the part of the best chain that is held.
#[test]
fn old_blocks_are_looked_up_for_fetched_shares_only() {
    let mut headers = HeaderSources::default();
    let (peer, now) = (PeerHandle::new(1, 1), SteadyTime::from_s(5));
    for (number, branch, may_be_old) in [(1, Branch::Gossiped, false), (2, Branch::Fetched, true)] {
        let hash = BlockHash::from_byte_array([number; 32]);
        headers.add(hash, branch, [peer]);
        assert_eq!(headers.next_step(&hash, Some(peer), now), NextStep::LookUp { may_be_old });
        assert_eq!(headers.next_step(&hash, Some(peer), now), NextStep::Wait);
        headers.looked_up(&hash, true);
        assert_eq!(headers.next_step(&hash, Some(peer), now), NextStep::AskPeer);
    }
    // Gossip must not hide an old block from a chain that is fetched.
    let hash = BlockHash::from_byte_array([1; 32]);
    headers.add(hash, Branch::Fetched, [peer]);
    assert_eq!(headers.next_step(&hash, Some(peer), now), NextStep::LookUp { may_be_old: true });
}

#[test]
fn few_headers_are_requested_from_one_peer_at_once() {
    let mut cluster = Cluster::solo();
    cluster.mine_many(0, 1);
    let hashes: Vec<BlockHash> = (0..10).map(|number| BlockHash::from_byte_array([number; 32])).collect();
    let unknown = |hash: &BlockHash| Event::Anchor(AnchorLookup { hash: *hash, result: AnchorResult::Unknown });
    let peer = PeerHandle(9);
    for hash in &hashes {
        cluster.nodes[0].node.headers.add(*hash, Branch::Gossiped, [peer]);
        cluster.send(0, unknown(hash));
    }
    assert_eq!(cluster.nodes[0].header_requests, [peer; 4]);
    let (_, id) = cluster.requests[&InboundId(cluster.requests_made)];
    cluster.send(0, Event::Response { peer, id, response: Err(RequestFailed::TimedOut) });
    cluster.pass(crate::node::headers::NEXT_SOURCE_S);
    hashes[4..].iter().for_each(|hash| cluster.send(0, unknown(hash)));
    assert_eq!(cluster.nodes[0].header_requests, [peer; 5]);
}
