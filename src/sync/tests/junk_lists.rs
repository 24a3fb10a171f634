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

/// Lists shares that it serves, at a rate that is no misbehaviour, and others behind them.
struct Lister {
    list: Vec<ShareId>,
    served: HashMap<ShareId, Arc<Share>>,
    start: ShareHeight,
}

impl Lister {
    fn new(served: &[Arc<Share>], behind: impl IntoIterator<Item = ShareId>) -> Self {
        let list = served.iter().map(|share| share.id()).chain(behind).collect();
        let start = served[0].info.share_height;
        Self { list, served: served.iter().map(|share| (share.id(), Arc::clone(share))).collect(), start }
    }

    /// Serves junk, and lists the honest chain behind it.
    fn of_junk(honest: &TestNode, number: u8) -> Self {
        Self::new(&junk(honest, number, 25_000), honest.main_ids().into_iter().chain([ShareId([number; 32])]))
    }
}

impl ScriptedPeer for Lister {
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
                let given = ids.iter().filter_map(|id| self.served.get(id).cloned());
                (if ids.len() > 8 { 38 } else { 0 }, Response::Shares(List::first_of(given)))
            }
            _ => (0, Response::Unknown),
        };
        Some((response.0, Ok(response.1)))
    }
}

/// Junk is any header with work: the rules drop it because its parent is unknown.
fn junk(honest: &TestNode, number: u8, len: usize) -> Vec<Arc<Share>> {
    let first = Share::clone(&honest.chain.tree().main_chain()[50].share);
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
    (0..len).map(junk).collect()
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
    connect(&mut cluster, 66, Lister::of_junk(&theirs, 0xa0));
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
                connect(&mut cluster, 66 + u64::from(number), Lister::of_junk(&theirs, 0xa0 + number));
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

fn honest(theirs: &TestNode) -> Vec<Arc<Share>> {
    theirs.chain.tree().main_chain().iter().map(|share| Arc::clone(&share.share)).collect()
}

/// The tips come first: the peers have all that they are to serve, and nothing of it is left.
#[test]
fn tips_in_front_of_junk_do_not_keep_a_node_from_following_them() {
    let theirs = chain(standard(), 200, 1, 30);
    let list = [&honest(&theirs)[197..], &junk(&theirs, 0xa0, 25_000)].concat();
    let mut cluster = node(&copy(&theirs, 0), theirs.now);
    connect(&mut cluster, 66, Lister::new(&list, []));
    cluster.pass(2);
    (1..=5).for_each(|peer| connect(&mut cluster, peer, Remote::new(&theirs, Manner::Honest)));
    let reached = (0..2 * 3_600).find(|_| {
        cluster.pass(1);
        cluster.nodes[0].tree().contains(&tip(&theirs).expect("it has one"))
    });
    assert!(reached.is_some_and(|seconds| seconds <= 125), "{reached:?}");
}

/// A fifth is junk, less than a peer may lack. Without the genesis share no honest one is linked. A new stranger comes every 80
/// seconds, while three lists before it are served.
#[test]
fn lists_with_a_fifth_of_junk_do_not_keep_a_node_from_following_others() {
    let theirs = chain(standard(), 2_000, 1, 30);
    let mixer = |number: u8| {
        let junk = junk(&theirs, number, 500);
        Lister::new(&[&junk[..498], &honest(&theirs)[1..], &junk[498..499]].concat(), [])
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
