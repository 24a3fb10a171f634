//! The tree of shares: validity, difficulty, fork choice, retention (rules, sections 5 and 6).

mod anchor;

pub use anchor::Anchor;
