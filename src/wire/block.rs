//! A found Bitcoin block on its own gossip topic: header, coinbase and short ids (BIP-0152), from which peers put it
//! together again, so that it is not lost with its finder's node.

use std::collections::HashMap;

use bitcoin::bip152::ShortId;
use bitcoin::block::Header;
use bitcoin::consensus::encode;
use bitcoin::hashes::Hash as _;
use bitcoin::{Block, Transaction};
use serde::de::MapAccess;
use serde::ser::SerializeMap;
use serde::{Deserializer, Serializer};
use thiserror::Error;

use super::cbor::{get_entry, put_entry, Field, Frame, Map, WireError};
use super::limits::{BLOCK_MESSAGE_LEN_MAX, BLOCK_TRANSACTIONS_MAX, COINBASE_LEN_MAX, TRANSACTIONS_ASKED_MAX};
use super::list::{read_bytes, Bytes, List, TooMany};
use crate::share::ShareId;
use crate::units::{Bits, BlockHeight};

/// What comes before the header in an announcement: a map of four, key 0, 80 bytes.
const HEADER_PREFIX: [u8; 4] = [0xa4, 0x00, 0x58, 0x50];
/// BIP-0152 salts short ids so that nobody can make transactions that collide in advance. A header is known to nobody
/// before its proof of work is found, which is salt enough.
const SHORT_ID_NONCE: u64 = 0;

/// A found Bitcoin block without its transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockAnnouncement {
    /// Its header.
    pub header: Header,
    /// Its height.
    pub height: BlockHeight,
    /// Its coinbase, serialised with its witness.
    pub coinbase: Bytes<COINBASE_LEN_MAX>,
    /// The other transactions, in block order.
    pub short_ids: ShortIds,
}

/// Six bytes for each transaction of a block but its coinbase, in block order.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ShortIds(Vec<ShortId>);

/// Why an announcement is refused, or a block cannot be put together.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BlockError {
    /// The bytes are no announcement.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The header asks for another target than Bitcoin does.
    #[error("header bits are {found}, Bitcoin asks for {required}")]
    Bits {
        /// The header's.
        found: Bits,
        /// What the block must have.
        required: Bits,
    },
    /// The header's hash is above its target.
    #[error("the header has not the work of a Bitcoin block")]
    Work,
    /// The coinbase is no coinbase transaction, or is that of another height.
    #[error("the coinbase is none, or of another height")]
    Coinbase,
    /// A transaction that a peer gave is none, or another one than the short id says.
    #[error("the transaction at {0} is not the one announced")]
    Transaction(u16),
    /// A peer gave more transactions than were asked for.
    #[error("more transactions than were asked for")]
    TooMany,
    /// All transactions are there and do not give the merkle root, or not the witness commitment.
    #[error("the transactions do not make this block")]
    MerkleRoot,
}

impl BlockAnnouncement {
    /// The header of an announcement that is not yet read: nothing else is looked at.
    ///
    /// # Errors
    /// Too many bytes, or they do not start as an announcement does.
    pub fn peek(bytes: &[u8]) -> Result<Header, WireError> {
        if bytes.len() > Self::LEN_MAX {
            return Err(WireError::Oversize { len: bytes.len(), max: Self::LEN_MAX });
        }
        let header = bytes.strip_prefix(&HEADER_PREFIX).and_then(|rest| rest.get(..80));
        header
            .and_then(|header| encode::deserialize(header).ok())
            .ok_or_else(|| WireError::Malformed(format!("no announcement of a block in {} bytes", bytes.len())))
    }

    /// Reads an announcement, the header's work first; `required` is the target that Bitcoin asks of it
    /// ([`crate::sharechain::Anchor::required_bits`] of the block it is built on).
    ///
    /// # Errors
    /// The header has not the full work of a Bitcoin block; the bytes are no announcement; the coinbase is none.
    pub fn check(bytes: &[u8], required: Bits) -> Result<Self, BlockError> {
        let header = Self::peek(bytes)?;
        let found = Bits(header.bits.to_consensus());
        if found != required {
            return Err(BlockError::Bits { found, required });
        }
        let hash = header.block_hash().to_byte_array();
        if !required.target().is_ok_and(|target| target.is_met_by(&hash)) {
            return Err(BlockError::Work);
        }
        let announcement = Self::decode(bytes)?;
        announcement.coinbase_transaction()?;
        Ok(announcement)
    }

    /// Announces a whole block; none has more transactions or a longer coinbase than fit if a job of ours led to it.
    ///
    /// # Errors
    /// There are more.
    pub fn of(block: &Block, height: BlockHeight) -> Result<Self, TooMany> {
        let keys = ShortId::calculate_siphash_keys(&block.header, SHORT_ID_NONCE);
        let mut transactions = block.txdata.iter();
        let coinbase = transactions.next().map(encode::serialize).unwrap_or_default();
        let short_ids: Vec<ShortId> =
            transactions.map(|tx| ShortId::with_siphash_keys(&tx.compute_wtxid(), keys)).collect();
        match short_ids.len() {
            len if len >= BLOCK_TRANSACTIONS_MAX => Err(TooMany { len, max: BLOCK_TRANSACTIONS_MAX - 1 }),
            _ => Ok(Self {
                header: block.header,
                height,
                coinbase: coinbase.try_into()?,
                short_ids: ShortIds(short_ids),
            }),
        }
    }

    /// The share id that the header has, which is the block's hash.
    pub fn id(&self) -> ShareId {
        ShareId(self.header.block_hash().to_byte_array())
    }

    fn coinbase_transaction(&self) -> Result<Transaction, BlockError> {
        let coinbase: Transaction = encode::deserialize(&self.coinbase).map_err(|_| BlockError::Coinbase)?;
        let height = coinbase.input.first().map(|input| input.script_sig.as_bytes());
        let starts_with_height = height.is_some_and(|script| script.starts_with(&height_push(self.height)));
        if coinbase.is_coinbase() && starts_with_height {
            Ok(coinbase)
        } else {
            Err(BlockError::Coinbase)
        }
    }
}

/// What a coinbase's script starts with (BIP-0034).
fn height_push(height: BlockHeight) -> Vec<u8> {
    bitcoin::script::Builder::new().push_int(i64::from(height.0)).into_bytes()
}

impl Map for BlockAnnouncement {
    const NAME: &'static str = "an announcement of a block";

    fn entries(&self) -> usize {
        4
    }

    fn write<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        put_entry(map, 0, &self.header)?;
        put_entry(map, 1, &self.height)?;
        put_entry(map, 2, &self.coinbase)?;
        put_entry(map, 3, &self.short_ids)
    }

    fn read<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Self, A::Error> {
        Ok(Self {
            header: get_entry(map, 0)?,
            height: get_entry(map, 1)?,
            coinbase: get_entry(map, 2)?,
            short_ids: get_entry(map, 3)?,
        })
    }
}

impl Frame for BlockAnnouncement {
    const LEN_MAX: usize = BLOCK_MESSAGE_LEN_MAX;
}

impl ShortIds {
    /// How many transactions there are beside the coinbase.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the block has nothing but its coinbase.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Field for ShortIds {
    fn put<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = self.0.iter().flat_map(|id| *id.as_bytes()).collect();
        out.serialize_bytes(&bytes)
    }

    fn get<'de, D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        read_bytes(input, "short ids", |bytes| {
            let (ids, rest) = bytes.as_chunks::<6>();
            let fits = rest.is_empty() && ids.len() < BLOCK_TRANSACTIONS_MAX;
            fits.then(|| Self(ids.iter().copied().map(ShortId::from).collect()))
        })
    }
}

/// A block on its way to being whole.
#[derive(Debug)]
pub struct Reassembly {
    announcement: BlockAnnouncement,
    coinbase: Transaction,
    siphash_keys: (u64, u64),
    /// Without the coinbase.
    transactions: Vec<Option<Transaction>>,
    /// Whether some were taken by their short id from what we had, which may be a mistake.
    guessed: bool,
}

impl Reassembly {
    /// Takes from `known`, witness ids and serialised transactions, what the announcement lists.
    ///
    /// Where two known transactions have one short id, or two places ask for one, none is taken.
    ///
    /// # Errors
    /// [`BlockError::Coinbase`], which [`BlockAnnouncement::check`] finds as well.
    pub fn new<'a>(
        announcement: BlockAnnouncement,
        known: impl IntoIterator<Item = ([u8; 32], &'a [u8])>,
    ) -> Result<Self, BlockError> {
        let coinbase = announcement.coinbase_transaction()?;
        let siphash_keys = ShortId::calculate_siphash_keys(&announcement.header, SHORT_ID_NONCE);
        let mut wanted: HashMap<ShortId, Found<'a>> = HashMap::with_capacity(announcement.short_ids.len());
        for id in &announcement.short_ids.0 {
            wanted.entry(*id).and_modify(|found| *found = Found::Ambiguous).or_insert(Found::Nothing);
        }
        for (wtxid, data) in known {
            if let Some(found) = wanted.get_mut(&ShortId::with_siphash_keys(&wtxid, siphash_keys)) {
                found.offer(wtxid, data);
            }
        }
        let transactions: Vec<Option<Transaction>> =
            announcement.short_ids.0.iter().map(|id| wanted.get(id).and_then(Found::transaction)).collect();
        let guessed = transactions.iter().any(Option::is_some);
        Ok(Self { announcement, coinbase, siphash_keys, transactions, guessed })
    }

    /// What is put together.
    pub const fn announcement(&self) -> &BlockAnnouncement {
        &self.announcement
    }

    /// Places in the block of what is missing, ascending, as many as one request takes; the coinbase has place 0.
    pub fn missing(&self) -> List<u16, TRANSACTIONS_ASKED_MAX> {
        let all = self.transactions.iter().zip(1..=u16::MAX);
        List::first_of(all.filter(|(transaction, _)| transaction.is_none()).map(|(_, place)| place))
    }

    /// Takes transactions for the first of the places `asked`, as a peer gave them.
    ///
    /// # Errors
    /// One of them is not what was announced, or there are more than were asked for: the peer is wrong. Those before
    /// it are kept.
    pub fn fill(&mut self, asked: &[u16], given: &[impl AsRef<[u8]>]) -> Result<(), BlockError> {
        if given.len() > asked.len() {
            return Err(BlockError::TooMany);
        }
        for (place, bytes) in asked.iter().zip(given) {
            let wrong = BlockError::Transaction(*place);
            let transaction: Transaction = encode::deserialize(bytes.as_ref()).map_err(|_| wrong.clone())?;
            let index = usize::from(*place).checked_sub(1).ok_or_else(|| wrong.clone())?;
            let id = ShortId::with_siphash_keys(&transaction.compute_wtxid(), self.siphash_keys);
            let slot =
                self.transactions.get_mut(index).filter(|_| self.announcement.short_ids.0.get(index) == Some(&id));
            *slot.ok_or(wrong)? = Some(transaction);
        }
        Ok(())
    }

    /// The whole block, serialised for `submitblock`; none while something is missing.
    ///
    /// A short id may have met the wrong transaction among those that were known: if the merkle root says so, all of
    /// them are missing again.
    ///
    /// # Errors
    /// Transactions that the finder gave, and no others, do not make the block.
    pub fn block(&mut self) -> Result<Option<Vec<u8>>, BlockError> {
        let Some(others) = self.transactions.iter().cloned().collect::<Option<Vec<_>>>() else { return Ok(None) };
        let txdata = std::iter::once(self.coinbase.clone()).chain(others).collect();
        let block = Block { header: self.announcement.header, txdata };
        if block.check_merkle_root() && block.check_witness_commitment() {
            return Ok(Some(encode::serialize(&block)));
        }
        if !self.guessed {
            return Err(BlockError::MerkleRoot);
        }
        self.guessed = false;
        self.transactions.fill(None);
        Ok(None)
    }
}

/// What was found for one short id.
enum Found<'a> {
    Nothing,
    One([u8; 32], &'a [u8]),
    Ambiguous,
}

impl<'a> Found<'a> {
    fn offer(&mut self, wtxid: [u8; 32], data: &'a [u8]) {
        match self {
            Self::Nothing => *self = Self::One(wtxid, data),
            Self::One(other, _) if *other != wtxid => *self = Self::Ambiguous,
            Self::One(..) | Self::Ambiguous => {}
        }
    }

    fn transaction(&self) -> Option<Transaction> {
        match self {
            Self::One(_, data) => encode::deserialize(data).ok(),
            Self::Nothing | Self::Ambiguous => None,
        }
    }
}
