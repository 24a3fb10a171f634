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
use p2pool_core::config::Config;
use p2pool_core::metrics::Metrics;
use p2pool_core::status::{BitcoindError, BitcoindStatus};
use ureq::Agent;

use crate::backoff::Backoff;
use crate::error::RpcError;
use crate::news::TemplateSink;
use crate::node::Node;
use crate::reporter::StatusReporter;

/// Pause when a long poll answers what it was to be different from: bitcoind never does, but a broken one must not make
/// this thread spin.
const UNCHANGED_PAUSE: Duration = Duration::from_secs(1);

/// The thread's state.
pub struct Poll {
    node: Node,
    sink: TemplateSink,
    counters: Arc<Metrics>,
    reporter: StatusReporter,
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
        config: &Config,
        news: LatestSender<TemplateUpdate>,
        counters: Arc<Metrics>,
    ) -> Result<(Self, PollStopper), RpcError> {
        let node = Node::new(config)?;
        let (sender, stop) = bounded(0);
        let stopper = PollStopper { agent: node.agent(), stop: sender };
        let sink = TemplateSink::new(news, Arc::clone(&counters));
        let reporter = StatusReporter::new(node.url());
        Ok((Self { node, sink, counters, reporter, stop }, stopper))
    }

    /// How bitcoind is.
    pub fn status(&self) -> Arc<ArcSwap<BitcoindStatus>> {
        self.reporter.published()
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
                    self.reporter.report_up(&answer.template);
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

    fn failed(&mut self, mut error: BitcoindError) {
        self.counters.rpc_errors.inc();
        if let BitcoindError::Syncing { percent } = &mut error {
            *percent = self.node.downloaded_percent();
        }
        let is_wrong_network = matches!(error, BitcoindError::WrongNetwork { .. });
        if self.reporter.report_down(error) && is_wrong_network {
            // The miners' work is for another bitcoind than the one that responds now.
            self.sink.withdraw();
        }
    }
}
