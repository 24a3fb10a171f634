//! Bitcoin headers that bitcoind knows, and the difficulty rules over them.

use std::collections::{HashMap, VecDeque};

use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash as _;
use bitcoin::{BlockHash, CompactTarget, TxMerkleNode};
use p2pool_core::params::Network;
use p2pool_core::sharechain::bitcoin_difficulty::{next_bits, BlockFacts, NextBits};
use p2pool_core::status::BitcoindError;
use p2pool_core::units::{Bits, BlockHeight, UnixTime};
use serde::Deserialize;
use serde_json::json;

use crate::client::ResponseLimits;
use crate::text::Text;
use crate::verified_client::VerifiedClient;

/// Most headers in the cache, some 2 MB: testnets may walk back a whole retarget period, this is four.
const HEADERS_MAX: usize = 8_192;
/// bitcoind's error code for an unknown block (its `rpc/protocol.h`: `RPC_INVALID_ADDRESS_OR_KEY`).
const UNKNOWN_BLOCK: i64 = -5;

/// A header that bitcoind knows, with the facts that never change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KnownHeader {
    pub(crate) header: Header,
    pub(crate) height: BlockHeight,
    pub(crate) median_time_past: UnixTime,
}

impl KnownHeader {
    fn facts(&self) -> BlockFacts {
        BlockFacts {
            height: self.height,
            time: UnixTime(self.header.time),
            bits: Bits(self.header.bits.to_consensus()),
        }
    }
}

/// The fields of `getblockheader`'s response that matter here.
#[derive(Deserialize)]
struct HeaderResponse {
    /// Blocks of the best chain from this one on; -1 if it is not on the best chain.
    confirmations: i64,
    height: u32,
    version: i32,
    merkleroot: Text<TxMerkleNode>,
    time: u32,
    mediantime: u32,
    nonce: u32,
    bits: String,
    previousblockhash: Option<Text<BlockHash>>,
}

impl HeaderResponse {
    /// Returns the header; `None` if it does not have that hash.
    fn header(&self, hash: BlockHash) -> Option<KnownHeader> {
        let header = Header {
            version: Version::from_consensus(self.version),
            prev_blockhash: self.previousblockhash.as_ref().map_or_else(BlockHash::all_zeros, |text| text.0),
            merkle_root: self.merkleroot.0,
            time: self.time,
            bits: CompactTarget::from_unprefixed_hex(&self.bits).ok()?,
            nonce: self.nonce,
        };
        let known =
            KnownHeader { header, height: BlockHeight(self.height), median_time_past: UnixTime(self.mediantime) };
        (header.block_hash() == hash).then_some(known)
    }
}

/// Requests a header; `None` if bitcoind does not know it.
fn request_header(bitcoind: &mut VerifiedClient, hash: BlockHash) -> Result<Option<HeaderResponse>, BitcoindError> {
    match bitcoind.call("getblockheader", json!([hash.to_string(), true]), ResponseLimits::SMALL) {
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

/// Cache of headers; drops the oldest ones.
#[derive(Debug, Default)]
pub(crate) struct HeaderCache {
    by_hash: HashMap<BlockHash, KnownHeader>,
    by_age: VecDeque<BlockHash>,
}

impl HeaderCache {
    /// Requests a header, and whether it is on the best chain now; `None` if bitcoind does not know it.
    pub(crate) fn request(
        &mut self,
        bitcoind: &mut VerifiedClient,
        hash: BlockHash,
    ) -> Result<Option<(KnownHeader, bool)>, BitcoindError> {
        let Some(response) = request_header(bitcoind, hash)? else { return Ok(None) };
        let known = response
            .header(hash)
            .ok_or_else(|| BitcoindError::InvalidResponse(format!("to getblockheader: not the header of {hash}")))?;
        self.insert(hash, &known);
        Ok(Some((known, response.confirmations >= 0)))
    }

    /// Returns the target that a child of `parent` must have.
    pub(crate) fn next_bits(
        &mut self,
        bitcoind: &mut VerifiedClient,
        network: Network,
        parent: &KnownHeader,
    ) -> Result<NextBits, BitcoindError> {
        let mut cursor = parent.clone();
        next_bits(network, parent.facts(), |height| {
            cursor = self.ancestor(bitcoind, &cursor, height)?;
            Ok(cursor.facts())
        })
    }

    /// Returns the ancestor of `header` at a lower height.
    fn ancestor(
        &mut self,
        bitcoind: &mut VerifiedClient,
        header: &KnownHeader,
        height: BlockHeight,
    ) -> Result<KnownHeader, BitcoindError> {
        let mut cursor = header.clone();
        while cursor.height > height {
            let parent = cursor.header.prev_blockhash;
            let is_next = cursor.height.0.saturating_sub(height.0) == 1;
            cursor = match self.by_hash.get(&parent) {
                Some(parent) => parent.clone(),
                None if is_next => self.request_known(bitcoind, parent)?.0,
                None => match self.jump(bitcoind, cursor.header.block_hash(), height)? {
                    Some(ancestor) => return Ok(ancestor),
                    None => self.request_known(bitcoind, parent)?.0,
                },
            };
        }
        Ok(cursor)
    }

    /// Returns the best chain's block at `height`; `None` unless `from` is on the best chain before and after that request.
    fn jump(
        &mut self,
        bitcoind: &mut VerifiedClient,
        from: BlockHash,
        height: BlockHeight,
    ) -> Result<Option<KnownHeader>, BitcoindError> {
        if !self.request_known(bitcoind, from)?.1 {
            return Ok(None);
        }
        let Text(hash): Text<BlockHash> = bitcoind.call("getblockhash", json!([height.0]), ResponseLimits::SMALL)?;
        let (ancestor, _) = self.request_known(bitcoind, hash)?;
        let is_still_best = self.request_known(bitcoind, from)?.1;
        Ok(is_still_best.then_some(ancestor))
    }

    /// Requests a header that bitcoind must know because it knows a descendant.
    fn request_known(
        &mut self,
        bitcoind: &mut VerifiedClient,
        hash: BlockHash,
    ) -> Result<(KnownHeader, bool), BitcoindError> {
        let missing =
            || BitcoindError::InvalidResponse(format!("a descendant of block {hash} is known, but not the block"));
        self.request(bitcoind, hash)?.ok_or_else(missing)
    }

    fn insert(&mut self, hash: BlockHash, known: &KnownHeader) {
        if self.by_hash.insert(hash, known.clone()).is_some() {
            return;
        }
        self.by_age.push_back(hash);
        if self.by_age.len() > HEADERS_MAX {
            if let Some(oldest) = self.by_age.pop_front() {
                self.by_hash.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests;
