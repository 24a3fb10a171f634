//! What the sharechain reports to its owner.

use std::fmt;

use super::candidate::{CandidateId, CandidateOutcome};
use super::failure::{Need, Rule};
use crate::peer::PeerHandle;
use crate::share::{ShareDigest, ShareId};
use crate::units::{ShareHeight, UnixTime};

/// Where a share came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A miner of this node.
    Local,
    /// A peer relayed it by gossip. The network layer waits for a verdict.
    Gossip(PeerHandle),
    /// A peer sent it in response to a request.
    Fetch(PeerHandle),
}

impl Source {
    /// The peer that sent the share; `None` for this node's miners.
    pub const fn peer(self) -> Option<PeerHandle> {
        match self {
            Self::Local => None,
            Self::Gossip(peer) | Self::Fetch(peer) => Some(peer),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("own miner"),
            Self::Gossip(peer) => write!(f, "peer {peer} by gossip"),
            Self::Fetch(peer) => write!(f, "peer {peer} by request"),
        }
    }
}

/// What became of a share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is valid and linked.
    Accepted,
    /// It was known already.
    Known,
    /// It waits for its parent or an uncle (an orphan), for its anchor, or until it is due.
    Deferred,
    /// It waits unverified: its branch does not claim enough work to be checked.
    Unverified,
    /// It was dropped undecided: it cannot be verified, waited too long, or was evicted from a full pool.
    Dropped,
    /// It follows rules of this version, which this software does not know.
    NewerRules(u8),
    /// It breaks a rule; `height` is its share height.
    Rejected { rule: Rule, why: &'static str, height: ShareHeight },
}

/// A change of the sharechain, or something its owner must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A verdict on a share, for its sender. A share that waits gets another one later.
    Verdict {
        id: ShareId,
        digest: ShareDigest,
        source: Source,
        verdict: Verdict,
    },
    /// Something is missing. Request it from the sender of the share that needs it first.
    Request {
        need: Need,
        /// That share.
        share: ShareId,
        source: Source,
    },
    /// A share was linked and is in the tree when the input has been processed. It must be stored.
    Linked(ShareId),
    /// A share was unlinked because its chain was left. It must be deleted.
    Unlinked(ShareId),
    /// Shares are early by a clock that was set back. They are no longer in the tree, and stay stored until they are due.
    Early {
        /// Number of these shares.
        shares: usize,
        /// The tip that is left.
        tip: Option<ShareId>,
        /// When the last of them is due.
        last_due: UnixTime,
    },
    /// A separate chain replaced ours.
    Replaced {
        old: ShareId,
        new: ShareId,
        /// Number of shares that were unlinked.
        depth: usize,
    },
    NewTip(ShareId),
    /// A candidate chain was judged or given up. It no longer exists.
    CandidateJudged {
        id: CandidateId,
        outcome: CandidateOutcome,
    },
}
