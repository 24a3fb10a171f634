//! Bitcoin's merkle trees over transaction ids: the last entry of an odd row is paired with itself.

use crate::share::coinbase::fold_merkle_branch;

/// The merkle branch of the first leaf, computed from the other leaves.
///
/// The first leaf is the coinbase: it differs between submits, its branch does not.
pub fn branch_of_first(others: impl IntoIterator<Item = [u8; 32]>) -> Vec<[u8; 32]> {
    let mut row: Vec<[u8; 32]> = others.into_iter().collect();
    let mut branch = Vec::new();
    while let Some((sibling, rest)) = row.split_first() {
        branch.push(*sibling);
        row = pair_up(rest);
    }
    branch
}

/// The merkle root; zero if there are no leaves.
pub fn root(leaves: impl IntoIterator<Item = [u8; 32]>) -> [u8; 32] {
    let mut row: Vec<[u8; 32]> = leaves.into_iter().collect();
    while row.len() > 1 {
        row = pair_up(&row);
    }
    row.first().copied().unwrap_or_default()
}

fn pair_up(row: &[[u8; 32]]) -> Vec<[u8; 32]> {
    row.chunks(2).filter_map(|pair| Some(fold_merkle_branch(*pair.first()?, &[*pair.last()?]))).collect()
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash as _;
    use bitcoin::Txid;

    use super::*;

    fn leaves(count: usize) -> Vec<[u8; 32]> {
        (0..count).map(|n| crate::bytes::tagged_hash(b"leaf", &n.to_le_bytes())).collect()
    }

    #[test]
    fn root_and_branch_match_the_bitcoin_crate() {
        for count in (1..=70).chain([255, 256, 257, 1_000]) {
            let leaves = leaves(count);
            let expected = bitcoin::merkle_tree::calculate_root(leaves.iter().map(|leaf| Txid::from_byte_array(*leaf)))
                .unwrap()
                .to_byte_array();
            assert_eq!(root(leaves.iter().copied()), expected, "{count} leaves");
            let branch = branch_of_first(leaves[1..].iter().copied());
            assert_eq!(fold_merkle_branch(leaves[0], &branch), expected, "{count} leaves");
            assert_eq!(branch.len(), count.next_power_of_two().trailing_zeros() as usize);
        }
    }

    #[test]
    fn zero_and_one_leaf() {
        assert_eq!(root([]), [0; 32]);
        assert_eq!(root([[7; 32]]), [7; 32]);
        assert!(branch_of_first([]).is_empty());
    }

    #[test]
    fn the_largest_tree_of_a_share_has_sixteen_levels() {
        assert_eq!(branch_of_first(leaves(65_535)).len(), crate::share::MERKLE_BRANCH_MAX);
    }
}
