//! Starts a real bitcoind for tests, speaks to it, and always ends it.
//!
//! A test that fails keeps the node's folder and prints its path. Failures panic and say why, so that tests
//! stay short.
//!
//! ```no_run
//! use p2pool_test_bitcoind::{Bitcoind, Chain};
//!
//! let node = Bitcoind::start(Chain::Regtest);
//! node.mine(101);
//! assert_eq!(node.height(), 101);
//! ```
#![allow(clippy::panic, reason = "a test's helper fails by panicking, with a message")]

mod coins;
pub mod delay;
mod executable;
pub mod internet;
pub mod namespace;
mod node;
mod ports;
mod relay;
mod rpc;
mod skip;
mod wait;

pub use coins::{anyone_can_spend, anyone_can_spend_address, Coin, MempoolFiller};
pub use executable::bitcoind_exe;
pub use node::{Bitcoind, Chain, Options};
pub use ports::Port;
pub use relay::Relay;
pub use rpc::{RpcClient, RpcError};
pub use skip::skip;
pub use wait::{wait_for, wait_until};
