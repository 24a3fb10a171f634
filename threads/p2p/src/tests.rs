//! Real swarms on loopback: nodes as users run them, and strangers who speak the wire as they please.

mod abuse;
mod gossip;
mod identify;
mod limits;
mod network;
mod requests;
mod scripted_peer;
mod support;
