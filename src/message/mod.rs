//! What threads send each other: one inbox type per RECEIVING thread, matched exhaustively by it.
//!
//! Messages go one way. Nothing here carries a reply channel: an answer is a message of its own in the asker's
//! inbox, so no two threads can wait for each other. `threads/README.md` has the table of channels.

mod anchor;
mod chain;
mod latest;
mod p2p;
mod relay;
mod stratum;
mod submit;

pub use anchor::ToAnchor;
pub use chain::{AnchorAnswer, AnchorVerdict, LocalShare, TemplateNews, ToChain};
pub use latest::{latest, LatestReceiver, LatestSender};
pub use p2p::{
    AskFailed, GossipToken, GossipVerdict, InboundToken, InboxFull, P2pSender, PeerToken, RequestToken, ToP2p,
};
pub use relay::{RelaySender, WebClient};
pub use stratum::{JobSender, NoWork, ToStratum, Wake};
pub use submit::{FoundBlock, ToSubmit};
