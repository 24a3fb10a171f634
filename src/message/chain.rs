//! The chain thread's inbox.

use std::sync::Arc;

use bitcoin::block::Header;
use bitcoin::BlockHash;

use super::{AskFailed, GossipToken, InboundToken, PeerToken, RequestToken};
use crate::share::{Share, EXTRANONCE_LEN};
use crate::sharechain::Anchor;
use crate::units::BlockHeight;
use crate::wire::{Request, Response};
use crate::work::{Job, Template};

/// A message to the chain thread. Templates come by a slot of their own, see [`TemplateNews`].
#[derive(Debug)]
pub enum ToChain {
    /// A miner of this node met the share target.
    LocalShare(LocalShare),
    /// What bitcoind says of a Bitcoin header.
    Anchor(AnchorAnswer),
    /// A block of this node, on its way to bitcoind.
    BlockFound {
        /// Its height.
        height: BlockHeight,
        /// Serialised with witnesses.
        block: Vec<u8>,
    },
    /// A node of this chain connected. Comes before anything else of it.
    PeerUp {
        /// Its number until it goes.
        peer: PeerToken,
        /// Where it is, for logs.
        address: Arc<str>,
    },
    /// It is gone. Nothing of it comes after; what it was asked has been answered with [`AskFailed::Gone`].
    PeerDown {
        /// Who.
        peer: PeerToken,
    },
    /// A peer passed on a share. Wants one `ToP2p::Verdict`.
    Gossip {
        /// Who.
        peer: PeerToken,
        /// The message's number.
        gossip: GossipToken,
        /// The share: well formed, nothing else is checked.
        share: Arc<Share>,
    },
    /// A peer passed on the announcement of a Bitcoin block. Wants one `ToP2p::Verdict`.
    BlockAnnounced {
        /// Who.
        peer: PeerToken,
        /// The message's number.
        gossip: GossipToken,
        /// The block's header: it has the work that it claims itself.
        header: Header,
        /// The announcement unread, for `BlockAnnouncement::check` once it is known what Bitcoin asks of the header.
        announcement: Vec<u8>,
    },
    /// A peer asks. Wants one `ToP2p::Answer` within half a minute.
    Asked {
        /// Who.
        peer: PeerToken,
        /// The question's number.
        to: InboundToken,
        /// The question.
        question: Request,
    },
    /// What came of a question of ours.
    Answered {
        /// Who.
        peer: PeerToken,
        /// The question's number.
        request: RequestToken,
        /// The answer: well formed, whether it fits the question is not checked.
        response: Result<Response, AskFailed>,
    },
    /// Flush and end.
    Stop,
}

/// What the poll thread knows of the template. Newest wins.
#[derive(Clone, Debug)]
pub enum TemplateNews {
    /// Work for the miners.
    Template(Arc<Template>),
    /// bitcoind has given none for too long: what miners have is worthless.
    Withdrawn,
}

/// A header that meets the share target, with all that its share needs. Fixed size, no allocation.
#[derive(Clone, Debug)]
pub struct LocalShare {
    /// The job it answers.
    pub job: Arc<Job>,
    /// The header.
    pub header: [u8; 80],
    /// The header's hash, as the hash function gave it.
    pub hash: [u8; 32],
    /// Server's and miner's part.
    pub extranonce: [u8; EXTRANONCE_LEN],
}

/// bitcoind's answer to a question about one Bitcoin header.
#[derive(Clone, Debug)]
pub struct AnchorAnswer {
    /// The header asked for.
    pub hash: BlockHash,
    /// What it said.
    pub verdict: AnchorVerdict,
}

/// What bitcoind knows of a Bitcoin header.
#[derive(Clone, Debug)]
pub enum AnchorVerdict {
    /// Known and not marked invalid (rules, section 5, rule 6).
    Known(Anchor),
    /// Known and marked invalid.
    Invalid,
    /// Not known.
    Unknown,
    /// bitcoind could not be asked; ask again later.
    Unanswered,
}
