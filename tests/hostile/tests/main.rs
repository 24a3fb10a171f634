//! Attacks of hostile peers. Nodes must refuse, score and log them, keep one tip and continue mining.
//!
//! The tests use the real program and a real bitcoind. After each attack a share of an honest miner must reach every honest
//! node.
//!
//! | file | attacks |
//! |---|---|
//! | `shares` | shares that break a rule (rules, sections 5 and 8) |
//! | `responses` | responses that are well formed and wrong, late, or slow |
//! | `blocks` | invalid announcements of found Bitcoin blocks |
//! | `floods` | too many messages and connections |
//! | `malformed` | malformed variants of every message by every way |
//! | `newcomer` | invalid and private histories for a node without shares |
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod blocks;
mod floods;
mod malformed;
mod newcomer;
mod responses;
mod shares;
mod test_network;
