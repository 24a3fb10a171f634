//! A share: a Bitcoin block header with the facts its coinbase is derived from (rules, sections 3 and 4).

pub mod coinbase;
pub mod encoding;
mod payout_script;

use std::cmp::Ordering;
use std::fmt;

use bitcoin::block::Header;
use bitcoin::hashes::{sha256, sha256d, Hash as _};

pub use payout_script::{PayoutScript, PayoutScriptError};

use crate::bytes::{tagged_hash, write_hex};
use crate::params::ChainId;
use crate::units::{Bits, BlockHeight, Sats, ShareHeight, UnixTime, Work};

/// Bytes of the extranonce: chosen by the server, then by the miner.
pub const EXTRANONCE_LEN: usize = EXTRANONCE1_LEN + EXTRANONCE2_LEN;
/// Bytes of the extranonce that the server chooses for a session.
pub const EXTRANONCE1_LEN: usize = 4;
/// Bytes of the extranonce that the miner rolls.
pub const EXTRANONCE2_LEN: usize = 8;
/// Hashes in a merkle branch at most: a block has fewer than 2^16 transactions.
pub const MERKLE_BRANCH_MAX: usize = 16;
/// Bytes of the operator's text at most.
pub const COINBASE_TAG_LEN_MAX: usize = 20;
/// A share's header has this version or a later one (BIP-0065's, the last that raised it).
pub const HEADER_VERSION_MIN: i32 = 4;

/// A share's id: the hash of its Bitcoin header, in the byte order of the hash function.
///
/// Ordered as Bitcoin compares hashes with targets: a 256-bit number read little-endian.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ShareId(pub [u8; 32]);

impl ShareId {
    /// The parent of a genesis share.
    pub const ZERO: Self = Self([0; 32]);
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
        write_hex(f, self.0.iter().rev())
    }
}

impl fmt::Debug for ShareId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShareId({self})")
    }
}

/// The hash of a whole canonical share: tells apart shares that have one header but differ elsewhere.
///
/// Before rule 8 holds only this identifies a share: anybody can put other facts beside a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShareDigest(pub [u8; 32]);

/// The operator's text in the coinbase: at most 20 bytes of printable ASCII.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CoinbaseTag(Vec<u8>);

impl CoinbaseTag {
    /// Checks length and characters.
    ///
    /// # Errors
    /// Says what is wrong with `text`.
    pub fn new(text: &[u8]) -> Result<Self, CoinbaseTagError> {
        if text.len() > COINBASE_TAG_LEN_MAX {
            return Err(CoinbaseTagError::TooLong(text.len()));
        }
        match text.iter().find(|byte| !(0x20..=0x7e).contains(*byte)) {
            Some(byte) => Err(CoinbaseTagError::NotPrintable(*byte)),
            None => Ok(Self(text.to_vec())),
        }
    }

    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Why a text cannot stand in the coinbase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CoinbaseTagError {
    /// More than [`COINBASE_TAG_LEN_MAX`] bytes.
    #[error("{0} bytes are too many, at most {COINBASE_TAG_LEN_MAX} fit")]
    TooLong(usize),
    /// A byte outside 0x20..=0x7e.
    #[error("byte {0:#04x} is not printable ASCII")]
    NotPrintable(u8),
}

/// The facts a share commits to (rules, section 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareInfo {
    /// The share this one is built on; zero for a genesis share.
    pub parent: ShareId,
    /// Stale siblings of ancestors that get credit, ascending.
    pub uncles: Vec<ShareId>,
    /// One more than the parent's; 0 for a genesis share.
    pub share_height: ShareHeight,
    /// The parent's and this share's own work.
    pub chain_work: Work,
    /// The target this share must meet.
    pub share_bits: Bits,
    /// Height of the Bitcoin block this header would be.
    pub block_height: BlockHeight,
    /// What the coinbase pays out.
    pub coinbase_value: Sats,
    /// Where this share's miner is paid.
    pub payout_script: PayoutScript,
    /// BIP-0141 commitment hash of the block's witnesses.
    pub witness_commitment: [u8; 32],
    /// The operator's text.
    pub coinbase_tag: CoinbaseTag,
}

impl ShareInfo {
    /// Whether this share starts a chain.
    pub fn is_genesis(&self) -> bool {
        self.parent == ShareId::ZERO
    }

    /// Fork choice: most chain work, then the lowest id (rules, section 6).
    pub fn is_better_than(&self, id: &ShareId, other: &Self, other_id: &ShareId) -> bool {
        (self.chain_work, std::cmp::Reverse(id)) > (other.chain_work, std::cmp::Reverse(other_id))
    }

    /// Tagged hash `p2pool/share` of chain id and info: what the coinbase commits to.
    pub fn commitment(&self, chain_id: &ChainId) -> [u8; 32] {
        let mut data = chain_id.0.to_vec();
        self.encode_into(&mut data);
        tagged_hash(b"p2pool/share", &data)
    }
}

/// A share as it is stored and sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The Bitcoin block header whose hash is the proof of work.
    pub header: Header,
    /// The facts that the coinbase commits to.
    pub info: ShareInfo,
    /// Four bytes of the server and eight of the miner, in the coinbase.
    pub extranonce: [u8; EXTRANONCE_LEN],
    /// Hashes that fold the coinbase's up to the header's merkle root, at most [`MERKLE_BRANCH_MAX`].
    pub merkle_branch: Vec<[u8; 32]>,
}

impl Share {
    /// The hash of the header.
    pub fn id(&self) -> ShareId {
        ShareId(self.header.block_hash().to_byte_array())
    }

    /// The header's time.
    pub fn time(&self) -> UnixTime {
        UnixTime(self.header.time)
    }

    /// The hash of the whole canonical share.
    pub fn digest(&self) -> ShareDigest {
        ShareDigest(sha256::Hash::hash(&self.encode()).to_byte_array())
    }
}

/// The hash of a header, as 32 bytes in the order of the hash function.
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
