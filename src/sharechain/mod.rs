//! The tree of shares: validity, difficulty, fork choice, retention (rules, sections 5 and 6).

mod anchor;
pub mod difficulty;

pub use anchor::Anchor;
