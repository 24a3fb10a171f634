//! A share on the gossip topic.

use std::sync::Arc;

use serde::de::MapAccess;
use serde::ser::SerializeMap;

use super::cbor::{get_entry, put_entry, Frame, Map};
use super::limits::SHARE_MESSAGE_LEN_MAX;
use crate::share::Share;

/// A share on its way to everybody, passed on only by nodes whose sharechain accepted it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GossipShare {
    /// The share, in its canonical bytes.
    pub share: Arc<Share>,
}

impl Map for GossipShare {
    const NAME: &'static str = "a gossiped share";

    fn entries(&self) -> usize {
        1
    }

    fn write<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        put_entry(map, 0, &self.share)
    }

    fn read<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Self, A::Error> {
        Ok(Self { share: get_entry(map, 0)? })
    }
}

impl Frame for GossipShare {
    const LEN_MAX: usize = SHARE_MESSAGE_LEN_MAX;
}
