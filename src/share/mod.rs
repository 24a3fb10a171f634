//! The share: a Bitcoin block header and the facts from which its coinbase is derived (rules, sections 3 and 4).

pub mod coinbase;
pub mod encoding;
pub mod envelope;
mod payout_script;

use std::cmp::Ordering;
use std::fmt;

use bitcoin::block::Header;
use bitcoin::hashes::{sha256, sha256d, Hash as _};
use bitcoin::BlockHash;

pub use payout_script::{PayoutScript, PayoutScriptError};

use crate::bytes::tagged_hash;
use crate::params::ChainId;
use crate::units::{Bits, BlockHeight, Sats, ShareHeight, UnixTime, Work};

/// Length of the extranonce in bytes: the server's part, then the miner's.
pub const EXTRANONCE_LEN: usize = EXTRANONCE1_LEN + EXTRANONCE2_LEN;
/// Bytes of the extranonce that the server assigns to a session.
pub const EXTRANONCE1_LEN: usize = 4;
/// Bytes of the extranonce that the miner rolls.
pub const EXTRANONCE2_LEN: usize = 8;
/// Largest number of hashes in a merkle branch; a block has fewer than 2^16 transactions.
pub const MERKLE_BRANCH_MAX: usize = 16;
/// Largest length of the coinbase tag in bytes.
pub const COINBASE_TAG_LEN_MAX: usize = 20;
/// Lowest version of a share's header (BIP-0065 was the last soft fork to raise it).
pub const HEADER_VERSION_MIN: i32 = 4;

/// The id of a share: the hash of its Bitcoin header, in internal byte order.
///
/// Ordered as a little-endian 256-bit number, as Bitcoin compares hashes with targets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ShareId(pub [u8; 32]);

impl ShareId {
    /// The parent of a genesis share.
    pub const ZERO: Self = Self([0; 32]);

    /// The id of the share with this header.
    pub fn of(header: &Header) -> Self {
        Self(header.block_hash().to_byte_array())
    }
}

impl Ord for ShareId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.iter().rev().cmp(other.0.iter().rev())
    }
}

impl PartialOrd for ShareId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for ShareId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        BlockHash::from_byte_array(self.0).fmt(f)
    }
}

impl fmt::Debug for ShareId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShareId({self})")
    }
}

/// The SHA-256 of the canonical bytes of a share.
///
/// It identifies a share before rule 8 is verified: until then anyone can combine a header with other facts, so several
/// shares may have the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShareDigest(pub [u8; 32]);

/// The operator's text in the coinbase: at most [`COINBASE_TAG_LEN_MAX`] bytes of printable ASCII.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CoinbaseTag(Vec<u8>);

impl CoinbaseTag {
    /// Creates a tag.
    ///
    /// # Errors
    /// If `text` is too long or not printable ASCII.
    pub fn new(text: &[u8]) -> Result<Self, CoinbaseTagError> {
        if text.len() > COINBASE_TAG_LEN_MAX {
            return Err(CoinbaseTagError::TooLong(text.len()));
        }
        match text.iter().find(|byte| !(0x20..=0x7e).contains(*byte)) {
            Some(byte) => Err(CoinbaseTagError::NotPrintable(*byte)),
            None => Ok(Self(text.to_vec())),
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Why a text is not a valid coinbase tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CoinbaseTagError {
    /// Length in bytes.
    #[error("{0} bytes exceed the limit of {COINBASE_TAG_LEN_MAX}")]
    TooLong(usize),
    /// A byte outside 0x20..=0x7e.
    #[error("byte {0:#04x} is not printable ASCII")]
    NotPrintable(u8),
}

/// The facts that a share commits to (rules, section 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareInfo {
    /// The version of the rules that the share is judged by (rules, section 10).
    pub rules_version: u8,
    /// Id of the parent share; zero for a genesis share.
    pub parent: ShareId,
    /// The share target, which the header hash must meet.
    pub share_bits: Bits,
    /// The target that follows from the parent, before easing.
    pub base_bits: Bits,
    /// The newest version of the rules that the finder's software knows.
    pub signal: u8,
    /// The class of payout outputs that the finder votes for (rules, section 7).
    pub outputs_vote: u8,
    /// The class of payout outputs in force.
    pub outputs_class: u8,
    /// Ids of the uncles (stale siblings of ancestors) that this share names, ascending.
    pub uncles: Vec<ShareId>,
    /// The parent's height plus one; 0 for a genesis share.
    pub share_height: ShareHeight,
    /// The parent's chain work plus this share's work.
    pub chain_work: Work,
    /// Height of the Bitcoin block that this header would be.
    pub block_height: BlockHeight,
    /// Sum of the coinbase's payouts.
    pub coinbase_value: Sats,
    /// The scriptPubKey of this share's miner.
    pub payout_script: PayoutScript,
    /// Witness commitment hash of the block (BIP-0141).
    pub witness_commitment: [u8; 32],
    pub coinbase_tag: CoinbaseTag,
}

impl ShareInfo {
    /// Whether the share has no parent.
    pub fn is_genesis(&self) -> bool {
        self.parent == ShareId::ZERO
    }

    /// The tagged hash `p2pool/share` of chain id and info, which the coinbase contains.
    pub fn commitment(&self, chain_id: &ChainId) -> [u8; 32] {
        let mut data = chain_id.0.to_vec();
        self.encode_into(&mut data);
        tagged_hash(b"p2pool/share", &data)
    }
}

/// A share in the form in which it is stored and sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The Bitcoin block header; its hash is the proof of work.
    pub header: Header,
    /// The facts that the coinbase commits to.
    pub info: ShareInfo,
    /// The server's four bytes, then the miner's eight.
    pub extranonce: [u8; EXTRANONCE_LEN],
    /// Merkle branch from the coinbase to the header's merkle root, at most [`MERKLE_BRANCH_MAX`] hashes.
    pub merkle_branch: Vec<[u8; 32]>,
}

impl Share {
    pub fn id(&self) -> ShareId {
        ShareId::of(&self.header)
    }

    pub fn time(&self) -> UnixTime {
        UnixTime(self.header.time)
    }

    pub fn digest(&self) -> ShareDigest {
        ShareDigest(sha256::Hash::hash(&self.encode()).to_byte_array())
    }
}

/// The double SHA-256 of a header, in internal byte order.
pub fn header_hash(header: &[u8; 80]) -> [u8; 32] {
    sha256d::Hash::hash(header).to_byte_array()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_ordered_as_little_endian_numbers() {
        let id = |first, last| {
            let mut bytes = [0; 32];
            bytes[0] = first;
            bytes[31] = last;
            ShareId(bytes)
        };
        assert!(id(0xff, 0) < id(0, 1));
        assert!(id(1, 1) < id(2, 1));
        assert_eq!(id(0, 1).to_string(), format!("01{}", "00".repeat(31)));
    }

    #[test]
    fn coinbase_tags_are_short_and_printable() {
        assert!(CoinbaseTag::new(b"garage pool ~").is_ok());
        assert!(CoinbaseTag::new(&[b'x'; 20]).is_ok());
        assert_eq!(CoinbaseTag::new(&[b'x'; 21]), Err(CoinbaseTagError::TooLong(21)));
        assert_eq!(CoinbaseTag::new(b"a\n"), Err(CoinbaseTagError::NotPrintable(b'\n')));
        assert_eq!(CoinbaseTag::new(&[0x7f]), Err(CoinbaseTagError::NotPrintable(0x7f)));
    }
}
