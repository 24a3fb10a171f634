//! Shares that follow the rules in their info, coinbase and proof of work, except for what a test makes invalid.

use std::cmp::Reverse;
use std::sync::Arc;

use bitcoin::block::{Header, Version};
use bitcoin::consensus::deserialize;
use bitcoin::hashes::{sha256, Hash as _};
use bitcoin::{Block, CompactTarget, Transaction, TxMerkleNode};
use p2pool_core::params::{ChainParams, Network};
use p2pool_core::share::coinbase::{fold_merkle_branch, Coinbase, Payout};
use p2pool_core::share::{PayoutScript, Share, ShareId, ShareInfo};
use p2pool_core::sharechain::{next_share, subsidy, Anchor, Tree};
use p2pool_core::units::{Bits, BlockHeight, Target, UnixTime};
use p2pool_core::work::{Finder, NextBlock};

/// Returns the chain parameters of the tests: short windows on a signet whose blocks need no signature.
pub fn params(share_period_s: u32, payout_window: u32, retarget_window: u32) -> ChainParams {
    ChainParams {
        signet_challenge: vec![0x51],
        share_period_s,
        payout_window,
        retarget_window,
        ..ChainParams::standard(Network::Signet)
    }
}

/// Returns a P2WPKH script whose key is unknown, a different one for each number.
pub fn script(number: u32) -> PayoutScript {
    let program = sha256::Hash::hash(&number.to_le_bytes());
    PayoutScript::new(&[&[0x00, 0x14][..], &program.as_byte_array()[..20]].concat()).unwrap()
}

/// Builds shares on shares that it knows.
pub struct Forge {
    params: Arc<ChainParams>,
    /// Anchor of the shares that are built.
    pub anchor: Anchor,
    /// Payout script of the shares that are built.
    pub payee: PayoutScript,
    /// Time of the shares that are built.
    pub now: UnixTime,
    shares: Vec<Arc<Share>>,
    made: u64,
}

impl Forge {
    /// A forge without shares.
    pub fn new(params: ChainParams, anchor: Anchor, now: UnixTime) -> Self {
        Self { params: Arc::new(params), anchor, payee: script(666), now, shares: Vec::new(), made: 0 }
    }

    /// Adds a share that others can be built on. Its parent and uncles must have been added before.
    pub fn add(&mut self, share: &Arc<Share>) {
        if self.get(&share.id()).is_none() {
            self.shares.push(Arc::clone(share));
        }
    }

    /// Removes a share.
    pub fn remove(&mut self, id: &ShareId) {
        self.shares.retain(|share| share.id() != *id);
    }

    /// Returns a share that was added.
    pub fn get(&self, id: &ShareId) -> Option<&Arc<Share>> {
        self.shares.iter().rev().find(|share| share.id() == *id)
    }

    /// Returns the id of the best share; zero if there is none.
    pub fn tip(&self) -> ShareId {
        let ranks = self.shares.iter().map(|share| (share.info.chain_work, Reverse(share.id())));
        ranks.max().map_or(ShareId::ZERO, |(_, Reverse(id))| id)
    }

    /// Builds a valid share on a parent, or a genesis share on zero.
    pub fn build(&mut self, parent: &ShareId) -> Share {
        self.build_edited(parent, |_| ())
    }

    /// Builds a share that is edited before its payouts and commitment are computed.
    pub fn build_edited(&mut self, parent: &ShareId, edit: impl FnOnce(&mut Share)) -> Share {
        self.build_paying(parent, edit, |_| ())
    }

    /// Builds a share whose payouts are edited too.
    pub fn build_paying(
        &mut self,
        parent: &ShareId,
        edit: impl FnOnce(&mut Share),
        edit_payouts: impl FnOnce(&mut Vec<Payout>),
    ) -> Share {
        let mut tree = self.tree(parent);
        let mut share = self.draft(&mut tree);
        edit(&mut share);
        let bits = Bits(share.header.bits.to_consensus());
        let payouts = tree.payouts(&ShareInfo { parent: *parent, ..share.info.clone() }, bits);
        // Above an invalid base the payout window is not known.
        let only_finder = || vec![Payout { script: share.info.payout_script, amount: share.info.coinbase_value }];
        let mut payouts = payouts.unwrap_or_else(|_| only_finder());
        edit_payouts(&mut payouts);
        let coinbase = Coinbase::new(&self.params.chain_id(), &share.info, &payouts);
        let root = fold_merkle_branch(coinbase.txid(&share.extranonce), &share.merkle_branch);
        share.header.merkle_root = TxMerkleNode::from_byte_array(root);
        grind(share)
    }

    /// Builds a Bitcoin block that is a share, with at most one transaction beside its coinbase.
    pub fn build_block(&mut self, parent: &ShareId, transaction: Option<&Transaction>) -> Block {
        let mut paid = Vec::new();
        let wtxids = transaction.map(|transaction| transaction.compute_wtxid().to_byte_array());
        let witness_root = wtxids.map_or([0; 32], |wtxid| fold_merkle_branch([0; 32], &[wtxid]));
        let edit = |share: &mut Share| {
            share.info.witness_commitment = fold_merkle_branch(witness_root, &[[0; 32]]);
            let txids = transaction.map(|transaction| transaction.compute_txid().to_byte_array());
            share.merkle_branch = txids.into_iter().collect();
        };
        let mut share = self.build_paying(parent, edit, |payouts| paid.clone_from(payouts));
        share.header = grind_header(share.header, self.anchor.next_bits.target().unwrap());
        let coinbase = Coinbase::new(&self.params.chain_id(), &share.info, &paid).with_witness(&share.extranonce);
        let txdata = std::iter::once(deserialize(&coinbase).unwrap()).chain(transaction.cloned()).collect();
        let block = Block { header: share.header, txdata };
        assert!(block.check_merkle_root() && block.check_witness_commitment());
        block
    }

    /// Returns a tree of a share with its ancestors and their uncles. It has no siblings, which would become uncles.
    fn tree(&self, top: &ShareId) -> Tree {
        let mut tree = Tree::new(Arc::clone(&self.params));
        tree.add_anchor(self.anchor.clone());
        let mut needed = vec![*top];
        for share in self.shares.iter().rev() {
            if needed.contains(&share.id()) {
                needed.push(share.info.parent);
                needed.extend(&share.info.uncles);
            }
        }
        for share in self.shares.iter().filter(|share| needed.contains(&share.id())) {
            tree.restore(Arc::clone(share), true);
        }
        tree
    }

    fn draft(&mut self, tree: &mut Tree) -> Share {
        let block_height = BlockHeight(self.anchor.height.0 + 1);
        let block = NextBlock { height: block_height, bits: self.anchor.next_bits };
        let next = next_share(tree, block, self.now, &Finder::new(self.payee));
        let info = next.info(block_height, subsidy(self.params.network, block_height), [7; 32]).unwrap();
        self.made += 1;
        let mut extranonce = [0xee; 12];
        extranonce[..8].copy_from_slice(&self.made.to_le_bytes());
        Share {
            header: Header {
                version: Version::from_consensus(0x2000_0000),
                prev_blockhash: self.anchor.header.block_hash(),
                merkle_root: TxMerkleNode::all_zeros(),
                time: self.now.max(next.min_time).max(self.anchor.median_time_past.plus(1)).0,
                bits: CompactTarget::from_consensus(self.anchor.next_bits.0),
                nonce: 0,
            },
            info: ShareInfo { uncles: Vec::new(), ..info },
            extranonce,
            merkle_branch: vec![[5; 32]; 3],
        }
    }
}

/// Searches for a nonce with which a share meets its target. An invalid target counts as signet's easiest.
pub fn grind(mut share: Share) -> Share {
    let easiest = Bits(0x1f00_ffff).target().unwrap();
    let target = share.info.share_bits.target().unwrap_or(easiest).min(easiest);
    share.header = grind_header(share.header, target);
    share
}

/// Searches for a nonce with which a header meets a target.
pub fn grind_header(mut header: Header, target: Target) -> Header {
    while !target.is_met_by(&header.block_hash().to_byte_array()) {
        header.nonce = header.nonce.checked_add(1).unwrap();
    }
    header
}
