//! What threads send each other: one inbox type per receiving thread, matched exhaustively by it.
//!
//! Messages travel one way. None carries a reply channel: a response is a message of its own in the requester's inbox,
//! so no two threads can wait for each other. `threads/README.md` has the table of channels.

mod browser;
mod chain;
mod latest;
mod network;
mod operator;
mod rpc;
mod stratum;

use std::sync::Arc;

pub use browser::{BrowserConnection, BrowserSender};
pub use chain::{TemplateUpdate, ToChain};
pub use latest::{latest, LatestReceiver, LatestSender};
pub use network::{InboxFull, NetworkSender, ToNetwork};
pub use operator::{CommandRefused, OperatorSender};
pub use rpc::{ToAnchor, ToSubmit};
pub use stratum::WorkSender;

/// Wakes a thread that waits in `poll(2)`.
pub type Wake = Arc<dyn Fn() + Send + Sync>;
