//! Requests to a peer.

use bitcoin::BlockHash;
use serde::de::{Error as _, MapAccess};
use serde::ser::SerializeMap;

use super::cbor::{get_entry, put_entry, Frame, Map};
use super::limits::{LOCATOR_MAX, REQUEST_LEN_MAX, SHARES_MAX, TRANSACTIONS_REQUESTED_MAX};
use super::list::List;
use crate::share::ShareId;

/// Ids of shares of the requester's chain, newest first: ten consecutive ones, then in doubling steps, then the oldest.
pub type Locator = List<ShareId, LOCATOR_MAX>;

/// A request to a peer. Its encoding is a map with the kind under key 0, followed by the fields of the kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Requests the status of the peer's chain.
    Status,
    /// Requests the ids that follow the locator's first share that is on the peer's chain.
    Inventory {
        /// Shares of the requester's chain.
        locator: Locator,
    },
    /// Requests shares.
    Shares { ids: List<ShareId, SHARES_MAX> },
    /// Requests a Bitcoin header and up to six before it.
    Headers {
        /// Hash of the last header.
        last: BlockHash,
    },
    /// Requests transactions of an announced block.
    BlockTransactions {
        /// Hash of the block.
        block: BlockHash,
        /// Indexes in the block in ascending order; the coinbase has index 0.
        indexes: List<u16, TRANSACTIONS_REQUESTED_MAX>,
    },
    /// Requests the envelopes of the newest shares of the peer's chain. The only request of the protocol of envelopes, which
    /// stays the same for all versions of the rules.
    Envelopes {
        /// Only of shares with a rules version above this one.
        above: u8,
        /// Only of shares after this one, if it is among the newest; [`ShareId::ZERO`] for all.
        after: ShareId,
    },
}

impl Request {
    const fn kind(&self) -> u8 {
        match self {
            Self::Status => 0,
            Self::Inventory { .. } => 1,
            Self::Shares { .. } => 2,
            Self::Headers { .. } => 3,
            Self::BlockTransactions { .. } => 4,
            Self::Envelopes { .. } => 5,
        }
    }
}

impl Map for Request {
    const NAME: &'static str = "a request";

    fn entries(&self) -> usize {
        match self {
            Self::Status => 1,
            Self::Inventory { .. } | Self::Shares { .. } | Self::Headers { .. } => 2,
            Self::BlockTransactions { .. } | Self::Envelopes { .. } => 3,
        }
    }

    fn write<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        put_entry(map, 0, &self.kind())?;
        match self {
            Self::Status => Ok(()),
            Self::Inventory { locator } => put_entry(map, 1, locator),
            Self::Shares { ids } => put_entry(map, 1, ids),
            Self::Headers { last } => put_entry(map, 1, last),
            Self::BlockTransactions { block, indexes } => {
                put_entry(map, 1, block)?;
                put_entry(map, 2, indexes)
            }
            Self::Envelopes { above, after } => {
                put_entry(map, 1, above)?;
                put_entry(map, 2, after)
            }
        }
    }

    fn read<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Self, A::Error> {
        Ok(match get_entry::<_, u8>(map, 0)? {
            0 => Self::Status,
            1 => Self::Inventory { locator: get_entry(map, 1)? },
            2 => Self::Shares { ids: get_entry(map, 1)? },
            3 => Self::Headers { last: get_entry(map, 1)? },
            4 => Self::BlockTransactions { block: get_entry(map, 1)?, indexes: get_entry(map, 2)? },
            5 => Self::Envelopes { above: get_entry(map, 1)?, after: get_entry(map, 2)? },
            kind => return Err(A::Error::custom(format_args!("unknown request kind {kind}"))),
        })
    }
}

impl Frame for Request {
    const LEN_MAX: usize = REQUEST_LEN_MAX;
}
