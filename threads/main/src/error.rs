//! Why the node could not start or did not stop in order.

use crate::data_dir::DataDirError;
use crate::shutdown::ShutdownReport;
use crate::threads::{with_causes, BoxedError, ThreadExit, ThreadName};

/// Why the node ended with an error.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error("cannot open the {what}: {}", with_causes(.cause.as_ref()))]
    Open { what: &'static str, cause: BoxedError },
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error("cannot start a thread: {0}")]
    Spawn(#[from] std::io::Error),
    #[error("thread {0} {1}")]
    ThreadExited(ThreadName, ThreadExit),
    #[error("shutdown incomplete: threads failed: {:?}, threads timed out: {:?}", .0.failed, .0.timed_out)]
    Shutdown(ShutdownReport),
}

impl NodeError {
    /// Returns a function that makes [`Self::Open`] from a part's error.
    pub fn open<E: Into<BoxedError>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |cause| Self::Open { what, cause: cause.into() }
    }
}
