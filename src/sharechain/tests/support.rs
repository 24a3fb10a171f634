//! A test node that mines real shares at regtest's easiest target, two hashes each.

use std::sync::Arc;

use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash as _;
use bitcoin::{BlockHash, CompactTarget, TxMerkleNode};

use crate::params::{ChainParams, Network};
use crate::peer::PeerHandle;
use crate::share::coinbase::{fold_merkle_branch, Coinbase, Payout};
use crate::share::{PayoutScript, Share, ShareId};
use crate::sharechain::bitcoin_difficulty::PeriodStart;
use crate::sharechain::next_share::next_share_on;
use crate::sharechain::{Anchor, BestChain, Effect, RecentTimes, Rule, Sharechain, Source, Tree, Verdict};
use crate::units::{Bits, BlockHeight, Sats, UnixTime};
use crate::work::{Finder, NextBlock, NextShare};

pub const START: UnixTime = UnixTime(1_700_000_000);
pub const BITS: Bits = Bits(0x207f_ffff);
pub const PEER: Source = Source::Fetch(PeerHandle(1));

/// The payout script of a miner.
pub fn script(number: u8) -> PayoutScript {
    PayoutScript::new(&[&[0x00, 0x14][..], &[number; 20]].concat()).unwrap()
}

pub fn params() -> ChainParams {
    ChainParams { payout_window: 20, retarget_window: 8, ..ChainParams::standard(Network::Regtest) }
}

/// A Bitcoin block at `height`, mined `(height - 100) * 10` minutes after the start.
pub fn anchor(height: u32) -> Anchor {
    anchor_at(height, START.plus(600 * (height - 100)))
}

/// A Bitcoin block at `height`, mined at `time`.
pub fn anchor_at(height: u32, time: UnixTime) -> Anchor {
    let header = Header {
        version: Version::from_consensus(0x2000_0000),
        prev_blockhash: BlockHash::all_zeros(),
        merkle_root: TxMerkleNode::all_zeros(),
        time: time.0,
        bits: CompactTarget::from_consensus(BITS.0),
        nonce: height,
    };
    anchor_of(header, height, time.minus(3_600))
}

/// A Bitcoin block of regtest with this median time past, which is not after the header's time.
pub fn anchor_of(header: Header, height: u32, median_time_past: UnixTime) -> Anchor {
    let times = RecentTimes::new(std::iter::once(UnixTime(header.time)).chain([median_time_past; 10]));
    let bits = Bits(header.bits.to_consensus());
    let period_start = PeriodStart { time: median_time_past, bits };
    Anchor::new(Network::Regtest, header, BlockHeight(height), times, period_start, bits)
}

/// The report of a bitcoind that has caught up and whose best chain is this block.
pub fn best_chain(tip: Anchor) -> BestChain {
    BestChain { is_settled: true, root: Some(Box::new(tip)), headers: Vec::new() }
}

/// A sharechain with a clock, a current anchor and a miner.
pub struct TestNode {
    pub chain: Sharechain,
    pub now: UnixTime,
    pub anchor: Anchor,
    pub miner: PayoutScript,
    pub outputs_vote: u8,
    pub signal: u8,
}

impl TestNode {
    pub fn new() -> Self {
        Self::with(params())
    }

    pub fn with(params: ChainParams) -> Self {
        let mut tree = Tree::new(Arc::new(params));
        tree.headers_mut().follow(best_chain(anchor(100)));
        Self::of(tree, START.plus(60), anchor(100))
    }

    /// A node that holds these shares and mines on this Bitcoin block.
    pub fn of(tree: Tree, now: UnixTime, anchor: Anchor) -> Self {
        let signal = tree.params().rules_version_known;
        Self { chain: Sharechain::new(tree), now, anchor, miner: script(1), outputs_vote: 0, signal }
    }

    /// A node whose chain is `shares` long.
    pub fn with_chain(shares: u32) -> Self {
        let mut node = Self::new();
        node.extend(shares);
        node
    }

    /// A node with these shares, which knows the given one's anchors.
    pub fn following(other: &Self, shares: &[Arc<Share>]) -> Self {
        let mut node = Self::with((**other.chain.tree().params()).clone());
        other.chain.tree().headers().iter().for_each(|anchor| node.chain.tree_mut().add_anchor(anchor.clone()));
        shares.iter().for_each(|share| assert_eq!(node.give_at(share), Verdict::Accepted));
        node.anchor = other.anchor.clone();
        node
    }

    /// Mines shares on the tip, one every share period.
    pub fn extend(&mut self, shares: u32) {
        for _ in 0..shares {
            self.now = self.now.plus(self.chain.tree().params().share_period_s);
            let share = self.next();
            assert_eq!(self.give(&share), Verdict::Accepted);
        }
    }

    pub fn tip(&self) -> ShareId {
        self.chain.tree().tip().map(|tip| tip.id).unwrap_or_default()
    }

    /// The ids of the main chain, oldest first.
    pub fn main_ids(&self) -> Vec<ShareId> {
        self.chain.tree().main_chain().iter().map(|linked| linked.id).collect()
    }

    /// The shares of the main chain, oldest first.
    pub fn main_shares(&self) -> Vec<Arc<Share>> {
        self.chain.tree().main_chain().iter().map(|linked| Arc::clone(&linked.share)).collect()
    }

    /// Returns an honest share on the tip.
    pub fn next(&mut self) -> Share {
        let tip = self.tip();
        self.on(&tip)
    }

    /// Returns an honest share on any share that is held.
    pub fn on(&mut self, parent: &ShareId) -> Share {
        self.edited(parent, |_| ())
    }

    /// Returns a share with edited facts. Its coinbase commits to them and pays accordingly.
    pub fn edited(&mut self, parent: &ShareId, edit: impl FnOnce(&mut Share)) -> Share {
        self.paying(parent, edit, |_| ())
    }

    /// Like [`Self::edited`], with edited payouts.
    pub fn paying(
        &mut self,
        parent: &ShareId,
        edit: impl FnOnce(&mut Share),
        edit_payouts: impl FnOnce(&mut Vec<Payout>),
    ) -> Share {
        let finder = self.finder();
        let tree = self.chain.tree_mut();
        let block = NextBlock { height: BlockHeight(self.anchor.height.0 + 1), bits: BITS };
        let facts = next_share_on(tree, parent, block, self.now, &finder);
        let mut share = draft(&facts, &self.anchor, self.now.max(facts.min_time));
        edit(&mut share);
        let mut payouts = tree.payouts(&share.info, BITS).unwrap_or_default();
        edit_payouts(&mut payouts);
        mine(&tree.chain_id().clone(), share, &payouts)
    }

    fn finder(&self) -> Finder {
        Finder { signal: self.signal, outputs_vote: self.outputs_vote, ..Finder::new(self.miner) }
    }

    /// Receives a share from a peer and returns its last verdict.
    pub fn give(&mut self, share: &Share) -> Verdict {
        self.give_from(share, PEER)
    }

    /// Like [`Self::give`], not before the share's own time.
    pub fn give_at(&mut self, share: &Share) -> Verdict {
        self.now = self.now.max(share.time());
        self.give(share)
    }

    pub fn give_from(&mut self, share: &Share, source: Source) -> Verdict {
        let effects = self.effects_from(share, source);
        verdict_on(&effects, share)
    }

    pub fn effects(&mut self, share: &Share) -> Vec<Effect> {
        self.effects_from(share, PEER)
    }

    fn effects_from(&mut self, share: &Share, source: Source) -> Vec<Effect> {
        self.chain.receive(Arc::new(share.clone()), source, self.now)
    }
}

/// Returns the last verdict on a share among effects.
pub fn verdict_on(effects: &[Effect], share: &Share) -> Verdict {
    let digest = share.digest();
    effects
        .iter()
        .rev()
        .find_map(|effect| match effect {
            Effect::Verdict { digest: of, verdict, .. } if *of == digest => Some(verdict.clone()),
            _ => None,
        })
        .expect("every share received gets a verdict")
}

/// Asserts that the verdict rejects a share by this rule.
#[track_caller]
pub fn assert_breaks(verdict: &Verdict, rule: Rule) {
    match verdict {
        Verdict::Rejected { rule: broken, .. } if *broken == rule => {}
        other => panic!("expected a share rejected by rule {rule:?}, got {other:?}"),
    }
}

fn draft(facts: &NextShare, anchor: &Anchor, time: UnixTime) -> Share {
    Share {
        header: Header {
            version: Version::from_consensus(0x2000_0000),
            prev_blockhash: anchor.header.block_hash(),
            merkle_root: TxMerkleNode::all_zeros(),
            time: time.0,
            bits: CompactTarget::from_consensus(BITS.0),
            nonce: 0,
        },
        info: facts.info(BlockHeight(anchor.height.0 + 1), Sats(5_000_001_000), [7; 32]).unwrap(),
        extranonce: [3; 12],
        merkle_branch: vec![[5; 32]; 3],
    }
}

/// Sets the merkle root for these payouts and finds a nonce.
fn mine(chain_id: &crate::params::ChainId, mut share: Share, payouts: &[Payout]) -> Share {
    let coinbase = Coinbase::new(chain_id, &share.info, payouts);
    let root = fold_merkle_branch(coinbase.txid(&share.extranonce), &share.merkle_branch);
    share.header.merkle_root = TxMerkleNode::from_byte_array(root);
    grind(share)
}

/// Finds a nonce for the header. An invalid target counts as the easiest.
pub fn grind(mut share: Share) -> Share {
    let target = share.info.share_bits.target().unwrap_or(crate::units::Target::MAX);
    while !target.is_met_by(&share.id().0) {
        share.header.nonce += 1;
    }
    share
}
