//! What one node answers another.

use std::sync::Arc;

use bitcoin::block::Header;
use serde::de::{Error as _, MapAccess};
use serde::ser::SerializeMap;

use super::cbor::{get_entry, put_entry, Frame, Map};
use super::fields::Agent;
use super::limits::{
    HEADERS_MAX, INVENTORY_MAX, RESPONSE_LEN_MAX, SHARES_MAX, TRANSACTIONS_ASKED_MAX, TRANSACTION_LEN_MAX,
};
use super::list::{Bytes, List};
use crate::params::ChainId;
use crate::share::{Share, ShareId};
use crate::units::{ShareHeight, UnixTime, Work};

/// Bytes around the transactions of a response, and around each of them, at most.
const FRAME_BYTES: usize = 16;
const TRANSACTION_FRAME_BYTES: usize = 5;

/// Where a node stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// The chain it is on.
    pub chain_id: ChainId,
    /// Its tip; [`ShareId::ZERO`]: it has no chain yet.
    pub tip: ShareId,
    /// The tip's height.
    pub share_height: ShareHeight,
    /// The tip's chain work.
    pub chain_work: Work,
    /// Height of the oldest share it holds.
    pub oldest_height: ShareHeight,
    /// Its clock.
    pub clock: UnixTime,
    /// What it runs.
    pub agent: Agent,
}

impl PeerStatus {
    /// Whether it has a chain.
    pub fn has_chain(&self) -> bool {
        self.tip != ShareId::ZERO
    }
}

/// One transaction, serialised with its witness.
pub type TransactionBytes = Bytes<TRANSACTION_LEN_MAX>;

/// An answer. On the wire a map: under 0 its kind, then what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// Here.
    Status(PeerStatus),
    /// What comes on the main chain after the locator's first share that is on it, or from the oldest held.
    Inventory {
        /// The locator's share that these follow; [`ShareId::ZERO`]: none of it is on the chain, so they begin with the
        /// oldest share held.
        after: ShareId,
        /// Height of the first main-chain share among `ids`.
        start_height: ShareHeight,
        /// Oldest first; before each share the uncles it names, as far as they are held.
        ids: List<ShareId, INVENTORY_MAX>,
        /// Whether the chain goes on after these.
        more: bool,
    },
    /// Those of the shares asked for that are held, in the order asked.
    Shares(List<Arc<Share>, SHARES_MAX>),
    /// The header asked for, last, and those before it, oldest first.
    Headers(List<Header, HEADERS_MAX>),
    /// The transactions asked for, in that order, as many as fit.
    BlockTransactions(List<TransactionBytes, TRANSACTIONS_ASKED_MAX>),
    /// What was asked for is not held.
    Unknown,
    /// Too much is asked at once; ask later.
    Busy,
}

impl Response {
    /// As many transactions, from the first on, as fit one response; stops at one too large for any.
    pub fn block_transactions<'a>(all: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut room = RESPONSE_LEN_MAX - FRAME_BYTES;
        let fitting = all.into_iter().map_while(|bytes| {
            room = room.checked_sub(bytes.len() + TRANSACTION_FRAME_BYTES)?;
            TransactionBytes::try_from(bytes.to_vec()).ok()
        });
        Self::BlockTransactions(List::first_of(fitting))
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Status(_) => 0,
            Self::Inventory { .. } => 1,
            Self::Shares(_) => 2,
            Self::Headers(_) => 3,
            Self::BlockTransactions(_) => 4,
            Self::Unknown => 5,
            Self::Busy => 6,
        }
    }
}

impl Map for Response {
    const NAME: &'static str = "a response";

    fn entries(&self) -> usize {
        match self {
            Self::Status(_) => 8,
            Self::Inventory { .. } => 5,
            Self::Shares(_) | Self::Headers(_) | Self::BlockTransactions(_) => 2,
            Self::Unknown | Self::Busy => 1,
        }
    }

    fn write<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        put_entry(map, 0, &self.kind())?;
        match self {
            Self::Status(status) => status.write(map),
            Self::Inventory { after, start_height, ids, more } => {
                put_entry(map, 1, after)?;
                put_entry(map, 2, start_height)?;
                put_entry(map, 3, ids)?;
                put_entry(map, 4, more)
            }
            Self::Shares(shares) => put_entry(map, 1, shares),
            Self::Headers(headers) => put_entry(map, 1, headers),
            Self::BlockTransactions(transactions) => put_entry(map, 1, transactions),
            Self::Unknown | Self::Busy => Ok(()),
        }
    }

    fn read<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Self, A::Error> {
        Ok(match get_entry::<_, u8>(map, 0)? {
            0 => Self::Status(PeerStatus::read(map)?),
            1 => Self::Inventory {
                after: get_entry(map, 1)?,
                start_height: get_entry(map, 2)?,
                ids: get_entry(map, 3)?,
                more: get_entry(map, 4)?,
            },
            2 => Self::Shares(get_entry(map, 1)?),
            3 => Self::Headers(get_entry(map, 1)?),
            4 => Self::BlockTransactions(get_entry(map, 1)?),
            5 => Self::Unknown,
            6 => Self::Busy,
            kind => return Err(A::Error::custom(format_args!("no response is of kind {kind}"))),
        })
    }
}

impl PeerStatus {
    fn write<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        put_entry(map, 1, &self.chain_id)?;
        put_entry(map, 2, &self.tip)?;
        put_entry(map, 3, &self.share_height)?;
        put_entry(map, 4, &self.chain_work)?;
        put_entry(map, 5, &self.oldest_height)?;
        put_entry(map, 6, &self.clock)?;
        put_entry(map, 7, &self.agent)
    }

    fn read<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Self, A::Error> {
        Ok(Self {
            chain_id: get_entry(map, 1)?,
            tip: get_entry(map, 2)?,
            share_height: get_entry(map, 3)?,
            chain_work: get_entry(map, 4)?,
            oldest_height: get_entry(map, 5)?,
            clock: get_entry(map, 6)?,
            agent: get_entry(map, 7)?,
        })
    }
}

impl Frame for Response {
    const LEN_MAX: usize = RESPONSE_LEN_MAX;
}
