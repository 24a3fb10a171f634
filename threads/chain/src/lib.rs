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

use std::path::{Path, PathBuf};

pub use export::{export, ExportError, ExportSummary};
pub use thread::{Chain, ChainError, ChainSinks};

/// Returns the path of the file that holds the sharechain. `chain_dir` is the chain's own folder.
pub fn store_file(chain_dir: &Path) -> PathBuf {
    store::data_file(chain_dir)
}
