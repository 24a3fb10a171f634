//! The operator's way to the network thread.

use std::fmt;
use std::sync::Arc;

use p2pool_core::operator::OperatorCommand;

use crate::InboxFull;

/// Passes the operator's commands to the network thread; never blocks.
#[derive(Clone)]
pub struct OperatorSender(Arc<SendFn>);

type SendFn = dyn Fn(&OperatorCommand) -> Result<String, CommandRefused> + Send + Sync;

/// Why a command was not passed on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandRefused {
    /// It cannot be read, or must not be done.
    #[error("{0}")]
    Wrong(String),
    /// What it is about does not exist, by the published status.
    #[error("{0}")]
    NotFound(String),
    #[error(transparent)]
    Busy(#[from] InboxFull),
}

impl OperatorSender {
    /// Wraps the way to the thread: what checks a command against the published status and puts it in the inbox.
    pub fn new(send: impl Fn(&OperatorCommand) -> Result<String, CommandRefused> + Send + Sync + 'static) -> Self {
        Self(Arc::new(send))
    }

    /// Passes a command on. Returns what will be done; the published status shows when it is.
    ///
    /// # Errors
    /// It was not passed on.
    pub fn send(&self, command: &OperatorCommand) -> Result<String, CommandRefused> {
        (self.0)(command)
    }
}

impl fmt::Debug for OperatorSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OperatorSender")
    }
}
