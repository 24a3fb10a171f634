//! The chain thread's inbox.

use std::sync::Arc;

use p2pool_core::node::Event;
use p2pool_core::work::{NoWork, Template};

/// A message to the chain thread. Templates arrive in a slot of their own, see [`TemplateUpdate`].
#[derive(Debug)]
pub enum ToChain {
    /// An input of the node.
    Event(Event),
    /// Commit and end.
    Stop,
}

impl From<Event> for ToChain {
    fn from(event: Event) -> Self {
        Self::Event(event)
    }
}

/// The newest template. Newest wins.
#[derive(Clone, Debug)]
pub enum TemplateUpdate {
    /// Work for the miners.
    Template(Arc<Template>),
    /// The last one is worthless, because of this state of bitcoind.
    Withdrawn(NoWork),
}
