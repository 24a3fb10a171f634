//! The canonical encoding of a share (rules, section 3). Decoding rejects every other form.

use bitcoin::block::Header;
use bitcoin::consensus::encode;
use bitcoin::VarInt;
use thiserror::Error;

use super::{CoinbaseTag, PayoutScript, Share, ShareId, ShareInfo, EXTRANONCE_LEN, MERKLE_BRANCH_MAX};
use crate::bytes::put_bytes;
use crate::params::{OUTPUTS_CLASSES, RULES_VERSION_FIRST, UNCLES_MAX};
use crate::units::{Bits, BlockHeight, Sats, ShareHeight, Work};

/// Largest length of a canonical share in bytes: header, longest info, extranonce and longest merkle branch.
pub const SHARE_LEN_MAX: usize = 80
    + (1 + 32
        + 4
        + 4
        + 3
        + 1
        + 32 * UNCLES_MAX as usize
        + 4
        + 16
        + 4
        + 8
        + 1
        + 34
        + 32
        + 1
        + super::COINBASE_TAG_LEN_MAX)
    + EXTRANONCE_LEN
    + (1 + 32 * MERKLE_BRANCH_MAX);

/// Why bytes do not decode to a canonical share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    #[error("the share is truncated")]
    Short,
    #[error("{0} trailing bytes")]
    Trailing(usize),
    /// The length of the named field exceeds its limit, or is not a minimal CompactSize.
    #[error("{0} has an invalid length")]
    Length(&'static str),
    #[error("rules version {0}, expected {RULES_VERSION_FIRST} or a later one")]
    RulesVersion(u8),
    #[error("signal {signal} below the rules version {version}")]
    Signal { signal: u8, version: u8 },
    #[error("class of payout outputs {0}, expected 0 to 3")]
    OutputsClass(u8),
    #[error("uncles are not in strictly ascending order")]
    UncleOrder,
    #[error("payout script is not of a standard type")]
    PayoutScript,
    #[error("coinbase tag is too long or not printable")]
    CoinbaseTag,
}

fn put_hashes<'a>(out: &mut Vec<u8>, hashes: impl ExactSizeIterator<Item = &'a [u8; 32]>) {
    out.push(u8::try_from(hashes.len()).unwrap_or(u8::MAX));
    for hash in hashes {
        out.extend_from_slice(hash);
    }
}

impl ShareInfo {
    /// Appends the canonical encoding.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        out.push(self.rules_version);
        out.extend_from_slice(&self.parent.0);
        out.extend_from_slice(&self.share_bits.0.to_le_bytes());
        out.extend_from_slice(&self.base_bits.0.to_le_bytes());
        out.extend_from_slice(&[self.signal, self.outputs_vote, self.outputs_class]);
        put_hashes(out, self.uncles.iter().map(|uncle| &uncle.0));
        out.extend_from_slice(&self.share_height.0.to_le_bytes());
        out.extend_from_slice(&self.chain_work.0.to_le_bytes());
        out.extend_from_slice(&self.block_height.0.to_le_bytes());
        out.extend_from_slice(&self.coinbase_value.0.to_le_bytes());
        put_bytes(out, self.payout_script.as_bytes());
        out.extend_from_slice(&self.witness_commitment);
        put_bytes(out, self.coinbase_tag.as_bytes());
    }

    fn decode_from(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let [rules_version] = reader.array()?;
        if rules_version < RULES_VERSION_FIRST {
            return Err(DecodeError::RulesVersion(rules_version));
        }
        let parent = ShareId(reader.array()?);
        let share_bits = Bits(u32::from_le_bytes(reader.array()?));
        let base_bits = Bits(u32::from_le_bytes(reader.array()?));
        let [signal, outputs_vote, outputs_class] = reader.array()?;
        if signal < rules_version {
            return Err(DecodeError::Signal { signal, version: rules_version });
        }
        if let Some(class) =
            [outputs_vote, outputs_class].into_iter().find(|class| usize::from(*class) >= OUTPUTS_CLASSES)
        {
            return Err(DecodeError::OutputsClass(class));
        }
        let uncles: Vec<ShareId> = reader.hashes("uncles", UNCLES_MAX as usize)?.into_iter().map(ShareId).collect();
        if uncles.iter().zip(uncles.iter().skip(1)).any(|(one, next)| one >= next) {
            return Err(DecodeError::UncleOrder);
        }
        Ok(Self {
            rules_version,
            parent,
            share_bits,
            base_bits,
            signal,
            outputs_vote,
            outputs_class,
            uncles,
            share_height: ShareHeight(u32::from_le_bytes(reader.array()?)),
            chain_work: Work(u128::from_le_bytes(reader.array()?)),
            block_height: BlockHeight(u32::from_le_bytes(reader.array()?)),
            coinbase_value: Sats(u64::from_le_bytes(reader.array()?)),
            payout_script: PayoutScript::new(reader.bytes("payout script")?).map_err(|_| DecodeError::PayoutScript)?,
            witness_commitment: reader.array()?,
            coinbase_tag: CoinbaseTag::new(reader.bytes("coinbase tag")?).map_err(|_| DecodeError::CoinbaseTag)?,
        })
    }
}

impl Share {
    /// The canonical encoding, at most [`SHARE_LEN_MAX`] bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SHARE_LEN_MAX);
        out.extend_from_slice(&encode::serialize(&self.header));
        self.info.encode_into(&mut out);
        out.extend_from_slice(&self.extranonce);
        put_hashes(&mut out, self.merkle_branch.iter());
        out
    }

    /// Decodes a share.
    ///
    /// # Errors
    /// If `bytes` are not the output of [`Self::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let header: Header = encode::deserialize(&reader.array::<80>()?).map_err(|_| DecodeError::Short)?;
        let info = ShareInfo::decode_from(&mut reader)?;
        let extranonce = reader.array()?;
        let merkle_branch = reader.hashes("merkle branch", MERKLE_BRANCH_MAX)?;
        match reader.rest.len() {
            0 => Ok(Self { header, info, extranonce, merkle_branch }),
            more => Err(DecodeError::Trailing(more)),
        }
    }
}

/// Reads fields from the front of a byte string. Claimed lengths are checked against limits before allocation.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub const fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.take(N)?.try_into().map_err(|_| DecodeError::Short)
    }

    /// Reads a CompactSize length. All lengths in a share are below 253, so only the one-byte form is minimal.
    fn length(&mut self, field: &'static str, max: usize) -> Result<usize, DecodeError> {
        let [len] = self.array::<1>()?;
        if len >= 0xfd || usize::from(len) > max {
            return Err(DecodeError::Length(field));
        }
        Ok(usize::from(len))
    }

    fn bytes(&mut self, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let len = self.length(field, 0xfc)?;
        self.take(len)
    }

    /// Reads a byte string whose length may need more than one byte.
    pub fn long_bytes(&mut self, field: &'static str, max: usize) -> Result<&'a [u8], DecodeError> {
        let (len, size) = encode::deserialize_partial::<VarInt>(self.rest).map_err(|_| DecodeError::Length(field))?;
        let len = usize::try_from(len.0).ok().filter(|len| *len <= max).ok_or(DecodeError::Length(field))?;
        self.take(size)?;
        self.take(len)
    }

    pub fn hashes(&mut self, field: &'static str, max: usize) -> Result<Vec<[u8; 32]>, DecodeError> {
        let count = self.length(field, max)?;
        (0..count).map(|_| self.array()).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use bitcoin::hashes::Hash as _;

    /// A share in which every variable-length field has its largest length.
    pub(crate) fn longest_share() -> Share {
        let script = [&[0x51u8, 0x20][..], &[7; 32]].concat();
        Share {
            header: Header {
                version: bitcoin::block::Version::from_consensus(0x2000_0000),
                prev_blockhash: bitcoin::BlockHash::from_byte_array([1; 32]),
                merkle_root: bitcoin::TxMerkleNode::from_byte_array([2; 32]),
                time: 1_700_000_000,
                bits: bitcoin::CompactTarget::from_consensus(0x1d00ffff),
                nonce: 42,
            },
            info: ShareInfo {
                rules_version: 2,
                parent: ShareId([3; 32]),
                share_bits: Bits(0x1d00ffff),
                base_bits: Bits(0x1c00ffff),
                signal: 2,
                outputs_vote: 1,
                outputs_class: 0,
                uncles: vec![ShareId([4; 32]), ShareId([5; 32]), ShareId([6; 32])],
                share_height: ShareHeight(10),
                chain_work: Work(1 << 100),
                block_height: BlockHeight(850_000),
                coinbase_value: Sats(312_500_000),
                payout_script: PayoutScript::new(&script).unwrap(),
                witness_commitment: [8; 32],
                coinbase_tag: CoinbaseTag::new(&[b'x'; 20]).unwrap(),
            },
            extranonce: [9; 12],
            merkle_branch: vec![[10; 32]; MERKLE_BRANCH_MAX],
        }
    }

    #[test]
    fn the_longest_share_round_trips_and_has_the_stated_length() {
        let bytes = longest_share().encode();
        assert_eq!(bytes.len(), SHARE_LEN_MAX);
        assert_eq!(Share::decode(&bytes).unwrap(), longest_share());
    }

    #[test]
    fn truncated_input_and_trailing_bytes_are_rejected() {
        let bytes = longest_share().encode();
        for len in 0..bytes.len() {
            assert!(Share::decode(&bytes[..len]).is_err(), "{len} bytes");
        }
        assert_eq!(Share::decode(&[bytes, vec![0]].concat()), Err(DecodeError::Trailing(1)));
    }

    #[test]
    fn decoded_bytes_encode_to_themselves() {
        // Changing any single byte gives an error or a share that encodes to exactly those bytes.
        let bytes = longest_share().encode();
        for at in 0..bytes.len() {
            for change in [0x01, 0x80, 0xff] {
                let mut mutant = bytes.clone();
                mutant[at] ^= change;
                if let Ok(share) = Share::decode(&mutant) {
                    assert_eq!(share.encode(), mutant, "byte {at} changed by {change:#x}");
                }
            }
        }
    }

    fn with_info(change: impl FnOnce(&mut ShareInfo)) -> Result<Share, DecodeError> {
        let mut share = longest_share();
        change(&mut share.info);
        Share::decode(&share.encode())
    }

    #[test]
    fn each_field_rule_has_its_error() {
        assert_eq!(with_info(|info| info.rules_version = 1), Err(DecodeError::RulesVersion(1)));
        assert!(with_info(|info| (info.rules_version, info.signal) = (3, 3)).is_ok(), "newer rules, the same form");
        assert_eq!(with_info(|info| info.signal = 1), Err(DecodeError::Signal { signal: 1, version: 2 }));
        assert_eq!(with_info(|info| info.outputs_vote = 4), Err(DecodeError::OutputsClass(4)));
        assert_eq!(with_info(|info| info.outputs_class = 5), Err(DecodeError::OutputsClass(5)));
        assert_eq!(with_info(|info| info.uncles.swap(0, 1)), Err(DecodeError::UncleOrder));
        assert_eq!(with_info(|info| info.uncles[1] = info.uncles[0]), Err(DecodeError::UncleOrder));
        assert_eq!(with_info(|info| info.uncles.push(ShareId([7; 32]))), Err(DecodeError::Length("uncles")));
        assert_eq!(with_info(|info| info.coinbase_tag = CoinbaseTag(vec![0x1f])), Err(DecodeError::CoinbaseTag));
        assert_eq!(with_info(|info| info.coinbase_tag = CoinbaseTag(vec![b'x'; 21])), Err(DecodeError::CoinbaseTag));
        let mut share = longest_share();
        share.merkle_branch.push([0; 32]);
        assert_eq!(Share::decode(&share.encode()), Err(DecodeError::Length("merkle branch")));
        let mut bytes = longest_share().encode();
        bytes[80] = 1;
        assert_eq!(Share::decode(&bytes), Err(DecodeError::RulesVersion(1)));
        // A CompactSize that is not minimal: 0xfd 0x03 0x00 encodes 3 in three bytes.
        let mut bytes = longest_share().encode();
        bytes.splice(80 + 44..80 + 45, [0xfd, 3, 0]);
        assert_eq!(Share::decode(&bytes), Err(DecodeError::Length("uncles")));
    }

    #[test]
    fn shares_with_the_same_header_have_different_digests() {
        let share = longest_share();
        let mut mutant = share.clone();
        mutant.extranonce[0] ^= 1;
        assert_eq!(share.id(), mutant.id());
        assert_ne!(share.digest(), mutant.digest());
    }
}
