//! Tests of the HTTP threads over real sockets.
// All of this crate is a test, its support code too.
#![allow(clippy::unwrap_used, clippy::panic)]

mod api;
mod client;
mod endurance;
mod framing;
mod health;
mod metrics;
mod monitoring;
mod node;
mod openapi;
mod operator;
mod storage;
mod submission;
mod workers;
