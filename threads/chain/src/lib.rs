//! The chain thread: owner of the sharechain and the only writer of its store.

pub mod export;
pub mod store;
