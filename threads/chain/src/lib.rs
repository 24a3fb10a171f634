//! The chain thread: it drives the node's state machine ([`p2pool_core::node`]) and is the only writer of the share store.
//!
//! | file | subject |
//! |---|---|
//! | `thread.rs` | the loop: wait, read the clocks, step, commit, perform |
//! | `store/` | the share store (LMDB) |
//! | `export/` | the stored sharechain for auditors |

pub mod export;
pub mod store;
mod thread;

pub use export::{export, ExportError, ExportSummary};
pub use store::data_file;
pub use thread::{Chain, ChainError, ChainSinks};
