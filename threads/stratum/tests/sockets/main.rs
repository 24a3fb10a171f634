//! The stratum thread with real sockets.

// Test code, helpers included.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../../../../src/stratum/fixtures.rs"]
mod fixtures;
mod limits;
mod mining;
mod no_work;
mod protocols;
mod support;
