//! The chain thread: owner of the sharechain and the only writer of its store.
//!
//! | file | subject |
//! |---|---|
//! | `thread.rs` | the loop: what comes in, in which order it takes effect |
//! | `intervals.rs` | what it does by the clock |
//! | `jobs.rs` | template and tip to job |
//! | `network.rs` | what other nodes say and are told |
//! | `blocks.rs` | found Bitcoin blocks that travel |
//! | `saved.rs` | what is on disk and what waits to be |
//! | `store/` | the store itself (LMDB) |
//! | `export.rs` | the stored sharechain for auditors |

mod blocks;
mod clock;
pub mod export;
mod intervals;
mod jobs;
mod network;
mod pending;
mod saved;
pub mod store;
mod thread;

use std::path::{Path, PathBuf};

pub use export::{export, ExportError, ExportSummary};
pub use intervals::Intervals;
pub use thread::{Chain, ChainConfig, ChainError, ChainOuts};

/// The file inside the chain's own folder that holds the sharechain.
pub fn store_file(chain_dir: &Path) -> PathBuf {
    store::data_file(chain_dir)
}
