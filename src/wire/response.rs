//! Responses to requests.

use std::sync::Arc;

use bitcoin::block::Header;
use serde::de::{Error as _, MapAccess};
use serde::ser::SerializeMap;

use super::cbor::{get_entry, put_entry, Frame, Map};
use super::fields::Agent;
use super::limits::{
    ENVELOPES_MAX, HEADERS_MAX, INVENTORY_MAX, RESPONSE_LEN_MAX, SHARES_MAX, TRANSACTIONS_REQUESTED_MAX,
    TRANSACTION_LEN_MAX,
};
use super::list::{Bytes, List};
use crate::params::ChainId;
use crate::share::envelope::Envelope;
use crate::share::{Share, ShareId};
use crate::units::{ShareHeight, UnixTime, Work};

/// Maximum number of bytes that the encoding adds to the transactions of a response.
const FRAME_BYTES: usize = 16;
/// Maximum number of bytes that the encoding adds to each of them.
const TRANSACTION_FRAME_BYTES: usize = 5;

/// The status of a node's chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Id of the chain.
    pub chain_id: ChainId,
    /// Id of the tip; [`ShareId::ZERO`] if the node has no shares yet.
    pub tip: ShareId,
    /// Share height of the tip.
    pub share_height: ShareHeight,
    /// Chain work of the tip.
    pub chain_work: Work,
    /// Share height of the oldest share that the node has.
    pub oldest_height: ShareHeight,
    /// Time of the node's clock.
    pub clock: UnixTime,
    /// Agent string of the node.
    pub agent: Agent,
}

impl PeerStatus {
    /// Whether the node has shares.
    pub fn has_chain(&self) -> bool {
        self.tip != ShareId::ZERO
    }
}

/// A transaction, serialised with its witness.
pub type TransactionBytes = Bytes<TRANSACTION_LEN_MAX>;

/// A response. Its encoding is a map with the kind under key 0, followed by the fields of the kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// The status of the node's chain.
    Status(PeerStatus),
    /// The ids that follow the locator's first share on the main chain, or all from the oldest on if there is none.
    Inventory {
        /// The locator's share that these follow; [`ShareId::ZERO`] if none is on the chain and these begin with the oldest
        /// share that the node has.
        after: ShareId,
        /// Share height of the first main-chain share among `ids`.
        start_height: ShareHeight,
        /// Oldest first; each share follows the uncles it names, as far as the node has them.
        ids: List<ShareId, INVENTORY_MAX>,
        /// Whether more ids follow.
        more: bool,
    },
    /// The requested shares that the node has, in the order of the request.
    Shares(List<Arc<Share>, SHARES_MAX>),
    /// The headers before the requested one, oldest first, and the requested one last.
    Headers(List<Header, HEADERS_MAX>),
    /// As many of the requested transactions as fit, in the order of the request.
    BlockTransactions(List<TransactionBytes, TRANSACTIONS_REQUESTED_MAX>),
    /// The node does not have what was requested.
    Unknown,
    /// The node has too many requests. The requester may retry later.
    Busy,
    /// The requested envelopes, newest share first.
    Envelopes(List<Arc<Envelope>, ENVELOPES_MAX>),
}

impl Response {
    /// Makes a response of the first transactions that fit together. It ends before one that is too large for any response.
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
            Self::Envelopes(_) => 7,
        }
    }
}

impl Map for Response {
    const NAME: &'static str = "a response";

    fn entries(&self) -> usize {
        match self {
            Self::Status(_) => 8,
            Self::Inventory { .. } => 5,
            Self::Shares(_) | Self::Headers(_) | Self::BlockTransactions(_) | Self::Envelopes(_) => 2,
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
            Self::Envelopes(envelopes) => put_entry(map, 1, envelopes),
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
            7 => Self::Envelopes(get_entry(map, 1)?),
            kind => return Err(A::Error::custom(format_args!("unknown response kind {kind}"))),
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
