//! Follows bitcoind's best chain, and looks up single blocks of it.

use std::collections::VecDeque;

use bitcoin::block::Header;
use bitcoin::consensus::encode::deserialize_hex;
use bitcoin::BlockHash;
use p2pool_core::node::BlockLookup;
use p2pool_core::params::Network;
use p2pool_core::sharechain::bitcoin_difficulty::{self, PeriodStart};
use p2pool_core::sharechain::{Anchor, BestChain, RecentTimes, BEST_CHAIN_DEPTH};
use p2pool_core::status::BitcoindError;
use p2pool_core::units::{Bits, BlockHeight, UnixTime};
use serde::Deserialize;
use serde_json::json;

use crate::client::ResponseLimits;
use crate::method::Method;
use crate::text::Text;
use crate::verified_client::VerifiedClient;

/// bitcoind's error code for an unknown block (its `rpc/protocol.h`: `RPC_INVALID_ADDRESS_OR_KEY`).
const UNKNOWN_BLOCK: i64 = -5;
/// bitcoind has caught up when its headers lead its blocks by no more than this (rules, section 5, rule 6).
const LEAD_MAX_BLOCKS: u32 = 6;
/// Blocks further back that are fetched when the best chain was left below those fetched first.
const STEP_BACK_BLOCKS: u32 = 24;
/// Blocks fetched at once where a test network's last target that is not due to its 20-minute rule is searched for.
const LASTING_STEP_BLOCKS: u32 = 144;
/// Blocks whose times the median time past is taken over.
const MEDIAN_BLOCKS: u32 = 11;

/// The fields of `getblockheader`'s response that matter here.
#[derive(Deserialize)]
struct HeaderResponse {
    /// Blocks of the best chain from this one on; -1 if it is not on the best chain.
    confirmations: i64,
    height: u32,
}

/// The fields of `getblockchaininfo`'s response that matter here.
#[derive(Deserialize)]
struct ChainInfo {
    initialblockdownload: bool,
    blocks: u32,
    headers: u32,
    bestblockhash: Text<BlockHash>,
}

/// Where a block is.
#[derive(Debug)]
pub(crate) enum Found {
    /// On the part of the best chain that is reported.
    Recent,
    /// On the best chain, below that part.
    Old(Box<Anchor>),
    /// Not on the best chain, or so far below its tip that it does not count.
    Elsewhere,
}

/// Requests confirmations and height of a block; `None` if bitcoind does not know it.
fn request_header(bitcoind: &mut VerifiedClient, hash: BlockHash) -> Result<Option<HeaderResponse>, BitcoindError> {
    match bitcoind.call(Method::GetBlockHeader, json!([hash.to_string(), true]), ResponseLimits::SMALL) {
        Ok(response) => Ok(Some(response)),
        Err(BitcoindError::Rpc { code: UNKNOWN_BLOCK, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Requests the confirmations of a block: at least 1 on the best chain, 0 or less beside it; `None` if bitcoind does not
/// know the block.
pub(crate) fn confirmations(bitcoind: &mut VerifiedClient, hash: BlockHash) -> Result<Option<i64>, BitcoindError> {
    Ok(request_header(bitcoind, hash)?.map(|response| response.confirmations))
}

/// What was reported of bitcoind's best chain.
#[derive(Debug)]
pub(crate) struct BestChainFollower {
    network: Network,
    is_settled: Option<bool>,
    /// The hashes reported, from the root on.
    reported: VecDeque<BlockHash>,
    root_height: u32,
}

impl BestChainFollower {
    pub(crate) const fn new(network: Network) -> Self {
        Self { network, is_settled: None, reported: VecDeque::new(), root_height: 0 }
    }

    /// Whether nothing was reported yet.
    pub(crate) fn is_unreported(&self) -> bool {
        self.reported.is_empty()
    }

    /// Returns what changed since the last report; `None` if nothing did.
    pub(crate) fn follow(&mut self, bitcoind: &mut VerifiedClient) -> Result<Option<BestChain>, BitcoindError> {
        let info: ChainInfo = bitcoind.call(Method::GetBlockchainInfo, json!([]), ResponseLimits::SMALL)?;
        let is_behind = info.headers.saturating_sub(info.blocks) > LEAD_MAX_BLOCKS;
        // A test network may have had no block for a day, which bitcoind calls initial download as well; it gives work all
        // the same.
        let is_downloading = info.initialblockdownload && (is_behind || self.network == Network::Mainnet);
        let is_settled = !is_behind && !is_downloading;
        let Text(tip) = info.bestblockhash;
        let report = if is_downloading || self.reported.back() == Some(&tip) {
            (None, Vec::new())
        } else {
            self.new_blocks(bitcoind, info.blocks, tip)?
        };
        let (root, headers) = report;
        if root.is_none() && headers.is_empty() && self.is_settled == Some(is_settled) {
            return Ok(None);
        }
        self.is_settled = Some(is_settled);
        self.note_reported(root.as_ref(), &headers);
        Ok(Some(BestChain { is_settled, root: root.map(Box::new), headers }))
    }

    /// Returns the root, if it is another one, and the headers after it or after the last block reported that is still on
    /// the best chain.
    fn new_blocks(
        &self,
        bitcoind: &mut VerifiedClient,
        height: u32,
        tip: BlockHash,
    ) -> Result<(Option<Anchor>, Vec<Header>), BitcoindError> {
        let root = height.saturating_sub(BEST_CHAIN_DEPTH);
        let reported_to = self.root_height.saturating_add(self.reported.len() as u32);
        let mut from = if reported_to > root { reported_to.min(height) } else { 0 };
        let mut headers = Vec::new();
        while from > self.root_height {
            let mut more = headers_at(bitcoind, from..=height.saturating_sub(headers.len() as u32))?;
            more.append(&mut headers);
            headers = more;
            check_branch(&headers, tip)?;
            if headers.first().map(|first| &first.prev_blockhash) == self.reported_at(from.saturating_sub(1)) {
                let is_reported = |(header, at): &(&Header, u32)| self.reported_at(*at) == Some(&header.block_hash());
                let known = headers.iter().zip(from..).take_while(is_reported).count();
                // The tip is reported even if it is one of those reported before.
                return Ok((None, headers.split_off(known.min(headers.len() - 1))));
            }
            let below = from.saturating_sub(STEP_BACK_BLOCKS).max(self.root_height + 1);
            from = if below < from { below } else { 0 };
        }
        let root = anchor_at(bitcoind, self.network, root)?;
        let headers = headers_at(bitcoind, root.height.0..=height)?;
        check_branch(&headers, tip)?;
        if headers.first() != Some(&root.header) {
            return Err(moved());
        }
        Ok((Some(root), headers.into_iter().skip(1).collect()))
    }

    fn reported_at(&self, height: u32) -> Option<&BlockHash> {
        self.reported.get(height.checked_sub(self.root_height)? as usize)
    }

    fn note_reported(&mut self, root: Option<&Anchor>, headers: &[Header]) {
        if let Some(root) = root {
            self.reported = VecDeque::from([root.header.block_hash()]);
            self.root_height = root.height.0;
        } else if let Some(first) = headers.first() {
            let fork = self.reported.iter().rposition(|hash| *hash == first.prev_blockhash);
            self.reported.truncate(fork.map_or(0, |fork| fork + 1));
        }
        self.reported.extend(headers.iter().map(Header::block_hash));
        while self.reported.len() > BEST_CHAIN_DEPTH as usize + 1 {
            self.reported.pop_front();
            self.root_height += 1;
        }
    }

    /// Looks up a block.
    pub(crate) fn look_up(&self, bitcoind: &mut VerifiedClient, lookup: BlockLookup) -> Result<Found, BitcoindError> {
        let hash = lookup.hash;
        let found = request_header(bitcoind, hash)?.filter(|found| found.confirmations >= 0);
        let Some(HeaderResponse { height, .. }) = found else { return Ok(Found::Elsewhere) };
        if height > self.root_height && !self.is_unreported() {
            return Ok(Found::Recent);
        }
        if !lookup.may_be_old {
            return Ok(Found::Elsewhere);
        }
        let anchor = anchor_at(bitcoind, self.network, height)?;
        Ok(if anchor.header.block_hash() == hash { Found::Old(Box::new(anchor)) } else { Found::Elsewhere })
    }
}

/// Returns the best chain's block at a height with the facts that its children depend on.
fn anchor_at(bitcoind: &mut VerifiedClient, network: Network, height: u32) -> Result<Anchor, BitcoindError> {
    let recent = headers_at(bitcoind, height.saturating_sub(MEDIAN_BLOCKS - 1)..=height)?;
    let header = *recent.last().ok_or_else(moved)?;
    check_branch(&recent, header.block_hash())?;
    let period = height - height % bitcoin_difficulty::RETARGET_INTERVAL_BLOCKS;
    let first = headers_at(bitcoind, period..=period)?.first().copied().ok_or_else(moved)?;
    let lasting_bits = lasting_bits(bitcoind, network, &header, period..=height)?;
    // Everything was read by height: it belongs together if the block is still where it was.
    if headers_at(bitcoind, height..=height)?.first() != Some(&header) {
        return Err(moved());
    }
    let times = RecentTimes::new(recent.iter().rev().map(|header| UnixTime(header.time)));
    let period_start = PeriodStart { time: UnixTime(first.time), bits: bits(&first) };
    Ok(Anchor::new(network, header, BlockHeight(height), times, period_start, lasting_bits))
}

/// Returns the last target in a period that is not due to the 20-minute rule of test networks.
fn lasting_bits(
    bitcoind: &mut VerifiedClient,
    network: Network,
    header: &Header,
    period: std::ops::RangeInclusive<u32>,
) -> Result<Bits, BitcoindError> {
    let Some(late) = bitcoin_difficulty::late_bits(network).filter(|late| *late == bits(header)) else {
        return Ok(bits(header));
    };
    let mut above = *period.end();
    while above > *period.start() {
        let from = above.saturating_sub(LASTING_STEP_BLOCKS).max(*period.start());
        let headers = headers_at(bitcoind, from..=above - 1)?;
        if let Some(lasting) = headers.iter().rev().map(bits).find(|bits| *bits != late) {
            return Ok(lasting);
        }
        above = from;
    }
    Ok(late)
}

fn bits(header: &Header) -> Bits {
    Bits(header.bits.to_consensus())
}

/// Requests the best chain's headers at these heights.
fn headers_at(
    bitcoind: &mut VerifiedClient,
    heights: std::ops::RangeInclusive<u32>,
) -> Result<Vec<Header>, BitcoindError> {
    let hashes: Vec<Text<BlockHash>> =
        bitcoind.call_all(Method::GetBlockHash, heights.map(|height| json!([height])))?;
    let params = hashes.iter().map(|Text(hash)| json!([hash.to_string(), false]));
    let headers: Vec<String> = bitcoind.call_all(Method::GetBlockHeader, params)?;
    let headers = headers.iter().zip(hashes).map(|(hex, Text(hash))| {
        let header: Header = deserialize_hex(hex).ok()?;
        (header.block_hash() == hash).then_some(header)
    });
    let invalid = || BitcoindError::InvalidResponse("to getblockheader: not the header of that block".to_owned());
    headers.collect::<Option<Vec<Header>>>().ok_or_else(invalid)
}

/// Checks that headers are a branch that ends with `tip`.
fn check_branch(headers: &[Header], tip: BlockHash) -> Result<(), BitcoindError> {
    let is_linked = |pair: &[Header]| matches!(pair, [parent, child] if child.prev_blockhash == parent.block_hash());
    let ends = headers.last().is_some_and(|last| last.block_hash() == tip);
    if ends && headers.windows(2).all(is_linked) {
        Ok(())
    } else {
        Err(moved())
    }
}

/// bitcoind's best chain changed between two requests: the next attempt reads it again.
fn moved() -> BitcoindError {
    BitcoindError::InvalidResponse("the best chain changed while it was read".to_owned())
}
