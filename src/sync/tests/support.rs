//! Chains of real shares, peers that serve them honestly or not, and nodes that meet those peers.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use bitcoin::BlockHash;

use crate::node::tests_support::{Cluster, ScriptedPeer};
use crate::params::ChainParams;
use crate::peer::PeerHandle;
use crate::peer::RequestFailed;
use crate::share::{Share, ShareId};
use crate::sharechain::tests_support::{anchor_at, script, TestNode, START};
use crate::sharechain::{Anchor, Tree, Verdict};
use crate::sync::serve;
use crate::sync::SyncState;
use crate::units::{ShareHeight, SteadyTime, UnixTime};
use crate::wire::{Agent, List, Request, Response};

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
    /// Responds after this many seconds.
    Slow(u32),
    /// Loses this percentage of its responses.
    Lossy(u64),
    /// Never responds.
    Mute,
    /// Claims a thousand times its work and lists ids that do not exist.
    Boaster,
    /// Gives other shares than those requested.
    Substitute,
    /// Changes the payee of every share it gives; the proof of work stays valid.
    Forger,
    /// Gives every share as one of unknown rules; the proof of work stays valid.
    Newer,
    /// Gives every share with another parent; the proof of work stays valid.
    Orphaner,
    /// Gives every share with another block height, which may be bad luck; the proof of work stays valid.
    Unlucky,
    /// Responds that it has none of the shares it listed.
    Empty,
    /// Responds to everything that it is busy.
    Busy,
    /// Serves its chain, claims a thousand times its work and lists ids behind it that do not exist.
    Bait,
}

/// Seconds between Bitcoin blocks. They are short, as the windows of these chains are.
const BLOCK_EVERY_S: u32 = 60;
/// Number of Bitcoin blocks.
const BLOCKS: u32 = 9_000;

/// All Bitcoin blocks.
pub static ANCHORS: LazyLock<HashMap<BlockHash, Anchor>> = LazyLock::new(|| {
    let all = (0..BLOCKS).map(|n| anchor_at(100 + n, START.plus(BLOCK_EVERY_S * n)));
    all.map(|anchor| (anchor.header.block_hash(), anchor)).collect()
});

/// Returns the newest Bitcoin block at a time.
fn block_at(now: UnixTime) -> Anchor {
    let number = now.since(START) / BLOCK_EVERY_S;
    assert!(number < BLOCKS);
    anchor_at(100 + number, START.plus(BLOCK_EVERY_S * number))
}

/// Mines `len` more shares, one every `period_s` seconds, each on the newest Bitcoin block.
pub fn mine(test_node: &mut TestNode, len: u32, miner: u8, period_s: u32) {
    test_node.miner = script(miner);
    for _ in 0..len {
        test_node.now = test_node.now.plus(period_s);
        test_node.anchor = block_at(test_node.now);
        test_node.chain.tree_mut().add_anchor(test_node.anchor.clone());
        let share = test_node.next();
        assert_eq!(test_node.give(&share), Verdict::Accepted);
    }
}

/// Mines a new chain.
pub fn chain(params: ChainParams, len: u32, miner: u8, period_s: u32) -> TestNode {
    let mut test_node = TestNode::with(params);
    mine(&mut test_node, len, miner, period_s);
    test_node
}

/// Returns another node with the first `len` shares of the main chain.
pub fn copy(of: &TestNode, len: usize) -> TestNode {
    let theirs = of.chain.tree();
    let mut tree = Tree::new(Arc::clone(theirs.params()));
    theirs.headers().iter().for_each(|anchor| tree.add_anchor(anchor.clone()));
    for node in &theirs.main_chain()[..len] {
        tree.restore(Arc::clone(&node.share), node.verified);
    }
    let now = tree.tip().map_or(START.plus(60), |tip| tip.share.time());
    TestNode::of(tree, now, block_at(now))
}

/// Prunes all shares that a node need not keep.
pub fn pruned(mut of: TestNode) -> TestNode {
    of.chain.tree_mut().prune(std::iter::empty());
    of
}

/// Starts a node that looks for peers, with this tree. Its bitcoind knows all Bitcoin blocks.
pub fn start(tree: Tree, time: UnixTime) -> Cluster {
    let mut cluster = Cluster::new((**tree.params()).clone());
    cluster.bitcoin = Some(ANCHORS.clone());
    cluster.add(tree, true, time);
    cluster
}

/// Starts such a node without a chain.
pub fn newcomer(params: ChainParams, time: UnixTime) -> Cluster {
    start(Tree::new(Arc::new(params)), time)
}

/// A peer with a chain.
pub struct Remote {
    tree: Tree,
    manner: Manner,
    rng: Rng,
}

impl Remote {
    pub fn new(test_node: &TestNode, manner: Manner) -> Self {
        Self::with_tree(test_node.chain.tree().snapshot(), manner, 1)
    }

    /// The seed decides which responses a lossy peer loses.
    pub fn with_tree(tree: Tree, manner: Manner, seed: u64) -> Self {
        Self { tree, manner, rng: Rng::new(seed) }
    }

    fn response(&self, request: &Request, now: UnixTime) -> Response {
        let response = match request {
            Request::Status => {
                let mut status = serve::status(&self.tree, now, Agent::default());
                if matches!(self.manner, Manner::Boaster | Manner::Bait) {
                    status.tip = ShareId([0xee; 32]);
                    status.chain_work.0 = status.chain_work.0.saturating_mul(1_000) + 1_000;
                }
                Response::Status(status)
            }
            Request::Inventory { .. } if self.manner == Manner::Boaster => Response::Inventory {
                after: ShareId::ZERO,
                start_height: ShareHeight(7),
                ids: List::first_of((1..=200u8).map(|n| ShareId([n; 32]))),
                more: false,
            },
            Request::Inventory { locator } if self.manner == Manner::Bait => {
                with_junk(serve::inventory(&self.tree, locator))
            }
            Request::Inventory { locator } => serve::inventory(&self.tree, locator),
            Request::Shares { .. } if self.manner == Manner::Empty => Response::Unknown,
            Request::Shares { .. } if self.manner == Manner::Substitute => {
                serve::shares(&self.tree, &[self.tree.main_chain()[0].id])
            }
            Request::Shares { ids } => serve::shares(&self.tree, ids),
            Request::Headers { .. } | Request::BlockTransactions { .. } | Request::Envelopes { .. } => {
                Response::Unknown
            }
        };
        match (self.manner, response) {
            (Manner::Forger, Response::Shares(shares)) => edited(&shares, |share| {
                share.info.payout_script = script(0xff);
            }),
            (Manner::Newer, Response::Shares(shares)) => edited(&shares, |share| {
                (share.info.rules_version, share.info.signal) = (200, 200);
            }),
            (Manner::Unlucky, Response::Shares(shares)) => edited(&shares, |share| {
                share.info.block_height.0 += 1;
            }),
            (Manner::Orphaner, Response::Shares(shares)) => edited(&shares, |share| {
                share.info.parent = ShareId([7; 32]);
            }),
            (Manner::Busy, _) => Response::Busy,
            (Manner::Bait, Response::Shares(shares)) if shares.is_empty() => Response::Busy,
            (_, response) => response,
        }
    }
}

/// A list with ids behind it that do not exist.
fn with_junk(response: Response) -> Response {
    let Response::Inventory { after, start_height, ids, more } = response else { return response };
    let junk = (1..=200u8).map(|n| ShareId([n; 32]));
    Response::Inventory { after, start_height, ids: List::first_of(ids.iter().copied().chain(junk)), more }
}

/// A response with copies of these shares, each with the same edit.
fn edited(shares: &[Arc<Share>], edit: impl Fn(&mut Share)) -> Response {
    Response::Shares(List::first_of(shares.iter().map(|share| {
        let mut copy = (**share).clone();
        edit(&mut copy);
        Arc::new(copy)
    })))
}

impl ScriptedPeer for Remote {
    fn respond(&mut self, request: &Request, now: UnixTime) -> Option<(u32, Result<Response, RequestFailed>)> {
        match self.manner {
            Manner::Mute => None,
            Manner::Slow(seconds) => Some((seconds, Ok(self.response(request, now)))),
            // Half of the losses are noticed: the connection breaks.
            Manner::Lossy(percent) if self.rng.below(100) < percent => match self.rng.below(2) {
                0 => None,
                _ => Some((1, Err(RequestFailed::Refused))),
            },
            _ => Some((0, Ok(self.response(request, now)))),
        }
    }
}

/// Starts a node with this chain.
pub fn node(test_node: &TestNode, time: UnixTime) -> Cluster {
    start(test_node.chain.tree().snapshot(), time)
}

pub fn tip(test_node: &TestNode) -> Option<ShareId> {
    test_node.chain.tree().tip().map(|tip| tip.id)
}

pub fn connect(cluster: &mut Cluster, peer: u64, remote: impl ScriptedPeer + 'static) {
    cluster.connect_scripted(0, PeerHandle(peer), remote);
}

pub fn disconnect(cluster: &mut Cluster, peer: u64) {
    cluster.disconnect_scripted(0, PeerHandle(peer));
}

pub fn sync_state(cluster: &Cluster) -> SyncState<SteadyTime> {
    cluster.nodes[0].node.sync_state()
}
