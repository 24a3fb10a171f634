//! Lines of the file of known peers.

use libp2p::{Multiaddr, PeerId};
use p2pool_core::units::UnixTime;

use crate::address::split_peer_id;

/// What the file says about a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Anchor,
    Tried,
    New,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Anchor, Self::Tried, Self::New];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Anchor => "anchor",
            Self::Tried => "tried",
            Self::New => "new",
        }
    }
}

/// A line of the file.
pub struct SavedPeer {
    pub kind: Kind,
    pub seen: UnixTime,
    pub peer: PeerId,
    pub address: Multiaddr,
}

/// Reads a line of this version or of older ones, which wrote all peers that had ever been connected without the kind.
pub fn parse_line(line: &str) -> Option<SavedPeer> {
    let kind = Kind::ALL.into_iter().find(|kind| line.split(' ').next() == Some(kind.name()));
    let rest = kind.map_or(Some(line), |kind| line.get(kind.name().len() + 1..))?;
    let (seen, address) = rest.split_once(' ')?;
    let (peer, address) = split_peer_id(address.parse().ok()?)?;
    Some(SavedPeer { kind: kind.unwrap_or(Kind::New), seen: UnixTime(seen.parse().ok()?), peer, address })
}
