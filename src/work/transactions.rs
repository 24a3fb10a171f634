//! The transactions of a template, with the hashes that depend on nothing else.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use bitcoin::hashes::{sha256d, Hash as _, HashEngine as _};

use super::{merkle, TemplateTx};
use crate::share::coinbase::fold_merkle_branch;

/// BIP-0141: what the coinbase's witness holds, and what stands for the coinbase among the witness ids.
const ZERO: [u8; 32] = [0; 32];

/// Transactions without the coinbase, parents before children; read as a slice.
///
/// The merkle branch and the witness commitment are computed once, when the list is made. A shorter list shares
/// the transactions of the one it was cut from.
#[derive(Clone)]
pub struct Transactions {
    all: Arc<[TemplateTx]>,
    len: usize,
    merkle_branch: Arc<[[u8; 32]]>,
    witness_commitment: [u8; 32],
}

impl Transactions {
    /// Takes the transactions in block order.
    pub fn new(transactions: Vec<TemplateTx>) -> Self {
        let len = transactions.len();
        Self::of(transactions.into(), len)
    }

    /// The first `len` of these transactions, at most all; copies none of them.
    pub fn first_few(&self, len: usize) -> Self {
        if len >= self.len {
            return self.clone();
        }
        Self::of(Arc::clone(&self.all), len)
    }

    fn of(all: Arc<[TemplateTx]>, len: usize) -> Self {
        let kept = all.get(..len).unwrap_or(&all);
        let merkle_branch = merkle::branch_of_first(kept.iter().map(|tx| tx.txid)).into();
        let witness_branch = merkle::branch_of_first(kept.iter().map(|tx| tx.wtxid));
        let mut engine = sha256d::Hash::engine();
        engine.input(&fold_merkle_branch(ZERO, &witness_branch));
        engine.input(&ZERO);
        let witness_commitment = sha256d::Hash::from_engine(engine).to_byte_array();
        Self { all, len, merkle_branch, witness_commitment }
    }

    /// Hashes that fold the coinbase's id up to the merkle root; none in an empty block.
    pub fn merkle_branch(&self) -> &[[u8; 32]] {
        &self.merkle_branch
    }

    /// BIP-0141's commitment hash over the witnesses, with a reserved value of 32 zero bytes.
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
    /// Megabytes of transactions help nobody.
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
    fn a_shorter_list_is_as_if_it_were_made_so_and_shares_the_bytes() {
        let all: Vec<TemplateTx> = (0..20).map(|n| tx(n, 5, 6, 7)).collect();
        let list = Transactions::new(all.clone());
        for len in 0..20 {
            let short = list.first_few(len);
            let fresh = Transactions::new(all[..len].to_vec());
            assert_eq!(short, fresh);
            assert_eq!(short.merkle_branch(), fresh.merkle_branch());
            assert_eq!(short.witness_commitment(), fresh.witness_commitment());
            assert!(Arc::ptr_eq(&short.all, &list.all));
        }
        assert_eq!(list.first_few(21), list);
        assert_ne!(list.first_few(19), list);
    }

    #[test]
    fn the_commitment_is_bip141s() {
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
