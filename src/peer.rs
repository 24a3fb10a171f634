//! Identifiers of peers, requests and gossiped messages.

use std::fmt;

/// Position of the 24-bit netgroup in a handle. Netgroup zero means none.
const NETGROUP_SHIFT: u32 = 40;

/// A connected peer. A peer that reconnects gets a new handle; no handle is used twice.
///
/// The upper bits hold the peer's netgroup, see [`Self::netgroup`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerHandle(pub u64);

impl PeerHandle {
    /// Returns the handle of the `serial`th peer, in a netgroup of 24 bits: zero for the operator's own peers, which
    /// share no limits.
    pub const fn new(netgroup: u32, serial: u64) -> Self {
        Self((netgroup as u64) << NETGROUP_SHIFT | serial & ((1 << NETGROUP_SHIFT) - 1))
    }

    /// Returns the netgroup, by which peers share limits whose addresses are easily obtained together (an IPv4 /24, an IPv6
    /// /48, all of Tor), and a peer that reconnects. `None` for peers on the operator's own network or that the operator named.
    pub const fn netgroup(self) -> Option<u64> {
        match self.0 >> NETGROUP_SHIFT {
            0 => None,
            netgroup => Some(netgroup),
        }
    }
}

impl fmt::Display for PeerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A request that this node made; the response carries the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// A peer's request that waits for this node's response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InboundId(pub u64);

/// Why a request has no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestFailed {
    /// The network thread's inbox had no room for it.
    NotSent,
    /// The peer is not connected, or disconnected meanwhile.
    Disconnected,
    /// Too many requests to this peer are in flight.
    TooMany,
    /// No response in time.
    TimedOut,
    /// The peer closed the stream without a response.
    Refused,
    /// The response is too long or not a message; the peer has been penalised already.
    Malformed,
}

/// A gossiped message that waits for its verdict: the digest of a share, or the hash of a block announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GossipId(pub [u8; 32]);

/// What becomes of a gossiped message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GossipVerdict {
    /// It is relayed.
    Accept,
    /// It is not relayed; no peer is to blame.
    Ignore,
    /// It is not relayed; the peer that sent it loses score. A ban needs a penalty as well.
    Reject,
}
