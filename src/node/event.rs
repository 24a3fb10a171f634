//! The node's inputs.

use std::sync::Arc;

use bitcoin::block::Header;
use bitcoin::BlockHash;

use crate::peer::{GossipId, InboundId, PeerHandle, RequestFailed, RequestId};
use crate::share::Share;
use crate::sharechain::{Anchor, BestChain};
use crate::units::BlockHeight;
use crate::wire::{Request, Response};
use crate::work::{FoundShare, NoWork, Template};

/// One input of the node.
#[derive(Debug)]
pub enum Event {
    /// bitcoind has new work.
    Template(Arc<Template>),
    /// The last template is worthless, because of this state of bitcoind.
    TemplateWithdrawn(NoWork),
    /// A miner of this node met the share target.
    ShareFound(FoundShare),
    /// The class of payout outputs that the firmware of this node's miners bears has changed; 0 before the first.
    FirmwareClass(u8),
    /// A block of this node is on its way to bitcoind.
    BlockFound {
        height: BlockHeight,
        /// Serialised with witnesses.
        block: Vec<u8>,
    },
    /// bitcoind's best chain, or whether bitcoind has caught up, changed.
    BestChain(BestChain),
    /// bitcoind's response to a block lookup.
    Anchor(AnchorLookup),
    /// A peer on this chain connected. Precedes every other event of the peer.
    PeerConnected {
        /// Valid until it disconnects.
        peer: PeerHandle,
    },
    /// A peer disconnected. No event of it follows; its open requests have failed with
    /// [`RequestFailed::Disconnected`] before.
    PeerDisconnected { peer: PeerHandle },
    /// A peer relayed a share. The node gives one verdict, under the share's digest.
    ShareGossiped {
        peer: PeerHandle,
        /// The share: well formed, otherwise unchecked.
        share: Arc<Share>,
    },
    /// A peer relayed the announcement of a Bitcoin block. The node gives one verdict.
    BlockAnnounced {
        peer: PeerHandle,
        /// Identifies the message for its verdict.
        gossip: GossipId,
        /// The block's header: its hash meets its own bits.
        header: Header,
        /// The encoded announcement, for `BlockAnnouncement::validate` once the bits that Bitcoin requires are known.
        announcement: Vec<u8>,
    },
    /// A peer sent a request. The node gives one response, within half a minute.
    Request {
        peer: PeerHandle,
        /// Identifies the request for its response.
        id: InboundId,
        request: Request,
    },
    /// The outcome of a request of this node.
    Response {
        peer: PeerHandle,
        id: RequestId,
        /// The response: well formed; whether it fits the request is unchecked.
        response: Result<Response, RequestFailed>,
    },
}

/// bitcoind's response to a block lookup.
#[derive(Clone, Debug)]
pub struct AnchorLookup {
    pub hash: BlockHash,
    /// What bitcoind knows.
    pub result: AnchorResult,
}

/// What bitcoind knows about a Bitcoin block.
#[derive(Clone, Debug)]
pub enum AnchorResult {
    /// It is on bitcoind's best chain, which has been reported up to it or beyond.
    Reported,
    /// It is on bitcoind's best chain, below the part that is reported.
    Known(Box<Anchor>),
    /// It is not on bitcoind's best chain, or too old to count, or not known at all.
    Unknown,
    /// bitcoind could not be reached, or was asked too often; the lookup is repeated later.
    Unavailable,
}
