//! What nodes make of a hostile peer: it is refused, scored and logged, and honest nodes keep one tip and mine on.
//!
//! The real program, a real bitcoind, and after each attack a share of an honest miner that must reach every honest node.
//!
//! | file | attacks |
//! |---|---|
//! | `shares` | shares that break a rule (rules, sections 5 and 8) |
//! | `responses` | answers that are well formed and wrong, late, or drop by drop |
//! | `blocks` | false announcements of found Bitcoin blocks |
//! | `floods` | too much of everything |
//! | `malformed` | every message written wrongly in every way, on every road |
//! | `newcomer` | false and private histories for a node that has none |
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod blocks;
mod floods;
mod malformed;
mod newcomer;
mod responses;
mod shares;
mod test_network;
