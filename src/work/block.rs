//! The serialised block of a submit, as `submitblock` takes it.

use bitcoin::hex::DisplayHex as _;
use thiserror::Error;

use super::submit::MERKLE_ROOT;
use super::{merkle, Job};
use crate::bytes::{compact_size_len, put_compact_size};
use crate::share::EXTRANONCE_LEN;

/// Why a header and a job do not form a block.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BlockError {
    /// The header belongs to another job or extranonce.
    #[error("the header's merkle root is {header}, but that of coinbase and transactions is {computed}")]
    MerkleRoot {
        /// In internal byte order.
        header: String,
        /// In internal byte order.
        computed: String,
    },
}

impl Job {
    /// Serialises the block: header, coinbase with witness, and transactions.
    ///
    /// Checks the header's merkle root against one computed from all txids, independently of the job's merkle branch.
    ///
    /// # Errors
    /// If the merkle roots differ.
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
        Ok(self.unchecked_block(header, extranonce))
    }

    /// As [`Self::block`] without the check, for a block that fails it but must still be saved to disk.
    pub fn unchecked_block(&self, header: &[u8; 80], extranonce: &[u8; EXTRANONCE_LEN]) -> Vec<u8> {
        let transactions = &self.template.transactions;
        let coinbase = self.coinbase.with_witness(extranonce);
        let count = transactions.len().saturating_add(1);
        let data_len: usize = transactions.iter().map(|tx| tx.data.len()).sum();
        let mut block = Vec::with_capacity(header.len() + compact_size_len(count) + coinbase.len() + data_len);
        block.extend_from_slice(header);
        put_compact_size(&mut block, count);
        block.extend_from_slice(&coinbase);
        for tx in transactions.iter() {
            block.extend_from_slice(&tx.data);
        }
        block
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::consensus::{deserialize, serialize};
    use bitcoin::{Block, Transaction};

    use super::super::fixtures::{job, many_p2tr, p2tr, template, tx};
    use super::super::{Submit, Template};
    use super::*;
    use crate::params::Network;

    const SUBMIT: Submit = Submit { extranonce: [3; 12], time: 1_700_000_300, nonce: 99, version: 0x2000_6000 };

    #[test]
    fn the_block_of_a_real_template_is_valid() {
        let text = include_str!("../../tests/vectors/templates/regtest-transactions.json");
        let job = job(Template::from_json(text, Network::Regtest).unwrap(), &many_p2tr(4));
        let hashed = job.hash_header(&SUBMIT);
        let bytes = job.block(&hashed.header, &SUBMIT.extranonce).unwrap();
        let block: Block = deserialize(&bytes).unwrap();
        assert!(block.check_merkle_root() && block.check_witness_commitment());
        assert_eq!(block.bip34_block_height().unwrap(), 111);
        assert_eq!(serialize(&block.header), hashed.header);
        let given: Vec<Transaction> =
            job.template.transactions.iter().map(|tx| deserialize(&tx.data).unwrap()).collect();
        assert_eq!(block.txdata[1..], given);
        assert_eq!(serialize(&block), bytes);
    }

    #[test]
    fn a_header_of_another_extranonce_or_job_is_an_error() {
        let ours = job(template(9, vec![tx(1, 2, 3, 4), tx(2, 2, 3, 4)]), &[p2tr(1)]);
        let header = ours.hash_header(&SUBMIT).header;
        assert!(ours.block(&header, &SUBMIT.extranonce).is_ok());
        assert!(matches!(ours.block(&header, &[4; 12]), Err(BlockError::MerkleRoot { .. })));
        let other = job(template(9, vec![tx(1, 2, 3, 4), tx(3, 2, 3, 4)]), &[p2tr(1)]);
        assert!(matches!(other.block(&header, &SUBMIT.extranonce), Err(BlockError::MerkleRoot { .. })));
    }

    #[test]
    fn a_wrong_merkle_branch_in_the_job_is_an_error() {
        let mut job = job(template(9, vec![tx(1, 2, 3, 4), tx(2, 2, 3, 4)]), &[p2tr(1)]);
        job.merkle_branch[1][0] ^= 1;
        let hashed = job.hash_header(&SUBMIT);
        assert!(matches!(job.block(&hashed.header, &SUBMIT.extranonce), Err(BlockError::MerkleRoot { .. })));
    }
}
