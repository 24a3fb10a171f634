//! A chain of valid shares by many miners, with easy targets.

use std::sync::Arc;

use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash as _;
use bitcoin::{BlockHash, CompactTarget, TxMerkleNode};
use p2pool_core::params::{ChainParams, Network};
use p2pool_core::share::coinbase::{fold_merkle_branch, Coinbase};
use p2pool_core::share::{PayoutScript, Share};
use p2pool_core::sharechain::bitcoin_difficulty::PeriodStart;
use p2pool_core::sharechain::{next_share, Anchor, BestChain, RecentTimes, Sharechain, Tree};
use p2pool_core::units::{Bits, BlockHeight, Sats, UnixTime};
use p2pool_core::work::{Finder, NextBlock};

pub const START: UnixTime = UnixTime(1_700_000_000);
pub const BITS: Bits = Bits(0x207f_ffff);
/// Shares per Bitcoin block.
pub const SHARES_PER_BLOCK: u32 = 20;
/// Number of miners in the window, enough to make payouts expensive.
const MINERS: u32 = 500;

pub fn anchor(number: u32) -> Anchor {
    let time = START.plus(600 * number);
    let header = Header {
        version: Version::from_consensus(0x2000_0000),
        prev_blockhash: BlockHash::all_zeros(),
        merkle_root: TxMerkleNode::all_zeros(),
        time: time.0,
        bits: CompactTarget::from_consensus(BITS.0),
        nonce: number,
    };
    let times = RecentTimes::new((0..11).map(|back| time.minus(600 * back)));
    let period_start = PeriodStart { time, bits: BITS };
    Anchor::new(Network::Regtest, header, BlockHeight(100 + number), times, period_start, BITS)
}

pub fn payee(number: u32) -> PayoutScript {
    let mut script = vec![0x00, 0x14];
    script.extend([7; 16]);
    script.extend(number.to_be_bytes());
    PayoutScript::new(&script).unwrap()
}

pub fn chain_with(anchors: u32) -> Sharechain {
    let mut tree = Tree::new(Arc::new(ChainParams::standard(Network::Regtest)));
    (0..anchors).for_each(|number| tree.add_anchor(anchor(number)));
    let tip = Some(Box::new(anchor(anchors - 1)));
    tree.headers_mut().follow(BestChain { is_settled: true, root: tip, headers: Vec::new() });
    Sharechain::new(tree)
}

pub fn grind(mut share: Share) -> Share {
    let target = share.info.share_bits.target().unwrap();
    while !target.is_met_by(&share.id().0) {
        share.header.nonce += 1;
    }
    share
}

/// The time of the share with this number.
pub fn share_time(number: u32) -> UnixTime {
    START.plus(60 + 30 * number)
}

/// A valid share on the tip.
pub fn share(chain: &mut Sharechain, number: u32) -> Share {
    let tree = chain.tree_mut();
    let anchor = anchor(number / SHARES_PER_BLOCK);
    let time = share_time(number);
    let height = BlockHeight(anchor.height.0 + 1);
    let facts = next_share(tree, NextBlock { height, bits: BITS }, time, &Finder::new(payee(number % MINERS)));
    let info = facts.info(height, Sats(5_000_001_000), [7; 32]).unwrap();
    let payouts = tree.payouts(&info, BITS).unwrap();
    let coinbase = Coinbase::new(tree.chain_id(), &info, &payouts);
    let merkle_branch = vec![[5; 32]; 11];
    let root = fold_merkle_branch(coinbase.txid(&[3; 12]), &merkle_branch);
    let header = Header {
        version: Version::from_consensus(0x2000_0000),
        prev_blockhash: anchor.header.block_hash(),
        merkle_root: TxMerkleNode::from_byte_array(root),
        time: time.0,
        bits: CompactTarget::from_consensus(BITS.0),
        nonce: 0,
    };
    grind(Share { header, info, extranonce: [3; 12], merkle_branch })
}
