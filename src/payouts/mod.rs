//! The PPLNS window and the payout list (rules, section 7).
//!
//! A [`WindowEntry`] is the contribution of one share. A [`Window`] is the sum over the last shares of a chain, updated
//! incrementally as the chain grows or reorganises. [`payout_list`] turns such sums into the outputs of a coinbase.

#![deny(clippy::float_arithmetic, clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod ballot;
mod entry;
#[cfg(test)]
mod fixtures;
mod list;
mod lottery;
mod window;

pub use ballot::Ballot;
pub use entry::{Credit, EntrySource, Vote, WindowEntry};
pub use list::{finder_fee, payout_list};
pub use window::{Window, WindowError};
