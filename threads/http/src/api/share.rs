//! `/api/v1/share/{hash}`: a share with all fields, its relatives and its payouts.

use bitcoin::consensus::encode::serialize_hex;
use bitcoin::hex::DisplayHex as _;
use p2pool_core::params::UNCLE_DEPTH_MAX;
use p2pool_core::payouts::Window;
use p2pool_core::share::ShareId;
use p2pool_core::sharechain::{LinkedShare, Tree};
use p2pool_core::units::{Bits, ShareHeight, Target, U256};
use serde::Serialize;

use super::PayoutEntry;
use crate::snapshot::{difficulty, difficulty_of, is_block, Snapshot};

/// A share with all fields.
#[derive(Serialize)]
pub struct ShareDocument {
    hash: String,
    is_block: bool,
    main_chain: bool,
    /// Whether this node verified its payouts; it cannot at the old end of a pruned chain.
    verified: bool,
    /// Number of main-chain shares above it; `None` if it is not in the main chain.
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
    /// Difficulty of its own hash.
    hash_difficulty: f64,
    children: Vec<String>,
    /// Id of the main-chain share that names it as an uncle.
    named_by: Option<String>,
    /// Payouts of its coinbase; `None` if this node does not have its whole payout window.
    payouts: Option<Vec<PayoutEntry>>,
}

/// Its Bitcoin block header.
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

/// The share info that its coinbase commits to.
#[derive(Serialize)]
struct InfoFields {
    rules_version: u8,
    /// `None` for a genesis share.
    parent: Option<String>,
    uncles: Vec<String>,
    share_height: u32,
    chain_work: String,
    share_bits: String,
    base_bits: String,
    signal: u8,
    outputs_vote: u8,
    outputs_class: u8,
    block_height: u32,
    coinbase_value: u64,
    payout_script: String,
    payout_address: String,
    witness_commitment: String,
    coinbase_tag: String,
}

impl HeaderFields {
    fn new(node: &LinkedShare) -> Self {
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
    fn new(node: &LinkedShare, tree: &Tree) -> Self {
        let info = &node.share.info;
        Self {
            rules_version: info.rules_version,
            parent: (!info.is_genesis()).then(|| info.parent.to_string()),
            uncles: info.uncles.iter().map(ShareId::to_string).collect(),
            share_height: info.share_height.0,
            chain_work: info.chain_work.to_string(),
            share_bits: info.share_bits.to_string(),
            base_bits: info.base_bits.to_string(),
            signal: info.signal,
            outputs_vote: info.outputs_vote,
            outputs_class: info.outputs_class,
            block_height: info.block_height.0,
            coinbase_value: info.coinbase_value.0,
            payout_script: info.payout_script.to_string(),
            payout_address: info.payout_script.to_address(tree.params().network),
            witness_commitment: info.witness_commitment.to_lower_hex_string(),
            coinbase_tag: String::from_utf8_lossy(info.coinbase_tag.as_bytes()).into_owned(),
        }
    }
}

/// Returns the main-chain share that names `node` as an uncle.
pub(super) fn named_by(node: &LinkedShare, tree: &Tree) -> Option<String> {
    let height = node.share.info.share_height.0;
    let nephews = (1..=UNCLE_DEPTH_MAX).filter_map(|above| tree.main_at(ShareHeight(height.checked_add(above)?)));
    let names_it = |nephew: &&LinkedShare| nephew.share.info.uncles.contains(&node.id);
    nephews.into_iter().find(names_it).map(|nephew| nephew.id.to_string())
}

/// Derives the payouts of its coinbase.
fn payouts(node: &LinkedShare, tree: &Tree, window: &mut Window) -> Option<Vec<PayoutEntry>> {
    let info = &node.share.info;
    window.move_to(info.parent, Bits(node.share.header.bits.to_consensus()), tree).ok()?;
    let payouts = window.payouts(info.coinbase_value, info.payout_script, info.outputs_class);
    Some(PayoutEntry::list(&payouts, tree.params().network))
}

impl ShareDocument {
    /// Makes the document; `None` if this node does not have the share.
    pub fn new(snapshot: &Snapshot, window: &mut Window, id: &ShareId) -> Option<Self> {
        let tree = snapshot.tree();
        let node = tree.get(id)?;
        let main_chain = tree.is_main(node);
        let bits = Bits(node.share.header.bits.to_consensus());
        let tip_height = tree.tip()?.share.info.share_height.0;
        let info = InfoFields::new(node, tree);
        Some(Self {
            hash: id.to_string(),
            is_block: is_block(node),
            main_chain,
            verified: node.verified,
            confirmations: main_chain.then(|| tip_height.saturating_sub(info.share_height)),
            miner: info.payout_address.clone(),
            timestamp: node.share.header.time,
            header: HeaderFields::new(node),
            extranonce: node.share.extranonce.to_lower_hex_string(),
            merkle_branch: node.share.merkle_branch.iter().map(|hash| hash.to_lower_hex_string()).collect(),
            work: node.work.to_string(),
            share_difficulty: difficulty(node.share.info.share_bits),
            block_difficulty: difficulty(bits),
            hash_difficulty: difficulty_of(&Target(U256::from_le_bytes(id.0))),
            children: tree.children(id).map(|child| child.id.to_string()).collect(),
            named_by: named_by(node, tree),
            payouts: payouts(node, tree, window),
            info,
        })
    }
}
