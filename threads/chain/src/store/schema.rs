//! What is in the store, byte for byte. The only place that knows keys and records.
//!
//! One LMDB tree without name. Integers are little-endian, hashes in the order of the hash function.
//!
//! | key | body | number of them |
//! |---|---|---|
//! | `M` | schema version u32 · chain id 32 | one |
//! | `T` | format u8 = 1 · share id 32 | one, or none while there is no chain |
//! | `A` · block hash 32 | format u8 = 1 · header 80 · height u32 · median time past u32 · next bits u32 · 0, or 1 · late bits u32 | one an anchor |
//! | `S` · share id 32 | format u8 = 1 · flags u8 (bit 0: verified) · canonical share | one a share |
//!
//! Each value is its body and a check: the first four bytes of SHA256(key · body). LMDB itself keeps no checksums, and
//! nothing but the header of a share would otherwise show that a worn memory card changed it.
//!
//! Shares are keyed by id alone. There is then nothing that could contradict a share's own height, no second record
//! to keep in step, and one page less to write per share. Loading sorts by height in memory: the shares go there anyway.
//!
//! A record that changes its layout gets the next format number and is still read in the old one; whatever an
//! older program could misread raises [`SCHEMA_VERSION`], which it refuses.

use std::sync::Arc;

use bitcoin::block::Header;
use bitcoin::consensus::encode;
use bitcoin::hashes::{sha256, Hash as _, HashEngine as _};
use bitcoin::BlockHash;
use p2pool_core::params::ChainId;
use p2pool_core::share::encoding::DecodeError;
use p2pool_core::share::{Share, ShareId};
use p2pool_core::sharechain::Anchor;
use p2pool_core::units::{Bits, BlockHeight, UnixTime};
use thiserror::Error;

use p2pool_core::node::StoredShare;

/// Version of this layout. A store with another one is refused.
pub(super) const SCHEMA_VERSION: u32 = 1;
/// Key of the record that names schema and chain.
pub(super) const META_KEY: [u8; 1] = *b"M";
/// Key of the record that names the tip.
pub(super) const TIP_KEY: [u8; 1] = *b"T";
/// First byte of an anchor's key.
pub(super) const ANCHOR_PREFIX: u8 = b'A';
/// First byte of a share's key.
pub(super) const SHARE_PREFIX: u8 = b'S';
/// Format of the tip, anchor and share records.
const FORMAT: u8 = 1;
/// Flag of a share that passed every rule.
const FLAG_VERIFIED: u8 = 1;
/// Bytes of the check at each value's end.
const CHECK_LEN: usize = 4;

/// Why a record cannot be what was written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// The check at its end is wrong: bytes changed on the medium.
    #[error("its check does not match, bytes of it have changed")]
    Check,
    /// It is shorter or longer than its format says.
    #[error("it has {0} bytes, which fits no record of its kind")]
    Length(usize),
    /// A format or flag this program does not know.
    #[error("its format or flags ({0:#04x}) are unknown")]
    Format(u8),
    /// The key is of no known kind.
    #[error("its key is of no known kind")]
    Key,
    /// The content belongs to another key.
    #[error("its content belongs to another key")]
    Misplaced,
    /// The share in it is none.
    #[error("it holds no canonical share: {0}")]
    Share(#[from] DecodeError),
    /// The header in it is none.
    #[error("it holds no block header")]
    Header,
}

/// What the record under [`META_KEY`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meta {
    /// Our layout, and the chain it holds.
    Ours(ChainId),
    /// A layout of another version; the rest of the record is unknown.
    OtherSchema(u32),
}

/// Key of a share.
pub(super) fn share_key(id: &ShareId) -> [u8; 33] {
    prefixed(SHARE_PREFIX, &id.0)
}

/// Key of an anchor.
pub(super) fn anchor_key(hash: &BlockHash) -> [u8; 33] {
    prefixed(ANCHOR_PREFIX, hash.as_byte_array())
}

fn prefixed(prefix: u8, hash: &[u8; 32]) -> [u8; 33] {
    let mut key = [prefix; 33];
    for (place, byte) in key.iter_mut().skip(1).zip(hash) {
        *place = *byte;
    }
    key
}

/// The value under [`META_KEY`].
pub(super) fn encode_meta(chain_id: &ChainId) -> Vec<u8> {
    sealed(&META_KEY, [&SCHEMA_VERSION.to_le_bytes()[..], &chain_id.0].concat())
}

/// Reads the value under [`META_KEY`].
pub(super) fn decode_meta(value: &[u8]) -> Result<Meta, RecordError> {
    let (schema, _) = value.split_first_chunk::<4>().ok_or(RecordError::Length(value.len()))?;
    let schema = u32::from_le_bytes(*schema);
    if schema != SCHEMA_VERSION {
        return Ok(Meta::OtherSchema(schema));
    }
    let mut reader = Fields { rest: opened(&META_KEY, value)?, len: value.len() };
    reader.array::<4>()?;
    let chain_id = ChainId(reader.array()?);
    reader.end()?;
    Ok(Meta::Ours(chain_id))
}

/// The value under [`TIP_KEY`].
pub(super) fn encode_tip(tip: &ShareId) -> Vec<u8> {
    sealed(&TIP_KEY, [&[FORMAT][..], &tip.0].concat())
}

/// Reads the value under [`TIP_KEY`].
pub(super) fn decode_tip(value: &[u8]) -> Result<ShareId, RecordError> {
    let mut reader = Fields::of_record(&TIP_KEY, value)?;
    let tip = ShareId(reader.array()?);
    reader.end()?;
    Ok(tip)
}

/// Value of an anchor under its [`anchor_key`].
pub(super) fn encode_anchor(key: &[u8], anchor: &Anchor) -> Vec<u8> {
    let mut body = vec![FORMAT];
    body.extend_from_slice(&encode::serialize(&anchor.header));
    body.extend_from_slice(&anchor.height.0.to_le_bytes());
    body.extend_from_slice(&anchor.median_time_past.0.to_le_bytes());
    body.extend_from_slice(&anchor.next_bits.0.to_le_bytes());
    match anchor.next_bits_late {
        None => body.push(0),
        Some(late) => {
            body.push(1);
            body.extend_from_slice(&late.0.to_le_bytes());
        }
    }
    sealed(key, body)
}

/// Reads an anchor.
pub(super) fn decode_anchor(key: &[u8], value: &[u8]) -> Result<Anchor, RecordError> {
    let mut reader = Fields::of_record(key, value)?;
    let header: Header = encode::deserialize(&reader.array::<80>()?).map_err(|_| RecordError::Header)?;
    let height = BlockHeight(reader.u32()?);
    let median_time_past = UnixTime(reader.u32()?);
    let next_bits = Bits(reader.u32()?);
    let next_bits_late = match reader.array::<1>()? {
        [0] => None,
        [1] => Some(Bits(reader.u32()?)),
        [other] => return Err(RecordError::Format(other)),
    };
    reader.end()?;
    if key != anchor_key(&header.block_hash()) {
        return Err(RecordError::Misplaced);
    }
    Ok(Anchor { header, height, median_time_past, next_bits, next_bits_late })
}

/// Value of a share under its [`share_key`].
pub(super) fn encode_share(key: &[u8], stored: &StoredShare) -> Vec<u8> {
    let flags = if stored.verified { FLAG_VERIFIED } else { 0 };
    sealed(key, [&[FORMAT, flags][..], &stored.share.encode()].concat())
}

/// Reads a share.
pub(super) fn decode_share(key: &[u8], value: &[u8]) -> Result<StoredShare, RecordError> {
    let mut reader = Fields::of_record(key, value)?;
    let [flags] = reader.array()?;
    if flags & !FLAG_VERIFIED != 0 {
        return Err(RecordError::Format(flags));
    }
    let share = Share::decode(reader.rest)?;
    let id = share.id();
    if key != share_key(&id) {
        return Err(RecordError::Misplaced);
    }
    Ok(StoredShare { id, share: Arc::new(share), verified: flags & FLAG_VERIFIED != 0 })
}

/// A body with its check.
fn sealed(key: &[u8], mut body: Vec<u8>) -> Vec<u8> {
    let check = check(key, &body);
    body.extend_from_slice(&check);
    body
}

/// A value's body, if the check holds.
fn opened<'a>(key: &[u8], value: &'a [u8]) -> Result<&'a [u8], RecordError> {
    let (body, stated) = value.split_last_chunk::<CHECK_LEN>().ok_or(RecordError::Length(value.len()))?;
    if *stated == check(key, body) {
        Ok(body)
    } else {
        Err(RecordError::Check)
    }
}

fn check(key: &[u8], body: &[u8]) -> [u8; CHECK_LEN] {
    let mut engine = sha256::Hash::engine();
    engine.input(key);
    engine.input(body);
    let [a, b, c, d, ..] = sha256::Hash::from_engine(engine).to_byte_array();
    [a, b, c, d]
}

/// Takes fields off the front of a body.
struct Fields<'a> {
    rest: &'a [u8],
    /// Length of the whole value, for the error.
    len: usize,
}

impl<'a> Fields<'a> {
    /// Checks the value and its format byte.
    fn of_record(key: &[u8], value: &'a [u8]) -> Result<Self, RecordError> {
        let mut fields = Self { rest: opened(key, value)?, len: value.len() };
        match fields.array()? {
            [FORMAT] => Ok(fields),
            [other] => Err(RecordError::Format(other)),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let (field, rest) = self.rest.split_first_chunk::<N>().ok_or(RecordError::Length(self.len))?;
        self.rest = rest;
        Ok(*field)
    }

    fn u32(&mut self) -> Result<u32, RecordError> {
        self.array().map(u32::from_le_bytes)
    }

    fn end(&self) -> Result<(), RecordError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(RecordError::Length(self.len))
        }
    }
}

#[cfg(test)]
#[path = "tests/schema.rs"]
mod tests;
