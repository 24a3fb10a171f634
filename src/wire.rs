//! What nodes send each other (CBOR with integer keys; `wire.cddl` beside this file describes every byte of it).
//!
//! [`Frame::encode`] and [`Frame::decode`] go from message to bytes and back. Whatever a stranger's bytes claim,
//! decoding allocates no more than a small multiple of their number, and their number is limited per message.
//!
//! | message | travels |
//! |---|---|
//! | [`GossipShare`] | on the topic of shares |
//! | [`BlockAnnouncement`] | on the topic of found Bitcoin blocks |
//! | [`Request`], [`Response`] | on a stream to one peer |

mod block;
mod cbor;
mod fields;
mod gossip;
pub mod limits;
mod list;
mod offence;
mod request;
mod response;
#[cfg(test)]
mod tests;

pub use block::{BlockAnnouncement, BlockError, Reassembly, ShortIds};
pub use cbor::{Field, Frame, Map, WireError};
pub use fields::{Agent, AgentError};
pub use gossip::GossipShare;
pub use list::{Bytes, List, TooMany};
pub use offence::{Offence, BAN_THRESHOLD};
pub use request::{Locator, Request};
pub use response::{PeerStatus, Response, TransactionBytes};
