//! Bitcoin headers as bitcoind tells them, and the difficulty rules over them.

use std::collections::{HashMap, VecDeque};

use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash as _;
use bitcoin::{BlockHash, CompactTarget, TxMerkleNode};
use p2pool_core::params::Network;
use p2pool_core::sharechain::next_bits::{next_bits, BlockFacts, NextBits};
use p2pool_core::status::BitcoindError;
use p2pool_core::units::{Bits, BlockHeight, UnixTime};
use serde::Deserialize;
use serde_json::json;

use crate::client::Bounds;
use crate::node::Node;
use crate::text::Text;

/// Headers kept: four retarget periods of a testnet's walk, some 2 MB.
const HEADERS_MAX: usize = 8_192;
/// bitcoind's code for a block it does not know (its `rpc/protocol.h`: `RPC_INVALID_ADDRESS_OR_KEY`).
const UNKNOWN_BLOCK: i64 = -5;

/// What never changes about a header that bitcoind knows.
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

/// `getblockheader`'s answer, the fields that matter.
#[derive(Deserialize)]
struct HeaderAnswer {
    /// Blocks of the best chain from this one on; -1: it is not on the best chain.
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

impl HeaderAnswer {
    /// `None` if it is not the header of that hash.
    fn known(&self, hash: BlockHash) -> Option<KnownHeader> {
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

/// `None`: bitcoind does not know it.
fn ask_header(node: &mut Node, hash: BlockHash) -> Result<Option<HeaderAnswer>, BitcoindError> {
    match node.call("getblockheader", json!([hash.to_string(), true]), Bounds::SMALL) {
        Ok(answer) => Ok(Some(answer)),
        Err(BitcoindError::Rpc { code: UNKNOWN_BLOCK, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Blocks of the best chain from this one on, at least 1; zero or less if it is not on the best chain; `None`: bitcoind
/// does not know it.
pub(crate) fn confirmations(node: &mut Node, hash: BlockHash) -> Result<Option<i64>, BitcoindError> {
    Ok(ask_header(node, hash)?.map(|answer| answer.confirmations))
}

/// Headers asked for before; the oldest are forgotten first.
#[derive(Debug, Default)]
pub(crate) struct Headers {
    by_hash: HashMap<BlockHash, KnownHeader>,
    by_age: VecDeque<BlockHash>,
}

impl Headers {
    /// What bitcoind says of a header now, and whether it is on the best chain. `None`: it does not know it.
    pub(crate) fn ask(
        &mut self,
        node: &mut Node,
        hash: BlockHash,
    ) -> Result<Option<(KnownHeader, bool)>, BitcoindError> {
        let Some(answer) = ask_header(node, hash)? else { return Ok(None) };
        let known = answer
            .known(hash)
            .ok_or_else(|| BitcoindError::InvalidResponse(format!("to getblockheader: not the header of {hash}")))?;
        self.keep(hash, &known);
        Ok(Some((known, answer.confirmations >= 0)))
    }

    /// The target that the child of `parent` must have.
    pub(crate) fn next_bits(
        &mut self,
        node: &mut Node,
        network: Network,
        parent: &KnownHeader,
    ) -> Result<NextBits, BitcoindError> {
        let mut cursor = parent.clone();
        next_bits(network, parent.facts(), |height| {
            cursor = self.ancestor(node, &cursor, height)?;
            Ok(cursor.facts())
        })
    }

    /// The ancestor of `of` at a lower height.
    fn ancestor(
        &mut self,
        node: &mut Node,
        of: &KnownHeader,
        height: BlockHeight,
    ) -> Result<KnownHeader, BitcoindError> {
        let mut cursor = of.clone();
        while cursor.height > height {
            let parent = cursor.header.prev_blockhash;
            let is_next = cursor.height.0.saturating_sub(height.0) == 1;
            cursor = match self.by_hash.get(&parent) {
                Some(parent) => parent.clone(),
                None if is_next => self.must_ask(node, parent)?.0,
                None => match self.jump(node, cursor.header.block_hash(), height)? {
                    Some(ancestor) => return Ok(ancestor),
                    None => self.must_ask(node, parent)?.0,
                },
            };
        }
        Ok(cursor)
    }

    /// The best chain's block at `height`, provided that `from` is on the best chain before and after the question.
    fn jump(
        &mut self,
        node: &mut Node,
        from: BlockHash,
        height: BlockHeight,
    ) -> Result<Option<KnownHeader>, BitcoindError> {
        if !self.must_ask(node, from)?.1 {
            return Ok(None);
        }
        let Text(hash): Text<BlockHash> = node.call("getblockhash", json!([height.0]), Bounds::SMALL)?;
        let (ancestor, _) = self.must_ask(node, hash)?;
        let is_still = self.must_ask(node, from)?.1;
        Ok(is_still.then_some(ancestor))
    }

    /// Asks for a header that bitcoind must know, for it knows a descendant.
    fn must_ask(&mut self, node: &mut Node, hash: BlockHash) -> Result<(KnownHeader, bool), BitcoindError> {
        let gone =
            || BitcoindError::InvalidResponse(format!("it knows a descendant of block {hash}, but not the block"));
        self.ask(node, hash)?.ok_or_else(gone)
    }

    fn keep(&mut self, hash: BlockHash, known: &KnownHeader) {
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
