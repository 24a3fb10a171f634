//! Real swarms on loopback: nodes as users run them, and strangers who speak the wire as they please.

mod abuse;
mod gossip;
mod identify;
mod kit;
mod limits;
mod network;
mod questions;
mod stranger;
