//! The whole block that an answer stands for, as `submitblock` takes it.

use bitcoin::consensus::Encodable as _;
use bitcoin::hex::DisplayHex as _;
use bitcoin::VarInt;
use thiserror::Error;

use super::submit::MERKLE_ROOT;
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
        Ok(self.unchecked_block(header, extranonce))
    }

    /// The same whether or not the header belongs to it: for a block that cannot be submitted, but must not be lost.
    pub fn unchecked_block(&self, header: &[u8; 80], extranonce: &[u8; EXTRANONCE_LEN]) -> Vec<u8> {
        let transactions = &self.template.transactions;
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

    const ANSWER: Submit = Submit { extranonce: [3; 12], time: 1_700_000_300, nonce: 99, version: 0x2000_6000 };

    #[test]
    fn a_block_of_a_real_template_is_whole() {
        let text = include_str!("../../tests/vectors/templates/regtest-transactions.json");
        let job = job(Template::from_json(text, Network::Regtest).unwrap(), &many_p2tr(4));
        let judged = job.hash_header(&ANSWER);
        let bytes = job.block(&judged.header, &ANSWER.extranonce).unwrap();
        let block: Block = deserialize(&bytes).unwrap();
        assert!(block.check_merkle_root() && block.check_witness_commitment());
        assert_eq!(block.bip34_block_height().unwrap(), 111);
        assert_eq!(serialize(&block.header), judged.header);
        let given: Vec<Transaction> =
            job.template.transactions.iter().map(|tx| deserialize(&tx.data).unwrap()).collect();
        assert_eq!(block.txdata[1..], given);
        assert_eq!(serialize(&block), bytes);
    }

    #[test]
    fn a_header_of_another_extranonce_or_job_is_refused() {
        let ours = job(template(9, vec![tx(1, 2, 3, 4), tx(2, 2, 3, 4)]), &[p2tr(1)]);
        let header = ours.hash_header(&ANSWER).header;
        assert!(ours.block(&header, &ANSWER.extranonce).is_ok());
        assert!(matches!(ours.block(&header, &[4; 12]), Err(BlockError::MerkleRoot { .. })));
        let other = job(template(9, vec![tx(1, 2, 3, 4), tx(3, 2, 3, 4)]), &[p2tr(1)]);
        assert!(matches!(other.block(&header, &ANSWER.extranonce), Err(BlockError::MerkleRoot { .. })));
    }

    #[test]
    fn a_branch_that_does_not_belong_to_the_transactions_is_noticed() {
        let mut job = job(template(9, vec![tx(1, 2, 3, 4), tx(2, 2, 3, 4)]), &[p2tr(1)]);
        job.merkle_branch[1][0] ^= 1;
        let judged = job.hash_header(&ANSWER);
        assert!(matches!(job.block(&judged.header, &ANSWER.extranonce), Err(BlockError::MerkleRoot { .. })));
    }
}
