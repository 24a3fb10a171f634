//! A Bitcoin block template as `getblocktemplate` gives it (BIP-0022, BIP-0023, BIP-0145).

use bitcoin::BlockHash;

use super::Transactions;
use crate::units::{Bits, BlockHeight, Sats, UnixTime};

/// A transaction of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateTx {
    /// Serialised with witness.
    pub data: Vec<u8>,
    /// Transaction id, as the hash function gave it.
    pub txid: [u8; 32],
    /// Witness transaction id, as the hash function gave it.
    pub wtxid: [u8; 32],
    /// Fee.
    pub fee: Sats,
    /// Weight units.
    pub weight: u64,
    /// Signature operations as BIP-0141 costs them.
    pub sigops_cost: u64,
}

/// What bitcoind proposes to mine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Block version with the bits of deployments set.
    pub version: i32,
    /// The block to build on.
    pub prev_block: BlockHash,
    /// Height of the block to be found.
    pub height: BlockHeight,
    /// Bitcoin's target.
    pub bits: Bits,
    /// Earliest header time allowed: median time past and a second.
    pub min_time: UnixTime,
    /// bitcoind's clock when it made the template.
    pub cur_time: UnixTime,
    /// Subsidy and all fees.
    pub coinbase_value: Sats,
    /// Transactions without the coinbase, parents before children.
    pub transactions: Transactions,
    /// Weight units a block may have.
    pub weight_limit: u64,
    /// Cost of signature operations a block may have.
    pub sigops_limit: u64,
    /// The signet's challenge; empty on other networks.
    pub signet_challenge: Vec<u8>,
}
