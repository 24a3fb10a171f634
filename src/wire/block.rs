//! The announcement of a found Bitcoin block on its own gossip topic: header, coinbase and short ids (BIP-0152). Peers
//! reassemble and submit the block, so that it is not lost if the finder's bitcoind fails.

use std::collections::{HashMap, HashSet};

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
use super::limits::{
    BLOCK_LEN_MAX, BLOCK_MESSAGE_LEN_MAX, BLOCK_TRANSACTIONS_MAX, COINBASE_LEN_MAX, TRANSACTIONS_REQUESTED_MAX,
};
use super::list::{read_bytes, Bytes, List, TooLong};
use crate::share::coinbase::{has_commitment, WITNESS_COMMITMENT_PREFIX};
use crate::share::ShareId;
use crate::units::{Bits, BlockHeight};

/// The encoding before the header of an announcement: a map of four entries, key 0, a byte string of 80 bytes.
const HEADER_PREFIX: [u8; 4] = [0xa4, 0x00, 0x58, 0x50];
/// BIP-0152 salts short ids with a nonce against colliding transactions made in advance. The header is salt enough: it is
/// unknown until its proof of work is found.
const SHORT_ID_NONCE: u64 = 0;

/// A found Bitcoin block without the data of its transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockAnnouncement {
    /// The block's header.
    pub header: Header,
    /// The block's height.
    pub height: BlockHeight,
    /// The coinbase, serialised with its witness.
    pub coinbase: Bytes<COINBASE_LEN_MAX>,
    /// Short ids of the other transactions, in block order.
    pub short_ids: ShortIds,
}

/// Short ids of six bytes of a block's transactions without the coinbase, in block order.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ShortIds(Vec<ShortId>);

/// Why an announcement is invalid, or a block cannot be reassembled.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BlockError {
    /// The bytes are not an announcement.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The header's bits are not those that Bitcoin requires.
    #[error("header bits {found} instead of {required}")]
    Bits {
        /// Bits of the header.
        found: Bits,
        /// Bits that Bitcoin requires of the block.
        required: Bits,
    },
    /// The header's hash is above its target.
    #[error("header hash above its target")]
    Work,
    /// The coinbase is not a coinbase transaction, lacks its witness, or is one of another height.
    #[error("invalid coinbase or coinbase of another height")]
    Coinbase,
    /// The coinbase has no commitment of a share: it is not a pool's block.
    #[error("no commitment of a share in the coinbase")]
    Commitment,
    /// A transaction from a peer, given by its index, is malformed or has another short id.
    #[error("transaction {0} is not the announced one")]
    Transaction(u16),
    /// A peer sent more transactions than were requested.
    #[error("more transactions than requested")]
    TooMany,
    /// The announced transactions are larger together than any block.
    #[error("transactions larger than a block")]
    TooLarge,
    /// All transactions are present, but do not match the merkle root or the witness commitment.
    #[error("transactions do not match the merkle root or the witness commitment")]
    MerkleRoot,
}

impl BlockAnnouncement {
    /// Decodes only the header of an announcement.
    ///
    /// # Errors
    /// The message is too long, or does not start as an announcement does.
    pub fn decode_header(bytes: &[u8]) -> Result<Header, WireError> {
        if bytes.len() > Self::LEN_MAX {
            return Err(WireError::Oversize { len: bytes.len(), max: Self::LEN_MAX });
        }
        let header = bytes.strip_prefix(&HEADER_PREFIX).and_then(|rest| rest.get(..80));
        header
            .and_then(|header| encode::deserialize(header).ok())
            .ok_or_else(|| WireError::Malformed(format!("no block header at the start of {} bytes", bytes.len())))
    }

    /// Decodes and validates an announcement, the work of its header first. `required` are the bits that Bitcoin requires
    /// ([`crate::sharechain::Anchor::required_bits`] of the previous block).
    ///
    /// # Errors
    /// The header does not have the work of a Bitcoin block, the bytes are not an announcement, or the coinbase is invalid or
    /// without the commitment of a share.
    pub fn validate(bytes: &[u8], required: Bits) -> Result<Self, BlockError> {
        let header = Self::decode_header(bytes)?;
        let found = Bits(header.bits.to_consensus());
        if found != required {
            return Err(BlockError::Bits { found, required });
        }
        let hash = header.block_hash().to_byte_array();
        if !required.target().is_ok_and(|target| target.is_met_by(&hash)) {
            return Err(BlockError::Work);
        }
        let announcement = Self::decode(bytes)?;
        let coinbase = announcement.coinbase_transaction()?;
        match coinbase.input.first() {
            Some(input) if has_commitment(&input.script_sig) => Ok(announcement),
            _ => Err(BlockError::Commitment),
        }
    }

    /// Makes the announcement of a block. Every block that was found with a job of this node fits.
    ///
    /// # Errors
    /// The block has too many transactions or too long a coinbase.
    pub fn from_block(block: &Block, height: BlockHeight) -> Result<Self, TooLong> {
        let keys = ShortId::calculate_siphash_keys(&block.header, SHORT_ID_NONCE);
        let mut transactions = block.txdata.iter();
        let coinbase = transactions.next().map(encode::serialize).unwrap_or_default();
        let short_ids: Vec<ShortId> =
            transactions.map(|tx| ShortId::with_siphash_keys(&tx.compute_wtxid(), keys)).collect();
        match short_ids.len() {
            len if len >= BLOCK_TRANSACTIONS_MAX => Err(TooLong { len, max: BLOCK_TRANSACTIONS_MAX - 1 }),
            _ => Ok(Self {
                header: block.header,
                height,
                coinbase: coinbase.try_into()?,
                short_ids: ShortIds(short_ids),
            }),
        }
    }

    /// Returns the block's hash as a share id.
    pub fn id(&self) -> ShareId {
        ShareId(self.header.block_hash().to_byte_array())
    }

    fn coinbase_transaction(&self) -> Result<Transaction, BlockError> {
        let coinbase: Transaction = encode::deserialize(&self.coinbase).map_err(|_| BlockError::Coinbase)?;
        let height = coinbase.input.first().map(|input| input.script_sig.as_bytes());
        let starts_with_height = height.is_some_and(|script| script.starts_with(&height_push(self.height)));
        // bitcoind rejects a block without the witnesses that it commits to. It has the hash of the true one, and where no
        // transaction has a witness the commitment is not checked.
        let commits = coinbase
            .output
            .iter()
            .any(|output| output.script_pubkey.as_bytes().starts_with(&WITNESS_COMMITMENT_PREFIX));
        let has_witness = coinbase.input.first().is_some_and(|input| !input.witness.is_empty());
        if coinbase.is_coinbase() && starts_with_height && (has_witness || !commits) {
            Ok(coinbase)
        } else {
            Err(BlockError::Coinbase)
        }
    }
}

/// Whether a transaction is in a block twice. A merkle tree whose row has an odd number of nodes repeats the last one, so a
/// block that repeats its last transactions can have the hash of the true one.
fn repeats_transactions(block: &Block) -> bool {
    let mut seen = HashSet::with_capacity(block.txdata.len());
    !block.txdata.iter().all(|transaction| seen.insert(transaction.compute_txid()))
}

/// Returns the start of the script of a coinbase (BIP-0034).
fn height_push(height: BlockHeight) -> Vec<u8> {
    bitcoin::script::Builder::new().push_int(i64::from(height.0)).into_bytes()
}

impl Map for BlockAnnouncement {
    const NAME: &'static str = "a block announcement";

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
    /// Number of transactions without the coinbase.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the block has only its coinbase.
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

/// An announced block that is being reassembled.
#[derive(Debug)]
pub struct Reassembly {
    announcement: BlockAnnouncement,
    coinbase: Transaction,
    siphash_keys: (u64, u64),
    /// All but the coinbase, in block order.
    transactions: Vec<Option<Transaction>>,
    /// Whether some were matched by short id alone, which may have matched the wrong transaction.
    guessed: bool,
    /// Bytes of the announced transactions that peers sent.
    received: usize,
}

impl Reassembly {
    /// Starts with the `known` transactions (witness id and serialised transaction) that the announcement lists. A short id
    /// matches none if two known transactions have it, or if it occurs twice in the block.
    ///
    /// # Errors
    /// [`BlockError::Coinbase`], which [`BlockAnnouncement::validate`] returns as well.
    pub fn new<'a>(
        announcement: BlockAnnouncement,
        known: impl IntoIterator<Item = ([u8; 32], &'a [u8])>,
    ) -> Result<Self, BlockError> {
        let coinbase = announcement.coinbase_transaction()?;
        let siphash_keys = ShortId::calculate_siphash_keys(&announcement.header, SHORT_ID_NONCE);
        let mut wanted: HashMap<ShortId, Match<'a>> = HashMap::with_capacity(announcement.short_ids.len());
        for id in &announcement.short_ids.0 {
            wanted.entry(*id).and_modify(|known| *known = Match::Ambiguous).or_insert(Match::None);
        }
        for (wtxid, data) in known {
            if let Some(candidate) = wanted.get_mut(&ShortId::with_siphash_keys(&wtxid, siphash_keys)) {
                candidate.offer(wtxid, data);
            }
        }
        let transactions: Vec<Option<Transaction>> =
            announcement.short_ids.0.iter().map(|id| wanted.get(id).and_then(Match::transaction)).collect();
        let guessed = transactions.iter().any(Option::is_some);
        Ok(Self { announcement, coinbase, siphash_keys, transactions, guessed, received: 0 })
    }

    /// Returns the announcement of the block.
    pub const fn announcement(&self) -> &BlockAnnouncement {
        &self.announcement
    }

    /// Returns the indexes of missing transactions in ascending order, as many as fit a request. The coinbase has index 0.
    pub fn missing(&self) -> List<u16, TRANSACTIONS_REQUESTED_MAX> {
        let all = self.transactions.iter().zip(1..=u16::MAX);
        List::first_of(all.filter(|(transaction, _)| transaction.is_none()).map(|(_, index)| index))
    }

    /// Adds transactions that a peer sent for the first of the `requested` indexes.
    ///
    /// # Errors
    /// One of them is not the announced one, or there are more than were requested: the peer misbehaves. Those before the
    /// wrong one are kept.
    pub fn fill(&mut self, requested: &[u16], received: &[impl AsRef<[u8]>]) -> Result<(), BlockError> {
        if received.len() > requested.len() {
            return Err(BlockError::TooMany);
        }
        for (index, bytes) in requested.iter().zip(received) {
            let bytes = bytes.as_ref();
            self.fill_one(usize::from(*index), bytes).ok_or(BlockError::Transaction(*index))?;
            // What does not have the announced short id is not the announcer's.
            self.received = self.received.saturating_add(bytes.len());
            if self.received > BLOCK_LEN_MAX {
                return Err(BlockError::TooLarge);
            }
        }
        Ok(())
    }

    fn fill_one(&mut self, index: usize, bytes: &[u8]) -> Option<()> {
        let index = index.checked_sub(1)?;
        let transaction: Transaction = encode::deserialize(bytes).ok()?;
        let short_id = ShortId::with_siphash_keys(&transaction.compute_wtxid(), self.siphash_keys);
        if *self.announcement.short_ids.0.get(index)? != short_id {
            return None;
        }
        *self.transactions.get_mut(index)? = Some(transaction);
        Some(())
    }

    /// Returns the block, serialised for `submitblock`; `None` while transactions are missing.
    ///
    /// If the merkle root does not match and some transactions were matched by short id alone, all are missing again.
    ///
    /// # Errors
    /// Transactions that all came from peers do not make the block.
    pub fn block(&mut self) -> Result<Option<Vec<u8>>, BlockError> {
        let Some(others) = self.transactions.iter().cloned().collect::<Option<Vec<_>>>() else { return Ok(None) };
        let txdata = std::iter::once(self.coinbase.clone()).chain(others).collect();
        let block = Block { header: self.announcement.header, txdata };
        if block.check_merkle_root() && block.check_witness_commitment() && !repeats_transactions(&block) {
            return Ok(Some(encode::serialize(&block)));
        }
        if !self.guessed {
            return Err(BlockError::MerkleRoot);
        }
        (self.guessed, self.received) = (false, 0);
        self.transactions.fill(None);
        Ok(None)
    }
}

/// The known transaction with a short id.
enum Match<'a> {
    None,
    One([u8; 32], &'a [u8]),
    Ambiguous,
}

impl<'a> Match<'a> {
    fn offer(&mut self, wtxid: [u8; 32], data: &'a [u8]) {
        match self {
            Self::None => *self = Self::One(wtxid, data),
            Self::One(other, _) if *other != wtxid => *self = Self::Ambiguous,
            Self::One(..) | Self::Ambiguous => {}
        }
    }

    fn transaction(&self) -> Option<Transaction> {
        match self {
            Self::One(_, data) => encode::deserialize(data).ok(),
            Self::None | Self::Ambiguous => None,
        }
    }
}
