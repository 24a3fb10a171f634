//! Messages between nodes, encoded as CBOR with integer keys. `wire/wire.cddl` is their schema.
//!
//! [`Frame::encode`] and [`Frame::decode`] convert a message to bytes and back. The length of each kind of message is
//! limited, and whatever the bytes claim, decoding allocates at most a small multiple of it.
//!
//! | message | transport |
//! |---|---|
//! | [`GossipShare`] | gossip topic of shares |
//! | [`BlockAnnouncement`] | gossip topic of found Bitcoin blocks |
//! | [`Request`], [`Response`] | a stream to one peer |

mod block;
mod cbor;
mod fields;
mod gossip;
pub mod limits;
mod list;
mod misbehaviour;
mod request;
mod response;
#[cfg(test)]
mod tests;

pub use block::{BlockAnnouncement, BlockError, Reassembly, ShortIds};
pub use cbor::{Field, Frame, Map, WireError};
pub use fields::{Agent, AgentError};
pub use gossip::GossipShare;
pub use list::{Bytes, List, TooLong};
pub use misbehaviour::{Misbehaviour, BAN_THRESHOLD};
pub use request::{Locator, Request};
pub use response::{PeerStatus, Response, TransactionBytes};
