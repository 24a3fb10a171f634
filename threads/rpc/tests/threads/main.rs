//! The three threads against a real bitcoind, and against one behind a faulty proxy.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod anchor;
mod common;
mod faults;
mod poll;
mod submit;
