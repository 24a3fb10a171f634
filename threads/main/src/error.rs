//! Why the node could not start or did not stop in order.

use crate::data_dir::DataDirError;
use crate::shutdown::ShutdownReport;
use crate::threads::{with_causes, BoxedError, ThreadExit, ThreadName};

/// Why the node ended with an error.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// A part of the node could not be opened.
    #[error("cannot open the {what}: {}", with_causes(.cause.as_ref()))]
    Open {
        /// Name of the part.
        what: &'static str,
        /// Its error.
        cause: BoxedError,
    },
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The system cannot start another thread.
    #[error("cannot start a thread: {0}")]
    Spawn(#[from] std::io::Error),
    /// A thread exited although nothing asked it to.
    #[error("thread {0} {1}")]
    ThreadExited(ThreadName, ThreadExit),
    /// Some threads did not stop in order.
    #[error("shutdown incomplete: threads failed: {:?}, threads timed out: {:?}", .0.failed, .0.timed_out)]
    Shutdown(ShutdownReport),
}

impl NodeError {
    /// Returns a function that makes [`Self::Open`] from a part's error.
    pub fn open<E: Into<BoxedError>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |cause| Self::Open { what, cause: cause.into() }
    }
}
