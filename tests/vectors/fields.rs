//! Parses the JSON of the vectors.

use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash as _;
use bitcoin::hex::FromHex as _;
use bitcoin::{BlockHash, CompactTarget, TxMerkleNode};
use p2pool_core::params::{Activation, ChainParams, Network, RULES_VERSION_FIRST};
use p2pool_core::share::coinbase::Payout;
use p2pool_core::share::{CoinbaseTag, PayoutScript, Share, ShareId, ShareInfo};
use p2pool_core::units::{Bits, BlockHeight, Sats, ShareHeight, Work};
use serde::Deserialize;

/// Parses a vector file.
pub fn read<T: for<'a> Deserialize<'a>>(name: &str) -> T {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn hex(text: &str) -> Vec<u8> {
    Vec::from_hex(text).unwrap()
}

pub fn hex_array<const N: usize>(text: &str) -> [u8; N] {
    hex(text).try_into().unwrap()
}

/// A hash in Bitcoin's display order, last byte first.
pub fn hash_from_display(text: &str) -> [u8; 32] {
    text.parse::<BlockHash>().unwrap().to_byte_array()
}

pub fn bits(text: &str) -> Bits {
    Bits(u32::from_str_radix(text, 16).unwrap())
}

pub fn script(text: &str) -> PayoutScript {
    PayoutScript::new(&hex(text)).unwrap()
}

/// Chain parameters as the vectors and the export write them.
#[derive(Deserialize)]
pub struct ParamsFields {
    network: Network,
    chain_name: String,
    signet_challenge: String,
    share_period_s: u32,
    retarget_window: u32,
    payout_window: u32,
    work_cut_blocks: u32,
    payout_outputs: [u32; 4],
    easiest_bits: String,
    age_step_s: u32,
    activations: Vec<(u8, u32)>,
}

impl ParamsFields {
    pub fn params(&self) -> ChainParams {
        ChainParams {
            network: self.network,
            chain_name: self.chain_name.clone(),
            signet_challenge: hex(&self.signet_challenge),
            share_period_s: self.share_period_s,
            retarget_window: self.retarget_window,
            payout_window: self.payout_window,
            work_cut_blocks: self.work_cut_blocks,
            payout_outputs: self.payout_outputs,
            easiest_bits: bits(&self.easiest_bits),
            age_step_s: self.age_step_s,
            activations: self
                .activations
                .iter()
                .map(|(version, height)| Activation { version: *version, height: BlockHeight(*height) })
                .collect(),
            rules_version_known: RULES_VERSION_FIRST,
        }
    }
}

/// The fields of a share.
#[derive(Deserialize)]
pub struct ShareFields {
    header_version: i32,
    prev_block: String,
    merkle_root: String,
    time: u32,
    header_bits: String,
    nonce: u32,
    rules_version: u8,
    parent: String,
    base_bits: String,
    signal: u8,
    outputs_vote: u8,
    outputs_class: u8,
    uncles: Vec<String>,
    share_height: u32,
    chain_work: String,
    share_bits: String,
    block_height: u32,
    coinbase_value: u64,
    payout_script: String,
    witness_commitment: String,
    coinbase_tag: String,
    extranonce: String,
    merkle_branch: Vec<String>,
}

impl ShareFields {
    pub fn share(&self) -> Share {
        Share {
            header: Header {
                version: Version::from_consensus(self.header_version),
                prev_blockhash: BlockHash::from_byte_array(hash_from_display(&self.prev_block)),
                merkle_root: TxMerkleNode::from_byte_array(hash_from_display(&self.merkle_root)),
                time: self.time,
                bits: CompactTarget::from_consensus(bits(&self.header_bits).0),
                nonce: self.nonce,
            },
            info: ShareInfo {
                rules_version: self.rules_version,
                parent: ShareId(hash_from_display(&self.parent)),
                share_bits: bits(&self.share_bits),
                base_bits: bits(&self.base_bits),
                signal: self.signal,
                outputs_vote: self.outputs_vote,
                outputs_class: self.outputs_class,
                uncles: self.uncles.iter().map(|uncle| ShareId(hash_from_display(uncle))).collect(),
                share_height: ShareHeight(self.share_height),
                chain_work: Work(self.chain_work.parse().unwrap()),
                block_height: BlockHeight(self.block_height),
                coinbase_value: Sats(self.coinbase_value),
                payout_script: script(&self.payout_script),
                witness_commitment: hex_array(&self.witness_commitment),
                coinbase_tag: CoinbaseTag::new(self.coinbase_tag.as_bytes()).unwrap(),
            },
            extranonce: hex_array(&self.extranonce),
            merkle_branch: self.merkle_branch.iter().map(|node| hex_array(node)).collect(),
        }
    }
}

/// A payout output of a coinbase.
#[derive(Deserialize)]
pub struct PayoutFields {
    script: String,
    amount: u64,
}

pub fn payouts(fields: &[PayoutFields]) -> Vec<Payout> {
    fields.iter().map(|payout| Payout { script: script(&payout.script), amount: Sats(payout.amount) }).collect()
}
