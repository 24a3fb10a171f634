//! Shares, true and false: facts, coinbase and proof of work as the rules have them, but for what is to be false.

use std::sync::Arc;

use bitcoin::block::{Header, Version};
use bitcoin::hashes::{sha256, Hash as _};
use bitcoin::{CompactTarget, TxMerkleNode};
use p2pool_core::params::{ChainParams, Network};
use p2pool_core::share::coinbase::{fold_merkle_branch, Coinbase, Payout};
use p2pool_core::share::{CoinbaseTag, PayoutScript, Share, ShareId, ShareInfo};
use p2pool_core::sharechain::{next_share, subsidy, Anchor, Tree};
use p2pool_core::units::{Bits, BlockHeight, Target, UnixTime};

/// The chain of the tests: short windows on a signet that asks for no signature.
pub fn params(share_period_s: u32, payout_window: u32, retarget_window: u32) -> ChainParams {
    ChainParams {
        signet_challenge: vec![0x51],
        share_period_s,
        payout_window,
        retarget_window,
        ..ChainParams::standard(Network::Signet)
    }
}

/// The P2WPKH script of nobody in particular.
pub fn script(number: u32) -> PayoutScript {
    let program = sha256::Hash::hash(&number.to_le_bytes());
    PayoutScript::new(&[&[0x00, 0x14][..], &program.as_byte_array()[..20]].concat()).unwrap()
}

/// Makes shares.
pub struct Forge {
    params: Arc<ChainParams>,
    /// The Bitcoin block that shares are built on.
    pub anchor: Anchor,
    /// Whom shares pay.
    pub payee: PayoutScript,
    /// What the clock says.
    pub now: UnixTime,
    shares: Vec<Arc<Share>>,
    made: u64,
}

impl Forge {
    /// Knows no share.
    pub fn new(params: ChainParams, anchor: Anchor, now: UnixTime) -> Self {
        Self { params: Arc::new(params), anchor, payee: script(666), now, shares: Vec::new(), made: 0 }
    }

    /// Notes a share that others may be built on; its parent and uncles come first.
    pub fn learn(&mut self, share: &Arc<Share>) {
        if self.share(&share.id()).is_none() {
            self.shares.push(Arc::clone(share));
        }
    }

    /// Forgets a share that only the forge has.
    pub fn forget(&mut self, id: &ShareId) {
        self.shares.retain(|share| share.id() != *id);
    }

    /// A share noted before.
    pub fn share(&self, id: &ShareId) -> Option<&Arc<Share>> {
        self.shares.iter().rev().find(|share| share.id() == *id)
    }

    /// The best share noted; zero: none.
    pub fn tip(&self) -> ShareId {
        let ids = self.shares.iter().map(|share| (share, share.id()));
        let best = ids.reduce(|best, other| match other.0.info.is_better_than(&other.1, &best.0.info, &best.1) {
            true => other,
            false => best,
        });
        best.map_or(ShareId::ZERO, |(_, id)| id)
    }

    /// A true share on any share noted, or a genesis share on zero.
    pub fn on(&mut self, parent: &ShareId) -> Share {
        self.edited(parent, |_| ())
    }

    /// A share with other facts, committed to and paid for as if they were right.
    pub fn edited(&mut self, parent: &ShareId, edit: impl FnOnce(&mut Share)) -> Share {
        self.paying(parent, edit, |_| ())
    }

    /// The same with other payouts.
    pub fn paying(
        &mut self,
        parent: &ShareId,
        edit: impl FnOnce(&mut Share),
        edit_payouts: impl FnOnce(&mut Vec<Payout>),
    ) -> Share {
        let mut tree = self.tree(parent);
        let mut share = self.draft(&tree);
        edit(&mut share);
        let bits = Bits(share.header.bits.to_consensus());
        let payouts = tree.payouts(*parent, bits, share.info.coinbase_value, share.info.payout_script);
        // Above a false base there is no window to be right about.
        let alone = || vec![Payout { script: share.info.payout_script, amount: share.info.coinbase_value }];
        let mut payouts = payouts.unwrap_or_else(|_| alone());
        edit_payouts(&mut payouts);
        let coinbase = Coinbase::new(&self.params.chain_id(), &share.info, &payouts);
        let root = fold_merkle_branch(coinbase.txid(&share.extranonce), &share.merkle_branch);
        share.header.merkle_root = TxMerkleNode::from_byte_array(root);
        grind(share)
    }

    /// All that is noted below a share, and the share: what is beside it is nobody's uncle.
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

    fn draft(&mut self, tree: &Tree) -> Share {
        let facts = next_share(tree, self.now, self.payee, &CoinbaseTag::default());
        let work = facts.share_bits.target().unwrap().work().unwrap();
        let block_height = BlockHeight(self.anchor.height.0 + 1);
        self.made += 1;
        let mut extranonce = [0xee; 12];
        extranonce[..8].copy_from_slice(&self.made.to_le_bytes());
        Share {
            header: Header {
                version: Version::from_consensus(0x2000_0000),
                prev_blockhash: self.anchor.header.block_hash(),
                merkle_root: TxMerkleNode::all_zeros(),
                time: self.now.max(facts.min_time).max(self.anchor.median_time_past.plus(1)).0,
                bits: CompactTarget::from_consensus(self.anchor.next_bits.0),
                nonce: 0,
            },
            info: ShareInfo {
                parent: facts.parent,
                uncles: Vec::new(),
                share_height: facts.share_height,
                chain_work: facts.parent_work.checked_add(work).unwrap(),
                share_bits: facts.share_bits,
                block_height,
                coinbase_value: subsidy(self.params.network, block_height),
                payout_script: facts.payout_script,
                witness_commitment: [7; 32],
                coinbase_tag: facts.coinbase_tag,
            },
            extranonce,
            merkle_branch: vec![[5; 32]; 3],
        }
    }
}

/// Finds a nonce for a header as it is. A target that cannot be read counts as signet's easiest.
pub fn grind(mut share: Share) -> Share {
    let easiest = Bits(0x1f00_ffff).target().unwrap();
    let target = share.info.share_bits.target().unwrap_or(easiest).min(easiest);
    share.header = grind_header(share.header, target);
    share
}

/// The same for a header alone.
pub fn grind_header(mut header: Header, target: Target) -> Header {
    while !target.is_met_by(&header.block_hash().to_byte_array()) {
        header.nonce = header.nonce.checked_add(1).unwrap();
    }
    header
}
