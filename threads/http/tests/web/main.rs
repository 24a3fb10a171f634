//! The web threads over real sockets: what is refused, what is answered, and that the answers are as described.
// Everything here is a test, also the functions that set them up.
#![allow(clippy::unwrap_used, clippy::panic)]

mod api;
mod client;
mod endurance;
mod framing;
mod health;
mod metrics;
mod node;
mod openapi;
mod storage;
mod watching;
