//! Lists that hold the tips of other peers, or their shares, among others that lead nowhere.

use std::collections::HashMap;
use std::sync::Arc;

use bitcoin::hashes::Hash as _;
use bitcoin::TxMerkleNode;

use super::support::{chain, connect, copy, mine, node, tip, Manner, Remote};
use crate::node::tests_support::ScriptedPeer;
use crate::node::Event;
use crate::params::{ChainParams, Network};
use crate::peer::{PeerHandle, RequestFailed};
use crate::share::{Share, ShareId};
use crate::sharechain::tests_support::{grind, TestNode};
use crate::sync::serve;
use crate::units::{ShareHeight, UnixTime, Work};
use crate::wire::{Agent, List, Request, Response};

/// Lists junk, and behind it the shares of the honest chain. It serves the junk, at a rate that is no misbehaviour.
struct JunkLister {
    tip: ShareId,
    list: Vec<ShareId>,
    junk: Vec<Arc<Share>>,
}

impl JunkLister {
    /// Junk is any header with work: the rules drop it because its parent is unknown.
    fn new(honest: &TestNode, number: u8, len: usize) -> Self {
        let tree = honest.chain.tree();
        let first = Share::clone(&tree.main_chain()[50].share);
        let junk = |at: usize| {
            let mut share = first.clone();
            let mut root = [number; 32];
            root[..8].copy_from_slice(&at.to_le_bytes());
            share.header.merkle_root = TxMerkleNode::from_byte_array(root);
            share.info.parent = ShareId([0xdd; 32]);
            // The last one ends the list before the honest shares, and no peer is blamed for it.
            if at + 1 == len {
                (share.info.rules_version, share.info.signal) = (200, 200);
            }
            Arc::new(grind(share))
        };
        let junk: Vec<Arc<Share>> = (0..len).map(junk).collect();
        let list =
            junk.iter().map(|share| share.id()).chain(honest.main_ids()).chain([ShareId([number; 32])]).collect();
        Self { tip: ShareId([number; 32]), list, junk }
    }
}

impl ScriptedPeer for JunkLister {
    fn respond(&mut self, request: &Request, now: UnixTime) -> Option<(u32, Result<Response, RequestFailed>)> {
        let response = match request {
            Request::Status => {
                let mut status =
                    serve::status(&crate::sharechain::Tree::new(Arc::new(standard())), now, Agent::default());
                (status.tip, status.chain_work) = (self.tip, Work(1 << 100));
                (0, Response::Status(status))
            }
            Request::Inventory { locator } => {
                let at = locator.iter().find_map(|id| self.list.iter().position(|listed| listed == id));
                // A list from its start, and pages of the same list; the longest list's end is among the ids.
                let is_page = locator.len() == 1;
                let from = at.filter(|_| is_page).map_or(0, |at| at + 1);
                let after = if is_page && from > 0 { self.list[from - 1] } else { ShareId::ZERO };
                let ids = List::first_of(self.list[from..].iter().copied().take(8_000));
                let more = from + 8_000 < self.list.len();
                (0, Response::Inventory { after, start_height: ShareHeight(50), ids, more })
            }
            Request::Shares { ids } => {
                let given = ids.iter().filter_map(|id| {
                    let at = self.list.iter().position(|listed| listed == id)?;
                    self.junk.get(at).cloned()
                });
                (38, Response::Shares(List::first_of(given)))
            }
            _ => (0, Response::Unknown),
        };
        Some((response.0, Ok(response.1)))
    }
}

fn standard() -> ChainParams {
    ChainParams::standard(Network::Regtest)
}

/// The stranger connects after the honest peer, whose list is on its way.
#[test]
fn a_list_that_comes_before_an_honest_one_does_not_swallow_it() {
    let theirs = chain(standard(), 200, 1, 30);
    let mut cluster = node(&copy(&theirs, 180), theirs.now);
    (1..=5).for_each(|peer| connect(&mut cluster, peer, Remote::new(&theirs, Manner::Slow(5))));
    cluster.pass(6);
    assert_eq!(cluster.fetches, 6, "five statuses and the list");
    connect(&mut cluster, 66, JunkLister::new(&theirs, 0xa0, 25_000));
    let reached = (0..1_800).find(|_| {
        cluster.pass(1);
        cluster.nodes[0].tip() == tip(&theirs)
    });
    assert!(reached.is_some_and(|seconds| seconds <= 15), "{reached:?}");
}

/// A node that comes back after ten minutes, or without a chain, when two strangers without any hash rate are connected.
#[test]
fn lists_that_contain_the_tips_of_others_do_not_keep_a_node_from_following_them() {
    let theirs = chain(standard(), 200, 1, 30);
    let mut results = Vec::new();
    for held in [180, 0] {
        // A minute until the others are checked. Six strangers occupy all plans, of which the slowest is dropped after five.
        for (listers, max_s) in [(0, 5), (2, 70), (6, 420)] {
            let mut cluster = node(&copy(&theirs, held), theirs.now);
            for number in 0..listers {
                connect(&mut cluster, 66 + u64::from(number), JunkLister::new(&theirs, 0xa0 + number, 25_000));
                // The second begins its list when the first has served half of its own.
                cluster.pass(if number == 0 { 960 } else { 2 });
            }
            (1..=5).for_each(|peer| connect(&mut cluster, peer, Remote::new(&theirs, Manner::Honest)));
            // A share that every honest peer relays.
            let mut extended = copy(&theirs, 200);
            mine(&mut extended, 1, 1, 30);
            let newest = Arc::clone(&extended.chain.tree().tip().expect("it was mined").share);
            let mut reached = None;
            for second in 0..3 * 3_600 {
                if second == 60 {
                    cluster.send(0, Event::ShareGossiped { peer: PeerHandle(3), share: Arc::clone(&newest) });
                    cluster.deliver();
                }
                if cluster.nodes[0].tree().contains(&tip(&theirs).expect("it has one")) {
                    reached = Some(second);
                    break;
                }
                cluster.pass(1);
            }
            results.push((held, listers, reached, max_s));
        }
    }
    assert!(results.iter().all(|(.., reached, max_s)| reached.is_some_and(|seconds| seconds <= *max_s)), "{results:?}");
}

/// Lists shares of the honest chain and junk, and serves both, at a rate that is no misbehaviour.
struct Mixer {
    list: Vec<ShareId>,
    shares: HashMap<ShareId, Arc<Share>>,
    start: ShareHeight,
}

impl Mixer {
    fn new(list: Vec<Arc<Share>>) -> Self {
        let shares = list.iter().map(|share| (share.id(), Arc::clone(share))).collect();
        Self { list: list.iter().map(|share| share.id()).collect(), shares, start: list[0].info.share_height }
    }
}

impl ScriptedPeer for Mixer {
    fn respond(&mut self, request: &Request, now: UnixTime) -> Option<(u32, Result<Response, RequestFailed>)> {
        let response = match request {
            Request::Status => {
                let mut status =
                    serve::status(&crate::sharechain::Tree::new(Arc::new(standard())), now, Agent::default());
                (status.tip, status.chain_work) = (*self.list.last().unwrap(), Work(1 << 100));
                (0, Response::Status(status))
            }
            Request::Inventory { locator } => {
                let at = match &locator[..] {
                    [last] => self.list.iter().position(|id| id == last),
                    _ => None,
                };
                let (after, from) = at.map_or((ShareId::ZERO, 0), |at| (self.list[at], at + 1));
                let ids = List::first_of(self.list[from..].iter().copied().take(8_000));
                let more = from + 8_000 < self.list.len();
                (0, Response::Inventory { after, start_height: self.start, ids, more })
            }
            Request::Shares { ids } => {
                let given = ids.iter().filter_map(|id| self.shares.get(id).cloned());
                (if ids.len() > 8 { 38 } else { 0 }, Response::Shares(List::first_of(given)))
            }
            _ => (0, Response::Unknown),
        };
        Some((response.0, Ok(response.1)))
    }
}

/// Seconds until a node follows five honest peers; strangers connect before them, the second in half of the first's time.
fn reached_in(theirs: &TestNode, lists: Vec<Vec<Arc<Share>>>, gap_s: u32, max_s: u32) -> Option<u32> {
    let mut cluster = node(&copy(theirs, 0), theirs.now);
    for (number, list) in lists.into_iter().enumerate() {
        connect(&mut cluster, 66 + number as u64, Mixer::new(list));
        cluster.pass(gap_s);
    }
    (1..=5).for_each(|peer| connect(&mut cluster, peer, Remote::new(theirs, Manner::Honest)));
    (0..max_s).find(|_| {
        cluster.pass(1);
        cluster.nodes[0].tree().contains(&tip(theirs).expect("it has one"))
    })
}

fn honest(theirs: &TestNode) -> Vec<Arc<Share>> {
    theirs.chain.tree().main_chain().iter().map(|share| Arc::clone(&share.share)).collect()
}

/// The tips come first: the peers have all that they are to serve, and nothing of it is left.
#[test]
fn tips_in_front_of_junk_do_not_keep_a_node_from_following_them() {
    let theirs = chain(standard(), 200, 1, 30);
    let list = [&honest(&theirs)[197..], &JunkLister::new(&theirs, 0xa0, 25_000).junk].concat();
    let reached = reached_in(&theirs, vec![list], 2, 2 * 3_600);
    assert!(reached.is_some_and(|seconds| seconds <= 125), "{reached:?}");
}

/// A fifth is junk, less than a peer may lack. Without the genesis share no honest one is linked. A new stranger comes every 80
/// seconds, while three lists before it are served.
#[test]
fn lists_with_a_fifth_of_junk_do_not_keep_a_node_from_following_others() {
    let theirs = chain(standard(), 2_000, 1, 30);
    let mixer = |number: u8| {
        let junk = JunkLister::new(&theirs, number, 500).junk;
        Mixer::new([&junk[..498], &honest(&theirs)[1..], &junk[498..499]].concat())
    };
    let mut cluster = node(&copy(&theirs, 0), theirs.now);
    for number in 0..3 {
        connect(&mut cluster, 66 + u64::from(number), mixer(number));
        cluster.pass(80);
    }
    (1..=5).for_each(|peer| connect(&mut cluster, peer, Remote::new(&theirs, Manner::Honest)));
    let reached = (0..3_600).find(|second| {
        if second % 80 == 0 {
            let number = 3 + (second / 80) as u8;
            connect(&mut cluster, 66 + u64::from(number), mixer(number));
        }
        cluster.pass(1);
        cluster.nodes[0].tree().contains(&tip(&theirs).expect("it has one"))
    });
    assert!(reached.is_some_and(|seconds| seconds <= 300), "{reached:?}");
}
