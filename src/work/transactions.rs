//! The transactions of a template with their merkle branch and witness commitment.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use bitcoin::hashes::{sha256d, Hash as _, HashEngine as _};

use super::{merkle, TemplateTx};
use crate::share::coinbase::fold_merkle_branch;

/// The reserved value in the coinbase's witness, and the coinbase's wtxid (BIP-0141).
const ZERO: [u8; 32] = [0; 32];

/// Transactions without the coinbase, parents before children. Dereferences to a slice.
///
/// Merkle branch and witness commitment are computed once, on creation. Prefixes share the transactions.
#[derive(Clone)]
pub struct Transactions {
    all: Arc<[TemplateTx]>,
    len: usize,
    merkle_branch: Arc<[[u8; 32]]>,
    witness_commitment: [u8; 32],
}

impl Transactions {
    /// Creates a list from transactions in block order.
    pub fn new(transactions: Vec<TemplateTx>) -> Self {
        let len = transactions.len();
        Self::with_len(transactions.into(), len)
    }

    /// The first `len` transactions, or all if there are fewer. Does not copy them.
    pub fn prefix(&self, len: usize) -> Self {
        if len >= self.len {
            return self.clone();
        }
        Self::with_len(Arc::clone(&self.all), len)
    }

    fn with_len(all: Arc<[TemplateTx]>, len: usize) -> Self {
        let kept = all.get(..len).unwrap_or(&all);
        let merkle_branch = merkle::branch_of_first(kept.iter().map(|tx| tx.txid)).into();
        let witness_branch = merkle::branch_of_first(kept.iter().map(|tx| tx.wtxid));
        let mut engine = sha256d::Hash::engine();
        engine.input(&fold_merkle_branch(ZERO, &witness_branch));
        engine.input(&ZERO);
        let witness_commitment = sha256d::Hash::from_engine(engine).to_byte_array();
        Self { all, len, merkle_branch, witness_commitment }
    }

    /// The merkle branch from the coinbase to the merkle root; empty if there are no transactions.
    pub fn merkle_branch(&self) -> &[[u8; 32]] {
        &self.merkle_branch
    }

    /// The witness commitment hash with a reserved value of 32 zero bytes (BIP-0141).
    pub fn witness_commitment(&self) -> [u8; 32] {
        self.witness_commitment
    }
}

impl Deref for Transactions {
    type Target = [TemplateTx];

    fn deref(&self) -> &[TemplateTx] {
        self.all.get(..self.len).unwrap_or(&self.all)
    }
}

impl From<Vec<TemplateTx>> for Transactions {
    fn from(transactions: Vec<TemplateTx>) -> Self {
        Self::new(transactions)
    }
}

impl Default for Transactions {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl PartialEq for Transactions {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Transactions {}

impl fmt::Debug for Transactions {
    /// Shows only the number of transactions, which are megabytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} transactions", self.len)
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash as _;
    use bitcoin::{Block, WitnessMerkleNode};

    use super::super::fixtures::tx;
    use super::*;

    #[test]
    fn a_prefix_equals_a_new_list_and_shares_the_transactions() {
        let all: Vec<TemplateTx> = (0..20).map(|n| tx(n, 5, 6, 7)).collect();
        let list = Transactions::new(all.clone());
        for len in 0..20 {
            let short = list.prefix(len);
            let fresh = Transactions::new(all[..len].to_vec());
            assert_eq!(short, fresh);
            assert_eq!(short.merkle_branch(), fresh.merkle_branch());
            assert_eq!(short.witness_commitment(), fresh.witness_commitment());
            assert!(Arc::ptr_eq(&short.all, &list.all));
        }
        assert_eq!(list.prefix(21), list);
        assert_ne!(list.prefix(19), list);
    }

    #[test]
    fn the_witness_commitment_matches_the_bitcoin_crate() {
        for count in [0, 1, 2, 7] {
            let list = Transactions::new((0..count).map(|n| tx(n, 5, 6, 7)).collect());
            let leaves = std::iter::once([0; 32]).chain(list.iter().map(|tx| tx.wtxid));
            let leaves = leaves.map(|id| bitcoin::Wtxid::from_byte_array(id).to_raw_hash());
            let root = WitnessMerkleNode::from_raw_hash(bitcoin::merkle_tree::calculate_root(leaves).unwrap());
            let expected = Block::compute_witness_commitment(&root, &[0; 32]).to_byte_array();
            assert_eq!(list.witness_commitment(), expected, "{count} transactions");
        }
    }
}
