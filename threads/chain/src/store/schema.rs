//! The keys and records of the store, byte for byte.
//!
//! There is one unnamed LMDB database. Integers are little-endian; hashes have the byte order of the hash function.
//!
//! | key | body | number of records |
//! |---|---|---|
//! | `M` | schema version u32 · chain id 32 | one |
//! | `T` | format u8 = 1 · share id 32 | one; none while there is no chain |
//! | `A` · block hash 32 | format u8 = 1 · header 80 · height u32 · times u8, u32 each · time u32 and bits u32 of the period's first block · lasting bits u32 · next bits u32 · 0, or 1 · late bits u32 | one per anchor |
//! | `S` · share id 32 | format u8 = 1 · flags u8 (bit 0: verified) · canonical share | one per share |
//!
//! Each value is its body and a checksum: the first four bytes of SHA256(key · body). LMDB itself has no checksums. Without
//! them, only changes to the header of a share would be detected when a worn memory card fails.
//!
//! Shares are keyed by id alone. No key can then contradict a share's own height, no second record must be kept consistent, and
//! each share writes one page less. Loading sorts by height in memory, where all shares go anyway.
//!
//! A record whose layout changes gets the next format number, and the old format is still read. A change that an older program
//! could misread raises [`SCHEMA_VERSION`], so that the older program rejects the store.

use std::sync::Arc;

use bitcoin::block::Header;
use bitcoin::consensus::encode;
use bitcoin::hashes::{sha256, Hash as _, HashEngine as _};
use bitcoin::BlockHash;
use p2pool_core::node::StoredShare;
use p2pool_core::params::ChainId;
use p2pool_core::share::encoding::DecodeError;
use p2pool_core::share::{Share, ShareId};
use p2pool_core::sharechain::bitcoin_difficulty::PeriodStart;
use p2pool_core::sharechain::{Anchor, RecentTimes};
use p2pool_core::units::{Bits, BlockHeight, UnixTime};
use thiserror::Error;

/// Version of this layout. A store with another version is rejected.
pub(super) const SCHEMA_VERSION: u32 = 2;
/// Key of the record with schema version and chain id.
pub(super) const META_KEY: [u8; 1] = *b"M";
/// Key of the record with the tip.
pub(super) const TIP_KEY: [u8; 1] = *b"T";
/// First byte of an anchor's key.
pub(super) const ANCHOR_PREFIX: u8 = b'A';
/// First byte of a share's key.
pub(super) const SHARE_PREFIX: u8 = b'S';
/// Format of the tip, anchor and share records.
const FORMAT: u8 = 1;
/// Flag of a share that passed all rules.
const FLAG_VERIFIED: u8 = 1;
/// Length of the checksum at the end of each value.
const CHECKSUM_LEN: usize = 4;

/// Why a record is damaged.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// The checksum does not match: bytes have changed on the disk.
    #[error("checksum mismatch")]
    Checksum,
    /// Its length does not match its format.
    #[error("invalid length of {0} bytes")]
    Length(usize),
    /// Its format or flags are unknown to this program.
    #[error("unknown format or flags {0:#04x}")]
    Format(u8),
    /// Its key is of an unknown kind.
    #[error("unknown kind of key")]
    Key,
    /// Its content belongs to another key.
    #[error("content of another key")]
    Misplaced,
    /// It contains no canonical share.
    #[error("no canonical share: {0}")]
    Share(#[from] DecodeError),
    /// It contains no block header.
    #[error("no block header")]
    Header,
}

/// The content of the record under [`META_KEY`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meta {
    /// A store of our schema, with its chain.
    Ours(ChainId),
    /// A store of another schema version. The rest of the record is unknown.
    OtherSchema(u32),
}

/// Returns the key of a share.
pub(super) fn share_key(id: &ShareId) -> [u8; 33] {
    prefixed(SHARE_PREFIX, &id.0)
}

/// Returns the key of an anchor.
pub(super) fn anchor_key(hash: &BlockHash) -> [u8; 33] {
    prefixed(ANCHOR_PREFIX, hash.as_byte_array())
}

fn prefixed(prefix: u8, hash: &[u8; 32]) -> [u8; 33] {
    let mut key = [prefix; 33];
    key[1..].copy_from_slice(hash);
    key
}

/// Encodes the value under [`META_KEY`].
pub(super) fn encode_meta(chain_id: &ChainId) -> Vec<u8> {
    with_checksum(&META_KEY, [&SCHEMA_VERSION.to_le_bytes()[..], &chain_id.0].concat())
}

/// Decodes the value under [`META_KEY`].
pub(super) fn decode_meta(value: &[u8]) -> Result<Meta, RecordError> {
    let (schema, _) = value.split_first_chunk::<4>().ok_or(RecordError::Length(value.len()))?;
    let schema = u32::from_le_bytes(*schema);
    if schema != SCHEMA_VERSION {
        return Ok(Meta::OtherSchema(schema));
    }
    let mut reader = Fields { rest: checked_body(&META_KEY, value)?, len: value.len() };
    reader.array::<4>()?;
    let chain_id = ChainId(reader.array()?);
    reader.end()?;
    Ok(Meta::Ours(chain_id))
}

/// Encodes the value under [`TIP_KEY`].
pub(super) fn encode_tip(tip: &ShareId) -> Vec<u8> {
    with_checksum(&TIP_KEY, [&[FORMAT][..], &tip.0].concat())
}

/// Decodes the value under [`TIP_KEY`].
pub(super) fn decode_tip(value: &[u8]) -> Result<ShareId, RecordError> {
    let mut reader = Fields::of_record(&TIP_KEY, value)?;
    let tip = ShareId(reader.array()?);
    reader.end()?;
    Ok(tip)
}

/// Encodes the value of an anchor. `key` is its [`anchor_key`].
pub(super) fn encode_anchor(key: &[u8], anchor: &Anchor) -> Vec<u8> {
    let mut body = vec![FORMAT];
    body.extend_from_slice(&encode::serialize(&anchor.header));
    body.extend_from_slice(&anchor.height.0.to_le_bytes());
    let times = anchor.times.as_slice();
    // At most eleven.
    body.push(times.len() as u8);
    times.iter().for_each(|time| body.extend_from_slice(&time.0.to_le_bytes()));
    for field in [anchor.period_start.time.0, anchor.period_start.bits.0, anchor.lasting_bits.0, anchor.next_bits.0] {
        body.extend_from_slice(&field.to_le_bytes());
    }
    match anchor.next_bits_late {
        None => body.push(0),
        Some(late) => {
            body.push(1);
            body.extend_from_slice(&late.0.to_le_bytes());
        }
    }
    with_checksum(key, body)
}

/// Decodes the value of an anchor.
pub(super) fn decode_anchor(key: &[u8], value: &[u8]) -> Result<Anchor, RecordError> {
    let mut reader = Fields::of_record(key, value)?;
    let header: Header = encode::deserialize(&reader.array::<80>()?).map_err(|_| RecordError::Header)?;
    let height = BlockHeight(reader.u32()?);
    let [count] = reader.array()?;
    let times = (0..count).map(|_| reader.u32().map(UnixTime)).collect::<Result<Vec<UnixTime>, RecordError>>()?;
    let times = RecentTimes::new(times);
    let period_start = PeriodStart { time: UnixTime(reader.u32()?), bits: Bits(reader.u32()?) };
    let lasting_bits = Bits(reader.u32()?);
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
    let median_time_past = times.median();
    Ok(Anchor { header, height, median_time_past, next_bits, next_bits_late, times, period_start, lasting_bits })
}

/// Encodes the value of a share. `key` is its [`share_key`].
pub(super) fn encode_share(key: &[u8], stored: &StoredShare) -> Vec<u8> {
    let flags = if stored.verified { FLAG_VERIFIED } else { 0 };
    with_checksum(key, [&[FORMAT, flags][..], &stored.share.encode()].concat())
}

/// Decodes the value of a share.
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

/// Appends the checksum to a body.
fn with_checksum(key: &[u8], mut body: Vec<u8>) -> Vec<u8> {
    let checksum = checksum(key, &body);
    body.extend_from_slice(&checksum);
    body
}

/// Returns a value's body if the checksum matches.
fn checked_body<'a>(key: &[u8], value: &'a [u8]) -> Result<&'a [u8], RecordError> {
    let (body, stated) = value.split_last_chunk::<CHECKSUM_LEN>().ok_or(RecordError::Length(value.len()))?;
    if *stated == checksum(key, body) {
        Ok(body)
    } else {
        Err(RecordError::Checksum)
    }
}

fn checksum(key: &[u8], body: &[u8]) -> [u8; CHECKSUM_LEN] {
    let mut engine = sha256::Hash::engine();
    engine.input(key);
    engine.input(body);
    let [a, b, c, d, ..] = sha256::Hash::from_engine(engine).to_byte_array();
    [a, b, c, d]
}

/// Reads fields from the front of a body.
struct Fields<'a> {
    rest: &'a [u8],
    /// Length of the whole value, for the error.
    len: usize,
}

impl<'a> Fields<'a> {
    /// Checks the value's checksum and format byte.
    fn of_record(key: &[u8], value: &'a [u8]) -> Result<Self, RecordError> {
        let mut fields = Self { rest: checked_body(key, value)?, len: value.len() };
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
