//! The whole block that an answer stands for, as `submitblock` takes it.

use bitcoin::consensus::Encodable as _;
use bitcoin::hex::DisplayHex as _;
use bitcoin::VarInt;
use thiserror::Error;

use super::answer::MERKLE_ROOT;
use super::{merkle, Job};
use crate::share::EXTRANONCE_LEN;

/// Why header and job make no block.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BlockError {
    /// The header belongs to another job or extranonce.
    #[error("the header's merkle root is {header}, but coinbase and transactions give {computed}")]
    MerkleRoot {
        /// The header's, in the byte order of the hash function.
        header: String,
        /// That of coinbase and transactions, likewise.
        computed: String,
    },
}

impl Job {
    /// Header, coinbase with its witness, and transactions, serialised.
    ///
    /// The merkle root is computed anew from all transaction ids, not from the branch that led to the header.
    ///
    /// # Errors
    /// The root differs from the header's.
    pub fn block(&self, header: &[u8; 80], extranonce: &[u8; EXTRANONCE_LEN]) -> Result<Vec<u8>, BlockError> {
        let transactions = &self.template.transactions;
        let txids = transactions.iter().map(|tx| tx.txid);
        let computed = merkle::root(std::iter::once(self.coinbase.txid(extranonce)).chain(txids));
        if header[MERKLE_ROOT] != computed {
            return Err(BlockError::MerkleRoot {
                header: header[MERKLE_ROOT].to_lower_hex_string(),
                computed: computed.to_lower_hex_string(),
            });
        }
        let coinbase = self.coinbase.with_witness(extranonce);
        let count = VarInt::from(transactions.len().saturating_add(1));
        let data_len: usize = transactions.iter().map(|tx| tx.data.len()).sum();
        let mut block = Vec::with_capacity(header.len() + count.size() + coinbase.len() + data_len);
        block.extend_from_slice(header);
        count.consensus_encode(&mut block).expect("writing to a vector does not fail");
        block.extend_from_slice(&coinbase);
        for tx in transactions.iter() {
            block.extend_from_slice(&tx.data);
        }
        Ok(block)
    }
}
