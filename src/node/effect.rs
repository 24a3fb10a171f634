//! The node's outputs: what its driver is to do.

use std::sync::Arc;

use bitcoin::BlockHash;

use super::report::Report;
use crate::peer::{GossipId, GossipVerdict, InboundId, PeerHandle, RequestId};
use crate::share::{Share, ShareId};
use crate::units::BlockHeight;
use crate::wire::{BlockAnnouncement, Misbehaviour, Request, Response};
use crate::work::WorkUpdate;

/// One output of the node.
#[derive(Debug)]
pub enum Effect {
    /// A command to the network.
    Network(NetworkCommand),
    /// Look a Bitcoin block up, after reporting bitcoind's best chain if that has changed. The outcome is one
    /// [`Event::Anchor`](super::Event::Anchor).
    LookUp(BlockLookup),
    /// Submit a block that a peer found to bitcoind.
    SubmitBlock(PeerBlock),
    /// Give work to the miners, or take it from them.
    Work(WorkUpdate),
    /// Write a line to the log.
    Report(Report),
}

/// A Bitcoin block to look up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockLookup {
    pub hash: BlockHash,
    /// Whether a block counts that is below the part of the best chain which is held without gaps.
    pub may_be_old: bool,
}

/// What the network is to do.
#[derive(Clone, Debug)]
pub enum NetworkCommand {
    /// Gossip this share.
    Announce(Arc<Share>),
    /// Gossip this Bitcoin block.
    AnnounceBlock(Arc<BlockAnnouncement>),
    /// Relay a gossiped message, or not. A message without a verdict within
    /// [`AHEAD_MAX_S`](crate::sharechain::AHEAD_MAX_S) and ten seconds more counts as ignored; a verdict on a message
    /// that does not wait for one is ignored.
    Verdict { gossip: GossipId, verdict: GossipVerdict },
    /// Count a misbehaviour against a peer; enough of them ban it. Nothing if it disconnected.
    Penalize { peer: PeerHandle, misbehaviour: Misbehaviour },
    /// Send a request. Its outcome is one [`Event::Response`](super::Event::Response), within half a minute.
    Request {
        peer: PeerHandle,
        /// Identifies the response.
        id: RequestId,
        request: Request,
    },
    /// Respond to a peer's request.
    Respond { to: InboundId, response: Response },
}

/// A Bitcoin block that a peer found and this node reassembled.
#[derive(Clone, Debug)]
pub struct PeerBlock {
    pub id: ShareId,
    pub height: BlockHeight,
    /// Serialised with witnesses.
    pub block: Vec<u8>,
}
