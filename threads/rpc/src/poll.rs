//! rpc/poll: waits for bitcoind's next template, all the time.
//!
//! A process that ends within a long poll leaves one of bitcoind's RPC threads (16 unless `-rpcthreads` says otherwise)
//! waiting until the next block or change of the mempool; bitcoind knows no way to call a long poll off.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use crossbeam_channel::{bounded, Receiver, RecvTimeoutError, Sender, TryRecvError};
use p2pool_channels::{LatestSender, TemplateUpdate};
use p2pool_core::config::RpcConfig;
use p2pool_core::metrics::Metrics;
use p2pool_core::params::ChainParams;
use p2pool_core::status::BitcoindStatus;
use ureq::Agent;

use crate::backoff::Backoff;
use crate::error::{CallError, RpcError};
use crate::health::Health;
use crate::news::TemplateSink;
use crate::node::Node;

/// Pause when a long poll answers what it was to be different from: bitcoind never does, but a broken one must not make
/// this thread spin.
const UNCHANGED_PAUSE: Duration = Duration::from_secs(1);

/// The thread's state.
pub struct Poll {
    node: Node,
    sink: TemplateSink,
    counters: Arc<Metrics>,
    health: Health,
    stop: Receiver<Infallible>,
}

/// Ends a [`Poll`]; so does dropping it, but only when the long poll under way is over.
pub struct PollStopper {
    agent: Agent,
    stop: Sender<Infallible>,
}

impl PollStopper {
    /// Makes [`Poll::run`] return at once, also out of a long poll.
    pub fn stop(self) {
        drop(self.stop);
        self.agent.shutdown();
    }
}

impl Poll {
    /// Readies the thread; asks nothing yet.
    ///
    /// # Errors
    /// [`RpcError::Host`].
    pub fn open(
        config: &RpcConfig,
        params: &ChainParams,
        news: LatestSender<TemplateUpdate>,
        counters: Arc<Metrics>,
    ) -> Result<(Self, PollStopper), RpcError> {
        let node = Node::new(config, params)?;
        let (sender, stop) = bounded(0);
        let stopper = PollStopper { agent: node.agent(), stop: sender };
        let sink = TemplateSink::new(news, Arc::clone(&counters));
        let health = Health::new(node.url());
        Ok((Self { node, sink, counters, health, stop }, stopper))
    }

    /// How bitcoind is.
    pub fn status(&self) -> Arc<ArcSwap<BitcoindStatus>> {
        self.health.published()
    }

    /// Takes templates until stopped. Whatever bitcoind does is waited out.
    ///
    /// # Errors
    /// None today.
    pub fn run(mut self) -> Result<(), RpcError> {
        let mut backoff = Backoff::default();
        let mut longpollid: Option<String> = None;
        while !self.is_stopped() {
            // Without an id bitcoind answers at once: so after an error, whatever happened meanwhile.
            let pause = match self.node.template(longpollid.as_deref()) {
                Ok(answer) => {
                    backoff.reset();
                    self.health.note_up(&answer.template);
                    self.sink.put(answer.template);
                    let is_unchanged = longpollid.as_ref() == Some(&answer.longpollid);
                    longpollid = Some(answer.longpollid);
                    if is_unchanged {
                        UNCHANGED_PAUSE
                    } else {
                        Duration::ZERO
                    }
                }
                Err(_) if self.is_stopped() => break,
                Err(error) => {
                    self.failed(error);
                    longpollid = None;
                    backoff.next()
                }
            };
            if !pause.is_zero() && self.stop.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
                break;
            }
        }
        Ok(())
    }

    fn is_stopped(&self) -> bool {
        self.stop.try_recv() == Err(TryRecvError::Disconnected)
    }

    fn failed(&mut self, error: CallError) {
        self.counters.rpc_errors.inc();
        let is_wrong_network = matches!(error, CallError::WrongNetwork { .. });
        let is_downloading = matches!(error, CallError::InitialDownload(_));
        let downloaded_percent = if is_downloading { self.node.downloaded_percent() } else { None };
        if self.health.note_down(error, downloaded_percent) && is_wrong_network {
            // The work that miners may have is for a bitcoind that is no more.
            self.sink.withdraw();
        }
    }
}
