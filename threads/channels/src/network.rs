//! The network thread's inbox.

use std::fmt;
use std::sync::Arc;

use p2pool_core::node::NetworkCommand;

/// A message to the network thread.
#[derive(Debug)]
pub enum ToNetwork {
    /// Something to do.
    Command(NetworkCommand),
    /// End. Never lost, however full the inbox.
    Stop,
}

impl From<NetworkCommand> for ToNetwork {
    fn from(command: NetworkCommand) -> Self {
        Self::Command(command)
    }
}

/// Puts messages in the network thread's inbox; never blocks.
#[derive(Clone)]
pub struct NetworkSender(Arc<SendFn>);

type SendFn = dyn Fn(ToNetwork) -> Result<(), InboxFull> + Send + Sync;

/// The network thread's inbox is full, or the thread has ended: the message is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the network thread takes no more messages")]
pub struct InboxFull;

impl NetworkSender {
    /// Wraps the way to the inbox.
    pub fn new(send: impl Fn(ToNetwork) -> Result<(), InboxFull> + Send + Sync + 'static) -> Self {
        Self(Arc::new(send))
    }

    /// Sends or loses the message; peers make up for a lost one at their next status request.
    ///
    /// # Errors
    /// The message was lost.
    pub fn send(&self, message: impl Into<ToNetwork>) -> Result<(), InboxFull> {
        (self.0)(message.into())
    }
}

impl fmt::Debug for NetworkSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NetworkSender")
    }
}
