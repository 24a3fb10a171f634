//! A share on the gossip topic.

use std::sync::Arc;

use serde::de::MapAccess;
use serde::ser::SerializeMap;

use super::cbor::{get_entry, put_entry, Frame, Map};
use super::limits::SHARE_MESSAGE_LEN_MAX;
use crate::params::RULES_VERSION_FIRST;
use crate::share::Share;

/// Bytes of a block header.
const HEADER_LEN: usize = 80;

/// A gossiped share. Nodes relay it only after their sharechain has accepted it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GossipShare {
    pub share: Arc<Share>,
}

impl GossipShare {
    /// Returns the bytes of the share in a message without decoding them: their hash is the share's digest if the message
    /// is valid, and no valid share's digest if it is not. `None` if the message is not framed as one.
    pub fn share_bytes(message: &[u8]) -> Option<&[u8]> {
        // A map of one entry, key 0, a byte string whose length has one or two bytes.
        let (len, len_min, share) = match message {
            [0xa1, 0, 0x58, len, share @ ..] => (u16::from(*len), 24, share),
            [0xa1, 0, 0x59, high, low, share @ ..] => (u16::from_be_bytes([*high, *low]), 256, share),
            _ => return None,
        };
        (len >= len_min && share.len() == usize::from(len)).then_some(share)
    }
}

impl GossipShare {
    /// Whether a message contains a share with rules of another version than the first, whatever its form is: the version
    /// follows the header in all of them.
    pub fn has_newer_rules(message: &[u8]) -> bool {
        let version = Self::share_bytes(message).and_then(|share| share.get(HEADER_LEN));
        version.is_some_and(|version| *version > RULES_VERSION_FIRST)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_a_share_is_found_whatever_its_form() {
        let message = |version: u8| {
            let share = [&[7; 80][..], &[version], &[9; 300]].concat();
            [&[0xa1, 0, 0x59, 1, 125][..], &share].concat()
        };
        assert_eq!(
            [1, 2, 3, 200].map(|version| GossipShare::has_newer_rules(&message(version))),
            [false, false, true, true]
        );
        assert!(GossipShare::decode(&message(3)).is_err());
        assert!(!GossipShare::has_newer_rules(&[0xa1, 0]));
    }
    use crate::share::encoding::tests::longest_share;
    use crate::share::{CoinbaseTag, PayoutScript};

    #[test]
    fn share_bytes_are_found_only_in_the_canonical_frame() {
        let mut short = longest_share();
        short.info.uncles.clear();
        short.info.payout_script = PayoutScript::new(&[&[0, 20][..], &[7; 20]].concat()).unwrap();
        short.info.coinbase_tag = CoinbaseTag::default();
        short.merkle_branch.clear();
        for share in [short, longest_share()] {
            let bytes = share.encode();
            let message = GossipShare { share: Arc::new(share) }.encode();
            assert_eq!(GossipShare::share_bytes(&message), Some(bytes.as_slice()));
            let len = u16::try_from(bytes.len()).unwrap().to_be_bytes();
            let framed = |before: &[u8]| [before, &bytes].concat();
            for not_canonical in [
                framed(&[0xa1, 0, 0x5a, 0, 0, len[0], len[1]]),
                framed(&[0xa1, 0, 0x59, len[0] + 1, len[1]]),
                framed(&[0xa1, 0x18, 0, 0x59, len[0], len[1]]),
                framed(&[0xbf, 0, 0x59, len[0], len[1]]),
                [&message[..], &[0]].concat(),
                message[..message.len() - 1].to_vec(),
            ] {
                assert_eq!(GossipShare::share_bytes(&not_canonical), None);
                assert!(GossipShare::decode(&not_canonical).is_err());
            }
        }
        // A length of one byte, written with two.
        let short = [&[0xa1, 0, 0x59, 0, 219][..], &[7; 219]].concat();
        assert_eq!(GossipShare::share_bytes(&short), None);
    }
}
