//! The threads that speak to bitcoind: poll, submit and anchor.
//!
//! Each is opened on the main thread and then run on a thread of its own:
//!
//! ```text
//! Poll::open(&RpcConfig, &ChainParams, LatestSender<TemplateNews>, Arc<Counters>) -> Result<(Poll, PollStopper), RpcError>
//! Submit::open(&RpcConfig, &ChainParams, dir: &Path, Receiver<ToSubmit>, Sender<ToChain>, Arc<Counters>) -> Result<Submit, RpcError>
//! AnchorThread::open(&RpcConfig, &ChainParams, Receiver<ToAnchor>, Sender<ToChain>, LatestSender<TemplateNews>, Arc<Counters>)
//!     -> Result<AnchorThread, RpcError>
//! run(self) -> Result<(), RpcError>    // each of the three
//! PollStopper::stop(self)              // ends Poll at once, also out of a long poll
//! ```
//!
//! `dir` is the folder for found blocks, `<chain_dir>/blocks`; it is made if missing. `open` reads no answer from bitcoind:
//! a node that starts before its bitcoind waits for it.
