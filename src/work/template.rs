//! The block template of `getblocktemplate` (BIP-0022, BIP-0023, BIP-0145).

use bitcoin::BlockHash;

use super::Transactions;
use crate::units::{Bits, BlockHeight, Sats, UnixTime};

/// A transaction of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateTx {
    /// Serialised with witness.
    pub data: Vec<u8>,
    /// In internal byte order.
    pub txid: [u8; 32],
    /// In internal byte order.
    pub wtxid: [u8; 32],
    pub fee: Sats,
    /// In weight units.
    pub weight: u64,
    /// Cost of the signature operations (BIP-0141).
    pub sigops_cost: u64,
}

/// A block template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Block version, including deployment bits.
    pub version: i32,
    pub prev_block: BlockHash,
    /// Height of the block to be mined.
    pub height: BlockHeight,
    pub bits: Bits,
    /// Earliest header time allowed: median time past plus one second.
    pub min_time: UnixTime,
    /// bitcoind's time when it made the template, or [`Self::min_time`] if that is later.
    pub cur_time: UnixTime,
    /// Seconds for which the response may have been on its way since.
    pub response_s: u32,
    /// Subsidy plus all fees.
    pub coinbase_value: Sats,
    /// Transactions without the coinbase, parents before children.
    pub transactions: Transactions,
    /// Largest block weight in weight units.
    pub weight_limit: u64,
    /// Largest sigops cost of a block.
    pub sigops_limit: u64,
}
