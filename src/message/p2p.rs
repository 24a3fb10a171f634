//! The network thread's inbox, and the numbers by which it and the chain thread speak of peers and questions.

use std::fmt;
use std::sync::Arc;

use crate::share::Share;
use crate::sharechain::NEIGHBOURHOOD_SHIFT;
use crate::wire::{BlockAnnouncement, Offence, Request, Response};

/// A connected peer. Whoever disconnects and comes back has another number; none is used twice.
///
/// Its upper bits tell the peer's neighbourhood ([`neighbourhood`](crate::sharechain::Source::neighbourhood)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerToken(pub u64);

impl PeerToken {
    /// The number of the `serial`th peer, of a neighbourhood that is told by 24 bits: zero for our own network, whose
    /// peers are not counted as one.
    pub const fn new(neighbourhood: u32, serial: u64) -> Self {
        Self((neighbourhood as u64) << NEIGHBOURHOOD_SHIFT | serial & ((1 << NEIGHBOURHOOD_SHIFT) - 1))
    }
}

/// A gossiped message that waits for its verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GossipToken(pub u64);

/// A question of ours; whoever asks chooses the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestToken(pub u64);

/// A peer's question that waits for our answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InboundToken(pub u64);

/// A message to the network thread.
#[derive(Debug)]
pub enum ToP2p {
    /// Tell everybody of this share.
    Announce(Arc<Share>),
    /// Tell everybody of this found Bitcoin block.
    AnnounceBlock(Arc<BlockAnnouncement>),
    /// What becomes of a gossiped message. One that gets no verdict within [`AHEAD_MAX_S`](crate::sharechain::AHEAD_MAX_S)
    /// and ten seconds more counts as ignored.
    Verdict {
        /// Which.
        gossip: GossipToken,
        /// What.
        verdict: GossipVerdict,
    },
    /// A peer did something wrong; enough of it and it is banned. Nothing if it is gone.
    Penalize {
        /// Who.
        peer: PeerToken,
        /// What.
        offence: Offence,
    },
    /// Ask a peer. Each question is answered by one `ToChain::Answered`, within half a minute.
    Ask {
        /// Whom.
        peer: PeerToken,
        /// The question's number.
        request: RequestToken,
        /// The question.
        question: Request,
    },
    /// Answer a peer.
    Answer {
        /// Its question.
        to: InboundToken,
        /// The answer.
        response: Response,
    },
    /// End. Never lost, however full the inbox.
    Stop,
}

/// What becomes of a gossiped message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GossipVerdict {
    /// Passed on to others.
    Accept,
    /// Not passed on; nobody is to blame.
    Ignore,
    /// Not passed on; who sent it loses standing in the gossip. A ban needs [`ToP2p::Penalize`] as well.
    Reject,
}

/// Why a question has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskFailed {
    /// The network thread's inbox had no room for the question.
    #[error("the question was not sent")]
    NotSent,
    /// The peer is not connected, or went away meanwhile.
    #[error("the peer is gone")]
    Gone,
    /// Too many questions to this peer are under way.
    #[error("too many questions to this peer are under way")]
    TooMany,
    /// No answer in time.
    #[error("no answer in time")]
    Late,
    /// The peer ended the stream without an answer.
    #[error("the peer gave no answer")]
    Refused,
    /// The peer's answer is too long or no message; it has been penalised already.
    #[error("the answer is no message")]
    Malformed,
}

/// Puts messages in the network thread's inbox; never blocks.
#[derive(Clone)]
pub struct P2pSender(Arc<SendFn>);

type SendFn = dyn Fn(ToP2p) -> Result<(), InboxFull> + Send + Sync;

/// The network thread has more to do than its inbox holds, or has ended: the message is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the network thread takes no more messages")]
pub struct InboxFull;

impl P2pSender {
    /// Wraps whatever leads to the inbox.
    pub fn new(send: impl Fn(ToP2p) -> Result<(), InboxFull> + Send + Sync + 'static) -> Self {
        Self(Arc::new(send))
    }

    /// Sends or loses the message; losing one harms nobody for long, as peers catch up by inventory.
    ///
    /// # Errors
    /// It was lost.
    pub fn send(&self, message: ToP2p) -> Result<(), InboxFull> {
        (self.0)(message)
    }
}

impl fmt::Debug for P2pSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("P2pSender")
    }
}
