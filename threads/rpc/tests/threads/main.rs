//! The three threads with a real bitcoind, directly and behind a faulty proxy.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod anchor;
mod faults;
mod long_poll;
mod poll;
mod readiness;
mod submit;
mod support;
