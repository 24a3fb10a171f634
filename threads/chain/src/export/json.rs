//! The fields of the lines, in the order in which they are written.

use bitcoin::consensus::encode;
use bitcoin::hex::DisplayHex as _;
use p2pool_core::node::StoredShare;
use p2pool_core::params::{ChainParams, Network, OUTPUTS_CLASSES};
use p2pool_core::share::ShareId;
use p2pool_core::units::{Bits, UnixTime};
use serde::Serialize;

pub(super) use p2pool_core::share::coinbase::Payout;

/// The first line: the chain.
#[derive(Serialize)]
pub(super) struct Chain<'a> {
    network: &'static str,
    chain_name: &'a str,
    signet_challenge: String,
    share_period_s: u32,
    retarget_window: u32,
    payout_window: u32,
    work_cut_blocks: u32,
    payout_outputs: [u32; OUTPUTS_CLASSES],
    easiest_bits: String,
    age_step_s: u32,
    /// Each a version of the rules and the Bitcoin height from which it may begin.
    activations: Vec<(u8, u32)>,
    chain_id: String,
    tip: Option<String>,
}

impl<'a> Chain<'a> {
    pub(super) fn new(params: &'a ChainParams, tip: Option<ShareId>) -> Self {
        Self {
            network: params.network.name(),
            chain_name: &params.chain_name,
            signet_challenge: params.signet_challenge.to_lower_hex_string(),
            share_period_s: params.share_period_s,
            retarget_window: params.retarget_window,
            payout_window: params.payout_window,
            work_cut_blocks: params.work_cut_blocks,
            payout_outputs: params.payout_outputs,
            easiest_bits: params.easiest_bits.to_string(),
            age_step_s: params.age_step_s,
            activations: params.activations.iter().map(|later| (later.version, later.height.0)).collect(),
            chain_id: params.chain_id().to_string(),
            tip: tip.map(|tip| tip.to_string()),
        }
    }
}

/// The line of a share.
#[derive(Serialize)]
pub(super) struct ShareLine {
    id: String,
    version: i32,
    prev_block: String,
    merkle_root: String,
    time: u32,
    bits: String,
    nonce: u32,
    header: String,
    /// In seconds since 1970; `None` if the store lacks the anchor.
    anchor_median_time_past: Option<u32>,
    rules_version: u8,
    parent: String,
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
    extranonce: String,
    merkle_branch: Vec<String>,
    main_chain: bool,
    verified: bool,
    is_block: bool,
    payouts: Option<Vec<PayoutLine>>,
    raw: String,
}

/// One output of the coinbase.
#[derive(Serialize)]
struct PayoutLine {
    script: String,
    address: String,
    amount: u64,
}

impl PayoutLine {
    fn new(payout: &Payout, network: Network) -> Self {
        Self { script: payout.script.to_string(), address: payout.script.to_address(network), amount: payout.amount.0 }
    }
}

impl ShareLine {
    pub(super) fn new(
        params: &ChainParams,
        stored: &StoredShare,
        anchor_time: Option<UnixTime>,
        main_chain: bool,
        payouts: Option<&[Payout]>,
    ) -> Self {
        let (header, info) = (&stored.share.header, &stored.share.info);
        let bits = Bits(header.bits.to_consensus());
        Self {
            id: stored.id.to_string(),
            version: header.version.to_consensus(),
            prev_block: header.prev_blockhash.to_string(),
            merkle_root: header.merkle_root.to_string(),
            time: header.time,
            bits: bits.to_string(),
            nonce: header.nonce,
            header: encode::serialize_hex(header),
            anchor_median_time_past: anchor_time.map(|time| time.0),
            rules_version: info.rules_version,
            parent: info.parent.to_string(),
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
            payout_address: info.payout_script.to_address(params.network),
            witness_commitment: info.witness_commitment.to_lower_hex_string(),
            // The tag is printable ASCII, so nothing is lost.
            coinbase_tag: String::from_utf8_lossy(info.coinbase_tag.as_bytes()).into_owned(),
            extranonce: stored.share.extranonce.to_lower_hex_string(),
            merkle_branch: stored.share.merkle_branch.iter().map(|hash| hash.to_lower_hex_string()).collect(),
            main_chain,
            verified: stored.verified,
            is_block: bits.target().is_ok_and(|target| target.is_met_by(&stored.id.0)),
            payouts: payouts.map(|list| list.iter().map(|payout| PayoutLine::new(payout, params.network)).collect()),
            raw: stored.share.encode().to_lower_hex_string(),
        }
    }
}
