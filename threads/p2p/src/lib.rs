//! The network of nodes: a dumb, hardened carrier between the chain thread and its peers.
//!
//! libp2p (TCP, Noise, Yamux) runs on this thread's own single-threaded runtime, the only async code in the program.
//! Nothing is decided here but who may connect, how much anybody may send and how often. Whether a share is valid, what
//! to ask and what to answer is for the chain thread:
//!
//! | | way | when full |
//! |---|---|---|
//! | [`NetworkSender`](p2pool_channels::NetworkSender) | to this thread, 256 messages | lost; peers catch up by inventory |
//! | shares, blocks, questions | to the chain thread, while fewer than 256 messages wait there | the gossip says "ignored", the asker is told "busy" |
//! | comings, goings, answers to us | to the chain thread, its inbox | wait here in order; their number is bounded |
//!
//! A full chain thread therefore costs peers nothing but time: what they passed on meanwhile is fetched by inventory.
//!
//! Every name on the wire holds the chain's id, and so does the Noise handshake: nodes of different chains do not even
//! get to speak. The folder of the chain holds `identity` (who we are), `peers` (whom we knew) and `bans`.

mod address;
mod bans;
mod behaviour;
mod codec;
mod connection_gater;
mod dht;
mod dialer;
mod driver;
mod error;
mod file;
mod gossip;
mod identity;
mod names;
mod outbox;
mod peers;
mod rate_limits;

mod state_file;
mod thread;
mod traffic;

#[cfg(test)]
mod tests;

pub use error::P2pError;
pub use names::{Names, PROTOCOL_VERSION};
pub use thread::P2p;
