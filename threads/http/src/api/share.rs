//! One share with every field, its relatives and its payouts.

use bitcoin::consensus::encode::serialize_hex;
use bitcoin::hex::DisplayHex as _;
use p2pool_core::params::UNCLE_DEPTH_MAX;
use p2pool_core::payouts::Window;
use p2pool_core::share::ShareId;
use p2pool_core::sharechain::{LinkedShare, Tree};
use p2pool_core::units::{Bits, ShareHeight};
use serde::Serialize;

use super::PayoutEntry;
use crate::view::{difficulty, difficulty_of, is_block, View};

/// The document.
#[derive(Serialize)]
pub struct ShareDocument {
    hash: String,
    is_block: bool,
    main_chain: bool,
    /// Whether its payouts were checked by this node: not so at the old end of a pruned chain.
    verified: bool,
    /// Shares of the main chain on top of it; `null` for one that is not in the main chain.
    confirmations: Option<u32>,
    miner: String,
    timestamp: u32,
    header: HeaderFields,
    info: InfoFields,
    extranonce: String,
    merkle_branch: Vec<String>,
    work: String,
    share_difficulty: f64,
    block_difficulty: f64,
    /// Difficulty of its own hash: how lucky it was.
    hash_difficulty: f64,
    children: Vec<String>,
    /// The share of the main chain that names it as its uncle.
    named_by: Option<String>,
    /// Outputs of its coinbase, derived anew; `null` if the shares they follow from are not held any more.
    payouts: Option<Vec<PayoutEntry>>,
}

/// The Bitcoin block header.
#[derive(Serialize)]
struct HeaderFields {
    raw: String,
    version: i32,
    prev_block: String,
    merkle_root: String,
    time: u32,
    bits: String,
    nonce: u32,
}

/// What the coinbase commits to.
#[derive(Serialize)]
struct InfoFields {
    /// `null` for a genesis share.
    parent: Option<String>,
    uncles: Vec<String>,
    share_height: u32,
    chain_work: String,
    share_bits: String,
    block_height: u32,
    coinbase_value: u64,
    payout_script: String,
    payout_address: String,
    witness_commitment: String,
    coinbase_tag: String,
}

impl HeaderFields {
    fn of(node: &LinkedShare) -> Self {
        let header = &node.share.header;
        Self {
            raw: serialize_hex(header),
            version: header.version.to_consensus(),
            prev_block: header.prev_blockhash.to_string(),
            merkle_root: header.merkle_root.to_string(),
            time: header.time,
            bits: Bits(header.bits.to_consensus()).to_string(),
            nonce: header.nonce,
        }
    }
}

impl InfoFields {
    fn of(node: &LinkedShare, tree: &Tree) -> Self {
        let info = &node.share.info;
        Self {
            parent: (!info.is_genesis()).then(|| info.parent.to_string()),
            uncles: info.uncles.iter().map(ShareId::to_string).collect(),
            share_height: info.share_height.0,
            chain_work: info.chain_work.to_string(),
            share_bits: info.share_bits.to_string(),
            block_height: info.block_height.0,
            coinbase_value: info.coinbase_value.0,
            payout_script: info.payout_script.to_string(),
            payout_address: info.payout_script.to_address(tree.params().network),
            witness_commitment: info.witness_commitment.to_lower_hex_string(),
            coinbase_tag: String::from_utf8_lossy(info.coinbase_tag.as_bytes()).into_owned(),
        }
    }
}

/// The main chain's share that names this one as its uncle.
fn named_by(node: &LinkedShare, tree: &Tree) -> Option<String> {
    let height = node.share.info.share_height.0;
    let nephews = (1..=UNCLE_DEPTH_MAX).filter_map(|above| tree.main_at(ShareHeight(height.checked_add(above)?)));
    let names_it = |id: &&ShareId| tree.get(id).is_some_and(|nephew| nephew.share.info.uncles.contains(&node.id));
    nephews.into_iter().find(names_it).map(ShareId::to_string)
}

/// The outputs of its coinbase.
fn payouts(node: &LinkedShare, tree: &Tree, window: &mut Window) -> Option<Vec<PayoutEntry>> {
    let info = &node.share.info;
    window.move_to(info.parent, Bits(node.share.header.bits.to_consensus()), tree).ok()?;
    Some(PayoutEntry::list(&window.payouts(info.coinbase_value, info.payout_script), tree.params().network))
}

impl ShareDocument {
    /// `None` if the share is not held.
    pub fn of(view: &View, window: &mut Window, id: &ShareId) -> Option<Self> {
        let tree = view.tree();
        let node = tree.get(id)?;
        let main_chain = tree.is_main(node);
        let bits = Bits(node.share.header.bits.to_consensus());
        let tip_height = tree.tip()?.share.info.share_height.0;
        let info = InfoFields::of(node, tree);
        Some(Self {
            hash: id.to_string(),
            is_block: is_block(node),
            main_chain,
            verified: node.verified,
            confirmations: main_chain.then(|| tip_height.saturating_sub(info.share_height)),
            miner: info.payout_address.clone(),
            timestamp: node.share.header.time,
            header: HeaderFields::of(node),
            extranonce: node.share.extranonce.to_lower_hex_string(),
            merkle_branch: node.share.merkle_branch.iter().map(|hash| hash.to_lower_hex_string()).collect(),
            work: node.work.to_string(),
            share_difficulty: difficulty(node.share.info.share_bits),
            block_difficulty: difficulty(bits),
            hash_difficulty: difficulty_of(&p2pool_core::units::Target(p2pool_core::units::U256::from_le_bytes(id.0))),
            children: tree.children(id).map(|child| child.id.to_string()).collect(),
            named_by: named_by(node, tree),
            payouts: payouts(node, tree, window),
            info,
        })
    }
}
