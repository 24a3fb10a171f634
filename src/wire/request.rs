//! What one node asks another.

use bitcoin::BlockHash;
use serde::de::{Error as _, MapAccess};
use serde::ser::SerializeMap;

use super::cbor::{get_entry, put_entry, Frame, Map};
use super::limits::{LOCATOR_MAX, REQUEST_LEN_MAX, SHARES_MAX, TRANSACTIONS_ASKED_MAX};
use super::list::List;
use crate::share::ShareId;

/// Newest first: ten shares one by one, then doubling steps, then the oldest held.
pub type Locator = List<ShareId, LOCATOR_MAX>;

/// A question. On the wire a map: under 0 its kind, then what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Where are you?
    Status,
    /// What comes on your chain after the first of these that is on it?
    Inventory {
        /// Shares of the asker's chain.
        locator: Locator,
    },
    /// Give me these shares.
    Shares {
        /// Which.
        ids: List<ShareId, SHARES_MAX>,
    },
    /// Give me this Bitcoin header and up to six before it.
    Headers {
        /// Which.
        of: BlockHash,
    },
    /// Give me these transactions of a block that was announced.
    BlockTransactions {
        /// The block.
        block: BlockHash,
        /// Places in the block, the coinbase at 0; ascending.
        places: List<u16, TRANSACTIONS_ASKED_MAX>,
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
        }
    }
}

impl Map for Request {
    const NAME: &'static str = "a request";

    fn entries(&self) -> usize {
        match self {
            Self::Status => 1,
            Self::Inventory { .. } | Self::Shares { .. } | Self::Headers { .. } => 2,
            Self::BlockTransactions { .. } => 3,
        }
    }

    fn write<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        put_entry(map, 0, &self.kind())?;
        match self {
            Self::Status => Ok(()),
            Self::Inventory { locator } => put_entry(map, 1, locator),
            Self::Shares { ids } => put_entry(map, 1, ids),
            Self::Headers { of } => put_entry(map, 1, of),
            Self::BlockTransactions { block, places } => {
                put_entry(map, 1, block)?;
                put_entry(map, 2, places)
            }
        }
    }

    fn read<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Self, A::Error> {
        Ok(match get_entry::<_, u8>(map, 0)? {
            0 => Self::Status,
            1 => Self::Inventory { locator: get_entry(map, 1)? },
            2 => Self::Shares { ids: get_entry(map, 1)? },
            3 => Self::Headers { of: get_entry(map, 1)? },
            4 => Self::BlockTransactions { block: get_entry(map, 1)?, places: get_entry(map, 2)? },
            kind => return Err(A::Error::custom(format_args!("no request is of kind {kind}"))),
        })
    }
}

impl Frame for Request {
    const LEN_MAX: usize = REQUEST_LEN_MAX;
}
