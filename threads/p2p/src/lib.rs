//! The network thread: carries shares, found blocks, requests and responses between the chain thread and the peers.
//!
//! libp2p (TCP, Noise, Yamux) runs on this thread's own single-threaded runtime, the only async code in the program. This
//! crate decides who may connect, how much a peer may send and how often. The chain thread decides whether a share is
//! valid, what to request and how to respond.
//!
//! | message | way | when the inbox is full |
//! |---|---|---|
//! | command | [`NetworkSender`](p2pool_channels::NetworkSender) to this thread, 256 messages | lost; peers catch up by inventory |
//! | command of the operator | [`OperatorSender`](p2pool_channels::OperatorSender) to this thread, 16 messages | refused |
//! | share, block, request of a peer | to the chain thread, while fewer than 256 messages wait there | gossip is ignored, a request gets the response "busy" |
//! | connect, disconnect, response of a peer | to the chain thread | waits here in order; their number is bounded |
//!
//! A full chain thread therefore only delays peers: they offer by inventory what was dropped.
//!
//! The names of all protocols contain the chain id, and so does the Noise handshake: nodes of different chains cannot
//! connect. The chain's folder holds `identity` (the key pair), `peers` (the known peers) and `bans`.

mod added_peers;
mod address;
mod bans;
mod behaviour;
mod buckets;
mod codec;
mod connection_gater;
mod dht;
mod dialer;
mod driver;
mod error;
mod eviction;
mod full;
mod gossip;
mod guarded;
mod identity;
mod instance;
mod lan;
mod muxer;
mod names;
mod negotiation_timeout;
mod one_connection;
mod order;
mod origin;
mod outbox;
mod peers;
mod proxy;
mod rate_limits;
mod reach;
mod reachability;
mod state_file;
mod thread;
mod traffic;
mod upload;

#[cfg(test)]
mod tests;

pub use error::P2pError;
pub use reach::default_ip;
pub use thread::P2p;
