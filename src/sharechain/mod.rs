//! The tree of shares: validity, difficulty, fork choice, retention (rules, sections 5 and 6).

mod anchor;
pub mod difficulty;
pub mod next_bits;

pub use anchor::Anchor;
